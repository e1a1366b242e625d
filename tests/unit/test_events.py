"""Writing and reading events: the contract of all services."""

import json
import re
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.shared.envelope import MalformedEvent, detail, is_replay, read_event
from services.shared.events import EVENT_TYPES, Due, Event, Filters, MediaDiscovered, SyncRequested
from tests.unit.arbitrary_events import events, events_of, required_fields
from tools.simulator.wiring import wires

BERLIN = ZoneInfo("Europe/Berlin")
OWN_ID = "7bf73129-1428-4cd3-a780-95db273d1602"
SENT_AT = "2026-11-23T01:00:03Z"


def on_the_bus(detail_type: object, content: object, **envelope: object) -> str:
    """The body of the SQS message that EventBridge makes of such an event."""
    return json.dumps(
        {
            "version": "0",
            "id": OWN_ID,
            "detail-type": detail_type,
            "source": "cloud-sync.operator",
            "account": "123456789012",
            "time": SENT_AT,
            "region": "eu-central-1",
            "resources": [],
            "detail": content,
            **envelope,
        }
    )


def delivered(event: Event) -> str:
    return on_the_bus(type(event).__name__, detail(event), time=event.occurred_at)


def requested(content: object, **envelope: object) -> SyncRequested:
    event = read_event(on_the_bus("SyncRequested", content, **envelope), schedule_zone=BERLIN)
    assert isinstance(event, SyncRequested)
    return event


def scheduled(moment: datetime, zone: ZoneInfo) -> str:
    """The sync id that a schedule's event gets when it was due at this moment."""
    content = {"provider": "gopro", "trigger": "scheduled", "scheduled_time": f"{moment:%Y-%m-%dT%H:%M:%SZ}"}
    event = read_event(on_the_bus("SyncRequested", content, source="cloud-sync.schedule"), schedule_zone=zone)
    assert isinstance(event, SyncRequested)
    assert not event.refused
    return event.sync_id


MEDIUM = MediaDiscovered(sync_id="s", media_id="m", filename="GX010001.MP4", size=5)

# ── SyncRequested by hand ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content", [{}, {"provider": "gopro"}, None, {"data": {}}, {"provider": None, "filters": None}]
)
def test_the_shortest_request_asks_for_a_whole_sync_named_by_its_own_event(content: object) -> None:
    assert requested(content) == SyncRequested(sync_id=OWN_ID, occurred_at=SENT_AT)


def test_everything_that_can_be_written_by_hand_is_read() -> None:
    event = requested(
        {
            "provider": "gopro",
            "sync_id": "holidays-2026",
            "filters": {"types": ["Video"], "captured_from": "2026-07-01", "captured_until": "2026-08-01"},
        }
    )
    assert event == SyncRequested(
        sync_id="holidays-2026",
        occurred_at=SENT_AT,
        filters=Filters(types=("Video",), captured_from="2026-07-01", captured_until="2026-08-01"),
    )


@pytest.mark.parametrize("sync_id", ["a", "A1", "scheduled-2026-11-23", "x" * 100, "2026.11_23-b"])
def test_a_given_sync_id_is_kept(sync_id: str) -> None:
    assert requested({"sync_id": sync_id}).sync_id == sync_id
    assert requested({"metadata": {"sync_id": sync_id}, "data": {}}).sync_id == sync_id


@pytest.mark.parametrize("sync_id", ["", None])
def test_an_empty_sync_id_counts_as_missing(sync_id: object) -> None:
    assert requested({"sync_id": sync_id}).sync_id == OWN_ID


@pytest.mark.parametrize(
    "sync_id",
    ["../../etc", "a/b", ".hidden", "-rf", "x" * 101, "a b", "ä", "a\n", "\u0663", 5, 0, False, [], {}, ["a"]],
)
def test_an_unusable_sync_id_is_refused_under_the_events_own_id(sync_id: object) -> None:
    for content in ({"sync_id": sync_id}, {"metadata": {"sync_id": sync_id}, "data": {}}):
        event = requested(content)
        assert event.sync_id == OWN_ID
        assert "`sync_id`" in event.refused


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"filters": {"type": ["Video"]}}, "type"),
        ({"filters": {"captured_form": "2026-01-01", "types": []}}, "captured_form"),
        ({"filters": {"types": "Video"}}, "filters.types"),
        ({"filters": {"types": [1]}}, "filters.types"),
        ({"filters": ["Video"]}, "filters"),
        ({"filters": "Video"}, "filters"),
        ({"filters": 0}, "filters"),
        ({"scheduled_time": "soon"}, "scheduled_time"),
        ({"scheduled_time": 5}, "scheduled_time"),
        ({"scheduled_time": "9999-12-31T23:59:59Z"}, "scheduled_time"),
        ({"trigger": 7}, "trigger"),
        ({"provider": ["gopro"]}, "provider"),
        ({"data": ["gopro"]}, "data"),
        ({"metadata": {"version": 2}, "data": {}}, "version"),
        ({"metadata": {"hops": "many"}, "data": {}}, "hops"),
        ({"metadata": "none", "data": {}}, "metadata"),
    ],
)
def test_a_request_with_a_mistake_is_returned_as_refused(content: object, named: str) -> None:
    event = requested(content)
    assert named in event.refused
    assert event == SyncRequested(sync_id=OWN_ID, occurred_at=SENT_AT, refused=event.refused)


def test_a_mistake_in_a_request_without_an_event_id_is_a_malformed_event() -> None:
    with pytest.raises(MalformedEvent, match="scheduled_time"):
        requested({"scheduled_time": "soon"}, id=None)


def test_a_request_cannot_set_its_own_refusal() -> None:
    assert requested({"refused": "by me"}).refused == ""
    assert requested({"metadata": {}, "data": {"refused": "by me"}}).refused == ""
    assert "refused" not in detail(SyncRequested(sync_id="s", refused="never on the wire"))["data"]


def test_metadata_is_not_read_from_the_data_of_a_request() -> None:
    event = requested({"hops": 7, "causation_id": "x", "occurred_at": "2020-01-01T00:00:00Z"})
    assert event == SyncRequested(sync_id=OWN_ID, occurred_at=SENT_AT)


# ── The names of syncs ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_scheduled_sync_is_named_by_its_local_date() -> None:
    assert scheduled(datetime(2026, 11, 22, 23, 30, tzinfo=UTC), BERLIN) == "scheduled-2026-11-23"


def test_a_scheduled_time_without_an_offset_is_utc_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        event = requested({"trigger": "scheduled", "scheduled_time": "2026-11-23T01:00:00"})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert event.sync_id == "scheduled-2026-11-23"


ZONES = (
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Auckland",
)


DAYS = [date(2020, 1, 1) + timedelta(days=number) for number in range(20 * 365 + 5)]
assert DAYS[-1] == date(2039, 12, 31)


def due(day: date, hour: int, minute: int, zone: ZoneInfo) -> datetime | None:
    """When a schedule of this local time fires on this day, in UTC; None when the clocks skip that time."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    moment = local.astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None) else None


@pytest.mark.scenario(23)
@pytest.mark.parametrize("zone", [ZoneInfo(name) for name in ZONES], ids=str)
def test_over_twenty_years_every_local_date_has_one_sync_and_no_other_date_has_it(zone: ZoneInfo) -> None:
    times = wires().daily, wires().catch_up
    for day in DAYS:
        fired = [moment for hour, minute in times if (moment := due(day, hour, minute, zone))]
        assert {scheduled(moment, zone) for moment in fired} == {f"scheduled-{day.isoformat()}"}


@pytest.mark.scenario(23)
@given(zone=st.timezones(), day=st.sampled_from(DAYS))
def test_in_any_zone_the_schedule_and_its_catch_up_name_one_sync_a_local_date(zone: ZoneInfo, day: date) -> None:
    fired = [moment for time_of_day in (wires().daily, wires().catch_up) if (moment := due(day, *time_of_day, zone))]
    assert {scheduled(moment, zone) for moment in fired} == {f"scheduled-{day.isoformat()}"}


@pytest.mark.scenario(23)
def test_twenty_years_have_nights_without_the_time_of_the_daily_sync() -> None:
    without = [day for name in ZONES for day in DAYS if not due(day, *wires().daily, ZoneInfo(name))]
    assert len(without) == 100, "once a year in five of the zones"
    assert all(due(day, *wires().catch_up, ZoneInfo(name)) for name in ZONES for day in without)


@pytest.mark.scenario(23)
def test_the_night_without_two_o_clock_gets_its_sync_from_the_catch_up() -> None:
    day = date(2027, 3, 28)
    assert due(day, 2, 0, BERLIN) is None
    catch_up = due(day, 4, 15, BERLIN)
    assert catch_up == datetime(2027, 3, 28, 2, 15, tzinfo=UTC)
    assert scheduled(catch_up, BERLIN) == "scheduled-2027-03-28"


# ── Identity ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(events)
def test_a_repeated_fact_has_the_same_id(event: Event) -> None:
    assert replace(event).event_id == event.event_id
    if not isinstance(event, Due):
        read = read_event(on_the_bus(type(event).__name__, detail(event), time="2030-01-01T00:00:00Z"))
        assert read.event_id == event.event_id == detail(event)["metadata"]["event_id"]


def occurrence(event: Event) -> tuple[object, ...]:
    return type(event), event.sync_id, *(getattr(event, name) for name in event.identity)


@given(st.data(), st.sampled_from(sorted(EVENT_TYPES)))
def test_different_facts_have_different_ids(data: st.DataObject, name: str) -> None:
    one, other = data.draw(events_of(EVENT_TYPES[name])), data.draw(events | events_of(EVENT_TYPES[name]))
    assert (one.event_id == other.event_id) == (occurrence(one) == occurrence(other))


def test_no_separator_in_a_media_id_makes_two_facts_one() -> None:
    one = MediaDiscovered(sync_id="s|MediaDiscovered|a", media_id="b")
    other = MediaDiscovered(sync_id="s", media_id="a|MediaDiscovered|b")
    assert one.event_id != other.event_id


def test_two_reviews_are_two_facts() -> None:
    one = read_event(on_the_bus("SyncReviewDue", {}, time="2026-11-23T01:00:00Z"))
    other = read_event(on_the_bus("SyncReviewDue", {}, time="2026-11-23T01:15:00Z"))
    assert one.event_id != other.event_id


# ── Writing and reading ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
@given(st.data())
def test_a_written_event_is_read_back_unchanged(name: str, data: st.DataObject) -> None:
    event = data.draw(events_of(EVENT_TYPES[name]))
    assert read_event(delivered(event), schedule_zone=BERLIN) == event


def test_the_envelope_has_the_metadata_and_data_of_the_contract() -> None:
    written = detail(MEDIUM)
    assert set(written) == {"metadata", "data"}
    assert list(written["metadata"]) == ["event_id", "version", "sync_id", "hops", "causation_id", "occurred_at"]
    assert not set(written["metadata"]) & set(written["data"])
    assert written["data"]["media_id"] == "m"


@pytest.mark.scenario(48)
@given(events, st.dictionaries(st.text().map(lambda name: f"new_{name}"), st.none() | st.integers() | st.text()))
def test_fields_of_a_later_version_of_the_code_are_ignored(event: Event, later: dict[str, Any]) -> None:
    content = detail(event)
    content["data"] |= later
    content["metadata"] |= later
    content |= later
    body = on_the_bus(type(event).__name__, content, time=event.occurred_at, **later)
    assert read_event(body) == event


REQUIRED = [
    (name, field)
    for name, event_type in sorted(EVENT_TYPES.items())
    if not issubclass(event_type, SyncRequested | Due)
    for field in required_fields(event_type)
]


@pytest.mark.scenario(46)
@pytest.mark.parametrize(("name", "field"), REQUIRED)
@settings(max_examples=1)
@given(st.data())
def test_a_missing_field_is_named(name: str, field: str, data: st.DataObject) -> None:
    content = detail(data.draw(events_of(EVENT_TYPES[name])))
    del content["metadata" if field == "sync_id" else "data"][field]
    with pytest.raises(MalformedEvent, match=f"{name}: .*`{field}`"):
        read_event(on_the_bus(name, content))


def test_metadata_is_not_read_from_the_data_of_a_fact() -> None:
    content = detail(MEDIUM)
    content["data"] |= {"sync_id": "another", "hops": 9}
    del content["metadata"]["sync_id"]
    with pytest.raises(MalformedEvent, match="`sync_id`"):
        read_event(on_the_bus("MediaDiscovered", content))


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("data", "media_id", 5),
        ("data", "media_id", None),
        ("data", "size", "5"),
        ("data", "size", 5.5),
        ("data", "item_count", True),
        ("metadata", "hops", "0"),
        ("metadata", "occurred_at", 5),
        ("metadata", "sync_id", ["s"]),
        ("metadata", "sync_id", "../s"),
        ("metadata", "sync_id", ""),
        ("metadata", "version", 2),
        ("metadata", "version", "1"),
        ("metadata", "version", None),
    ],
)
def test_a_field_of_another_type_is_named(where: str, field: str, value: object) -> None:
    content = detail(MEDIUM)
    content[where][field] = value
    with pytest.raises(MalformedEvent, match=rf"MediaDiscovered: .*[`.]{field}`"):
        read_event(on_the_bus("MediaDiscovered", content))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a":' * 100_000, "not JSON"),
        ("1" * 5_000, "not JSON"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('"replay-name"', "not a JSON object"),
        ("{}", "detail-type"),
        (on_the_bus("Something", {}), "detail-type"),
        (on_the_bus(["MediaDiscovered"], {}), "detail-type"),
        (on_the_bus({"a": 1}, {}), "detail-type"),
        (on_the_bus("MediaDiscovered", "text"), "detail"),
        (on_the_bus("MediaDiscovered", None), "metadata"),
        (on_the_bus("SyncRequested", []), "detail"),
        (on_the_bus("SyncRequested", False), "detail"),
        (on_the_bus("MediaDiscovered", {}), "metadata"),
        (on_the_bus("MediaDiscovered", {"metadata": {}, "data": []}), "data"),
    ],
)
def test_a_body_that_is_no_event_is_malformed(body: str, says: str) -> None:
    with pytest.raises(MalformedEvent, match=says):
        read_event(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.scenario(46)
@given(json_values.map(json.dumps) | st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_body_raises_anything_but_malformed_event(body: str) -> None:
    with pytest.raises(MalformedEvent):
        read_event(body)


@pytest.mark.scenario(46)
@given(st.data(), st.sampled_from(sorted(EVENT_TYPES)), json_values)
def test_no_value_within_an_event_raises_anything_but_malformed_event(
    data: st.DataObject, name: str, anything: Any
) -> None:
    content = detail(data.draw(events_of(EVENT_TYPES[name])))
    place = data.draw(st.sampled_from(["detail", "data", "metadata", "field of data", "field of metadata", "envelope"]))
    envelope: dict[str, Any] = {}
    if place == "detail":
        content = anything
    elif place in content:
        content[place] = anything
    elif place == "envelope":
        envelope = {data.draw(st.sampled_from(["id", "time", "source", "detail-type"])): anything}
    else:
        part = content[place.removeprefix("field of ")]
        part[data.draw(st.sampled_from([*part, "sync_id", "filters"]))] = anything
    try:
        event = read_event(on_the_bus(name, content, **envelope), schedule_zone=BERLIN)
    except MalformedEvent:
        return
    assert isinstance(event, Event)
    assert re.fullmatch(r"[0-9a-f-]{36}", event.event_id)


def every_place(content: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in a JSON document."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else []
    return [place for key in keys for place in [(content, key), *every_place(content[key])]]


CANARY = "eyJhbGciOiJSU0EtT0FFUCJ9.canary"


@pytest.mark.scenario(56)
@given(st.data(), events, st.sampled_from([CANARY, [CANARY], {"token": CANARY}, {CANARY: 1}, f" - at {CANARY} - at "]))
def test_no_refusal_quotes_the_value_of_a_field(data: st.DataObject, event: Event, canary: Any) -> None:
    content = detail(event)
    container, key = data.draw(st.sampled_from(every_place(content)))
    container[key] = canary
    assume(not (key == "filters" and isinstance(canary, dict)))  # whose field names are what one has to be told
    try:
        read = read_event(on_the_bus(type(event).__name__, content))
    except MalformedEvent as error:
        told: BaseException | None = error
        while told:
            assert "canary" not in str(told) + repr(told)
            told = told.__cause__ or told.__context__
    else:
        assert "canary" not in getattr(read, "refused", "")


def test_a_replayed_event_is_recognized_by_its_replay_name() -> None:
    assert is_replay(on_the_bus("SyncRequested", {}, **{"replay-name": "again"}))
    assert not is_replay(on_the_bus("SyncRequested", {"replay-name": "not of the archive"}))
