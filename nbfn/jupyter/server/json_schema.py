"""Prints the JSON Schema of the routes and events; ``labextension/types.mjs`` generates TypeScript from it."""

from __future__ import annotations

import inspect
import json
import sys
from typing import Any, get_args

import msgspec

from nbfn.jupyter.server import schema

#: The names of the vocabularies, which msgspec does not keep.
_WORDS = ("Connection", "FunctionState", "CallState", "InputState", "WorkerState", "Purpose")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of all Structs that the page knows."""
    names = {frozenset(get_args(getattr(schema, name))): name for name in _WORDS}
    _, components = msgspec.json.schema_components(
        schema.EXPORTED, ref_template="#/definitions/{name}"
    )
    for definition in components.values():
        definition["title"] = f"I{definition['title']}"
        definition["additionalProperties"] = False
        if "description" in definition:
            definition["description"] = inspect.cleandoc(definition["description"])
    named = _with_names(components, names)
    words = {
        name: {"title": name, "enum": list(get_args(getattr(schema, name)))} for name in _WORDS
    }
    root = {"title": "Root", "type": "object", "additionalProperties": False}
    return {**root, "definitions": {**words, **named}}


def _with_names(node: Any, names: dict[frozenset[str], str]) -> Any:
    """Return a schema in which each vocabulary is a reference to its definition."""
    if isinstance(node, list):
        return [_with_names(each, names) for each in node]
    if not isinstance(node, dict):
        return node
    name = names.get(frozenset(node["enum"])) if "enum" in node else None
    if name is not None:
        return {"$ref": f"#/definitions/{name}"}
    return {key: _with_names(each, names) for key, each in node.items()}


def main() -> None:
    """Print the schema."""
    json.dump(json_schema(), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
