"""The inbox: when a message is acknowledged, when it comes again, and when it becomes a dead letter."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from services.shared.bus import Bus, OversizeEvent, PublishFailed
from services.shared.errors import PermanentError, TransientError
from services.shared.events import (
    Event,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SessionRejected,
    SyncRequested,
    SyncReviewDue,
)
from services.shared.inbox import Backoff, Fenced, GaveUp, Inbox, Message, Reaction
from services.shared.settings import ServiceSettings
from tests.unit.inbox_fakes import BACKOFF, CONTEXT, INBOX_URL, Published, Queue, body_of, message, record

Logger()  # the parent of those in the modules; in a function it is the handler's

MEDIUM = MediaDiscovered(sync_id="s", media_id="m")
RESULT = MediaDownloaded(sync_id="s", media_id="m", epoch=1)
FAILURE = MediaDownloadFailed(sync_id="s", media_id="m", epoch=1, reason="gone")


def medium(name: str, sync_id: str = "s") -> MediaDiscovered:
    return MediaDiscovered(sync_id=sync_id, media_id=name)


class Stage:
    """An inbox between a queue and a bus, reacting as it is told."""

    def __init__(
        self,
        *reactions: Callable[[Any, Message], Iterable[Event]] | Exception,
        backoff: Backoff = BACKOFF,
        event_types: Sequence[type[Event]] = (MediaDiscovered, SyncRequested, SyncReviewDue),
    ) -> None:
        self.queue = Queue()
        self.bus = Published()
        self.reacted_to: list[Event] = []
        self._reactions = list(reactions)
        self.inbox = Inbox(
            cast("Bus", self.bus),
            cast("Any", self.queue),
            ServiceSettings(
                event_bus_name="bus",
                inbox_url=INBOX_URL,
                max_receives=backoff.max_receives,
                retry_base_seconds=backoff.base,
                retry_cap_seconds=backoff.cap,
            ),
            reactions=dict.fromkeys(event_types, cast("Reaction", self._react)),
        )

    def _react(self, event: Event, received: Message) -> Iterable[Event]:
        self.reacted_to.append(event)
        reaction = self._reactions.pop(0) if self._reactions else lambda *_: []
        if isinstance(reaction, Exception):
            raise reaction
        return reaction(event, received)

    def process(self, *records: dict[str, Any]) -> list[str]:
        """The names of the messages that were not acknowledged."""
        answer = self.inbox.process({"Records": list(records)}, CONTEXT)
        return [str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]

    def process_together(
        self, react: Callable[[Sequence[Event]], Mapping[str, Exception]], *records: dict[str, Any]
    ) -> list[str]:
        answer = self.inbox.process_together({"Records": list(records)}, CONTEXT, react)
        return [str(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]


def raising(error: Exception) -> Callable[[Any, Message], Iterable[Event]]:
    def react(event: Event, received: Message) -> Iterable[Event]:
        yield RESULT
        raise error

    return react


def gave_up(*facts: Event, dead_letter: bool, cause: Exception | None = None) -> GaveUp:
    end = GaveUp(facts, dead_letter=dead_letter)
    end.__cause__ = cause
    return end


# ── Success ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_message_caused_is_published_and_the_message_acknowledged() -> None:
    stage = Stage(lambda *_: [RESULT])
    assert stage.process(record(MEDIUM)) == []
    assert stage.reacted_to == [MEDIUM]
    assert stage.bus.events == [RESULT]
    assert stage.bus.causes == [MEDIUM]
    assert stage.queue.calls == 0


def test_a_reaction_sees_how_often_its_message_came_and_how_much_time_is_left() -> None:
    seen: list[tuple[int, bool, float]] = []

    def react(_: Event, received: Message) -> list[Event]:
        seen.append((received.receives, received.last, received.remaining_seconds()))
        return []

    Stage(react, react).process(record(MEDIUM, receives=3), record(MEDIUM, name="m2", receives=4))
    assert seen == [(3, False, 899.5), (4, True, 899.5)]


@pytest.mark.scenario(3)
@pytest.mark.parametrize(
    "error",
    [
        PublishFailed("EventBridge refused 1 of the entries: ThrottlingException"),
        EndpointConnectionError(endpoint_url="https://events.example"),
    ],
)
def test_a_message_whose_results_can_not_be_published_comes_again(error: Exception) -> None:
    stage = Stage(lambda *_: [RESULT])
    stage.bus.errors.append(error)
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.queue.hidden == [("m1", 30)]


def test_nothing_of_a_reaction_that_breaks_half_way_is_published() -> None:
    stage = Stage(raising(TransientError("later")))
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.bus.events == []


# ── Failure and waiting ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(15)
@pytest.mark.parametrize(("base", "waits"), [(2.0, [2, 4, 8]), (30.0, [30, 60, 120]), (0.5, [1, 1, 2])])
def test_the_waits_double_from_receive_to_receive(base: float, waits: list[int]) -> None:
    backoff = Backoff(base=base, cap=300, max_receives=4)
    for receives, wait in enumerate(waits, start=1):
        stage = Stage(TransientError("later"), backoff=backoff)
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
def test_the_wait_that_the_other_side_asks_for_is_kept_up_to_the_cap(receives: int, asked: float, wait: int) -> None:
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
def test_a_wait_is_whole_seconds_that_sqs_takes_and_never_shorter_than_asked_for(
    base: float, cap: float, receives: int, asked: float | None
) -> None:
    wait = Backoff(base=base, cap=cap, max_receives=4).delay(receives, asked)
    assert isinstance(wait, int)
    assert 0 < wait < 43_200
    assert wait >= min(cap, asked or 0)
    assert wait <= math.ceil(cap)


@pytest.mark.parametrize("error", [TransientError("later"), KeyError("x"), ClientError({"Error": {}}, "GetItem")])
def test_a_failure_of_any_kind_leaves_the_message_for_another_try(error: Exception) -> None:
    stage = Stage(error)
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.queue.hidden == [("m1", 30)]
    assert stage.bus.events == []


def test_a_failure_after_the_last_receive_becomes_a_dead_letter_without_a_wait() -> None:
    stage = Stage(KeyError("x"))
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert stage.queue.hidden == [("m1", 0)]


@pytest.mark.scenario(47)
@pytest.mark.parametrize("error", [PermanentError("never"), OversizeEvent("too large")])
def test_a_permanent_error_without_a_fact_becomes_a_dead_letter_without_waits(error: Exception) -> None:
    stage = Stage(error)
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.queue.hidden == [("m1", 0)]


@pytest.mark.parametrize(
    ("error", "receives", "ends"),
    [
        (TransientError("later"), 3, False),
        (TransientError("later"), 4, True),
        (PermanentError("never"), 1, True),
        (KeyError("x"), 1, False),
        (KeyError("x"), 5, True),
    ],
)
def test_a_message_gives_up_when_tries_are_over_or_would_not_help(error: Exception, receives: int, ends: bool) -> None:
    assert message(Queue(), receives=receives).gives_up(error) is ends


# ── Giving up ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(20)
def test_the_last_receive_publishes_its_facts_and_only_then_shows_the_message_to_the_dead_letters() -> None:
    stage = Stage(gave_up(FAILURE, dead_letter=True))
    order: list[str] = []
    publish, hide = stage.bus.publish, stage.queue.change_message_visibility
    stage.bus.publish = lambda *args, **kwargs: (order.append("publish"), publish(*args, **kwargs))  # type: ignore[assignment,method-assign,func-returns-value]
    stage.queue.change_message_visibility = lambda **kwargs: (order.append("show"), hide(**kwargs))  # type: ignore[assignment,method-assign,func-returns-value]
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert stage.bus.events == [FAILURE]
    assert stage.bus.causes == [MEDIUM]
    assert stage.queue.hidden == [("m1", 0)]
    assert order == ["publish", "show"]


def test_giving_up_in_the_middle_of_telling_is_giving_up() -> None:
    stage = Stage(raising(gave_up(FAILURE, dead_letter=False)))
    assert stage.process(record(MEDIUM)) == []
    assert stage.bus.events == [FAILURE]


def test_what_can_never_succeed_is_told_and_acknowledged() -> None:
    stage = Stage(gave_up(FAILURE, dead_letter=False))
    assert stage.process(record(MEDIUM)) == []
    assert stage.bus.events == [FAILURE]
    assert stage.queue.calls == 0


@pytest.mark.parametrize("dead_letter", [True, False])
def test_a_message_whose_end_could_not_be_told_is_not_over(dead_letter: bool) -> None:
    stage = Stage(gave_up(FAILURE, dead_letter=dead_letter))
    stage.bus.errors.append(PublishFailed("EventBridge refused"))
    assert stage.process(record(MEDIUM, receives=2)) == ["m1"]
    assert stage.queue.hidden == [("m1", 60)]


def test_an_end_with_nothing_to_tell_is_a_dead_letter_all_the_same() -> None:
    stage = Stage(gave_up(dead_letter=True))
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert stage.queue.hidden == [("m1", 0)]


def test_a_fenced_worker_publishes_nothing_and_changes_no_visibility() -> None:
    stage = Stage(raising(Fenced("taken over")))
    assert stage.process(record(MEDIUM, receives=4)) == ["m1"]
    assert stage.bus.events == []
    assert stage.queue.calls == 0


# ── Trouble with the visibility itself ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "receives", "published"),
    [
        (TransientError("later"), 1, []),
        (gave_up(FAILURE, dead_letter=True), 4, [FAILURE]),
        (gave_up(FAILURE, dead_letter=False), 1, [FAILURE]),
    ],
)
def test_a_visibility_that_can_not_be_changed_changes_nothing_else(
    error: Exception, receives: int, published: list[Event]
) -> None:
    well, broken = Stage(error), Stage(error)
    broken.queue.broken = True
    assert broken.process(record(MEDIUM, receives=receives)) == well.process(record(MEDIUM, receives=receives))
    assert broken.bus.events == well.bus.events == published


def test_a_batch_survives_a_visibility_that_can_not_be_changed() -> None:
    stage = Stage()
    stage.queue.broken = True
    left = stage.process_together(
        lambda _: {"a": TransientError("later")},
        record(medium("1", "a"), name="m1"),
        record("no event", name="m2"),
        record(medium("2", "b"), name="m3"),
    )
    assert sorted(left) == ["m1", "m2"]


# ── What can't be read ───────────────────────────────────────────────────────────────────────────────────────────────

POISON = [
    "not JSON",
    "{}",
    json.dumps({"detail-type": "MediaDiscovered", "detail": {"metadata": {"version": 2}, "data": {}}}),
    json.dumps({"detail-type": "SomethingElse", "detail": {}}),
    body_of(SessionRejected(sync_id="s", session_version=1)),  # an event, and not for this service
]


@pytest.mark.scenario(46)
@pytest.mark.parametrize("body", POISON)
def test_poison_goes_to_the_dead_letters_at_once_while_the_others_flow(body: str) -> None:
    stage = Stage(lambda *_: [RESULT], lambda *_: [RESULT])
    records = [record(medium("1"), name="m1"), record(body, name="m2"), record(medium("3"), name="m3")]
    assert stage.process(*records) == ["m2"]
    assert stage.reacted_to == [medium("1"), medium("3")]
    assert stage.queue.hidden == [("m2", 0)]
    assert stage.bus.events == [RESULT, RESULT]


@pytest.mark.scenario(46)
@pytest.mark.parametrize("body", POISON)
def test_poison_in_a_batch_that_is_taken_together_stays_alone(body: str) -> None:
    stage = Stage()
    seen: list[Event] = []
    left = stage.process_together(
        lambda events: seen.extend(events) or {},  # type: ignore[func-returns-value]
        record(body, name="m1"),
        record(medium("2"), name="m2"),
    )
    assert left == ["m1"]
    assert seen == [medium("2")]
    assert stage.queue.hidden == [("m1", 0)]


@pytest.mark.scenario(57)
def test_a_replayed_sync_request_is_acknowledged_and_nothing_more() -> None:
    replayed = record(body_of(SyncRequested(sync_id="s"), **{"replay-name": "last week"}))
    stage = Stage()
    assert stage.process(replayed) == []
    assert stage.process_together(lambda events: pytest.fail(f"{events}"), replayed) == []
    assert stage.reacted_to == []
    assert stage.queue.calls == 0


def test_a_replayed_fact_is_a_fact() -> None:
    stage = Stage()
    assert stage.process(record(body_of(MEDIUM, **{"replay-name": "last week"}))) == []
    assert stage.reacted_to == [MEDIUM]


def test_a_refused_request_reaches_the_service() -> None:
    stage = Stage()
    body = json.dumps({"id": "own-id", "detail-type": "SyncRequested", "detail": {"sync_id": "../.."}})
    assert stage.process(record(body)) == []
    (event,) = stage.reacted_to
    assert isinstance(event, SyncRequested)
    assert event.sync_id == "own-id"
    assert event.refused


# ── Batches that are taken together ──────────────────────────────────────────────────────────────────────────────────


def test_the_facts_of_a_sync_that_failed_come_again_and_those_of_the_others_do_not() -> None:
    stage = Stage()
    records = [
        record(medium("1", "a"), name="m1", receives=1),
        record(medium("2", "b"), name="m2"),
        record(medium("3", "a"), name="m3", receives=2),
        record(SyncReviewDue(), name="m4"),
    ]
    left = stage.process_together(lambda _: {"a": TransientError("later")}, *records)
    assert left == ["m1", "m3"]
    assert stage.queue.hidden == [("m1", 30), ("m3", 60)]


def test_a_review_that_failed_comes_again_alone() -> None:
    stage = Stage()
    records = [record(SyncReviewDue(), name="m1"), record(medium("2", "b"), name="m2")]
    assert stage.process_together(lambda _: {"": KeyError("x")}, *records) == ["m1"]


def test_a_batch_whose_reaction_breaks_comes_again_with_its_waits_but_for_the_poison() -> None:
    stage = Stage()

    def react(_: Sequence[Event]) -> Mapping[str, Exception]:
        raise TransientError("down", retry_after=50)

    records = [record(medium("1", "a"), name="m1"), record("poison", name="m2"), record(medium("3", "b"), name="m3")]
    assert sorted(stage.process_together(react, *records)) == ["m1", "m2", "m3"]
    assert sorted(stage.queue.hidden) == [("m1", 50), ("m2", 0), ("m3", 50)]


def test_facts_that_failed_for_the_last_time_become_dead_letters_without_a_wait() -> None:
    stage = Stage()
    stage.process_together(lambda _: {"s": TransientError("later")}, record(MEDIUM, receives=4))
    assert stage.queue.hidden == [("m1", 0)]


def test_a_batch_of_nothing_but_poison_calls_nobody() -> None:
    assert Stage().process_together(lambda events: pytest.fail(f"{events}"), record("poison")) == ["m1"]


@pytest.mark.scenario(53)
def test_no_batch_is_answered_with_what_an_earlier_one_left() -> None:
    stage = Stage(TransientError("later"))
    assert stage.process(record(MEDIUM)) == ["m1"]
    assert stage.process(record(MEDIUM)) == []
    assert stage.process_together(lambda _: {"s": KeyError("x")}, record(MEDIUM)) == ["m1"]
    assert stage.process_together(lambda _: {}, record(MEDIUM)) == []


# ── What the log says ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(str(vars(line)) for line in caplog.records)


def test_the_log_has_the_text_of_errors_that_were_foreseen(logged: Callable[[], str]) -> None:
    Stage(gave_up(FAILURE, dead_letter=True, cause=TransientError("the CDN is down"))).process(record(MEDIUM))
    Stage(TransientError("the API is down")).process(record(MEDIUM))
    refusal = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "role x may not"}}, "GetItem")
    Stage(refusal).process(record(MEDIUM))
    for text in ("the CDN is down", "the API is down", "AccessDeniedException", "role x may not"):
        assert text in logged()


@pytest.mark.scenario(56)
def test_the_log_has_of_an_unforeseen_error_its_kind_and_place_but_not_what_it_choked_on(
    logged: Callable[[], str],
) -> None:
    def react(*_: object) -> Iterable[Event]:
        raise ValueError("invalid URL https://cdn.example/1?Signature=canary")

    stage = Stage(react, gave_up(FAILURE, dead_letter=True, cause=ValueError("canary")))
    stage.process(record(MEDIUM), record(MEDIUM, name="m2", receives=4))
    stage.process_together(lambda _: react(), record(MEDIUM))  # type: ignore[arg-type,return-value]
    assert "ValueError" in logged()
    assert "test_inbox.py" in logged()
    assert "canary" not in logged()


@pytest.mark.scenario(53)
def test_the_log_of_one_message_names_its_sync_and_medium_and_not_those_of_another() -> None:
    keys = Logger().get_current_keys
    seen: list[object] = []

    def react(*_: object) -> Iterable[Event]:
        seen.append((keys().get("sync_id"), keys().get("media_id")))
        raise TransientError("later")

    stage = Stage(react, react)
    stage.process(record(medium("1", "first"), name="m1"), record("poison", name="m2"), record(medium("2", "second")))
    assert seen == [("first", "1"), ("second", "2")]
    assert not {"sync_id", "media_id"} & set(keys())


def test_the_log_says_which_medium_a_fact_is_about(logged: Callable[[], str]) -> None:
    Stage().process_together(lambda _: {}, record(medium("the-medium", "s")))
    assert "'media_id': 'the-medium'" in logged()


def test_the_log_says_what_came_of_a_message_once_that_is_on_the_bus(logged: Callable[[], str]) -> None:
    Stage(lambda *_: [FAILURE]).process(record(MEDIUM))
    assert "'published': ['MediaDownloadFailed']" in logged()


def test_no_library_tells_of_its_requests_whatever_the_level_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    Stage()
    for library in ("botocore.parsers", "botocore.endpoint", "urllib3.connectionpool", "boto3", "s3transfer"):
        assert not logging.getLogger(library).isEnabledFor(logging.DEBUG)
