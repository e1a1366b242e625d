"""Reading the journal: events and receives out of log lines, whatever stands there, and the patterns that find them."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError

from ops import events
from ops.dead_letters import DeadLetter
from ops.errors import OperatorError
from ops.journal import Journal, pattern_for, published, reacting, receive, requested
from services.shared.envelope import detail
from services.shared.events import EVENT_TYPES, SERVICES, MediaDiscovered, SyncRequested, SyncReviewDue
from services.shared.inbox.inbox import SETTLED
from tests.unit.clocks import ManualClock
from tests.unit.story_events import BEGAN
from tools.template import reactions_of_services

if TYPE_CHECKING:
    from ops.deployment import Deployment

MEDIUM = MediaDiscovered(sync_id="s1", media_id="m1", filename="GX01.MP4", hops=2, causation_id="cause")


def envelope(event: Any = MEDIUM, **changes: Any) -> dict[str, Any]:
    own = {
        "id": "own-id",
        "source": "cloud-sync.lister",
        "detail-type": type(event).__name__,
        "time": "2026-11-25T02:00:00Z",
        "detail": detail(event),
    }
    return {**own, **changes}


def read(content: object, zone: ZoneInfo | None = None) -> Any:
    return published(content if isinstance(content, str) else json.dumps(content), BEGAN, lambda: zone or UTC)


def settled(**changes: Any) -> str:
    own = {
        "message": SETTLED,
        "timestamp": "2026-11-25T03:00:00.250+01:00",
        "event_id": "e1",
        "message_id": "m1",
        "receives": 2,
        "waited": 1.5,
        "took": 0.25,
        "outcome": "retry",
        "error": "Incomplete",
        "why": "cut",
    }
    return json.dumps({name: value for name, value in {**own, **changes}.items() if value is not None})


class Logs:
    """CloudWatch Logs with these lines by log group; remembers the requests. Filters nothing."""

    def __init__(self, groups: Mapping[str, list[tuple[float, str]]]) -> None:
        self.groups = {name: [*lines] for name, lines in groups.items()}
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> "Logs":
        assert name == "filter_log_events"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(request)
        start = request.get("startTime", 0)
        for number, (after, text) in enumerate(self.groups.get(request["logGroupName"], [])):
            at = int((BEGAN.timestamp() + after) * 1000)
            if at >= start:
                yield {"events": [{"timestamp": at, "message": text, "eventId": f"line-{number}"}]}


class Scheduler:
    def __init__(self, zone: str | None) -> None:
        self.zone = zone

    def get_schedule(self, **_: str) -> dict[str, str]:
        if self.zone is None:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSchedule")
        return {"ScheduleExpressionTimezone": self.zone}


class Stack:
    """A deployment with these logs."""

    stack_name = "cloud-sync-dev"
    endpoint_url = "http://127.0.0.1"

    def __init__(self, zone: str | None = "UTC", **groups: list[tuple[float, str]]) -> None:
        self.logs = Logs(groups)
        self._scheduler = Scheduler(zone)
        services = {f"{service.title()}LogGroupName": service for service in SERVICES}
        names = {"ScheduleGroupName": "group", "DailyScheduleName": "daily"}
        self.outputs = {"EventLogGroupName": "events", **services, **names}
        self.item: dict[str, Any] = {}

    def client(self, name: str) -> Any:
        return {"logs": self.logs, "scheduler": self._scheduler}[name]

    def table(self, _: str) -> Any:
        return self

    def get_item(self, **_: Any) -> dict[str, Any]:
        return {"Item": self.item} if self.item else {}


def journal(stack: Stack) -> Journal:
    return Journal(cast("Deployment", stack))


# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_event_is_read_with_all_that_a_story_needs() -> None:
    event = read(envelope())
    assert (event.id, event.event_id, event.type, event.publisher) == (
        "own-id",
        MEDIUM.event_id,
        "MediaDiscovered",
        "lister",
    )
    assert (event.sync_id, event.media_id, event.name, event.causation_id) == ("s1", "m1", "GX01.MP4", "cause")
    assert (event.hops, event.at, event.reason, event.times) == (2, BEGAN, "", 1)


def test_an_event_of_a_newer_version_is_read_too() -> None:
    content = {"metadata": {"event_id": "e", "sync_id": "s"}, "data": {"reason": "why", "more": [1]}}
    event = read(envelope(**{"detail-type": "NewerEvent", "detail": content}))
    assert (event.type, event.event_id, event.sync_id, event.reason) == ("NewerEvent", "e", "s", "why")


def test_a_request_by_hand_belongs_to_the_sync_that_it_begins() -> None:
    event = read(envelope(**{"detail-type": "SyncRequested", "detail": {}, "source": "cloud-sync.operator"}))
    assert (event.sync_id, event.event_id) == ("own-id", SyncRequested(sync_id="own-id").event_id)
    assert event.publisher == "operator"
    named = read(envelope(**{"detail-type": "SyncCancelRequested", "detail": {"sync_id": "s9"}}))
    assert named.sync_id == "s9"


def test_a_scheduled_request_is_named_by_its_date_in_the_zone_of_the_schedule() -> None:
    content = {"data": {"trigger": "scheduled", "scheduled_time": "2026-11-24T23:30:00Z"}}
    body = envelope(**{"detail-type": "SyncRequested", "detail": content})
    assert read(body).sync_id == "scheduled-2026-11-24"
    assert read(body, ZoneInfo("Europe/Berlin")).sync_id == "scheduled-2026-11-25"


def test_what_is_due_has_the_id_of_its_time_and_no_sync() -> None:
    event = read(envelope(**{"detail-type": "SyncReviewDue", "detail": {}}))
    assert (event.sync_id, event.event_id) == ("", SyncReviewDue(occurred_at="2026-11-25T02:00:00Z").event_id)


@pytest.mark.parametrize(
    "body",
    [
        "no JSON",
        "[]",
        '"text"',
        "null",
        json.dumps({"detail-type": "X"}),
        json.dumps({"detail": {"metadata": {"event_id": "e"}}}),
        json.dumps(envelope(detail={"metadata": [], "data": {}})),
        json.dumps(envelope(detail={"metadata": {"event_id": "e", "hops": "many"}})),
        json.dumps(envelope(detail="text")),
        json.dumps(envelope(**{"detail-type": "SyncCancelRequested", "detail": {}})),
    ],
)
def test_a_line_without_an_event_is_passed_over(body: str) -> None:
    assert read(body) is None


# ── Receives ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_receive_is_read_from_the_line_that_the_inbox_writes() -> None:
    found = receive("downloader", settled())
    assert found
    assert (found.service, found.event_id, found.message_id, found.number) == ("downloader", "e1", "m1", 2)
    assert found.ended_at == BEGAN + timedelta(seconds=0.25)
    assert (found.waited, found.took, found.outcome, found.error, found.why) == (
        1.5,
        0.25,
        "retry",
        "Incomplete",
        "cut",
    )
    bare = receive("lister", settled(took=None, error=None, why=None))
    assert bare
    assert (bare.took, bare.error, bare.why) == (None, "", "")


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1",
        "[]",
        "7",
        settled(message="something_else"),
        settled(event_id=None),  # an unreadable message has none
        settled(receives="x"),
        settled(timestamp="yesterday"),
    ],
)
def test_a_line_about_no_receive_is_passed_over(text: str) -> None:
    assert receive("downloader", text) is None


# ── The log groups ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_reactions_are_those_of_the_services() -> None:
    expected = {
        name: {service for service, reactions in reactions_of_services().items() if event in reactions}
        for name, event in EVENT_TYPES.items()
    }
    assert {name: set(services) for name, services in reacting().items()} == {
        name: services for name, services in expected.items() if services
    }


def test_a_stack_without_the_log_is_named() -> None:
    stack = Stack()
    del stack.outputs["EventLogGroupName"]
    with pytest.raises(OperatorError, match="cloud-sync-dev keeps no log of its events yet"):
        journal(stack)


def test_events_are_searched_by_sync_medium_and_those_that_only_reading_can_tell() -> None:
    stack = Stack(events=[(0, json.dumps(envelope())), (1, "no event")])
    found = journal(stack).events_about("s1", since=BEGAN - timedelta(seconds=1))
    assert [event.event_id for event in found] == [MEDIUM.event_id]
    assert stack.logs.asked == [
        {
            "logGroupName": "events",
            "startTime": int((BEGAN.timestamp() - 1) * 1000),
            "filterPattern": (
                '{ ($.detail.metadata.sync_id = "s1") || ($.detail.data.media_id = "s1")'
                ' || ($.detail-type = "SyncRequested") || ($.detail-type = "SyncCancelRequested")'
                ' || ($.detail-type = "SessionProbeDue") || ($.detail-type = "SyncReviewDue") }'
            ),
        }
    ]


def test_events_without_media_are_searched_sync_by_sync() -> None:
    stack = Stack(events=[(0, json.dumps(envelope()))])
    assert len(journal(stack).events_without_media(["b", "a"])) == 2
    assert sorted(one["filterPattern"] for one in stack.logs.asked) == [
        f'{{ ($.detail.metadata.sync_id = "{sync_id}") && ($.detail.data.media_id NOT EXISTS) }}' for sync_id in "ab"
    ]


def test_the_receives_of_all_services_are_found() -> None:
    stack = Stack(downloader=[(0, settled()), (0, "START")], summarizer=[(0, settled(outcome="done"))])
    found = journal(stack).receives(("$.sync_id", "s1"), ("$.media_id", None))
    assert sorted((one.service, one.outcome) for one in found) == [("downloader", "retry"), ("summarizer", "done")]
    assert {one["logGroupName"] for one in stack.logs.asked} == set(SERVICES)
    assert {one["filterPattern"] for one in stack.logs.asked} == {
        '{ ($.message = "message_settled") && ($.sync_id = "s1") && ($.media_id NOT EXISTS) }'
    }


@pytest.mark.parametrize("name", ['a"b', "a b", "", "a\n", "x" * 257, "é"])
def test_a_name_that_could_change_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(OperatorError, match="is no id"):
        journal(Stack()).events_about(name)


def test_the_zone_is_the_schedules_or_utc() -> None:
    content = {"data": {"trigger": "scheduled", "scheduled_time": "2026-11-24T23:30:00Z"}}
    line = json.dumps(envelope(**{"detail-type": "SyncRequested", "detail": content}))
    for zone, date in (("Europe/Berlin", "25"), (None, "24")):
        (event,) = journal(Stack(zone, events=[(0, line)])).events()
        assert event.sync_id == f"scheduled-2026-11-{date}"


def test_a_dead_letter_is_read_with_its_event() -> None:
    def dead(body: str) -> DeadLetter:
        return DeadLetter(
            service="downloader",
            queue="q",
            body=body,
            message_id="m",
            receipt="r",
            receives=5,
            since=BEGAN,
            undelivered_because="no permission",
        )

    found = journal(Stack()).letter(dead(json.dumps(envelope())))
    assert found
    letter, event = found
    assert (letter.service, letter.event_id, letter.message_id) == ("downloader", MEDIUM.event_id, "m")
    assert (letter.since, letter.why) == (BEGAN, "no permission")
    assert (event.event_id, event.at) == (MEDIUM.event_id, BEGAN)
    assert journal(Stack()).letter(dead("no event")) is None


def test_a_sync_is_searched_from_shortly_before_its_request_on() -> None:
    stack = Stack()
    assert requested(cast("Deployment", stack), "s") is None
    stack.item = {"requested_at": ""}
    assert requested(cast("Deployment", stack), "s") is None
    stack.item = {"requested_at": "2026-11-25T02:00:00Z"}
    assert requested(cast("Deployment", stack), "s") == BEGAN - timedelta(minutes=5)


# ── The last events, and those that come ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wanted", "pattern"),
    [
        ({}, ""),
        ({"kind": "SyncFailed"}, '{ ($.detail-type = "SyncFailed") }'),
        ({"media_id": "m1", "sync_id": "s1"}, '{ ($.detail.data.media_id = "m1") }'),
    ],
)
def test_the_pattern_is_the_narrowest_that_loses_nothing(wanted: dict[str, str], pattern: str) -> None:
    assert pattern_for(**wanted) == pattern
    assert pattern_for(sync_id="s1").startswith('{ ($.detail.metadata.sync_id = "s1") || ($.detail-type = "SyncR')


def line(number: int, **changes: Any) -> str:
    return json.dumps(envelope(MediaDiscovered(sync_id="s1", media_id=f"m{number}", **changes), id=f"e{number}"))


def test_the_last_events_are_searched_in_growing_windows() -> None:
    hours = [-200.0, -100.0, -20.0, -0.5]
    stack = Stack(events=[(3600 * after, line(number)) for number, after in enumerate(hours)])

    def last(count: int, **wanted: str) -> list[str]:
        stack.logs.asked.clear()
        found = events.last(cast("Deployment", stack), events.Filter(**wanted), count=count, clock=ManualClock(BEGAN))
        return [one.event.media_id for one in found]

    for count, searches in ((1, 1), (2, 2), (3, 3), (4, 4), (9, 4)):
        assert last(count) == [f"m{number}" for number in range(4)][-count:]
        assert len(stack.logs.asked) == searches
    assert last(9, media_id="m2") == ["m2"], "what a filter lets pass is looked at again"
    assert last(9, sync_id="other") == []
    assert last(9, kind="SyncFailed") == []


def test_new_events_are_shown_once_also_when_they_are_late() -> None:
    stack, clock = Stack(events=[(-1, line(0)), (0, line(1))]), ManualClock(BEGAN)
    turns = iter([[(1.0, line(2))], [], [(0.5, line(3)), (40.0, line(4))], []])
    clock.while_asleep = lambda: stack.logs.groups["events"].extend(next(turns))
    seen = events.tail(cast("Deployment", stack), events.Filter(), clock=clock)
    assert [next(seen).event.media_id for _ in range(4)] == ["m1", "m2", "m3", "m4"]
    assert clock.slept == [0.5, 0.5, 0.5]
    starts = [request["startTime"] for request in stack.logs.asked]
    assert starts == [int(BEGAN.timestamp() * 1000)] * 4, "an event may be late by half a minute"


def test_a_tail_does_not_search_what_is_long_over() -> None:
    stack, clock = Stack(events=[]), ManualClock(BEGAN)
    stack.endpoint_url = ""

    def publish() -> None:
        after = (clock.moment - BEGAN).total_seconds()
        stack.logs.groups["events"].append((after, line(int(after))))

    clock.while_asleep = publish
    seen = events.tail(cast("Deployment", stack), events.Filter(), clock=clock)
    for _ in range(40):
        next(seen)
    assert clock.slept == [2.0] * 40
    assert stack.logs.asked[-1]["startTime"] == int((BEGAN.timestamp() + 80 - 30) * 1000)


def test_an_event_is_a_line_without_what_all_lines_have() -> None:
    event = read(envelope(MediaDiscovered(sync_id="s1", media_id="m1", filename="a\x1b[2Jb")))
    assert events.in_words(event, events.Filter()) == (
        "2026-11-25T02:00:00Z  lister         MediaDiscovered         s1  m1  a?[2Jb"
    )
    assert events.in_words(event, events.Filter(sync_id="s1", media_id="m1")).endswith("MediaDiscovered         a?[2Jb")


def test_an_event_as_json_is_one_line() -> None:
    (seen,) = events.last(
        cast("Deployment", Stack(events=[(0, json.dumps(envelope(), indent=2))])),
        events.Filter(),
        count=1,
        clock=ManualClock(datetime(2026, 11, 25, 2, 1, tzinfo=UTC)),
    )
    assert json.loads(seen.envelope) == json.loads(json.dumps(envelope()))
    assert "\n" not in seen.envelope
