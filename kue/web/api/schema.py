"""Convert TypedDicts to JSON Schema, so that the OpenAPI document matches the code's types. Pure."""

from __future__ import annotations

import types
import typing
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

_PLAIN: dict[object, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}


def schema_of(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an annotation. TypedDicts are added to ``parts`` by name, and referenced."""
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if is_typeddict(kind):
        name = kind.__name__.lstrip("_")
        if name not in parts:
            parts[name] = {}  # registered first, so that a type may refer to itself
            parts[name] = _object(kind, parts)
        return {"$ref": f"#/components/schemas/{name}"}
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(each, parts) for each in args]}
    if origin is list:
        return {"type": "array", "items": schema_of(args[0], parts)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1], parts)}
    if origin is typing.Literal:
        return {"enum": list(args)}
    raise TypeError(f"no schema for {kind!r}")


def _object(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    made: dict[str, Any] = {
        "type": "object",
        "description": (kind.__doc__ or "").strip().partition("\n")[0],
        "properties": {name: schema_of(each, parts) for name, each in hints.items()},
        "additionalProperties": False,
    }
    required = sorted(kind.__required_keys__)
    return {**made, "required": required} if required else made
