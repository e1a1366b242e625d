"""Documents for people: the page of all events, and the tables of events and settings in the project's README."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from infra.config import DEV, Settings
from services.shared.events import EVENT_TYPES, SOURCE_PREFIX, Due, Event, SyncCancelRequested, SyncRequested
from tools.docs.examples import BY_HAND
from tools.docs.schemas import Schema, docstring, metadata
from tools.template import reactions_of_services


def events_page(schemas: Mapping[str, Schema]) -> str:
    """Return docs/events/README.md."""
    lines = [
        "# The events",
        "",
        "Written by `make docs` from the classes in `services/shared/events.py` and the tables in each service's",
        "`reactions.py`: edit those. Each event has a JSON Schema (2020-12) of its whole `detail` beside this page;",
        "[asyncapi.json](asyncapi.json) describes who sends and receives what, in AsyncAPI 3.",
        "",
        f"The `source` of an event is `{SOURCE_PREFIX}` and its publisher; an operator may send any event.",
        "",
        *_table(
            ("event", "published by", "read by", "what happened"),
            (
                [f"[{name}](#{name.lower()})", ", ".join(event.publishers), _who_reacts(event), docstring(event)]
                for name, event in EVENT_TYPES.items()
            ),
        ),
        "",
        "## The envelope",
        "",
        *_fields(metadata()),
    ]
    for name, event in EVENT_TYPES.items():
        lines += ["", f"## {name}", "", f"{docstring(event)} ([schema]({name}.schema.json))", ""]
        lines += _section(event, schemas[name])
    return "\n".join(lines) + "\n"


def with_tables(readme: str) -> str:
    """Return the project's README with its tables regenerated, each between two comments that name it."""
    for name, table in (("events", _table_of_events()), ("settings", _table_of_settings())):
        begin, end = f"<!-- {name}: written by make docs -->", f"<!-- end of {name} -->"
        head, _, rest = readme.partition(begin)
        _, found, tail = rest.partition(end)
        if not found:
            raise ValueError(f"README.md needs the lines {begin} and {end}")
        readme = "\n".join((head + begin, *table, end + tail))
    return readme


def _table_of_events() -> list[str]:
    return _table(
        ("event", "published by", "read by", ""),
        (
            [f"`{name}`", ", ".join(event.publishers), _who_reacts(event), docstring(event).split(". ")[0].rstrip(".")]
            for name, event in EVENT_TYPES.items()
        ),
    )


def _table_of_settings() -> list[str]:
    return _table(
        ("setting", "default", ""),
        (
            [f"`{field.name}`", _default(field.name, field.default), field.metadata["description"]]
            for field in fields(Settings)
        ),
    )


def _default(name: str, value: object) -> str:
    return f"{_value(value)}, in dev {_value(DEV[name])}" if name in DEV else _value(value)


def _value(value: object) -> str:
    match value:
        case _ if value is MISSING:
            return "none; required"
        case ():
            return "none"
        case tuple():
            text = ",".join(value)
        case bool():
            text = str(value).lower()
        case float():
            text = f"{value:g}"
        case _:
            text = "none" if value is None else str(value)
    return f"`{text}`"


def _who_reacts(event: type[Event]) -> str:
    return ", ".join(name for name, reactions in reactions_of_services().items() if event in reactions) or "anyone"


def _section(event_type: type[Event], schema: Schema) -> list[str]:
    if issubclass(event_type, Due):
        return ["Its `detail` is an empty object."]
    if event_type is SyncCancelRequested:
        return [f"Written by hand, `{json.dumps(schema['examples'][0])}` is enough as the whole `detail`."]
    lines: list[str] = []
    form = schema
    if event_type is SyncRequested:
        form = schema["anyOf"][-1]
        least = " or ".join(f"`{json.dumps(example)}`" for example in BY_HAND[:2])
        lines += [
            f"Written by hand, {least} is enough as the whole `detail`.",
            "The fields below may stand in it directly, with a `sync_id` beside them to name the sync; without one,",
            "the event's own id names it.",
            "",
        ]
    lines += _fields(form["properties"]["data"])
    for name, part in schema.get("$defs", {}).items():
        lines += ["", f"{name}: {part['description']}", "", *_fields(part)]
    return lines


def _fields(schema: Schema) -> list[str]:
    def default(name: str, field: Mapping[str, Any]) -> str:
        if name in schema["required"]:
            return "required"
        return f"`{json.dumps(field['default'])}`" if "default" in field else ""

    return _table(
        ("field", "type", "default", ""),
        (
            [f"`{name}`", _type(field), default(name, field), field.get("description", "")]
            for name, field in schema["properties"].items()
        ),
    )


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    return f"array of {_type(schema['items'])}" if schema["type"] == "array" else str(schema["type"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), "|" + "---|" * len(head), *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.replace('|', '&#124;').split()) for cell in cells)} |".replace("|  |", "| |")
