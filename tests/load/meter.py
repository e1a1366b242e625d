"""What a simulated run asks of AWS and of GoPro, counted, and the largest of what it handles."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.load.sizes import item_bytes
from tests.simulation.bus import Accepted
from tests.simulation.dynamodb import Table
from tests.simulation.expressions import Item
from tests.simulation.queues import Message, Queue
from tests.simulation.s3 import StoredObject
from tests.simulation.trace import Trace

if TYPE_CHECKING:
    from tests.simulation.world import World

_READ_UNIT = 4096  # bytes that a consistent read has for one unit


class CountingTrace(Trace):
    """Keeps no rows, which would be tens of millions; only how often there was which."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self.operations: Counter[str] = Counter()

    def add(self, operation: str, subject: str, outcome: str) -> None:
        self.operations[operation] += 1


@dataclass(frozen=True)
class Reading:
    """The meter at a moment."""

    counts: Mapping[str, int]
    cpu: float  # seconds of this process
    at: float  # virtual seconds

    def since(self, earlier: "Reading") -> "Reading":
        counts = {name: count - earlier.counts.get(name, 0) for name, count in self.counts.items()}
        return Reading(counts, self.cpu - earlier.cpu, self.at)


class Meter:
    """Watches a world from its beginning."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._counts: Counter[str] = Counter()
        self._item_bytes: dict[tuple[str, tuple[Any, ...]], int] = {}
        self.largest: dict[str, int] = {}  # bytes, by what it is
        world.bus.on_event.append(self._on_event)
        world.sqs.on_send.append(self._on_send)
        world.database.on_write.append(self._on_write)
        world.database.on_read.append(self._on_read)
        world.s3.on_put.append(self._on_put)

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
        self._see(event.name, len(event.detail.encode()))

    def _on_send(self, queue: Queue, message: Message) -> None:
        self._counts["SQS messages"] += 1
        self._see("SQS body", len(message.body.encode()))

    def _on_write(self, table: Table, before: Item | None, after: Item | None) -> None:
        self._counts["items written"] += 1
        key = table.key_of(after or before or {})
        size = item_bytes(after) if after else 0
        self._item_bytes[table.name, key] = size
        self._see("item", size)

    def _on_read(self, table: Table, keys: Sequence[tuple[Any, ...]], query: bool) -> None:
        sizes = [self._item_bytes.get((table.name, key), 0) for key in keys]
        self._counts["items read"] += len(keys)
        self._counts["read units"] += _units(sum(sizes)) if query else sum(map(_units, sizes))

    def _on_put(self, key: str, before: StoredObject | None, after: StoredObject) -> None:
        kind = key.partition("/")[0]
        self._counts[f"bytes put into {kind}/"] += len(after.body)
        self._see(f"object in {kind}/", len(after.body))

    def _see(self, what: str, size: int) -> None:
        if size > self.largest.get(what, 0):
            self.largest[what] = size


def _sum(operations: Counter[str], prefix: str) -> int:
    return sum(count for name, count in operations.items() if name.startswith(prefix))


def _units(size: int) -> int:
    return max(1, -(-size // _READ_UNIT))
