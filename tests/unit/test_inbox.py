"""The inbox: when a message is acknowledged, tried again, or made a dead letter."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from services.shared.bus import Bus, OversizeEvent, PublishFailed
from services.shared.errors import Fenced, PermanentError, TransientError
from services.shared.events import (
    Event,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    SessionRejected,
    SyncRequested,
    SyncReviewDue,
)
from services.shared.inbox.inbox import SETTLED, Inbox
from services.shared.inbox.message import Backoff, Message
from services.shared.inbox.reaction import BatchReaction, Reaction
from services.shared.settings import ServiceSettings
from tests.unit.clocks import ManualClock
from tests.unit.inbox_fakes import BACKOFF, CONTEXT, INBOX_URL, SENT_AT, Published, Queue, body_of, record

Logger()  # the parent of the modules' loggers; in a function it is the handler's

MEDIUM = MediaDiscovered(sync_id="s", media_id="m")
RESULT = MediaDownloaded(sync_id="s", media_id="m", epoch=1)
FAILURE = MediaDownloadFailed(sync_id="s", media_id="m", epoch=1, reason="gone")

Outcome = Exception | Callable[[Any, Message], Iterable[Event]]


def medium(name: str, sync_id: str = "s") -> MediaDiscovered:
    return MediaDiscovered(sync_id=sync_id, media_id=name)


def results(*_: object) -> list[Event]:
    return [RESULT]


class Service:
    """Reacts with one scripted outcome after the other."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.reacted_to: list[Event] = []
        self.ended: list[Exception] = []
        self.after: list[Sequence[Event]] = []
        self.together: list[Sequence[Event]] = []
        self._outcomes = list(outcomes)

    def do(self, event: Event, message: Message) -> Iterable[Event]:
        self.reacted_to.append(event)
        outcome = self._outcomes.pop(0) if self._outcomes else lambda *_: []
        if isinstance(outcome, Exception):
            raise outcome
        return outcome(event, message)

    def on_end(self, _: Event, __: Message, error: Exception) -> list[Event]:
        self.ended.append(error)
        return [FAILURE]

    def remember(self, _: Event, published: Sequence[Event]) -> None:
        self.after.append(published)

    def do_together(self, events: Sequence[Event]) -> None:
        self.together.append(events)
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if isinstance(outcome, Exception):
            raise outcome


ALONE = Reaction(do=Service.do, on_end=Service.on_end, after=Service.remember)
FACTS = BatchReaction(do=Service.do_together, key=lambda fact: fact.sync_id)
REVIEW = BatchReaction(do=Service.do_together, key=lambda _: None)
ONE_BY_ONE: Mapping[type[Event], Reaction] = dict.fromkeys((MediaDiscovered, MediaDownloadPaused, SyncRequested), ALONE)
TOGETHER: Mapping[type[Event], BatchReaction] = {MediaDiscovered: FACTS, SyncRequested: FACTS, SyncReviewDue: REVIEW}


class Stage:
    """An inbox between a queue and a bus."""

    def __init__(
        self,
        *outcomes: Outcome,
        backoff: Backoff = BACKOFF,
        reactions: Mapping[type[Event], Reaction | BatchReaction] = ONE_BY_ONE,
    ) -> None:
        self.queue = Queue()
        self.bus = Published()
        self.service = Service(*outcomes)
        self.clock = ManualClock(SENT_AT + timedelta(seconds=1.5))
        self.inbox = Inbox(
            self.service,
            reactions,
            clock=self.clock,
            bus=cast("Bus", self.bus),
            queue=cast("Any", self.queue),
            settings=ServiceSettings(
                event_bus_name="bus",
                inbox_url=INBOX_URL,
                max_receives=backoff.max_receives,
                retry_base_seconds=backoff.base,
                retry_cap_seconds=backoff.cap,
            ),
        )

    def process(self, *records: dict[str, Any]) -> list[str]:
        """Return the names of the messages that were not acknowledged."""
        answer = self.inbox.process({"Records": list(records)}, CONTEXT)
        return [str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]


def raising(error: Exception) -> Callable[[Any, Message], Iterable[Event]]:
    """A reaction that raises after its first event."""

    def react(*_: object) -> Iterable[Event]:
        yield RESULT
        raise error

    return react


# ── Success ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_published_before_the_message_is_acknowledged() -> None:
    stage = Stage(results)
    assert stage.process(record(MEDIUM)) == []
    assert stage.service.reacted_to == [MEDIUM]
    assert stage.bus.events == [RESULT]
    assert stage.bus.causes == [MEDIUM]
    assert stage.service.after == [[RESULT]]
    assert stage.queue.calls == 0


def test_a_reaction_sees_the_receives_and_the_remaining_time_of_its_message() -> None:
    seen: list[tuple[int, bool, float]] = []

    def react(_: Event, received: Message) -> list[Event]:
        seen.append((received.receives, received.is_last, received.remaining_seconds()))
        return []

    Stage(react, react).process(record(MEDIUM, receives=3), record(MEDIUM, name="m2", receives=4))
    assert seen == [(3, False, 899.5), (4, True, 899.5)]


@pytest.mark.scenario(3)
@pytest.mark.parametrize("receives", [1, 4])
@pytest.mark.parametrize(
    "error",
    [
        PublishFailed("EventBridge refused 1 of the entries: ThrottlingException"),
        EndpointConnectionError(endpoint_url="https://events.example"),
    ],
)
def test_a_message_whose_events_cannot_be_published_is_delivered_again_without_a_failure(
    error: Exception, receives: int
) -> None:
    stage = Stage(results)
    stage.bus.errors.append(error)
    assert stage.process(record(MEDIUM, receives=receives)) == ["m1"]
    assert stage.queue.hidden == [("m1", 30 if receives == 1 else 0)]
    assert not [*stage.service.ended, *stage.service.after, *stage.bus.events]


def test_a_reaction_that_fails_half_way_publishes_nothing() -> None:
    stage = Stage(raising(TransientError("later")))
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.bus.events == []


# ── Failure and waiting ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(15)
@pytest.mark.parametrize(("base", "waits"), [(2.0, [2, 4, 8]), (30.0, [30, 60, 120]), (0.5, [1, 1, 2])])
def test_the_waits_double_from_receive_to_receive(base: float, waits: list[int]) -> None:
    for receives, wait in enumerate(waits, start=1):
        stage = Stage(TransientError("later"), backoff=Backoff(base=base, cap=300, max_receives=4))
        assert stage.process(record(MEDIUM, receives=receives)) == ["m1"]
        assert stage.queue.hidden == [("m1", wait)]


@pytest.mark.scenario(15)
def test_no_wait_is_longer_than_the_cap() -> None:
    waits = [Backoff(base=2, cap=300, max_receives=10).delay(receives) for receives in range(1, 10)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300]


@pytest.mark.scenario(14)
@pytest.mark.parametrize(
    ("receives", "asked", "wait"),
    [(1, 45.0, 45), (1, 45.2, 46), (1, 0.0, 30), (3, 45.0, 120), (1, 10_000.0, 300), (1, float("inf"), 300)],
)
def test_a_longer_wait_that_the_other_side_asks_for_wins_up_to_the_cap(receives: int, asked: float, wait: int) -> None:
    stage = Stage(TransientError("slow down", retry_after=asked))
    stage.process(record(MEDIUM, receives=receives))
    assert stage.queue.hidden == [("m1", wait)]


@pytest.mark.scenario(14)
@given(
    base=st.floats(0.01, 300),
    cap=st.floats(1, 300),
    receives=st.integers(1, 1000),
    asked=st.none() | st.floats(0, allow_nan=False),
)
def test_a_wait_is_whole_seconds_within_the_limits_of_sqs(
    base: float, cap: float, receives: int, asked: float | None
) -> None:
    wait = Backoff(base=base, cap=cap, max_receives=4).delay(receives, asked)
    assert isinstance(wait, int)
    assert 0 < wait < 43_200
    assert min(cap, asked or 0) <= wait <= math.ceil(cap)


@pytest.mark.parametrize("error", [TransientError("later"), KeyError("x"), ClientError({"Error": {}}, "GetItem")])
def test_a_failure_of_any_kind_leaves_the_message_for_another_try(error: Exception) -> None:
    stage = Stage(error)
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.queue.hidden == [("m1", 30)]
    assert not [*stage.bus.events, *stage.service.ended]


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(20)
@pytest.mark.parametrize("error", [TransientError("later"), KeyError("x")])
def test_the_last_receive_publishes_its_failure_and_only_then_becomes_a_dead_letter(error: Exception) -> None:
    stage = Stage(error)
    order: list[str] = []
    stage.bus.on_publish = lambda: order.append("publish")
    stage.queue.on_change = lambda: order.append("show")
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert stage.service.ended == [error]
    assert stage.bus.events == [FAILURE]
    assert stage.bus.causes == [MEDIUM]
    assert stage.service.after == [[FAILURE]]
    assert stage.queue.hidden == [("m1", 0)]
    assert order == ["publish", "show"]


def test_a_message_that_can_never_succeed_publishes_its_failure_and_is_acknowledged() -> None:
    stage = Stage(raising(PermanentError("never")))
    assert stage.process(record(MEDIUM)) == []
    assert stage.bus.events == [FAILURE]
    assert stage.queue.calls == 0


@pytest.mark.parametrize("error", [TransientError("later"), PermanentError("never")])
def test_a_message_whose_failure_cannot_be_published_is_not_over(error: Exception) -> None:
    stage = Stage(error, error, backoff=Backoff(base=30, cap=300, max_receives=2))
    stage.bus.errors.append(PublishFailed("EventBridge refused"))
    assert stage.process(record(MEDIUM, receives=2)) == ["m1"]
    assert not [*stage.bus.events, *stage.service.after]


@pytest.mark.scenario(47)
def test_an_oversize_event_makes_its_message_a_dead_letter_without_waits() -> None:
    stage = Stage(results)
    stage.bus.errors.append(OversizeEvent("too large"))
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.queue.hidden == [("m1", 0)]


def test_a_fenced_worker_publishes_nothing_and_changes_no_visibility() -> None:
    stage = Stage(raising(Fenced("taken over")))
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert not [*stage.bus.events, *stage.service.ended]
    assert stage.queue.calls == 0


@pytest.mark.parametrize(
    ("error", "receives", "published"),
    [(TransientError("later"), 1, []), (TransientError("later"), 4, [FAILURE]), (PermanentError("no"), 1, [FAILURE])],
)
def test_a_visibility_that_cannot_be_changed_changes_nothing_else(
    error: Exception, receives: int, published: list[Event]
) -> None:
    well, broken = Stage(error), Stage(error)
    broken.queue.broken = True
    assert broken.process(record(MEDIUM, receives=receives)) == well.process(record(MEDIUM, receives=receives))
    assert broken.bus.events == well.bus.events == published


# ── Messages that cannot be read ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(46)
@pytest.mark.parametrize("reactions", [ONE_BY_ONE, TOGETHER])
@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "{}",
        json.dumps({"detail-type": "MediaDiscovered", "detail": {"metadata": {"version": 2}, "data": {}}}),
        json.dumps({"detail-type": "SomethingElse", "detail": {}}),
        body_of(SessionRejected(sync_id="s", session_version=1)),  # an event, and not for this service
    ],
)
def test_a_poison_message_becomes_a_dead_letter_at_once_while_the_others_flow(
    body: str, reactions: Mapping[type[Event], Reaction | BatchReaction]
) -> None:
    stage = Stage(reactions=reactions)
    stage.queue.broken = False
    records = [record(medium("1"), name="m1"), record(body, name="m2"), record(medium("3"), name="m3")]
    assert stage.process(*records) == ["m2"]
    assert [*stage.service.reacted_to, *chain.from_iterable(stage.service.together)] == [medium("1"), medium("3")]
    assert stage.queue.hidden == [("m2", 0)]


@pytest.mark.scenario(57)
@pytest.mark.parametrize("reactions", [ONE_BY_ONE, TOGETHER])
def test_a_replayed_sync_request_is_acknowledged_and_ignored(
    reactions: Mapping[type[Event], Reaction | BatchReaction],
) -> None:
    stage = Stage(reactions=reactions)
    assert stage.process(record(body_of(SyncRequested(sync_id="s"), **{"replay-name": "last week"}))) == []
    assert not [*stage.service.reacted_to, *stage.service.together]
    assert stage.queue.calls == 0


def test_a_replayed_fact_is_a_fact() -> None:
    stage = Stage()
    assert stage.process(record(body_of(MEDIUM, **{"replay-name": "last week"}))) == []
    assert stage.service.reacted_to == [MEDIUM]


def test_a_refused_request_reaches_the_service() -> None:
    stage = Stage()
    body = json.dumps({"id": "own-id", "detail-type": "SyncRequested", "detail": {"sync_id": "../.."}})
    assert stage.process(record(body)) == []
    (event,) = stage.service.reacted_to
    assert isinstance(event, SyncRequested)
    assert event.sync_id == "own-id"
    assert event.refused


# ── Batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_facts_of_each_sync_are_handed_over_together_and_the_reviews_after_all_facts() -> None:
    stage = Stage(reactions=TOGETHER)
    first, second = SyncReviewDue(occurred_at="2026-11-23T01:00:00Z"), SyncReviewDue(occurred_at="2026-11-23T01:15:00Z")
    facts = [medium("1", "a"), medium("2", "b"), medium("3", "a")]
    bodies = [json.dumps({"detail-type": "SyncReviewDue", "time": due.occurred_at}) for due in (first, second)]
    records = [bodies[0], *map(body_of, facts), bodies[1]]
    assert stage.process(*[record(body, name=f"m{n}") for n, body in enumerate(records)]) == []
    assert stage.service.together == [[facts[0], facts[2]], [facts[1]], [first, second]]


def test_the_messages_of_a_failed_group_are_delivered_again_and_the_others_are_not() -> None:
    stage = Stage(TransientError("down", retry_after=50), reactions=TOGETHER)
    records = [
        record(medium("1", "a"), name="m1", receives=1),
        record(medium("2", "b"), name="m2"),
        record(medium("3", "a"), name="m3", receives=2),
        record("poison", name="m4"),
        record(medium("5", "a"), name="m5", receives=4),
    ]
    assert sorted(stage.process(*records)) == ["m1", "m3", "m4", "m5"]
    assert sorted(stage.queue.hidden) == [("m1", 50), ("m3", 60), ("m4", 0), ("m5", 0)]


def test_a_failed_review_is_delivered_again_alone() -> None:
    stage = Stage(lambda *_: [], KeyError("x"), reactions=TOGETHER)
    records = [record(SyncReviewDue(), name="m1"), record(medium("2", "b"), name="m2")]
    assert stage.process(*records) == ["m1"]


def test_a_batch_survives_a_visibility_that_cannot_be_changed() -> None:
    stage = Stage(TransientError("later"), reactions=TOGETHER)
    stage.queue.broken = True
    records = [record(medium("1", "a"), name="m1"), record("no event", name="m2"), record(medium("2", "b"), name="m3")]
    assert sorted(stage.process(*records)) == ["m1", "m2"]


@pytest.mark.scenario(53)
def test_no_batch_is_answered_with_failures_of_an_earlier_one() -> None:
    stage = Stage(TransientError("later"))
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.process(record(MEDIUM)) == []


# ── The log ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(str(vars(line)) for line in caplog.records)


@pytest.mark.parametrize("receives", [1, 4])
def test_the_log_holds_the_text_of_expected_errors(logged: Callable[[], str], receives: int) -> None:
    refusal = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "role x may not"}}, "GetItem")
    for error in (TransientError("the CDN is down"), PermanentError("gone for good"), refusal):
        Stage(error).process(record(MEDIUM, receives=receives))
    for text in ("the CDN is down", "gone for good", "AccessDeniedException", "role x may not"):
        assert text in logged()


@pytest.mark.scenario(56)
@pytest.mark.parametrize("reactions", [ONE_BY_ONE, TOGETHER])
def test_the_log_holds_the_type_and_place_of_an_unexpected_error_but_not_its_text(
    logged: Callable[[], str], reactions: Mapping[type[Event], Reaction | BatchReaction]
) -> None:
    error = ValueError("invalid URL https://cdn.example/1?Signature=canary")
    Stage(error, reactions=reactions).process(record(MEDIUM))
    Stage(error, reactions=reactions).process(record(MEDIUM, receives=4))
    assert "ValueError" in logged()
    assert "test_inbox.py" in logged()
    assert "canary" not in logged()


@pytest.mark.scenario(53)
def test_the_log_lines_of_a_message_name_its_own_sync_and_medium() -> None:
    keys = Logger().get_current_keys
    seen: list[object] = []

    def react(*_: object) -> Iterable[Event]:
        seen.append((keys().get("sync_id"), keys().get("media_id")))
        raise TransientError("later")

    stage = Stage(react, react)
    stage.process(record(medium("1", "first"), name="m1"), record("poison", name="m2"), record(medium("2", "second")))
    assert seen == [("first", "1"), ("second", "2")]
    assert not {"sync_id", "media_id"} & set(keys())


@pytest.fixture
def settled(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The lines about settled messages: level, and the fields that the inbox adds."""
    caplog.set_level(logging.DEBUG)
    standard = {*vars(logging.makeLogRecord({})), "asctime", "message"}

    def lines() -> list[dict[str, Any]]:
        of_messages = [vars(line) for line in caplog.records if line.msg == SETTLED]
        return [
            {"level": line["levelname"], **{name: value for name, value in line.items() if name not in standard}}
            for line in of_messages
        ]

    return lines


PAUSE = MediaDownloadPaused(sync_id="s", media_id="m", hops=1)


def test_the_log_says_who_reacted_to_what_after_how_long_and_what_was_published(
    settled: Callable[[], list[dict[str, Any]]],
) -> None:
    def react(*_: object) -> list[Event]:
        stage.clock.advance(2.25)
        return [RESULT]

    stage = Stage(react)
    stage.process(record(MEDIUM, receives=2))
    assert settled() == [
        {
            "level": "INFO",
            "outcome": "done",
            "message_id": "m1",
            "receives": 2,
            "waited": 1.5,
            "event": "MediaDiscovered",
            "event_id": MEDIUM.event_id,
            "sync_id": "s",
            "media_id": "m",
            "published": ["MediaDownloaded"],
            "took": 2.25,
        }
    ]


@pytest.mark.parametrize(
    ("reaction", "receives", "outcome", "level"),
    [
        (lambda *_: [], 4, "done", "INFO"),
        (lambda *_: [RESULT, PAUSE], 1, "paused", "INFO"),
        (lambda *_: [replace(PAUSE, hops=0)], 1, "waiting", "INFO"),
        (TransientError("later"), 3, "retry", "WARNING"),
        (KeyError("x"), 1, "retry", "WARNING"),
        (TransientError("later"), 4, "dead_letter", "ERROR"),
        (PermanentError("never"), 1, "given_up", "ERROR"),
        (PermanentError("never"), 4, "given_up", "ERROR"),
        (Fenced("taken over"), 1, "fenced", "WARNING"),
    ],
)
def test_the_log_says_what_became_of_a_message(
    settled: Callable[[], list[dict[str, Any]]], reaction: Outcome, receives: int, outcome: str, level: str
) -> None:
    Stage(reaction).process(record(MEDIUM, receives=receives))
    (line,) = settled()
    assert (line["outcome"], line["level"], line["receives"]) == (outcome, level, receives)
    error = reaction if isinstance(reaction, Exception) and not isinstance(reaction, Fenced) else None
    assert line.get("error") == (error and type(error).__name__)
    assert ("why" in line, "at" in line) == (error is not None,) * 2


def test_the_log_says_of_each_message_of_a_group_what_became_of_it(
    settled: Callable[[], list[dict[str, Any]]],
) -> None:
    stage = Stage(TransientError("down"), reactions=TOGETHER)
    due = json.dumps({"detail-type": "SyncReviewDue", "time": "2026-11-23T01:00:00Z"})
    bodies: list[tuple[str | Event, int]] = [
        (medium("1", "a"), 1),
        (medium("2", "b"), 1),
        (medium("3", "a"), 4),
        (due, 1),
        ("poison", 1),
    ]
    stage.process(*[record(body, name=f"m{n}", receives=times) for n, (body, times) in enumerate(bodies, start=1)])
    names = ("message_id", "event", "sync_id", "media_id", "outcome")
    assert [tuple(line.get(name) for name in names) for line in settled()] == [
        ("m5", None, None, None, "unreadable"),
        ("m1", "MediaDiscovered", "a", "1", "retry"),
        ("m3", "MediaDiscovered", "a", "3", "dead_letter"),
        ("m2", "MediaDiscovered", "b", "2", "done"),
        ("m4", "SyncReviewDue", None, None, "done"),
    ]


def test_a_message_that_a_fast_clock_sent_has_not_waited(settled: Callable[[], list[dict[str, Any]]]) -> None:
    stage = Stage()
    stage.clock.moment = SENT_AT - timedelta(seconds=1)
    stage.process(record(MEDIUM))
    assert [line["waited"] for line in settled()] == [0.0]


def test_the_log_says_that_a_replayed_request_was_ignored(settled: Callable[[], list[dict[str, Any]]]) -> None:
    Stage().process(record(body_of(SyncRequested(sync_id="s"), **{"replay-name": "last week"})))
    assert [(line["outcome"], line["sync_id"]) for line in settled()] == [("ignored", "s")]


def test_no_library_logs_its_requests_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Stage()
    for library in ("botocore.parsers", "botocore.endpoint", "urllib3.connectionpool", "boto3", "s3transfer"):
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
