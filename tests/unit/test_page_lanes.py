"""The timeline and the throughput of a sync's page: which work ran side by side, and where it is drawn."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.clock import precise
from services.shared.events import Slice
from services.summarizer.page import lanes
from services.summarizer.page.lanes import (
    BINS,
    Axis,
    Bar,
    Interval,
    Lane,
    Span,
    axis,
    busy_seconds,
    merged,
    pack,
    spans,
    throughput,
    ticks,
    timeline,
)
from services.summarizer.records import ClosedSync, Medium, SessionSeen

BEGIN = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MB = 1_000_000
SHOWN = Axis(begin=BEGIN, end=BEGIN + timedelta(seconds=100))


def at(seconds: float) -> str:
    return precise(BEGIN + timedelta(seconds=seconds))


def worked(begin: float, seconds: float, megabytes: int = 0, **more: int) -> Slice:
    return Slice(began_at=at(begin), seconds=seconds, bytes=megabytes * MB, **more)


def medium(media_id: str, *slices: Slice, **more: Any) -> Medium:
    given = {"state": "DOWNLOADED", "filename": f"{media_id}.MP4", "slices": slices, "hops": max(0, len(slices) - 1)}
    return Medium(**{"media_id": media_id, **given, **more})


def closed(**more: Any) -> ClosedSync:
    given = {"closed_because": "complete", "outcome": "completed", "summary": {}, "requested_at": at(0)}
    return ClosedSync(**{"sync_id": "s", **given, **more})


def drawn(*media: Medium, shown: Axis = SHOWN, **about: Any) -> lanes.Timeline:
    return timeline(closed(**about), media, spans(media), shown, BERLIN)


def test_slices_come_in_the_order_in_which_they_began() -> None:
    found = spans([medium("b", worked(5, 1), worked(20, 1)), medium("a", worked(5, 2)), medium("c")])
    assert [(span.medium.media_id, span.is_last) for span in found] == [("a", True), ("b", False), ("b", True)]
    assert found[0].end == BEGIN + timedelta(seconds=7)
    assert spans([medium("a", worked(5, -3))])[0].end == BEGIN + timedelta(seconds=5)


def test_the_axis_goes_from_the_request_to_the_close() -> None:
    assert axis(closed(), BEGIN + timedelta(seconds=100), []) == SHOWN
    assert axis(closed(), BEGIN, []).seconds == 1
    assert axis(closed(requested_at=""), BEGIN, []).begin == BEGIN
    early = spans([medium("a", worked(-5, 2), worked(3, 2))])
    assert axis(closed(), BEGIN, early) == Axis(begin=BEGIN - timedelta(seconds=5), end=BEGIN)


def test_a_moment_outside_the_axis_is_at_its_end() -> None:
    places = [SHOWN.at(BEGIN + timedelta(seconds=seconds)) for seconds in (-1, 0, 12.3456, 100, 101)]
    assert places == [0.0, 0.0, 12.35, 100.0, 100.0]


def rows(*media: Medium) -> list[str]:
    return ["".join(span.medium.media_id for span in row) for row in pack(spans(media))]


def test_work_that_does_not_overlap_shares_a_row() -> None:
    assert rows(medium("a", worked(0, 10)), medium("b", worked(10, 5)), medium("c", worked(20, 5))) == ["abc"]
    assert rows(medium("a", worked(0, 10)), medium("b", worked(9, 5)), medium("c", worked(12, 5))) == ["ac", "b"]
    # Of several free rows, the first one takes it.
    assert rows(*(medium(name, worked(begin, 2)) for name, begin in zip("abcd", (0, 1, 1, 5), strict=True))) == [
        "ad",
        "b",
        "c",
    ]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=30))
def test_rows_never_overlap_and_there_are_no_more_than_needed(work: list[tuple[int, int]]) -> None:
    found = spans([medium(f"m{number:02}", worked(*one)) for number, one in enumerate(work)])
    packed = pack(found)
    assert sorted(id(span) for row in packed for span in row) == sorted(map(id, found))
    for row in packed:
        assert all(before.end <= after.begin for before, after in pairwise(row))
    most = max((sum(span.begin <= one.begin < span.end for span in found) for one in found), default=0)
    assert len(packed) <= most + sum(not span.slice.seconds for span in found)


def test_ticks_are_round_times_of_the_day() -> None:
    def read(seconds: float, zone: Any = BERLIN, begin: datetime = BEGIN) -> list[tuple[float, str]]:
        shown = Axis(begin=begin, end=begin + timedelta(seconds=seconds))
        return [(tick.x, tick.text) for tick in ticks(shown, zone)]

    assert read(4) == [
        (0.0, "02:00:00"),
        (25.0, "02:00:01"),
        (50.0, "02:00:02"),
        (75.0, "02:00:03"),
        (100.0, "02:00:04"),
    ]
    assert read(300) == [
        (0.0, "02:00"),
        (20.0, "02:01"),
        (40.0, "02:02"),
        (60.0, "02:03"),
        (80.0, "02:04"),
        (100.0, "02:05"),
    ]
    spring = datetime(2026, 3, 29, 2, 30, tzinfo=UTC)  # 04:30 in Berlin, where this day has no 02:30
    texts = ["06:00", "08:00", "10:00", "12:00", "14:00"]
    assert read(36_000, begin=spring) == list(zip((15.0, 35.0, 55.0, 75.0, 95.0), texts, strict=True))
    assert [text for _, text in read(400 * 86_400)] == ["00:00"] * 11  # however long it took


def test_a_medium_is_a_bar_with_its_rate_and_marks() -> None:
    found = drawn(
        medium("a", worked(10, 20, 400, retries=2), worked(40, 10, 100)),
        medium("b", worked(12, 5, 10), state="FAILED", ended_at=at(30)),
    )
    first, second, failed = found.bars[0], found.bars[1], found.bars[2]
    assert first == Bar(
        x=10.0,
        y=0,
        width=20.0,
        fill="warn-fill",
        title="a.MP4 (a): 400.0 MB in 20 s, 20.0 MB/s, after 2 failed tries, then paused",
        is_retried=True,
        is_paused=True,
    )
    assert (second.x, second.end, second.fill, second.is_retried, second.is_paused) == (
        40.0,
        50.0,
        "new-fill",
        False,
        False,
    )
    assert second.title == "a.MP4 (a): 100.0 MB in 10 s, 10.0 MB/s"
    assert (failed.y, failed.fill) == (18, "bad-fill")
    assert [(one.x, one.y, one.title) for one in found.failures] == [(30.0, 36, "b.MP4 (b): given up")]
    assert (found.height, found.is_named, found.hidden_lanes, found.unknown, found.after_close) == (54, True, 0, 0, 0)
    assert found.ticks == ticks(SHOWN, BERLIN)


def test_the_table_of_the_lanes_adds_up_what_each_did() -> None:
    found = drawn(medium("a", worked(10, 20, 400, retries=2), worked(40, 10, 100)), medium("b", worked(60, 0.5)))
    assert found.lanes == (
        Lane(number=1, media=2, begin="02:00:10", end="02:01:00", busy="30 s", size="500.0 MB", rate="16.4 MB/s",
             pauses=1, retries=2),
    )  # fmt: skip


def test_a_short_slice_can_be_seen() -> None:
    found = drawn(medium("a", worked(10, 0.001)))
    assert (found.bars[0].width, found.height) == (0.15, 18)


def test_what_no_fact_tells_or_came_after_the_close_is_counted() -> None:
    found = drawn(
        medium("a", worked(10, 20)),
        medium("b"),
        medium("c", already_stored=True),
        medium("d", state="SKIPPED"),
        medium("e", worked(200, 20), worked(300, 20)),
        medium("f", worked(90, 1), worked(100, 1)),
        medium("g", state="FAILED", ended_at=at(500), late=7),
        medium("h", state="FAILED"),
        medium("i"),
    )
    assert (found.unknown, found.after_close, len(found.bars), found.failures) == (2, 2, 2, ())


def many(count: int, **more: Any) -> Iterator[Medium]:
    for number in range(count):
        yield medium(f"m{number:05}", worked(number * 99 / count, 99 / count), **more)


@pytest.mark.parametrize(("count", "is_named"), [(150, True), (151, False)])
def test_bars_have_titles_and_marks_only_while_there_are_few(count: int, is_named: bool) -> None:
    found = drawn(*many(count, state="FAILED", ended_at=at(5)))
    assert found.is_named == is_named
    assert {bool(bar.title) for bar in found.bars} == {is_named}
    assert len(found.failures) == (count if is_named else 1)
    marks = {(one.x, one.y, one.title == "") for one in found.failures}
    assert marks == {(5.0, found.height - lanes.ROW, not is_named)}
    more = Slice(began_at=at(99.5), seconds=0.1, retries=1)
    (last,) = [one for one in drawn(*many(count - 1), medium("x", more)).bars if one.x == 99.5]
    assert (last.is_retried, last.fill) == (is_named, "warn-fill")


def test_a_picture_of_a_large_sync_stays_small() -> None:
    found = drawn(*many(20_000))
    assert 700 < len(found.bars) <= lanes.MOST_BARS
    assert len(drawn(*many(lanes.MOST_BARS)).bars) == lanes.MOST_BARS
    # Of fifteen full lanes with one bar too many, only the two that are beside each other become one.
    one_too_many = medium("m", worked(0, 0.5), worked(0.5, 0.5))
    full = drawn(one_too_many, *(medium(f"m{n}", worked(n % 100, 1)) for n in range(1, lanes.MOST_BARS)))
    assert (len(full.lanes), len(full.bars)) == (15, lanes.MOST_BARS)
    crowd = drawn(*(medium(f"m{number}", worked(1, 5)) for number in range(lanes.MOST_LANES + 3)))
    assert (len(crowd.lanes), crowd.hidden_lanes) == (lanes.MOST_LANES, 3)


def bar(x: float, width: float, fill: str = "new-fill") -> Bar:
    return Bar(x=x, y=0, width=width, fill=fill, title="", is_retried=False, is_paused=False)


def test_bars_that_begin_close_together_are_one_with_the_worst_colour() -> None:
    assert merged([bar(1, 2), bar(3, 2)], 0) == [bar(1, 2), bar(3, 2)]
    assert merged([bar(1, 2), bar(3, 2), bar(4, 0.5, "warn-fill")], 2.5) == [bar(1, 4), bar(4, 0.5, "warn-fill")]
    assert merged([bar(1, 9, "bad-fill"), bar(2, 1)], 2) == [bar(1, 9, "bad-fill")]
    assert merged([bar(1, 1), bar(2, 1, "warn-fill")], 2) == [bar(1, 2, "warn-fill")]


def test_signing_in_and_listing_come_before_the_work() -> None:
    session = SessionSeen(version=1, authenticated_at=at(4))
    found = drawn(medium("a", worked(20, 1)), sessions=(session,), listed_at=at(14))
    assert [(phase.name, phase.x, phase.width, phase.seconds) for phase in found.phases] == [
        ("signing in", 0.0, 4.0, "4.0 s"),
        ("listing the library", 4.0, 10.0, "10 s"),
    ]
    assert drawn(medium("a", worked(20, 1)), listed_at=at(14)).phases == ()
    assert [phase.name for phase in drawn(medium("a", worked(20, 1)), sessions=(session,)).phases] == ["signing in"]
    assert drawn(medium("a", worked(20, 1)), sessions=(session,), requested_at="").phases == ()
    assert drawn(sessions=(SessionSeen(version=1, rejected_at=at(2)),), listed_at=at(14)).phases == ()


def test_throughput_spreads_the_bytes_of_a_slice_over_its_time() -> None:
    shown = Axis(begin=BEGIN, end=BEGIN + timedelta(seconds=2 * BINS))
    work = spans([medium("a", worked(0, 60, 600)), medium("b", worked(30, 30, 600)), medium("c", worked(117, 1, 3))])
    found = throughput(work, shown, BERLIN)
    assert found is not None
    assert (found.most, found.average) == ("30.0 MB/s", "19.7 MB/s")
    slow, fast = ("100.0 MB", "10.0 MB/s"), ("300.0 MB", "30.0 MB/s")
    nothing = ("0 bytes", "0 bytes/s")
    amounts = [slow] * 3 + [fast] * 3 + [nothing] * 5 + [("3.0 MB", "300.0 kB/s")]
    begins = [f"02:0{seconds // 60}:{seconds % 60:02}" for seconds in range(0, 120, 10)]
    assert found.rows == tuple(
        Interval(begin=begin, size=size, rate=rate) for begin, (size, rate) in zip(begins, amounts, strict=True)
    )
    assert found.path.startswith("M0 100L0 66.67H1.667L1.667 66.67H3.333")
    assert "L25 0H26.67" in found.path
    assert found.path.endswith("L96.67 95H98.33L98.33 100H100V100Z")


def test_only_what_lies_in_the_time_of_the_sync_is_drawn() -> None:
    shown = Axis(begin=BEGIN, end=BEGIN + timedelta(seconds=2 * BINS))
    assert throughput(spans([medium("a", worked(200, 5, 10))]), shown, BERLIN) is None
    assert throughput(spans([medium("a", worked(1, 5))]), shown, BERLIN) is None
    half = throughput(spans([medium("a", worked(115, 10, 10))]), shown, BERLIN)
    assert half is not None
    assert (half.most, half.rows[-1].size) == ("1.0 MB/s", "5.0 MB")
    sudden = throughput(spans([medium("a", worked(1.5, 0, 10))]), shown, BERLIN)
    assert sudden is not None
    assert (sudden.most, sudden.rows[0].size) == ("5.0 MB/s", "10.0 MB")


def test_time_counts_once_however_much_ran_in_it() -> None:
    media = [
        medium("a", worked(0, 10)),
        medium("b", worked(5, 2)),
        medium("c", worked(8, 4)),
        medium("d", worked(20, 1)),
    ]
    assert busy_seconds(spans(media)) == 13
    assert busy_seconds([]) == 0
    assert isinstance(spans(media)[0], Span)
