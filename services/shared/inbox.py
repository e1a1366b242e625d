"""The only way into a service: its queue. Reading, waiting between tries, and giving up are the same for all four."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.bus import Bus
from services.shared.errors import PermanentError
from services.shared.events import Event, MalformedEvent, SyncRequested, is_replay, read_event

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = Logger(child=True)


class GaveUp(Exception):
    """No more tries for this message: these facts say what came of it.

    `dead_letter`: whether the message is kept for a redrive. Nothing is to be redriven of what can't ever succeed.
    """

    def __init__(self, facts: Sequence[Event], *, dead_letter: bool) -> None:
        super().__init__(", ".join(type(fact).__name__ for fact in facts))
        self.facts = facts
        self.dead_letter = dead_letter


class Fenced(Exception):
    """Another worker has taken this work over, so whatever this one would still say or write is void."""


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """Waits between the tries of a message, in seconds: base, 2 × base, 4 × base … up to the cap."""

    base: float
    cap: float
    max_receives: int  # the queue's own limit: after so many receives a message becomes a dead letter

    def delay(self, receives: int, retry_after: float | None = None) -> int:
        """Whole seconds to wait after the n-th receive failed. What the other side asked for wins, up to the cap."""
        planned = self.base * 2 ** (receives - 1)
        return round(min(self.cap, max(planned, retry_after or 0)))


class Message:
    """One receive of one message."""

    def __init__(
        self,
        *,
        queue: "SQSClient",
        inbox_url: str,
        record: SQSRecord,
        backoff: Backoff,
        remaining_seconds: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._inbox_url = inbox_url
        self._handle = record.receipt_handle
        self._backoff = backoff
        self.receives = int(record.attributes.approximate_receive_count)
        self.remaining_seconds = remaining_seconds

    @property
    def last(self) -> bool:
        return self.receives >= self._backoff.max_receives

    def gives_up(self, error: BaseException) -> bool:
        """Whether this failure is the message's end, so that its failure fact is due now."""
        return isinstance(error, PermanentError) or self.last

    def hide(self, seconds: float) -> None:
        """Nobody receives the message for so long from now on, unless this receive acknowledges it."""
        self._queue.change_message_visibility(
            QueueUrl=self._inbox_url, ReceiptHandle=self._handle, VisibilityTimeout=int(seconds)
        )

    def wait_for_next_try(self, error: BaseException) -> None:
        """Hides the message for the wait that the plan has after so many receives."""
        self.hide(self._backoff.delay(self.receives, getattr(error, "retry_after", None)))


class Heartbeat:
    """Keeps a message hidden, and what belongs to it alive, while a long reaction runs.

    Hides the message for a short time and renews that, so that a killed function's message is back soon although
    the queue's own visibility has to be as long as the function's timeout. `beat` is called with every renewal.
    Once `patience` has passed without a successful renewal, `check` raises `Fenced`: by then another worker may
    have begun.
    """

    HIDDEN_SECONDS = 120
    INTERVAL_SECONDS = 30.0
    PATIENCE_SECONDS = 100.0

    def __init__(self, message: Message, beat: Callable[[], None] = lambda: None) -> None:
        self._message = message
        self._beat = beat
        self._stop = threading.Event()
        self._fenced: Fenced | None = None
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def check(self) -> None:
        """Raises `Fenced` when the work no longer belongs to this worker."""
        if self._fenced:
            raise self._fenced
        if time.monotonic() - self._renewed > self.PATIENCE_SECONDS:
            raise Fenced("the lease could not be renewed in time")

    def __enter__(self) -> "Heartbeat":
        self._message.hide(self.HIDDEN_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            try:
                self._beat()
                self._message.hide(self.HIDDEN_SECONDS)
                self._renewed = time.monotonic()
            except Fenced as fenced:
                self._fenced = fenced
                return
            except Exception:
                logger.warning("The heartbeat failed; it is tried again", exc_info=True)


Reaction = Callable[[Any, Message], Iterable[Event]]


class Inbox:
    """Turns the records of a batch into reactions, and their outcome into the batch's answer.

    A record is acknowledged only after everything that it caused is on the bus. A failed one is hidden for its
    backoff and reported as failed, so that SQS delivers it again, or makes it a dead letter after the last try.
    """

    def __init__(
        self,
        bus: Bus,
        queue: "SQSClient",
        *,
        inbox_url: str,
        backoff: Backoff,
        reactions: Mapping[type[Event], Reaction],
        schedule_zone: tzinfo = UTC,
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._inbox_url = inbox_url
        self._backoff = backoff
        self._reactions = reactions
        self._zone = schedule_zone

    def process(self, batch: Mapping[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
        """Reacts to each record by itself."""
        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

        def react(record: SQSRecord) -> None:
            message = self._message(record, context)
            event = self._read(record, message)
            if event is not None:
                self._settle(event, message, lambda: self._reactions[type(event)](event, message))

        with processor(records=batch["Records"], handler=react):
            processor.process()
        return processor.response()

    def process_together(
        self,
        batch: Mapping[str, Any],
        context: LambdaContext,
        react: Callable[[Sequence[Event]], Mapping[str, Exception]],
    ) -> PartialItemFailureResponse:
        """Hands all readable events of the batch to `react` at once.

        `react` returns, by sync id, what failed: the events of those syncs come again.
        """
        read: list[tuple[Event, Message, SQSRecord]] = []

        def collect(record: SQSRecord) -> None:
            message = self._message(record, context)
            event = self._read(record, message)
            if event is not None:
                read.append((event, message, record))

        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        with processor(records=batch["Records"], handler=collect):
            processor.process()
        response = processor.response()
        failed = react([event for event, _, _ in read]) if read else {}
        for event, message, record in read:
            if error := failed.get(event.sync_id):
                message.wait_for_next_try(error)
                response["batchItemFailures"].append({"itemIdentifier": record.message_id})
        return response

    def _message(self, record: SQSRecord, context: LambdaContext) -> Message:
        return Message(
            queue=self._queue,
            inbox_url=self._inbox_url,
            record=record,
            backoff=self._backoff,
            remaining_seconds=lambda: context.get_remaining_time_in_millis() / 1000,
        )

    def _read(self, record: SQSRecord, message: Message) -> Event | None:
        """The event in a record; None for one that is to be passed over."""
        try:
            event = read_event(record.body, schedule_zone=self._zone)
            if type(event) not in self._reactions:
                raise MalformedEvent(f"{type(event).__name__} is not for this service")
        except MalformedEvent as error:
            # No wait between the tries of what can't be read: it belongs among the dead letters.
            logger.error("An unreadable message goes to the dead letters", message_id=record.message_id, why=str(error))
            message.hide(0)
            raise
        if isinstance(event, SyncRequested) and is_replay(record.body):
            logger.warning("A replayed SyncRequested is passed over", sync_id=event.sync_id)
            return None
        logger.append_keys(sync_id=event.sync_id)
        logger.info("Received", event=type(event).__name__, event_id=event.event_id, receives=message.receives)
        return event

    def _settle(self, event: Event, message: Message, reaction: Callable[[], Iterable[Event]]) -> None:
        try:
            self._bus.publish(reaction(), cause=event)
        except Fenced:
            logger.warning("Another worker has taken over; this one says nothing more")
            raise
        except GaveUp as end:
            logger.error("Gave up", facts=str(end), why=str(end.__cause__), dead_letter=end.dead_letter)
            self._bus.publish(end.facts, cause=event)
            if end.dead_letter:
                message.hide(0)
                raise
        except Exception as error:
            logger.warning("Failed; another try follows", why=str(error), receives=message.receives)
            message.wait_for_next_try(error)
            raise
