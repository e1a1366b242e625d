"""The form of an event on the wire: the `detail` of an EventBridge event, and the SQS message that brings it.

`detail-type` is the class name and `source` is `cloud-sync.<publisher>`. The detail is an envelope:

    {"metadata": {"event_id", "version", "sync_id", "causation_id", "occurred_at", "hops"},
     "data": {…the class's fields…}}

Readers ignore fields that they do not know. A field that is missing or of another type raises `MalformedEvent`, which
names the field and never quotes its value.
"""

import json
import re
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import msgspec
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent

from services.shared.events import EVENT_TYPES, Due, Event, Filters, SyncCancelRequested, SyncRequested

VERSION = 1
# Becomes part of object keys and table keys, so it has to be plain.
SYNC_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_METADATA = ("sync_id", "hops", "causation_id", "occurred_at")
_INTERNAL = "refused"  # the field that never travels
_QUOTED = re.compile("Invalid enum value .*(?= - at )", re.DOTALL)  # msgspec's one text that quotes its input
_SYNC_ID_RULE = "`sync_id`: 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"

_E = TypeVar("_E", bound=Event)


class MalformedEvent(ValueError):
    """A message that is not an event of this contract. The text names the wrong field, and holds no values."""


def detail(event: Event) -> dict[str, Any]:
    """Return the `detail` of an event as it goes on the bus: {"metadata": {…}, "data": {…}}."""
    data = msgspec.to_builtins(event)
    metadata = {name: data.pop(name) for name in _METADATA}
    data.pop(_INTERNAL, None)
    return {"metadata": {"event_id": event.event_id, "version": VERSION, **metadata}, "data": data}


def read_event(body: str, *, schedule_zone: tzinfo = UTC) -> Event:
    """Return the event in the body of an SQS message that EventBridge sent.

    `schedule_zone`: the schedule's time zone; a scheduled sync is named by its date there.
    Raises `MalformedEvent` when the body is not an event of this contract. A `SyncRequested` with a mistake in it is
    returned all the same, `refused`, under its own event's id, so that its sender gets an answer.
    """
    envelope = _json_object(body)
    name = envelope.get("detail-type")
    event_type = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if event_type is None:
        raise MalformedEvent("not an EventBridge event of a known `detail-type`")
    if issubclass(event_type, Due):
        return event_type(occurred_at=_text(envelope.get("time")))
    content = envelope.get("detail")
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise MalformedEvent(f"{name}: its `detail` is not an object")
    if event_type is SyncRequested:
        return _read_sync_requested(envelope, content, schedule_zone)
    if event_type is SyncCancelRequested and "data" not in content:  # written by hand, without an envelope
        metadata = {"version": VERSION, "sync_id": content.get("sync_id"), "occurred_at": _text(envelope.get("time"))}
        content = {"metadata": metadata, "data": {}}
    return _read(event_type, content)


def is_replay(body: str) -> bool:
    """Return whether EventBridge sent this event, which `read_event` could read, from an archive."""
    return EventBridgeEvent(json.loads(body)).replay_name is not None


def _json_object(body: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise MalformedEvent("not a JSON object")
    return content


def _read(event_type: type[Event], content: dict[str, Any]) -> Event:
    name = event_type.__name__
    metadata, data = content.get("metadata"), content.get("data")
    if not isinstance(metadata, dict) or not isinstance(data, dict):
        raise MalformedEvent(f"{name} without the objects `metadata` and `data`")
    if metadata.get("version") != VERSION:
        raise MalformedEvent(f"{name}: its `version` is not {VERSION}, the one that this code reads")
    event = _convert(event_type, _values(data, metadata))
    if not SYNC_ID.fullmatch(event.sync_id):
        raise MalformedEvent(f"{name}: {_SYNC_ID_RULE}")
    return event


def _values(data: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of an event. Those of the metadata are taken from there only."""
    own = {name: value for name, value in data.items() if name not in _METADATA}
    return own | {name: metadata[name] for name in _METADATA if name in metadata}


def _read_sync_requested(envelope: dict[str, Any], content: dict[str, Any], zone: tzinfo) -> SyncRequested:
    """Fill in what is missing and keep what is wrong for the answer, since people write this event."""
    own_id, sent_at = _text(envelope.get("id")), _text(envelope.get("time"))
    try:
        return _requested(content, own_id, sent_at, zone)
    except MalformedEvent as error:
        if not SYNC_ID.fullmatch(own_id):
            raise
        return SyncRequested(sync_id=own_id, occurred_at=sent_at, refused=str(error))


def _requested(content: dict[str, Any], own_id: str, sent_at: str, zone: tzinfo) -> SyncRequested:
    data, metadata = content.get("data", content), content.get("metadata", {})
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        raise MalformedEvent("SyncRequested: its `metadata` or `data` is not an object")
    if metadata.get("version", VERSION) != VERSION:
        raise MalformedEvent(f"SyncRequested: its `version` is not {VERSION}, the one that this code reads")
    wanted = {name: value for name, value in data.items() if value is not None and name != _INTERNAL}
    if isinstance(wanted.get("filters"), dict):
        _refuse_unknown_filters(wanted["filters"])
    event = _convert(SyncRequested, {**_values(wanted, metadata), "sync_id": own_id, "occurred_at": sent_at})
    sync_id = wanted.get("sync_id", metadata.get("sync_id"))
    if sync_id in (None, ""):
        sync_id = _scheduled_sync_id(event, zone) or own_id
    if not isinstance(sync_id, str) or not SYNC_ID.fullmatch(sync_id):
        raise MalformedEvent(f"SyncRequested: {_SYNC_ID_RULE}")
    return replace(event, sync_id=sync_id)


def _refuse_unknown_filters(filters: dict[str, Any]) -> None:
    """Refuse a misspelt filter: without it, the sync would take on everything."""
    known = {known.name for known in fields(Filters)}
    if unknown := sorted(filters.keys() - known):
        raise MalformedEvent(
            f"SyncRequested: unknown filter {', '.join(unknown)}; the filters are {', '.join(sorted(known))}"
        )


def scheduled_sync_id(due: datetime, zone: tzinfo) -> str:
    """Return the id of the sync that the schedule requests at this time."""
    return f"scheduled-{due.astimezone(zone).date().isoformat()}"


def _scheduled_sync_id(event: SyncRequested, zone: tzinfo) -> str | None:
    """Return the sync's local date as its name: the schedule and its catch-up fall on the same one."""
    if event.scheduled_time is None:
        return None
    with suppress(ValueError, OverflowError):
        due = datetime.fromisoformat(event.scheduled_time)
        if due.tzinfo is None:
            due = due.replace(tzinfo=UTC)  # not the zone of this machine
        return scheduled_sync_id(due, zone)
    raise MalformedEvent("SyncRequested: `scheduled_time` is not a time in ISO 8601")


def _convert(event_type: type[_E], values: dict[str, Any]) -> _E:
    try:
        return msgspec.convert(values, event_type)
    except msgspec.ValidationError as error:
        problem = _QUOTED.sub("Not one of the allowed values", str(error))
    raise MalformedEvent(f"{event_type.__name__}: {problem}")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
