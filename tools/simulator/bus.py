"""EventBridge: a bus whose rules deliver events to queues, at least once and in no order, and an archive."""

# ruff: noqa: N803  # arguments are named as boto3 names them

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from tools.simulator.effects import Client, Effects
from tools.simulator.faults import Fault
from tools.simulator.queues import Queue, Sqs
from tools.simulator.virtual import SimulatorError

_DELIVERY = (Fault.DUPLICATE, Fault.LATE, Fault.DROPPED)
_MOST_ENTRIES = 10
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Accepted:
    """An event that the bus has accepted."""

    id: str
    at: float
    source: str
    name: str  # its detail-type
    detail: str

    def read(self) -> dict[str, Any]:
        """Return the detail's content, which nobody may change."""
        content: dict[str, Any] = _parsed(self.detail)
        return content


@dataclass(frozen=True)
class Rule:
    """A rule of the template: its pattern and its target queue."""

    pattern: Mapping[str, Sequence[str]]  # `detail-type` and `source`: exact values
    queue: Queue

    def matches(self, event: Accepted) -> bool:
        return event.name in self.pattern["detail-type"] and event.source in self.pattern["source"]


class Bus:
    def __init__(self, name: str, rules: Sequence[Rule], sqs: Sqs, effects: Effects) -> None:
        for rule in rules:
            if rule.pattern.keys() != {"detail-type", "source"}:
                raise SimulatorError(f"a rule pattern that the simulated bus can't match: {rule.pattern}")
        self.name = name
        self.rules = rules
        self.effects = effects
        self.archive: list[Accepted] = []
        self.under_way = 0  # number of deliveries
        self.latest = 0.0  # the longest delivery, in seconds
        self.on_event: list[Callable[[Accepted], None]] = []
        # Rewrites an event's detail, by name and detail, as another version would have written it.
        self.decorate: Callable[[str, str], str] = lambda _, detail: detail
        self._sqs = sqs

    def take(self, source: str, name: str, detail: str) -> str:
        """Accept an event and return its id."""
        scheduler = self.effects.scheduler
        event = Accepted(f"e{len(self.archive) + 1}", scheduler.now, source, name, detail)
        self.archive.append(event)
        for watch in self.on_event:
            watch(event)
        self.deliver(event)
        return event.id

    def deliver(self, event: Accepted, *, replay: str = "") -> None:
        """Send an event to the queues whose rules match it."""
        more = {"replay-name": replay} if replay else {}
        body = self._body(event, more)
        for rule in self.rules:
            if rule.matches(event):
                self._send(event, rule.queue, body)

    def _send(self, event: Accepted, queue: Queue, body: str) -> None:
        effects = self.effects
        delays = [0.02 + 0.5 * effects.latency() ** 3]
        fault = effects.faults.strike(_DELIVERY, f"{event.name} to {queue.name}")
        if fault is not None:
            effects.trace.add("events.deliver", f"{event.name} {event.id} to {queue.name}", fault)
            chance = effects.faults.chance()
            if fault is Fault.DROPPED:
                return
            if fault is Fault.DUPLICATE:
                delays += [
                    chance.choice((0.5, 5.0, 100.0, 900.0)) * chance.random() for _ in range(chance.randint(1, 4))
                ]
            else:
                delays = [effects.faults.seconds or chance.choice((3.0, 30.0, 400.0, 1500.0)) * chance.random()]
        self.latest = max(self.latest, min(delays))
        for delay in delays:
            self.under_way += 1
            effects.scheduler.after(delay, self._arrive, event, queue, body)

    def _arrive(self, event: Accepted, queue: Queue, body: str) -> None:
        self.under_way -= 1
        message = self._sqs.send(queue, body)
        self.effects.trace.add("events.deliver", f"{event.name} {event.id} to {queue.name} as {message.id}", "")

    def _body(self, event: Accepted, more: Mapping[str, str]) -> str:
        envelope = {
            "version": "0",
            "id": event.id,
            "detail-type": event.name,
            "source": event.source,
            "account": "123456789012",
            "time": f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": "eu-central-1",
            "resources": [],
            **more,
        }
        return f'{json.dumps(envelope)[:-1]}, "detail": {self.decorate(event.name, event.detail)}}}'


class EventsClient(Client):
    def __init__(self, bus: Bus, source: str) -> None:
        self._bus = bus
        self._source = source

    def put_events(self, *, Entries: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        size = sum(len(entry[name].encode()) for entry in Entries for name in ("Detail", "DetailType", "Source"))
        if not 1 <= len(Entries) <= _MOST_ENTRIES or size >= _MOST_BYTES:
            raise SimulatorError(f"PutEvents with {len(Entries)} entries of {size} bytes")
        for entry in Entries:
            if entry["Source"] != self._source or entry["EventBusName"] != self._bus.name:
                raise SimulatorError(f"{self._source} may not publish {entry['DetailType']} as {entry['Source']}")
        effects = self._bus.effects
        subject = ", ".join(entry["DetailType"] for entry in Entries)

        def apply() -> dict[str, Any]:
            partial = effects.faults.strike((Fault.PARTIAL,), "events.put_events entries")
            chance = effects.faults.chance() if partial else None
            results: list[dict[str, str]] = []
            for entry in Entries:
                if not _is_object(entry["Detail"]):
                    results.append({"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."})
                elif chance and chance.random() < 0.5:
                    code = chance.choice(("InternalFailure", "ThrottlingException"))
                    results.append({"ErrorCode": code, "ErrorMessage": "try again"})
                    effects.trace.add("events.put_events", entry["DetailType"], code)
                else:
                    id_ = self._bus.take(entry["Source"], entry["DetailType"], entry["Detail"])
                    results.append({"EventId": id_})
            return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}

        codes = ("ThrottlingException", "InternalException")
        return effects.call("events.put_events", subject, apply, codes=codes)


def _is_object(text: str) -> bool:
    try:
        return isinstance(_parsed(text), dict)
    except ValueError:
        return False


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Any:
    return json.loads(text)
