"""Publishing: the only way out of a service."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from services.shared.errors import PermanentError, TransientError
from services.shared.events import Event, detail

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

# PutEvents takes at most ten entries and less than 1 MB together (EventBridge quotas). The margin is for what
# EventBridge adds around the detail before it lies in a queue.
MAX_ENTRIES = 10
MAX_BYTES = 1_000_000
# Per result in `Entries`, those that EventBridge says may be sent again.
RETRIABLE = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
TRIES = 6


class OversizeEvent(PermanentError):
    """An event is larger than EventBridge takes. Nothing was sent of what was to be published with it."""


class PublishFailed(TransientError):
    """EventBridge did not take all entries."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def iso(moment: datetime) -> str:
    """UTC in ISO 8601 with seconds, as events and tables carry it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Bus:
    """Publishes as one service. `source`: `cloud-sync.<service>`, the only one that its role may use."""

    def __init__(
        self,
        client: "EventBridgeClient",
        *,
        name: str,
        source: str,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._name = name
        self._source = source
        self._now = now
        self._sleep = sleep
        self._jitter = jitter

    def publish(self, events: Iterable[Event], *, cause: Event | None = None) -> None:
        """Puts all events on the bus, or raises.

        PutEvents answers 200 even when entries failed, so its results are read one by one, and only the failed
        entries go again. Raises `OversizeEvent`, or `PublishFailed` when entries still fail after the last try.
        """
        # All batches are made before the first is sent, so that nothing goes out when one of the events can't.
        for batch in list(_batches([self._entry(event, cause) for event in events])):
            self._put(batch)

    def _entry(self, event: Event, cause: Event | None) -> "PutEventsRequestEntryTypeDef":
        stamped = replace(
            event, occurred_at=iso(self._now()), causation_id=cause.event_id if cause else event.causation_id
        )
        return {
            "EventBusName": self._name,
            "Source": self._source,
            "DetailType": type(event).__name__,
            # In ASCII: file names may hold half of a surrogate pair, which no encoding but an escape can carry.
            "Detail": json.dumps(detail(stamped), separators=(",", ":"), allow_nan=False),
        }

    def _put(self, entries: "list[PutEventsRequestEntryTypeDef]") -> None:
        for attempt in range(TRIES):
            if attempt:
                self._sleep(0.05 * 2**attempt * (0.5 + self._jitter()))
            # By index: the n-th result is about the n-th entry.
            results: Sequence[Any] = self._client.put_events(Entries=entries)["Entries"]
            entries = [entry for entry, result in zip(entries, results, strict=True) if result.get("ErrorCode")]
            if not entries:
                return
            codes = {result["ErrorCode"] for result in results if result.get("ErrorCode")}
            if not codes <= RETRIABLE:
                break
        raise PublishFailed(f"EventBridge refused {len(entries)} of the entries: {', '.join(sorted(codes))}")


def _batches(
    entries: "Iterable[PutEventsRequestEntryTypeDef]",
) -> "Iterator[list[PutEventsRequestEntryTypeDef]]":
    batch: list[PutEventsRequestEntryTypeDef] = []
    total = 0
    for entry in entries:
        size = sum(len(str(entry[key]).encode()) for key in ("Source", "DetailType", "Detail"))
        if size > MAX_BYTES:
            raise OversizeEvent(f"{entry['DetailType']} has {size:,} bytes; EventBridge takes {MAX_BYTES:,}")
        if len(batch) == MAX_ENTRIES or total + size > MAX_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
