"""The documents of the events match the code, and real events fit their schemas."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from services.shared.envelope import MalformedEvent, detail, read_event
from services.shared.events import EVENT_TYPES, Due, Event, SyncCancelRequested, SyncRequested
from tests.unit.arbitrary_events import events_of
from tools.docs.__main__ import FOLDER, README, documents
from tools.docs.examples import BY_HAND, EXAMPLES
from tools.docs.pages import with_tables
from tools.docs.schemas import Schema, UndocumentedError, schema_of
from tools.template import reactions_of_services

each_event = pytest.mark.parametrize("name", sorted(EVENT_TYPES))


def published(event: Event) -> dict[str, Any]:
    """Return the detail of an event as it arrives."""
    return dict(json.loads(json.dumps(detail(event))))


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def schema_named(name: str) -> Schema:
    return dict(load(f"{name}.schema.json"))


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_named(name), format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_committed_documents_are_what_make_docs_writes() -> None:
    written = documents()
    committed = {path.name: path.read_text() for path in FOLDER.iterdir() if path.suffix in (".json", ".md")}
    stale = [name for name in written.keys() | committed.keys() if written.get(name) != committed.get(name)]
    assert stale == [], "run: make docs"
    assert with_tables(README.read_text()) == README.read_text(), "run: make docs"


def test_an_event_without_an_example_is_reported_with_the_place_to_add_one() -> None:
    class MediaForgotten(Event):
        """A medium was forgotten."""

    with pytest.raises(UndocumentedError, match=r"MediaForgotten has no example: .* tools/docs/examples\.py"):
        schema_of(MediaForgotten)


def test_an_event_without_a_docstring_is_reported_with_the_place_to_write_one() -> None:
    @dataclass(frozen=True, kw_only=True)
    class MediaForgotten(Event):
        media_id: str

    with pytest.raises(UndocumentedError, match=r"MediaForgotten has no docstring: .* services/shared/events\.py"):
        schema_of(MediaForgotten)


# Schemas


@each_event
def test_a_schema_is_valid_and_titled(name: str) -> None:
    schema = schema_named(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == name
    assert schema["description"]


@each_event
def test_an_example_is_valid_and_can_be_read(name: str) -> None:
    examples = schema_named(name)["examples"]
    assert examples
    for content in examples:
        validator(name).validate(content)
        body = {"id": "own-id", "time": "2026-11-23T01:00:09Z", "detail-type": name, "detail": content}
        event = read_event(json.dumps(body))
        assert type(event) is EVENT_TYPES[name]
        assert not getattr(event, "refused", "")


@each_event
@given(st.data())
def test_every_published_event_fits_its_schema(name: str, data: st.DataObject) -> None:
    validator(name).validate(published(data.draw(events_of(EVENT_TYPES[name]))))


WRITTEN_BY_HAND = (SyncRequested, SyncCancelRequested)


@pytest.mark.parametrize(
    "name", sorted(name for name, event in EVENT_TYPES.items() if not issubclass(event, (*WRITTEN_BY_HAND, Due)))
)
def test_an_event_that_lacks_a_field_does_not_fit(name: str) -> None:
    content, schema, fits = published(EXAMPLES[name]), schema_named(name), validator(name).is_valid
    assert not fits({**content, "metadata": {**content["metadata"], "version": 2}})
    for part in ("metadata", "data"):
        assert not fits({key: value for key, value in content.items() if key != part})
        for field in schema["properties"][part]["required"]:
            assert not fits({**content, part: {key: value for key, value in content[part].items() if key != field}})
            assert not fits({**content, part: {**content[part], field: [{}]}})


@each_event
def test_fields_that_a_schema_does_not_know_are_allowed(name: str) -> None:
    content = published(EXAMPLES[name])
    content["data"]["of_a_later_version"] = content["metadata"]["of_a_later_version"] = True
    validator(name).validate({**content, "of_a_later_version": True})


@pytest.mark.parametrize("content", [*BY_HAND, {"trigger": "scheduled", "scheduled_time": "2026-11-23T01:00:00Z"}])
def test_a_request_by_hand_fits(content: Mapping[str, Any]) -> None:
    validator("SyncRequested").validate(content)


@pytest.mark.parametrize(
    "content",
    [
        {"sync_id": "../x"},
        {"sync_id": "-x"},
        {"filters": {"type": ["Video"]}},
        {"filters": {"types": "Video"}},
        {"provider": 5},
        {"data": []},
        {"data": {"filters": {"captured": "2026"}}},
        {"metadata": {"version": 2}, "data": {}},
        {"metadata": {"sync_id": "a b"}, "data": {}},
    ],
)
def test_a_request_that_would_be_refused_does_not_fit(content: Mapping[str, Any]) -> None:
    assert not validator("SyncRequested").is_valid(content)
    event = read_event(json.dumps({"id": "own-id", "detail-type": "SyncRequested", "detail": content}))
    assert isinstance(event, SyncRequested)
    assert event.refused


@pytest.mark.parametrize("content", [[], "gopro"])
def test_a_request_that_is_no_object_does_not_fit(content: object) -> None:
    assert not validator("SyncRequested").is_valid(content)


@pytest.mark.parametrize(("content", "fits"), [({"sync_id": "s-1"}, True), ({}, False), ({"sync_id": "../x"}, False)])
def test_a_cancellation_by_hand_fits_if_it_can_be_read(content: Mapping[str, Any], fits: bool) -> None:
    assert validator("SyncCancelRequested").is_valid(content) == fits
    body = json.dumps({"detail-type": "SyncCancelRequested", "time": "2026-11-23T01:00:00Z", "detail": content})
    if fits:
        assert read_event(body) == SyncCancelRequested(sync_id="s-1", occurred_at="2026-11-23T01:00:00Z")
    else:
        with pytest.raises(MalformedEvent, match="sync_id"):
            read_event(body)


@each_event
def test_every_field_has_a_comment(name: str) -> None:
    schema = schema_named(name)
    if issubclass(EVENT_TYPES[name], (*WRITTEN_BY_HAND, Due)):
        parts = [form for form in schema.get("anyOf", []) if form["title"] == "By hand"]
    else:
        parts = list(schema["properties"].values())
    for part in [*parts, *schema.get("$defs", {}).values()]:
        for field, described in part["properties"].items():
            explained = described is False or described.get("description")
            assert explained or field in {"media_id", "filename", "reason"}, f"{field}: add a comment in events.py"


# AsyncAPI


@pytest.fixture(scope="module")
def asyncapi() -> Schema:
    return dict(load("asyncapi.json"))


def resolved(document: Schema, reference: Mapping[str, str]) -> Any:
    """Follow a `$ref`, within the document or to a file beside it."""
    assert set(reference) == {"$ref"}
    place, _, pointer = reference["$ref"].partition("#")
    found: Any = load(place) if place else document
    for step in pointer.split("/")[1:]:
        found = found[step]
    return found


def references(node: object) -> Iterator[Mapping[str, str]]:
    if isinstance(node, dict) and "$ref" in node:
        yield node
    elif isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from references(value)


def only(required: str, **properties: Schema) -> Schema:
    """Return the schema of an object with these properties and no others."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required.split(),
        "properties": {name.replace("ref", "$ref"): schema for name, schema in properties.items()},
    }


def each(schema: Schema) -> Schema:
    """Return the schema of an object whose values all fit this schema."""
    return {"type": "object", "propertyNames": {"pattern": "^[A-Za-z0-9._-]+$"}, "additionalProperties": schema}


TEXT: Schema = {"type": "string"}
REFERENCE = only("$ref", ref=TEXT)
CHANNEL = only(
    "address messages",
    address={"type": ["string", "null"]},
    title=TEXT,
    description=TEXT,
    messages={**each(REFERENCE), "minProperties": 1},
    parameters=each(only("", description=TEXT, enum={"type": "array", "items": TEXT})),
)
OPERATION = only(
    "action channel messages",
    action={"enum": ["send", "receive"]},
    title=TEXT,
    channel=REFERENCE,
    messages={"type": "array", "items": REFERENCE, "minItems": 1, "uniqueItems": True},
)
MESSAGE = only(
    "name title summary headers payload",
    name=TEXT,
    title=TEXT,
    summary=TEXT,
    headers={"type": "object", "required": ["type"], "properties": {"type": {"const": "object"}}},
    payload=REFERENCE,
)
# The part of the AsyncAPI 3.0 specification that this document uses.
STRUCTURE = only(
    "asyncapi info defaultContentType channels operations components",
    asyncapi={"const": "3.0.0"},
    info=only("title version", title=TEXT, version=TEXT, description=TEXT, license=only("name", name=TEXT)),
    defaultContentType={"const": "application/json"},
    channels=each(CHANNEL),
    operations=each(OPERATION),
    components=only("", messages=each(MESSAGE)),
)


def test_the_document_has_the_structure_of_asyncapi_3(asyncapi: Schema) -> None:
    jsonschema.validate(asyncapi, STRUCTURE, cls=Draft202012Validator)
    for channel in asyncapi["channels"].values():
        placeholders = {part.strip("{}") for part in (channel["address"] or "").split("-") if part.startswith("{")}
        assert placeholders == set(channel.get("parameters", {}))
    for operation in asyncapi["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{operation['channel']['$ref']}/messages/")


def test_every_reference_leads_somewhere(asyncapi: Schema) -> None:
    found = list(references(asyncapi))
    assert found
    for reference in found:
        assert resolved(asyncapi, reference)


def test_every_message_is_an_event_with_its_schema(asyncapi: Schema) -> None:
    messages = asyncapi["components"]["messages"]
    assert set(messages) == set(EVENT_TYPES)
    for name, message in messages.items():
        assert message["name"] == name
        assert resolved(asyncapi, message["payload"])["title"] == name
        assert message["headers"]["properties"]["detail-type"] == {"const": name}


def test_every_publisher_and_service_has_its_operations(asyncapi: Schema) -> None:
    expected: dict[str, set[str]] = {}
    for name, event in EVENT_TYPES.items():
        for operation in (
            *(f"{publisher}Publishes" for publisher in event.publishers),
            *(f"{service}Reacts" for service, reactions in reactions_of_services().items() if event in reactions),
        ):
            expected.setdefault(operation, set()).add(name)
    assert expected == {
        operation: {resolved(asyncapi, resolved(asyncapi, message))["name"] for message in described["messages"]}
        for operation, described in asyncapi["operations"].items()
    }
