"""The JSON Schemas of the events, from their classes and the comments beside the fields."""

import ast
import inspect
import io
import textwrap
import tokenize
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from services.shared import events
from services.shared.envelope import SYNC_ID, VERSION, detail
from services.shared.events import Due, Event, SyncCancelRequested, SyncRequested
from tools.docs.examples import BY_HAND, EXAMPLES

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ENVELOPE = {field.name for field in fields(Event)}
_NEVER_SENT = {"refused"}  # filled in while reading


class UndocumentedError(LookupError):
    """An event has no docstring or no example; the text says where to add it."""


def schema_of(event_type: type[Event]) -> Schema:
    """Return the JSON Schema of an event's whole `detail`. It allows further fields, which readers ignore.

    Raises `UndocumentedError`.
    """
    name = event_type.__name__
    # A dataclass without a docstring has its signature there.
    if not event_type.__doc__ or event_type.__doc__.startswith(f"{name}("):
        raise UndocumentedError(f"{name} has no docstring: say in services/shared/events.py what happened")
    if name not in EXAMPLES:
        raise UndocumentedError(f"{name} has no example: add one to EXAMPLES in tools/docs/examples.py")
    _, components = msgspec.json.schema_components((event_type,), ref_template="#/$defs/{name}")
    classes: dict[str, Schema] = {key: _described(key, schema) for key, schema in components.items()}
    whole = classes.pop(name)
    data = {
        "type": "object",
        "properties": {
            field: schema for field, schema in whole["properties"].items() if field not in _ENVELOPE | _NEVER_SENT
        },
        "required": [field for field in whole["required"] if field not in _ENVELOPE],
    }
    if event_type is SyncRequested:
        classes["Filters"]["additionalProperties"] = False
        form: Schema = {"anyOf": _forms_of_a_request(data)}
        examples: list[Any] = [*BY_HAND, detail(EXAMPLES[name])]
    elif issubclass(event_type, Due):
        form, examples = {"type": "object"}, [{}]
    elif event_type is SyncCancelRequested:
        form = {"anyOf": [_form_of_a_cancellation(), {"title": "In the envelope", **_in_the_envelope(data)}]}
        examples = [{"sync_id": EXAMPLES[name].sync_id}, detail(EXAMPLES[name])]
    else:
        form, examples = _in_the_envelope(data), [detail(EXAMPLES[name])]
    described = {"$schema": _DIALECT, "title": name, "description": docstring(event_type), **form}
    return {**described, **({"$defs": classes} if classes else {}), "examples": examples}


def metadata() -> Schema:
    """Return the schema of the envelope's metadata."""
    about = _field_comments(Event)
    properties: dict[str, Schema] = {
        "event_id": {"type": "string", "format": "uuid", "description": inspect.getdoc(Event.event_id)},
        "version": {"const": VERSION, "description": "of this contract; an addition keeps it"},
        "sync_id": {"type": "string", "pattern": f"^{SYNC_ID.pattern}$", "description": about["sync_id"]},
        "hops": {"type": "integer", "minimum": 0, "description": about["hops"]},
        "causation_id": {"type": "string", "description": about["causation_id"]},
        "occurred_at": {"type": "string", "format": "date-time", "description": about["occurred_at"]},
    }
    return {"type": "object", "properties": properties, "required": [*properties]}


def docstring(cls: type) -> str:
    """Return the docstring of a class as one line."""
    return " ".join((inspect.getdoc(cls) or "").split())


def _in_the_envelope(data: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"metadata": metadata(), "data": data},
        "required": ["metadata", "data"],
    }


def _form_of_a_cancellation() -> Schema:
    """Return the form of a `SyncCancelRequested` that people write."""
    return {
        "title": "By hand",
        "type": "object",
        "properties": {"sync_id": metadata()["properties"]["sync_id"], "data": False},
        "required": ["sync_id"],
    }


def _forms_of_a_request(data: Schema) -> list[Schema]:
    """Return the two forms of a `SyncRequested`: people and the schedule write it without an envelope."""
    envelope = metadata()
    sync_id = envelope["properties"]["sync_id"]
    return [
        {
            "title": "By hand",
            "type": "object",
            "properties": {"sync_id": sync_id, **data["properties"], "data": False},
        },
        {
            "title": "In the envelope",
            "type": "object",
            "properties": {"metadata": {**envelope, "required": []}, "data": data},
            "required": ["data"],
        },
    ]


def _described(name: str, schema: Schema) -> Schema:
    """Add the comments beside the fields of a class to the schema that msgspec generated for the class."""
    about = _field_comments(getattr(events, name))
    return {
        **schema,
        "properties": {
            field: {**of_field, "description": about[field]} if about.get(field) else of_field
            for field, of_field in schema["properties"].items()
        },
    }


def _field_comments(cls: type) -> dict[str, str]:
    """Return the comment behind each field of a dataclass and its bases, or the line of comment above the field."""
    docs: dict[str, str] = {}
    for base in filter(is_dataclass, reversed(cls.__mro__)):
        source = textwrap.dedent(inspect.getsource(base))
        comments = {
            token.start[0] + token.line.lstrip().startswith("#"): token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT
        }
        for line in ast.walk(ast.parse(source)):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.end_lineno:
                docs[line.target.id] = comments.get(line.end_lineno) or comments.get(line.lineno, "")
    return docs
