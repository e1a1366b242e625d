"""The journal of the bus: every event in its log group, and what the services logged about each message."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError

from ops.dead_letters import DeadLetter
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.story import Letter, Published, Receive
from services.authenticator.reactions import REACTIONS as AUTHENTICATOR_REACTIONS
from services.downloader.reactions import REACTIONS as DOWNLOADER_REACTIONS
from services.lister.reactions import REACTIONS as LISTER_REACTIONS
from services.shared.envelope import MalformedEvent, read_event
from services.shared.events import SERVICES, SOURCE_PREFIX, Due, SyncCancelRequested, SyncRequested
from services.shared.inbox.inbox import SETTLED
from services.summarizer.reactions import REACTIONS as SUMMARIZER_REACTIONS

_REACTIONS = {
    "authenticator": AUTHENTICATOR_REACTIONS,
    "lister": LISTER_REACTIONS,
    "downloader": DOWNLOADER_REACTIONS,
    "summarizer": SUMMARIZER_REACTIONS,
}
# People write these by hand, and the schedule without an envelope: only reading them shows to which sync they belong.
_WITHOUT_ENVELOPE = (
    SyncRequested.__name__,
    SyncCancelRequested.__name__,
    *sorted(due.__name__ for due in Due.__subclasses__()),
)
_EARLY = timedelta(minutes=5)  # before a sync's own time of request: clocks differ

_SYNC, _MEDIUM, _TYPE = "$.detail.metadata.sync_id", "$.detail.data.media_id", "$.detail-type"

Condition = tuple[str, str | None]
"""A field of a log line, and the text that it has to equal; None: the field has to be absent."""


def reacting() -> dict[str, tuple[str, ...]]:
    """Return the services that react to each type of event, as this version of the code has it."""
    types = {event.__name__ for reactions in _REACTIONS.values() for event in reactions}
    return {
        name: tuple(service for service in SERVICES if name in {event.__name__ for event in _REACTIONS[service]})
        for name in sorted(types)
    }


class Journal:
    """Reads the log groups of a stack: that of the bus, and those of the services, several at once."""

    def __init__(self, deployment: Deployment) -> None:
        """Raise `OperatorError` where the stack has no log of its events yet."""
        self._deployment = deployment
        self._group = deployment.outputs.get("EventLogGroupName", "")
        if not self._group:
            raise OperatorError(
                f"{deployment.stack_name} keeps no log of its events yet: a newer version does. Deploy again."
            )
        # Made here, since making a client is not thread-safe, but using one is.
        self._logs, self._scheduler = deployment.client("logs"), deployment.client("scheduler")

    def events_about(self, name: str, *, since: datetime | None = None) -> list[Published]:
        """Return the events of this sync or medium, and all events that could belong to it or have led to it."""
        types = [(_TYPE, one) for one in _WITHOUT_ENVELOPE]
        return self.events(_any((_SYNC, name), (_MEDIUM, name), *types), since=since)

    def events_without_media(self, sync_ids: Iterable[str], *, since: datetime | None = None) -> list[Published]:
        """Return the events of these syncs that are about no medium."""
        patterns = [_all((_SYNC, sync_id), (_MEDIUM, None)) for sync_id in sorted(sync_ids)]
        with ThreadPoolExecutor() as pool:
            found = pool.map(lambda pattern: self.events(pattern, since=since), patterns)
            return [event for events in found for event in events]

    def events(self, pattern: str = "", *, since: datetime | None = None) -> list[Published]:
        """Return the events that match a pattern, as far as they can be read."""
        read = (self.read(line) for line in self.lines(pattern, since=since))
        return [event for event in read if event]

    def lines(self, pattern: str = "", *, since: datetime | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the lines of the bus's log that match a pattern, as `FilterLogEvents` returns them."""
        yield from self._lines(self._group, pattern, since)

    def read(self, line: Mapping[str, Any]) -> Published | None:
        """Return the event in a line of the bus's log; None where it holds none that can be read."""
        return published(str(line["message"]), _time(line["timestamp"]), lambda: self._zone)

    def receives(self, *conditions: Condition, since: datetime | None = None) -> list[Receive]:
        """Return what the services logged at the end of each receive of a message, where the line has these fields."""
        pattern = _all(("$.message", SETTLED), *conditions)

        def of(service: str) -> list[Receive]:
            group = self._deployment.outputs[f"{service.title()}LogGroupName"]
            read = (receive(service, str(line["message"])) for line in self._lines(group, pattern, since))
            return [one for one in read if one]

        with ThreadPoolExecutor() as pool:
            return [one for found in pool.map(of, SERVICES) for one in found]

    def letter(self, dead: DeadLetter) -> tuple[Letter, Published] | None:
        """Return a dead letter with the event in it; None where it holds none that can be read."""
        event = published(dead.body, dead.since, lambda: self._zone)
        if event is None:
            return None
        letter = Letter(
            service=dead.service,
            event_id=event.event_id,
            message_id=dead.message_id,
            since=dead.since,
            why=dead.undelivered_because,
        )
        return letter, event

    def _lines(self, group: str, pattern: str, since: datetime | None) -> Iterator[Mapping[str, Any]]:
        start = {"startTime": int(since.timestamp() * 1000)} if since else {}
        wanted = {"filterPattern": pattern} if pattern else {}
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=group, **wanted, **start)
        for page in pages:
            yield from page["events"]

    @cached_property
    def _zone(self) -> tzinfo:
        """The schedule's time zone, which names the scheduled syncs."""
        outputs = self._deployment.outputs
        with suppress(ClientError, KeyError):
            schedule = self._scheduler.get_schedule(
                GroupName=outputs["ScheduleGroupName"], Name=outputs["DailyScheduleName"]
            )
            return ZoneInfo(schedule["ScheduleExpressionTimezone"])
        return UTC


def requested(deployment: Deployment, sync_id: str) -> datetime | None:
    """Return a time before which nothing of a sync happened; None where the table doesn't know the sync."""
    sync = deployment.table("SyncsTableName").get_item(Key={"sync_id": sync_id, "record": "sync"}).get("Item", {})
    with suppress(ValueError):
        return datetime.fromisoformat(str(sync.get("requested_at", ""))) - _EARLY
    return None


def published(body: str, at: datetime, zone: Any) -> Published | None:
    """Return the event in the JSON of an EventBridge event; None where there is none. `zone()`: the schedule's."""
    try:
        envelope = json.loads(body)
        detail = envelope.get("detail") or {}
        metadata, data = detail.get("metadata") or {}, detail.get("data") or {}
        kind, source = str(envelope["detail-type"]), str(envelope.get("source", ""))
        event_id, sync_id = str(metadata.get("event_id") or ""), str(metadata.get("sync_id") or "")
        if kind in _WITHOUT_ENVELOPE:
            event = read_event(body, schedule_zone=zone())
            event_id, sync_id = event.event_id, event.sync_id
        if not event_id:
            return None
        return Published(
            id=str(envelope.get("id") or event_id),
            event_id=event_id,
            type=kind,
            publisher=source.removeprefix(SOURCE_PREFIX),
            at=at,
            causation_id=str(metadata.get("causation_id") or ""),
            sync_id=sync_id,
            media_id=str(data.get("media_id") or ""),
            name=str(data.get("filename") or ""),
            reason=str(data.get("reason") or ""),
            hops=int(metadata.get("hops") or 0),
        )
    except (ValueError, AttributeError, KeyError, TypeError, MalformedEvent):
        return None


def receive(service: str, text: str) -> Receive | None:
    """Return what a line of a service's log says about a message; None where it says nothing of one with an event."""
    try:
        line = json.loads(text)
        if line["message"] != SETTLED:
            return None
        return Receive(
            service=service,
            event_id=str(line["event_id"]),
            message_id=str(line["message_id"]),
            number=int(line["receives"]),
            ended_at=datetime.fromisoformat(str(line["timestamp"])).astimezone(UTC),
            waited=float(line["waited"]),
            outcome=str(line["outcome"]),
            took=None if line.get("took") is None else float(line["took"]),
            error=str(line.get("error") or ""),
            why=str(line.get("why") or ""),
        )
    except (ValueError, KeyError, TypeError):
        return None


def pattern_for(*, sync_id: str = "", media_id: str = "", kind: str = "") -> str:
    """Return a pattern that lets pass every event that is meant. It may let others pass too."""
    if media_id:
        return _all((_MEDIUM, media_id))
    if sync_id:
        return _any((_SYNC, sync_id), *((_TYPE, one) for one in _WITHOUT_ENVELOPE))
    return _all((_TYPE, kind)) if kind else ""


def _all(*conditions: Condition) -> str:
    return _pattern("&&", conditions)


def _any(*conditions: Condition) -> str:
    return _pattern("||", conditions)


def _pattern(joined_by: str, conditions: Iterable[Condition]) -> str:
    """Return a pattern of CloudWatch Logs for lines of JSON."""
    texts = [
        f"({path} NOT EXISTS)" if text is None else f"({path} = {json.dumps(_plain(text))})"
        for path, text in conditions
    ]
    return f"{{ {f' {joined_by} '.join(texts)} }}"


def _plain(name: str) -> str:
    """Return a name that may stand in a pattern. Raises `OperatorError` for one that no sync, medium or type has."""
    if not re.fullmatch(r"[\w.:/+=@-]{1,256}", name, re.ASCII):
        raise OperatorError(f"{name!r} is no id of a sync or medium, and no type of an event")
    return name


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
