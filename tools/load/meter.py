"""Counts the requests of a simulated run to AWS and GoPro, and records its largest items, events and messages."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.simulator.bus import Accepted
from tools.simulator.dynamodb import Table, item_bytes
from tools.simulator.expressions import Item
from tools.simulator.queues import Message, Queue
from tools.simulator.trace import Trace

if TYPE_CHECKING:
    from tools.simulator.world import World


class CountingTrace(Trace):
    """A trace that counts operations and keeps no rows, which would be tens of millions."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self.operations: Counter[str] = Counter()

    def add(self, operation: str, subject: str, outcome: str) -> None:
        self.operations[operation] += 1


@dataclass(frozen=True)
class Reading:
    """The meter's counts at a moment."""

    counts: Mapping[str, int]
    cpu: float  # seconds of this process
    at: float  # virtual seconds

    def since(self, earlier: "Reading") -> "Reading":
        counts = {name: count - earlier.counts.get(name, 0) for name, count in self.counts.items()}
        return Reading(counts, self.cpu - earlier.cpu, self.at)


class Meter:
    """Observes a world from its beginning."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._counts: Counter[str] = Counter()
        self.largest: dict[str, int] = {}  # bytes, by kind
        world.bus.on_event.append(self._on_event)
        world.sqs.on_send.append(self._on_send)
        world.database.on_write.append(self._on_write)
        world.database.on_read.append(self._on_read)

    def read(self) -> Reading:
        operations: Counter[str] = self._world.trace.operations  # type: ignore[attr-defined]
        requests = {
            "PutEvents requests": operations["events.put_events"],
            "DynamoDB requests": _sum(operations, "dynamodb."),
            "S3 requests": _sum(operations, "s3."),
            "SQS requests by functions": _sum(operations, "sqs."),
            "GoPro requests": _sum(operations, "gopro.") + operations["cdn.open"],
            "invocations": operations["lambda.start"],
        }
        return Reading({**self._counts, **requests}, time.process_time(), self._world.scheduler.now)

    def _on_event(self, event: Accepted) -> None:
        self._counts["events"] += 1
        self._counts[event.name] += 1
        self._see("event", len(event.source) + len(event.name) + len(event.detail.encode()))

    def _on_send(self, queue: Queue, message: Message) -> None:
        self._counts["SQS messages"] += 1
        self._see("SQS body", len(message.body.encode()))

    def _on_write(self, table: Table, before: Item | None, after: Item | None) -> None:
        self._counts["items written"] += 1
        self._see("item", item_bytes(after) if after else 0)

    def _on_read(self, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
        self._counts["items read"] += len(keys)

    def _see(self, what: str, size: int) -> None:
        self.largest[what] = max(size, self.largest.get(what, 0))


def _sum(operations: Counter[str], prefix: str) -> int:
    return sum(count for name, count in operations.items() if name.startswith(prefix))
