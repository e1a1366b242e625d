"""Writes what lies in this folder, from the event classes and from the rules of the synthesized stack.

Run it as `python docs/events/generate.py`, in the environment that `make setup` makes. A test fails when what is
committed is not what this writes.
"""

# ruff: noqa: INP001  # a script beside what it writes, and no package

import ast
import inspect
import io
import json
import sys
import tempfile
import textwrap
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec

from docs.events.examples import BY_HAND, EXAMPLES
from services.shared import events
from services.shared.events import EVENT_TYPES, SOURCE_PREFIX, SYNC_ID, VERSION, Event, detail
from tests.template import Template, run_app

HERE = Path(__file__).resolve().parent
DIALECT = "https://json-schema.org/draft/2020-12/schema"
OPERATOR = "operator"  # may send every event, which only matters for the one that people write

Reactions = Mapping[str, Sequence[str]]  # the services that react, by event
Schema = dict[str, Any]

_ENVELOPE = [field.name for field in fields(Event)]
_INTERNAL = {"refused"}  # found while reading, and never on the wire


def documents(reactions: Reactions) -> dict[str, str]:
    """Every generated file of this folder: its content by its name."""
    schemas = {name: schema_of(event_type) for name, event_type in EVENT_TYPES.items()}
    return {
        **{f"{name}.schema.json": _json(schema) for name, schema in schemas.items()},
        "asyncapi.json": _json(asyncapi(reactions)),
        "README.md": readme(schemas, reactions),
    }


def reactions_in(template: Template) -> Reactions:
    """Who reacts to what, as the rules on the bus have it."""
    reacting: dict[str, list[str]] = {name: [] for name in EVENT_TYPES}
    for service in template.services.values():
        for name in service.rule["EventPattern"]["detail-type"]:
            reacting[name].append(service.name)
    return reacting


def schema_of(event_type: type[Event]) -> Schema:
    """The JSON Schema of the whole `detail` of an event. What a schema doesn't name is allowed, and to be ignored."""
    name = event_type.__name__
    _, components = msgspec.json.schema_components((event_type,), ref_template="#/$defs/{name}")
    known: dict[str, Schema] = {key: _described(key, schema) for key, schema in components.items()}
    whole = known.pop(name)
    data = {
        "type": "object",
        "properties": {
            field: schema for field, schema in whole["properties"].items() if field not in {*_ENVELOPE, *_INTERNAL}
        },
        "required": [field for field in whole["required"] if field not in _ENVELOPE],
    }
    if event_type is events.SyncRequested:
        known["Filters"]["additionalProperties"] = False
        form: Schema = {"anyOf": _forms_of_a_request(data)}
        examples: list[Any] = [*BY_HAND, detail(EXAMPLES[name])]
    elif event_type is events.SyncReviewDue:
        form, examples = {"type": "object"}, [{}]
    else:
        form = {"type": "object", "properties": {"metadata": _metadata(), "data": data}}
        form["required"] = ["metadata", "data"]
        examples = [detail(EXAMPLES[name])]
    described = {"$schema": DIALECT, "title": name, "description": _says(event_type), **form}
    return {**described, **({"$defs": known} if known else {}), "examples": examples}


def _metadata() -> Schema:
    about = _field_docs(Event)
    return {
        "type": "object",
        "properties": {
            "event_id": {"type": "string", "format": "uuid", "description": inspect.getdoc(Event.event_id)},
            "version": {"const": VERSION, "description": "of this contract; what is only added keeps it"},
            "sync_id": {"type": "string", "pattern": f"^{SYNC_ID.pattern}$", "description": about["sync_id"]},
            "hops": {"type": "integer", "minimum": 0, "description": about["hops"]},
            "causation_id": {"type": "string", "description": about["causation_id"]},
            "occurred_at": {"type": "string", "format": "date-time", "description": about["occurred_at"]},
        },
        "required": ["event_id", "version", "sync_id", "hops", "causation_id", "occurred_at"],
    }


def _forms_of_a_request(data: Schema) -> list[Schema]:
    """People need write no envelope, and nothing in it. What the schedule sends has none either."""
    metadata = _metadata()
    sync_id = metadata["properties"]["sync_id"]
    return [
        {
            "title": "By hand",
            "type": "object",
            "properties": {"sync_id": sync_id, **data["properties"], "data": False},
        },
        {
            "title": "In the envelope",
            "type": "object",
            "properties": {"metadata": {**metadata, "required": []}, "data": data},
            "required": ["data"],
        },
    ]


def _described(name: str, schema: Schema) -> Schema:
    """A class's schema as msgspec made it, with what stands beside the fields in the source."""
    about = _field_docs(getattr(events, name))
    return {
        **schema,
        "properties": {
            field: {**of_field, "description": about[field]} if about.get(field) else of_field
            for field, of_field in schema["properties"].items()
        },
    }


def _field_docs(cls: type) -> dict[str, str]:
    """The comments behind the fields of a dataclass, or above those that fill their line; its base classes' too."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if is_dataclass(base):
            source = textwrap.dedent(inspect.getsource(base))
            comments = {
                token.start[0] + token.line.lstrip().startswith("#"): token.string.lstrip("# ")
                for token in tokenize.generate_tokens(io.StringIO(source).readline)
                if token.type == tokenize.COMMENT
            }
            (definition,) = ast.parse(source).body
            assert isinstance(definition, ast.ClassDef)  # noqa: S101  # for the types; nothing else is a dataclass
            for line in definition.body:
                if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.end_lineno:
                    docs[line.target.id] = comments.get(line.end_lineno) or comments.get(line.lineno, "")
    return docs


def _says(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split())


def asyncapi(reactions: Reactions) -> Schema:
    """The AsyncAPI 3 document: one bus, an inbox for each service, and what each of them sends and receives."""
    publishing: dict[str, list[str]] = {}
    for name, event_type in EVENT_TYPES.items():
        for publisher in event_type.publishers:
            publishing.setdefault(publisher, []).append(name)
    receiving: dict[str, list[str]] = {}
    for name, services in reactions.items():
        for service in services:
            receiving.setdefault(service, []).append(name)
    channels: dict[str, Any] = {
        "bus": {
            "address": "cloud-sync-{env}",
            "title": "The custom bus of EventBridge",
            "description": "Everything that any of them says goes here, and nowhere else.",
            "parameters": {"env": {"description": "The environment that is deployed.", "enum": ["dev", "prod"]}},
            "messages": _references("#/components/messages", EVENT_TYPES),
        }
    }
    operations: dict[str, Any] = {}
    for publisher, names in publishing.items():
        operations[f"{publisher}Publishes"] = {
            "action": "send",
            "title": f"What {_who(publisher)} publishes",
            "channel": {"$ref": "#/channels/bus"},
            "messages": list(_references("#/channels/bus/messages", names).values()),
        }
    for service, names in receiving.items():
        channels[f"{service}Inbox"] = {
            "address": None,  # CloudFormation names it
            "title": f"The inbox of {_who(service)}",
            "description": "An SQS queue that a rule on the bus fills; the body is EventBridge's whole envelope.",
            "messages": _references("#/components/messages", names),
        }
        operations[f"{service}Reacts"] = {
            "action": "receive",
            "title": f"What {_who(service)} reacts to",
            "channel": {"$ref": f"#/channels/{service}Inbox"},
            "messages": list(_references(f"#/channels/{service}Inbox/messages", names).values()),
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Cloud Sync",
            "version": str(VERSION),
            "description": "The events that connect the services. Nothing else does.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": {name: _message(event_type) for name, event_type in EVENT_TYPES.items()}},
    }


def _message(event_type: type[Event]) -> Schema:
    name = event_type.__name__
    return {
        "name": name,
        "title": name,
        "summary": _says(event_type),
        "headers": {
            "type": "object",
            "description": "As EventBridge's envelope has them.",
            "properties": {
                "detail-type": {"const": name},
                "source": {"enum": sorted(f"{SOURCE_PREFIX}{who}" for who in {*event_type.publishers, OPERATOR})},
            },
            "required": ["detail-type", "source"],
        },
        "payload": {"$ref": f"./{name}.schema.json"},
    }


def _references(parent: str, names: Any) -> dict[str, Schema]:
    return {name: {"$ref": f"{parent}/{name}"} for name in names}


def _who(publisher: str) -> str:
    return f"an {publisher}" if publisher == OPERATOR else f"the {publisher}"


def readme(schemas: Mapping[str, Schema], reactions: Reactions) -> str:
    """All events on one page."""
    lines = [
        "# The events",
        "",
        "Made by `python docs/events/generate.py` from the classes in `services/shared/events.py` and the rules of the",
        "synthesized stack: edit those. Each event has a JSON Schema (2020-12) of its whole `detail` beside this page,",
        "and [asyncapi.json](asyncapi.json) says who sends and receives what, in AsyncAPI 3.",
        "",
        f"The `source` of an event is `{SOURCE_PREFIX}` and who published it; an operator may send any of them.",
        "",
        "| event | published by | reacts | what happened |",
        "|---|---|---|---|",
    ]
    for name, event_type in EVENT_TYPES.items():
        row = [f"[{name}](#{name.lower()})", ", ".join(event_type.publishers), ", ".join(reactions[name]) or "anyone"]
        lines.append(_row([*row, _says(event_type)]))
    lines += ["", "## The envelope", "", *_table(_metadata())]
    for name, event_type in EVENT_TYPES.items():
        lines += ["", f"## {name}", "", f"{_says(event_type)} ([schema]({name}.schema.json))", ""]
        lines += _of_event(event_type, schemas[name])
    return "\n".join(lines) + "\n"


def _of_event(event_type: type[Event], schema: Schema) -> list[str]:
    if event_type is events.SyncReviewDue:
        return ["Its `detail` is an empty object."]
    lines: list[str] = []
    form = schema
    if event_type is events.SyncRequested:
        form = schema["anyOf"][-1]
        least = " or ".join(f"`{json.dumps(example)}`" for example in BY_HAND[:2])
        lines += [
            f"By hand {least} is enough as the whole `detail`. The fields below can stand in it as they are,",
            "with a `sync_id` beside them for a sync that is to have a name; else the event's own id names it.",
            "",
        ]
    lines += _table(form["properties"]["data"])
    for name, part in schema.get("$defs", {}).items():
        lines += ["", f"{name}: {part['description']}", "", *_table(part)]
    return lines


def _table(schema: Schema) -> list[str]:
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        needed = name in schema["required"]
        default = "required" if needed else f"`{json.dumps(field['default'])}`" if "default" in field else ""
        lines.append(_row([f"`{name}`", _kind(field), default, field.get("description", "")]))
    return lines


def _kind(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    return f"array of {_kind(schema['items'])}" if schema["type"] == "array" else str(schema["type"])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '&#124;').split()) for cell in cells)} |"


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "synthesized"
        done = run_app(folder, {"env": "prod"})
        if done.returncode:
            sys.exit(done.stderr)
        written = documents(reactions_in(Template(folder, "cloud-sync-prod")))
    for name, content in written.items():
        (HERE / name).write_text(content)
    for stale in {path.name for path in HERE.glob("*.schema.json")} - written.keys():
        (HERE / stale).unlink()


if __name__ == "__main__":
    main()
