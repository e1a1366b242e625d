"""The only way into a service: its queue. Reading, waiting between tries, and giving up are the same for all four."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError

from services.shared.bus import Bus
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Event, MalformedEvent, SyncRequested, is_replay, read_event
from services.shared.logs import quiet_libraries, where, why
from services.shared.settings import ServiceSettings

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
    """Waits between the tries of a message, in seconds: base, twice that, four times that … up to the cap."""

    base: float
    cap: float
    max_receives: int  # the queue's own limit: after so many receives a message becomes a dead letter

    def delay(self, receives: int, retry_after: float | None = None) -> int:
        """Whole seconds to wait after the n-th receive failed. What the other side asked for wins, up to the cap."""
        planned = self.base * 2.0 ** (receives - 1)
        return math.ceil(min(self.cap, max(planned, retry_after or 0)))


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
        """Hides the message for the wait that the plan has after so many receives; not at all after the last one.

        When this fails the message comes back once the time is over for which it is hidden already.
        """
        self._try_to_hide(0 if self.gives_up(error) else self._backoff.delay(self.receives, _retry_after(error)))

    def show(self) -> None:
        """Lets SQS deliver the message again at once, or make it a dead letter if this was the last receive."""
        self._try_to_hide(0)

    def _try_to_hide(self, seconds: float) -> None:
        # What came of the message is decided by now, and no trouble with its visibility may change that.
        try:
            self.hide(seconds)
        except (BotoCoreError, ClientError) as error:
            logger.warning("The message keeps its visibility", why=why(error))


def _subject(event: Event) -> dict[str, Any]:
    """What the log is searched by: every line about an event names its sync, and its medium where it has one."""
    return {name: value for name in ("sync_id", "media_id") if (value := getattr(event, name, ""))}


def _retry_after(error: BaseException) -> float | None:
    return error.retry_after if isinstance(error, TransientError) else None


class Heartbeat:
    """Keeps a message hidden, and what belongs to it alive, while a long reaction runs.

    Hides the message for a short time and renews that, so that a killed function's message is back soon although
    the queue's own visibility has to be as long as the function's timeout. `beat` is called with every renewal.
    Once `patience` has passed without a successful renewal, `check` raises `Fenced`: by then another worker may
    have begun. So it does once `beat` has raised `Fenced`.
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
        if self._fenced is None and time.monotonic() - self._renewed > self.PATIENCE_SECONDS:
            self._fenced = Fenced("the lease could not be renewed in time")
        if self._fenced:
            raise self._fenced

    def __enter__(self) -> Self:
        self._renewed = time.monotonic()
        try:
            self._message.hide(self.HIDDEN_SECONDS)
        except (BotoCoreError, ClientError) as error:
            # It still is hidden for as long as the queue hides what it delivers, which outlasts the function.
            logger.warning("The message could not be hidden for a shorter time", why=why(error))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            # The new time counts from before the calls: nobody knows when in a slow one it began.
            began = time.monotonic()
            try:
                self.check()  # what is lost must not be taken back
                self._beat()
                self._message.hide(self.HIDDEN_SECONDS)
            except Fenced as fenced:
                self._fenced = fenced
                return
            except Exception as error:  # noqa: BLE001  # none may end the thread: patience is what runs out
                logger.warning("The heartbeat failed; it is tried again", why=why(error))
            else:
                self._renewed = began


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
        settings: ServiceSettings,
        *,
        reactions: Mapping[type[Event], Reaction],
        schedule_zone: tzinfo = UTC,
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._inbox_url = settings.inbox_url
        self._backoff = Backoff(
            base=settings.retry_base_seconds, cap=settings.retry_cap_seconds, max_receives=settings.max_receives
        )
        self._reactions = reactions
        self._zone = schedule_zone
        quiet_libraries()

    def process(self, batch: Mapping[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
        """Reacts to each record by itself."""
        processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)

        def react(record: SQSRecord) -> None:
            message = self._message(record, context)
            event = self._read(record, message)
            if event is not None:
                with logger.append_context_keys(**_subject(event)):
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

        `react` returns, by sync id, what failed: the events of those syncs come again. If it raises, all do.
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
        failed: Mapping[str, Exception] = {}
        try:
            if read:
                failed = react([event for event, _, _ in read])
        except Exception as error:  # noqa: BLE001  # raised, it would let the whole batch wait for the queue's timeout
            logger.error("The whole batch failed; it comes again", why=why(error), at=where(error))
            failed = {event.sync_id: error for event, _, _ in read}
        for event, message, record in read:
            if event.sync_id in failed:
                message.wait_for_next_try(failed[event.sync_id])
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
            message.show()
            raise
        if isinstance(event, SyncRequested) and is_replay(record.body):
            logger.warning("A replayed SyncRequested is passed over", sync_id=event.sync_id)
            return None
        logger.info(
            "Received",
            event=type(event).__name__,
            event_id=event.event_id,
            receives=message.receives,
            **_subject(event),
        )
        return event

    def _settle(self, event: Event, message: Message, reaction: Callable[[], Iterable[Event]]) -> None:
        end: GaveUp | None = None
        try:
            try:
                caused = list(reaction())
            except GaveUp as gave_up:
                end, caused = gave_up, list(gave_up.facts)
                logger.error("Gave up", facts=str(end), why=why(end.__cause__ or end), dead_letter=end.dead_letter)
            self._bus.publish(caused, cause=event)
        except Fenced:
            logger.warning("Another worker has taken over; this one says nothing more")
            raise
        except Exception as error:
            logger.warning("Failed", why=why(error), at=where(error), receives=message.receives, last=message.last)
            message.wait_for_next_try(error)
            raise
        if end is None:
            logger.info("Done", published=[type(fact).__name__ for fact in caused])
        if end and end.dead_letter:
            message.show()
            raise end
