"""`/openapi.json`: the HTTP API as an OpenAPI document. A test compares it with the server's routes and responses."""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Blueprint, current_app, jsonify
from flask.typing import ResponseReturnValue

from kue.web.api.routes import MEDIA, OPEN, PARAMETERS, PARTS, ROUTES, Route
from kue.web.api.schema import schema_of
from kue.web.links import link

openapi = Blueprint("openapi", __name__)

#: Paths that only the standalone server has.
OWN_PATHS = frozenset({"/login", "/logout", "/sample/10mb.bin"})

ABOUT = """Kue's JSON API with proper status codes, and the paths that the pages use (/monitor).

Errors are JSON with a sentence under `error`. 400 also means a Host header that is not this server's, 401
authentication required, 403 read-only access or a request from another site, 429 too many failed logins, 503 that Redis
is unreachable."""


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema, example, text = PARAMETERS[name]
    made = {"name": name, "in": place, "required": place == "path", "schema": schema, "example": example}
    return {**made, "description": text} if text else made


def _content(shape: Any, parts: dict[str, Any]) -> dict[str, Any]:
    if isinstance(shape, str):
        return {MEDIA[shape]: {}}
    return {"application/json": {"schema": shape if isinstance(shape, dict) else schema_of(shape, parts)}}


def _operation(route: Route, parts: dict[str, Any]) -> dict[str, Any]:
    in_path = [piece.partition("}")[0] for piece in route.path.split("{")[1:]]
    parameters = [_parameter(name, "path") for name in in_path]
    parameters += [_parameter(name, "query") for name in route.query.split()]
    made: dict[str, Any] = {"summary": route.summary}
    if parameters:
        made["parameters"] = parameters
    if route.body is not None:
        made["requestBody"] = {"content": _content(route.body, parts)}
    made["responses"] = {
        str(status): {"description": "success" if status < 400 else "error", "content": _content(shape, parts)}
        for status, shape in route.answers.items()
    }
    made["security"] = [] if route.path in OPEN else [{"password": []}, {"token": []}, {"login": []}]
    return made


@cache
def document(has_login: bool = True) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document. Without ``has_login``, the application handles access."""
    parts: dict[str, Any] = dict(PARTS)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route, parts)
    schemes = {
        "password": {"type": "http", "scheme": "basic"},
        "token": {"type": "http", "scheme": "bearer"},
        "login": {"type": "apiKey", "in": "cookie", "name": "kue_session"},
    }
    if not has_login:
        schemes, paths = {}, {path: each for path, each in paths.items() if path not in OWN_PATHS}
        for operation in (each for path in paths.values() for each in path.values()):
            del operation["security"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "kue", "version": "1", "description": ABOUT},
        "paths": paths,
        "components": {"schemas": parts, "securitySchemes": schemes},
    }


@openapi.get("/openapi.json")
def show() -> ResponseReturnValue:
    """The document."""
    base_path = link("")
    has_login = "login" in current_app.blueprints
    return jsonify({**document(has_login), **({"servers": [{"url": base_path}]} if base_path else {})})
