"""The documents of the events are what the code and the stack say, and true of real events."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.events import generate
from docs.events.examples import BY_HAND, EXAMPLES
from services.shared.events import EVENT_TYPES, Event, SyncRequested, SyncReviewDue, detail, read_event
from tests.template import SERVICES, Synthesize
from tests.unit.arbitrary_events import events_of

FOLDER = Path(generate.__file__).parent
BY_NAME = sorted(EVENT_TYPES)


def published(event: Event) -> dict[str, Any]:
    """The detail of an event as it arrives."""
    return dict(json.loads(json.dumps(detail(event))))


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(load(f"{name}.schema.json"), format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    return dict(load("asyncapi.json"))


@pytest.fixture(scope="module")
def reactions(template: Synthesize) -> generate.Reactions:
    return generate.reactions_in(template("prod"))


def test_what_is_committed_is_what_the_code_and_the_rules_say(reactions: generate.Reactions) -> None:
    written = generate.documents(reactions)
    generated = [path for path in FOLDER.iterdir() if path.suffix in (".json", ".md")]
    assert {path.name for path in generated} == set(written), "run docs/events/generate.py"
    stale = [path.name for path in generated if path.read_text() != written[path.name]]
    assert not stale, "run docs/events/generate.py"


def test_the_rules_let_every_publisher_through_to_those_that_react(
    template: Synthesize, reactions: generate.Reactions
) -> None:
    services = template("prod").services
    for name, event_type in EVENT_TYPES.items():
        for service in reactions[name]:
            sources = services[service].rule["EventPattern"]["source"]
            assert {f"cloud-sync.{publisher}" for publisher in event_type.publishers} <= set(sources)


# Schemas


@pytest.mark.parametrize("name", BY_NAME)
def test_a_schema_is_one(name: str) -> None:
    schema = load(f"{name}.schema.json")
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == name
    assert schema["description"]


@pytest.mark.parametrize("name", BY_NAME)
def test_an_example_is_valid_and_can_be_read(name: str) -> None:
    schema = load(f"{name}.schema.json")
    assert schema["examples"]
    for content in schema["examples"]:
        validator(name).validate(content)
        body = {"id": "own-id", "time": "2026-11-23T01:00:09Z", "detail-type": name, "detail": content}
        event = read_event(json.dumps(body))
        assert type(event) is EVENT_TYPES[name]
        assert not getattr(event, "refused", "")
    if name != "SyncReviewDue":
        validator(name).validate(published(EXAMPLES[name]))


@pytest.mark.parametrize("name", BY_NAME)
@given(st.data())
def test_whatever_is_published_fits_its_schema(name: str, data: st.DataObject) -> None:
    event = data.draw(events_of(EVENT_TYPES[name]))
    validator(name).validate(published(event))


def without_each_required_field(content: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for part in ("metadata", "data"):
        yield {name: value for name, value in content.items() if name != part}
        for field in schema["properties"][part]["required"]:
            yield {**content, part: {name: value for name, value in content[part].items() if name != field}}


@pytest.mark.parametrize("name", sorted(set(EVENT_TYPES) - {"SyncRequested", "SyncReviewDue"}))
def test_what_lacks_a_field_does_not_fit(name: str) -> None:
    content, schema = published(EXAMPLES[name]), load(f"{name}.schema.json")
    for incomplete in without_each_required_field(content, schema):
        assert not validator(name).is_valid(incomplete)
    assert not validator(name).is_valid({**content, "metadata": {**content["metadata"], "version": 2}})
    for part in ("metadata", "data"):
        for field in schema["properties"][part]["required"]:
            assert not validator(name).is_valid({**content, part: {**content[part], field: [{}]}})


@pytest.mark.parametrize("name", BY_NAME)
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
        [],
        "gopro",
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
def test_a_request_that_would_be_refused_does_not_fit(content: object) -> None:
    assert not validator("SyncRequested").is_valid(content)
    if isinstance(content, dict):
        event = read_event(json.dumps({"id": "own-id", "detail-type": "SyncRequested", "detail": content}))
        assert isinstance(event, SyncRequested)
        assert event.refused


@pytest.mark.parametrize("name", BY_NAME)
def test_every_field_says_what_it_is(name: str) -> None:
    schema = load(f"{name}.schema.json")
    if EVENT_TYPES[name] in (SyncRequested, SyncReviewDue):
        parts = [form for form in schema.get("anyOf", []) if form["title"] == "By hand"]
    else:
        parts = list(schema["properties"].values())
    for part in [*parts, *schema.get("$defs", {}).values()]:
        for field, described in part["properties"].items():
            said = described is False or described.get("description") or field in {"media_id", "filename", "reason"}
            assert said, f"{field} has no comment in services/shared/events.py"


# AsyncAPI


def resolved(document: Mapping[str, Any], reference: Mapping[str, str]) -> Any:
    """What a `$ref` leads to, within the document or beside it."""
    assert set(reference) == {"$ref"}
    place, _, pointer = reference["$ref"].partition("#")
    found: Any = load(place) if place else document
    for step in pointer.split("/")[1:]:
        found = found[step]
    return found


def references(node: Any) -> Iterator[Mapping[str, str]]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node
        else:
            for value in node.values():
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


NAMED = {"type": "object", "propertyNames": {"pattern": r"^[A-Za-z0-9._-]+$"}}
REFERENCE = {
    "type": "object",
    "properties": {"$ref": {"type": "string"}},
    "required": ["$ref"],
    "additionalProperties": False,
}
# As much of the AsyncAPI 3.0 specification as this document makes use of, and nothing beside that.
STRUCTURE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["asyncapi", "info", "defaultContentType", "channels", "operations", "components"],
    "properties": {
        "asyncapi": {"const": "3.0.0"},
        "info": {
            "type": "object",
            "required": ["title", "version"],
            "additionalProperties": False,
            "properties": {
                "title": {"type": "string"},
                "version": {"type": "string"},
                "description": {"type": "string"},
                "license": {"type": "object", "required": ["name"]},
            },
        },
        "defaultContentType": {"const": "application/json"},
        "channels": {
            **NAMED,
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["address", "messages"],
                "properties": {
                    "address": {"type": ["string", "null"]},
                    "title": {"type": "string"},
                    "description": {"type": "string"},
                    "messages": {**NAMED, "minProperties": 1, "additionalProperties": REFERENCE},
                    "parameters": {
                        **NAMED,
                        "additionalProperties": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {
                                "description": {"type": "string"},
                                "enum": {"type": "array", "items": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
        "operations": {
            **NAMED,
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["action", "channel", "messages"],
                "properties": {
                    "action": {"enum": ["send", "receive"]},
                    "title": {"type": "string"},
                    "channel": REFERENCE,
                    "messages": {"type": "array", "items": REFERENCE, "minItems": 1, "uniqueItems": True},
                },
            },
        },
        "components": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "messages": {
                    **NAMED,
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "title", "summary", "headers", "payload"],
                        "properties": {
                            "name": {"type": "string"},
                            "title": {"type": "string"},
                            "summary": {"type": "string"},
                            "headers": {
                                "type": "object",
                                "required": ["type"],
                                "properties": {"type": {"const": "object"}},
                            },
                            "payload": REFERENCE,
                        },
                    },
                },
            },
        },
    },
}


def test_the_document_has_the_structure_of_asyncapi_3(asyncapi: dict[str, Any]) -> None:
    jsonschema.validate(asyncapi, STRUCTURE, cls=Draft202012Validator)
    for channel in asyncapi["channels"].values():
        named = {part.strip("{}") for part in (channel["address"] or "").split("-") if part.startswith("{")}
        assert named == set(channel.get("parameters", {}))


def test_every_reference_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    found = list(references(asyncapi))
    assert found
    for reference in found:
        assert resolved(asyncapi, reference)


def test_an_operation_has_messages_of_its_own_channel(asyncapi: dict[str, Any]) -> None:
    for operation in asyncapi["operations"].values():
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{operation['channel']['$ref']}/messages/")


def test_every_message_is_an_event_with_its_schema(asyncapi: dict[str, Any]) -> None:
    messages = asyncapi["components"]["messages"]
    assert set(messages) == set(EVENT_TYPES)
    for name, message in messages.items():
        assert message["name"] == name
        assert resolved(asyncapi, message["payload"])["title"] == name
        assert message["headers"]["properties"]["detail-type"] == {"const": name}


def names_of(asyncapi: dict[str, Any], operation: str) -> set[str]:
    return {
        resolved(asyncapi, resolved(asyncapi, message))["name"]
        for message in asyncapi["operations"][operation]["messages"]
    }


def test_everybody_sends_and_receives_what_they_do(asyncapi: dict[str, Any], reactions: generate.Reactions) -> None:
    for service in SERVICES:
        sent = {name for name, event_type in EVENT_TYPES.items() if service in event_type.publishers}
        assert names_of(asyncapi, f"{service}Publishes") == sent
        assert names_of(asyncapi, f"{service}Reacts") == {name for name in EVENT_TYPES if service in reactions[name]}
    assert names_of(asyncapi, "schedulePublishes") == {"SyncRequested", "SyncReviewDue"}
    assert names_of(asyncapi, "operatorPublishes") == {"SyncRequested"}
