"""Publishing: the only way out of a service."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from services.shared.clock import Clock, iso
from services.shared.envelope import detail
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Event, source_of
from services.shared.retry import retry

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

# EventBridge's quotas for PutEvents: ten entries, and less than 1 MB together. The margin is for the envelope that
# EventBridge puts around each detail before it delivers it to a queue.
MAX_ENTRIES = 10
MAX_BYTES = 1_000_000
# The error codes of single entries that EventBridge's documentation marks as worth another try.
RETRIABLE = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
TRIES = 6


class OversizeEvent(PermanentError):
    """An event is larger than EventBridge takes. Nothing of the same `publish` was sent."""


class PublishFailed(TransientError):
    """EventBridge did not take all entries."""


class _EntriesLeft(PublishFailed):
    """Some entries failed for a reason that may pass."""


class Bus:
    """The event bus, for one publisher: a service, whose role may use no other source."""

    def __init__(self, client: "EventBridgeClient", *, name: str, publisher: str, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._source = source_of(publisher)
        self._clock = clock

    def publish(self, events: Iterable[Event], *, cause: Event | None = None) -> None:
        """Put all events on the bus.

        PutEvents answers 200 even when entries failed. So each result is read, and only the failed entries are sent
        again. Raises `OversizeEvent`, or `PublishFailed` when entries still fail at the last try.
        """
        # All batches are made before the first is sent: an oversize event stops them all.
        for batch in list(_batches([self._entry(event, cause) for event in events])):
            self._put(batch)

    def _entry(self, event: Event, cause: Event | None) -> "PutEventsRequestEntryTypeDef":
        stamped = replace(
            event,
            occurred_at=iso(self._clock.now()),
            causation_id=cause.event_id if cause else event.causation_id,
        )
        return {
            "EventBusName": self._name,
            "Source": self._source,
            "DetailType": type(event).__name__,
            # In ASCII: a file name may hold half of a surrogate pair, which only an escape can carry.
            "Detail": json.dumps(detail(stamped), separators=(",", ":"), allow_nan=False),
        }

    def _put(self, entries: "list[PutEventsRequestEntryTypeDef]") -> None:
        left = entries

        def put() -> None:
            nonlocal left
            results = self._client.put_events(Entries=left)["Entries"]
            codes = {result["ErrorCode"] for result in results if result.get("ErrorCode")}
            # The n-th result is about the n-th entry.
            left = [entry for entry, result in zip(left, results, strict=True) if result.get("ErrorCode")]
            if left:
                kind = _EntriesLeft if codes <= RETRIABLE else PublishFailed
                raise kind(f"EventBridge refused {len(left)} of the entries: {', '.join(sorted(codes))}")

        retry(put, on=_EntriesLeft, clock=self._clock, tries=TRIES, first_pause=0.1)


def _batches(
    entries: "Iterable[PutEventsRequestEntryTypeDef]",
) -> "Iterator[list[PutEventsRequestEntryTypeDef]]":
    batch: list[PutEventsRequestEntryTypeDef] = []
    total = 0
    for entry in entries:
        size = sum(len(str(entry[key]).encode()) for key in ("Source", "DetailType", "Detail"))
        if size > MAX_BYTES:
            raise OversizeEvent(f"{entry['DetailType']} has {size:,} bytes; EventBridge takes at most {MAX_BYTES:,}")
        if len(batch) == MAX_ENTRIES or total + size > MAX_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(entry)
        total += size
    if batch:
        yield batch
