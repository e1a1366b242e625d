"""Turning a batch of SQS messages into reactions, and their outcome into the answer to SQS."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes import SQSEvent
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.bus import Bus
from services.shared.clock import Clock
from services.shared.envelope import MalformedEvent, is_replay, read_event
from services.shared.errors import Fenced, PermanentError
from services.shared.events import Event, SyncRequested
from services.shared.inbox.message import Backoff, Message
from services.shared.inbox.reaction import BatchReaction, Reaction
from services.shared.logs import quiet_libraries, where, why
from services.shared.settings import ServiceSettings

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

logger = Logger(child=True)

_Service = TypeVar("_Service")
_Received = tuple[Event, Message]

SETTLED = "message_settled"
"""The name of the log line that the inbox writes at the end of each receive of a message."""


class Outcome(StrEnum):
    """What became of one receive of a message. A receive that has no outcome in the log was cut off: by a kill, say."""

    DONE = "done"
    PAUSED = "paused"  # acknowledged: an event resumes the work in a new message
    WAITING = "waiting"  # acknowledged: an event begins the work again in a new message, behind another worker's
    RETRY = "retry"  # failed, and delivered again
    FENCED = "fenced"  # stopped, since another worker has taken the work over; delivered again
    GIVEN_UP = "given_up"  # failed, and acknowledged: no try can help
    DEAD_LETTER = "dead_letter"  # failed on its last receive
    UNREADABLE = "unreadable"  # not an event for this service: a dead letter after its last receive
    IGNORED = "ignored"  # acknowledged without a reaction: a request that was replayed


_ACKNOWLEDGED = frozenset({Outcome.DONE, Outcome.PAUSED, Outcome.WAITING, Outcome.GIVEN_UP})
_LEVELS: Mapping[Outcome, str] = {
    Outcome.RETRY: "warning",
    Outcome.FENCED: "warning",
    Outcome.GIVEN_UP: "error",
    Outcome.DEAD_LETTER: "error",
    Outcome.UNREADABLE: "error",
}


@dataclass(frozen=True, kw_only=True)
class _Result:
    """How a reaction ended."""

    outcome: Outcome
    published: Sequence[str] = ()  # the types of the events that the inbox published for it
    error: Exception | None = None


class Inbox(Generic[_Service]):
    """A service's queue. It alone decides whether a failed message is tried again or given up.

    A message is acknowledged only after everything that it caused is on the bus. A failed one is hidden for its backoff
    and reported as failed, so that SQS delivers it again, or makes it a dead letter after the last receive.
    """

    def __init__(
        self,
        service: _Service,
        reactions: Mapping[type[Event], Reaction | BatchReaction],
        *,
        bus: Bus,
        queue: "SQSClient",
        settings: ServiceSettings,
        clock: Clock,
        schedule_zone: tzinfo = UTC,
    ) -> None:
        self._service = service
        self._reactions = reactions
        self._bus = bus
        self._queue = queue
        self._clock = clock
        self._inbox_url = settings.inbox_url
        self._backoff = Backoff(
            base=settings.retry_base_seconds, cap=settings.retry_cap_seconds, max_receives=settings.max_receives
        )
        self._zone = schedule_zone
        quiet_libraries()

    def process(self, batch: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
        """React to every message of a batch. Returns the failed ones, which SQS is to deliver again."""
        failed: list[str] = []
        groups: dict[Hashable, list[_Received]] = {}
        now = self._clock.now()
        for record in SQSEvent(batch).records:
            message = Message(
                queue=self._queue,
                inbox_url=self._inbox_url,
                record=record,
                backoff=self._backoff,
                now=now,
                remaining_seconds=lambda: context.get_remaining_time_in_millis() / 1000,
            )
            try:
                event = self._read(record, message)
            except MalformedEvent as error:
                message.show()  # another try would read the same: it becomes a dead letter without waiting
                _log(message, _Result(outcome=Outcome.UNREADABLE), why=str(error))
                failed.append(message.id)
                continue
            if event is not None:
                groups.setdefault(self._group_of(event, message), []).append((event, message))
        for _, received in sorted(groups.items(), key=lambda group: self._turn_of(group[1][0][0])):
            if not self._settle(received):
                failed += [message.id for _, message in received]
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _read(self, record: "SQSRecord", message: Message) -> Event | None:
        """Return the event in a record; None for a replayed request, which is ignored."""
        event = read_event(record.body, schedule_zone=self._zone)
        if type(event) not in self._reactions:
            raise MalformedEvent(f"{type(event).__name__} is not for this service")
        if isinstance(event, SyncRequested) and is_replay(record.body):
            _log(message, _Result(outcome=Outcome.IGNORED), event)
            return None
        return event

    def _group_of(self, event: Event, message: Message) -> Hashable:
        reaction = self._reactions[type(event)]
        return (reaction, reaction.key(event)) if isinstance(reaction, BatchReaction) else message

    def _turn_of(self, event: Event) -> int:
        """Return the place of the event's reaction in the table: batches are taken in that order."""
        return list(dict.fromkeys(self._reactions.values())).index(self._reactions[type(event)])

    def _settle(self, received: Sequence[_Received]) -> bool:
        """React to one message, or to a group, and log what became of each. Returns whether to acknowledge."""
        event, message = received[-1]
        reaction, began = self._reactions[type(event)], self._clock.monotonic()
        with logger.append_context_keys(**_subject(event)):
            try:
                if isinstance(reaction, BatchReaction):
                    reaction.do(self._service, [one for one, _ in received])
                    result = _Result(outcome=Outcome.DONE)
                else:
                    result = self._react(reaction, event, message)
                results = [result] * len(received)
            except Exception as error:  # noqa: BLE001  # raised, it would keep every message of the batch hidden until the visibility timeout
                results = [_postponed(its, error) for _, its in received]
        took = round(self._clock.monotonic() - began, 3)
        for (one, its), result in zip(received, results, strict=True):
            _log(its, result, one, took=took)
        return all(result.outcome in _ACKNOWLEDGED for result in results)

    def _react(self, reaction: Reaction, event: Event, message: Message) -> _Result:
        end: Exception | None = None
        try:
            caused = list(reaction.do(self._service, event, message))
        except Fenced:
            raise
        except Exception as error:
            if not (message.is_last or isinstance(error, PermanentError)):
                raise
            end = error
            caused = list(reaction.on_end(self._service, event, message, error))
        self._bus.publish(caused, cause=event)
        reaction.after(self._service, event, caused)
        published = [type(one).__name__ for one in caused]
        if end is None:
            return _Result(outcome=self._done(event, caused), published=published)
        if isinstance(end, PermanentError):
            # A message that can never succeed is acknowledged: a redrive would not help it.
            return _Result(outcome=Outcome.GIVEN_UP, published=published, error=end)
        message.show()
        return _Result(outcome=Outcome.DEAD_LETTER, published=published, error=end)

    def _done(self, event: Event, caused: Sequence[Event]) -> Outcome:
        """Return whether the work is done, or goes on with an event to this service itself."""
        own = [one for one in caused if self._reactions.get(type(one)) is self._reactions[type(event)]]
        if not own:
            return Outcome.DONE
        return Outcome.PAUSED if any(one.hops > event.hops for one in own) else Outcome.WAITING


def _postponed(message: Message, error: Exception) -> _Result:
    """Set when SQS delivers a failed message again, and return what becomes of it."""
    if isinstance(error, Fenced):
        return _Result(outcome=Outcome.FENCED)  # which says it all
    if message.is_last or isinstance(error, PermanentError):
        message.show()
    else:
        message.wait_for_next_try(error)
    return _Result(outcome=Outcome.DEAD_LETTER if message.is_last else Outcome.RETRY, error=error)


def _log(message: Message, result: _Result, event: Event | None = None, **more: object) -> None:
    """Log the end of a receive: the one line that says who reacted to what, after how long, and with what outcome."""
    fields: dict[str, object] = {"message_id": message.id, "receives": message.receives, "waited": message.waited}
    if event is not None:
        fields |= {"event": type(event).__name__, "event_id": event.event_id, **_subject(event)}
    if result.published:
        fields["published"] = result.published
    if result.error is not None:
        fields |= {"error": type(result.error).__name__, "why": why(result.error), "at": where(result.error)}
    log = getattr(logger, _LEVELS.get(result.outcome, "info"))
    log(SETTLED, outcome=result.outcome.value, **fields, **more)


def _subject(event: Event) -> dict[str, Any]:
    """Return the fields that the log is searched by: the event's sync, and its medium where it has one."""
    return {name: value for name in ("sync_id", "media_id") if (value := getattr(event, name, ""))}
