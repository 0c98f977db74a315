"""`/limits`: the limits of types and of their keys, across all workers."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob
from kue.web.access.audit import audit
from kue.web.live.current import queue

type_limits = Blueprint("type_limits", __name__)

#: Members of a limit in a request.
MEMBERS = ("rate", "burst", "concurrency", "by", "weight")


@type_limits.get("/limits")
def show() -> ResponseReturnValue:
    """The limits, by type."""
    return jsonify(queue().limits())


@type_limits.post("/limits")
def change() -> ResponseReturnValue:
    """Limit a type, or with ``by`` each of its keys; replaces the previous limit. Empty members count as none."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or not set(asked) <= {"type", *MEMBERS}:
        raise InvalidJob(f"send an object with type and one or more of {', '.join(MEMBERS)}")
    name = asked.get("type")
    if not isinstance(name, str) or not name:
        raise InvalidJob("type must be the name of a job type")
    wanted = {member: asked[member] for member in MEMBERS if asked.get(member) not in (None, "")}
    queue().limit(name, **wanted)
    said = ", ".join(f"{member}={value!r}" for member, value in wanted.items())
    audit(f"limit {said}", f"type {name!r}")
    return jsonify(queue().limits())


@type_limits.delete("/limits")
def lift() -> ResponseReturnValue:
    """Remove the limits of ``type``; with ``part`` only the limit by ``key``, or of the whole type (``all``)."""
    name, part = request.args.get("type", ""), request.args.get("part", "")
    if not name or part not in ("", "key", "all"):
        raise InvalidJob("send the type, and optionally part=key or part=all")
    if not queue().unlimit(name, by=None if not part else part == "key"):
        return jsonify({"error": f"type {name} has no such limit"}), 404
    audit(f"unlimit {part or 'all parts'}", f"type {name!r}")
    return jsonify(queue().limits())
