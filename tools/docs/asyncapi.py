"""The AsyncAPI 3 document: one bus, an inbox for each service, and what each publisher sends and receives."""

from collections.abc import Iterable
from typing import Any

from services.shared.envelope import VERSION
from services.shared.events import EVENT_TYPES, OPERATOR, Event
from tools.docs.schemas import Schema, docstring
from tools.template import reactions_of_services


def asyncapi() -> Schema:
    """Return the whole document."""
    channels: dict[str, Any] = {
        "bus": {
            "address": "cloud-sync-{env}",
            "title": "The custom bus of EventBridge",
            "description": "Every event is published here, and nowhere else.",
            "parameters": {"env": {"description": "The environment that is deployed.", "enum": ["dev", "prod"]}},
            "messages": _references("#/components/messages", EVENT_TYPES),
        }
    }
    operations: dict[str, Any] = {}
    for publisher in dict.fromkeys(publisher for event in EVENT_TYPES.values() for publisher in event.publishers):
        sent = [name for name, event in EVENT_TYPES.items() if publisher in event.publishers]
        operations[f"{publisher}Publishes"] = {
            "action": "send",
            "title": f"What {_with_article(publisher)} publishes",
            "channel": {"$ref": "#/channels/bus"},
            "messages": list(_references("#/channels/bus/messages", sent).values()),
        }
    for service, reactions in reactions_of_services().items():
        received = [name for name, event in EVENT_TYPES.items() if event in reactions]
        channels[f"{service}Inbox"] = {
            "address": None,  # CloudFormation generates the name
            "title": f"The inbox of {_with_article(service)}",
            "description": "An SQS queue that a rule on the bus fills; the body is EventBridge's whole envelope.",
            "messages": _references("#/components/messages", received),
        }
        operations[f"{service}Reacts"] = {
            "action": "receive",
            "title": f"What {_with_article(service)} reacts to",
            "channel": {"$ref": f"#/channels/{service}Inbox"},
            "messages": list(_references(f"#/channels/{service}Inbox/messages", received).values()),
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
        "summary": docstring(event_type),
        "headers": {
            "type": "object",
            "description": "Fields of EventBridge's envelope.",
            "properties": {"detail-type": {"const": name}, "source": {"enum": sorted(event_type.sources())}},
            "required": ["detail-type", "source"],
        },
        "payload": {"$ref": f"./{name}.schema.json"},
    }


def _references(parent: str, names: Iterable[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"{parent}/{name}"} for name in names}


def _with_article(publisher: str) -> str:
    return f"an {publisher}" if publisher == OPERATOR else f"the {publisher}"
