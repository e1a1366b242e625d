"""Which media a sync takes on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lister.admission import NOT_READY_TAKEN_ON, UNKNOWN_SIZE, Admission, admit, first_rows, not_ready_since
from services.shared.events import NotReadyMedium
from services.shared.gopro.client import ListedMedium
from services.shared.library.records import MediumRecord, Row, Status

GB = 1_000_000_000
NOW = datetime(2026, 6, 10, 2, 0, tzinfo=UTC)
STORED, FAILED, MISSING, DOWNLOADING = Status.STORED, Status.FAILED, Status.MISSING, Status.DOWNLOADING


def medium(
    media_id: str,
    *,
    captured_at: str | None = "2026-01-01T00:00:00Z",
    size: int | None = GB,
    items: int | None = 1,
    state: str = "ready",
    created_at: str = "",
    reprocessed_at: str = "",
    labels: str = "",
) -> ListedMedium:
    return ListedMedium(
        media_id=media_id,
        type="Video",
        filename="",
        captured_at=captured_at,
        size=size,
        item_count=items,
        state=state,
        camera="",
        created_at=created_at,
        reprocessed_at=reprocessed_at,
        labels=labels,
    )


def record(status: Status, *, items: int | None = None, tried_on: int | None = None) -> MediumRecord:
    """`tried_on`: a day of January 2026."""
    tried_at = None if tried_on is None else f"2026-01-{tried_on:02}T00:00:00Z"
    return MediumRecord(media_id="", status=status, item_count=items, tried_at=tried_at)


def decided(
    media: Sequence[ListedMedium | str],
    records: Mapping[str, MediumRecord] | None = None,
    *,
    max_media: int = 1000,
    max_bytes: float = 4000 * GB,
    max_looks: int = 100,
    rows: Mapping[str, Row] | None = None,
    newest_first: bool = False,
) -> Admission:
    listed = [medium(one) if isinstance(one, str) else one for one in media]
    since = not_ready_since(listed, {}, now=NOW)
    return admit(
        listed,
        records or {},
        rows=rows or {},
        since=since,
        now=NOW,
        max_media=max_media,
        max_bytes=max_bytes,
        max_looks=max_looks,
        newest_first=newest_first,
    )


def ids(admission: Admission) -> list[str]:
    return [taken.media_id for taken in admission.admitted]


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        (medium("a"), record(STORED, items=1)),
        (medium("a", items=1), record(STORED, items=3)),  # GoPro lists fewer items than there were
        (medium("a", items=5), record(STORED)),  # nobody counted the items
        (medium("a", items=None), record(STORED, items=2)),
        (medium("a", items=None), record(STORED)),
        (medium("a", state="transcoding"), record(STORED, items=1)),
    ],
)
def test_stored_media_are_not_taken_on_again(listed: ListedMedium, known: MediumRecord) -> None:
    admission = decided([listed, replace(listed, media_id="b")], {"a": known, "b": known})
    assert (ids(admission), admission.stored, admission.pending) == ([], 2, 0)


def test_a_stored_medium_that_has_grown_is_looked_at_again() -> None:
    admission = decided([medium("a", items=3)], {"a": record(STORED, items=2)})
    assert (ids(admission), admission.look_again) == (["a"], ("a",))


ROW = Row(item_count=2, size=GB, reprocessed_at="2026-01-05T00:00:00Z", labels="gpmf,source")
CHANGES: list[dict[str, Any]] = [
    {"item_count": 3},
    {"item_count": 1},
    {"size": GB + 1},
    {"size": GB - 1},
    {"size": 0},
    {"reprocessed_at": "2026-02-01T00:00:00Z"},
    {"labels": "gpmf,raw_photo,source"},
    {"labels": "source"},
]
NO_NEWS: list[dict[str, Any]] = [
    {}, {"item_count": None}, {"size": None}, {"reprocessed_at": ""}, {"labels": ""},
]  # fmt: skip


def with_row(row: Row, media_id: str = "a", **fields: Any) -> ListedMedium:
    return medium(
        media_id,
        items=row.item_count,
        size=row.size,
        reprocessed_at=row.reprocessed_at,
        labels=row.labels,
        **fields,
    )


def stored_with(row: Row, status: Status = STORED, **fields: Any) -> MediumRecord:
    known = {name: getattr(row, name) for name in ("item_count", "size", "reprocessed_at", "labels")}
    return MediumRecord(media_id="", status=status, **{**known, "stored_at": "2026-01-06T00:00:00Z", **fields})


@pytest.mark.parametrize("change", CHANGES)
def test_a_stored_medium_whose_row_has_changed_is_looked_at_again(change: dict[str, Any]) -> None:
    listed = with_row(replace(ROW, **change))
    admission = decided([listed], {"a": stored_with(ROW)})
    assert (ids(admission), admission.look_again, admission.stored) == (["a"], ("a",), 0)
    # So is one that was stored before rows were remembered, once it differs from the first row that was seen of it.
    assert decided([listed], {"a": record(STORED)}, rows={"a": ROW}).look_again == ("a",)
    # A value that was unknown and is known now is news too.
    assert decided([listed], {"a": stored_with(Row())}).look_again == ("a",)


@pytest.mark.parametrize("change", NO_NEWS)
def test_what_gopro_no_longer_says_is_no_news(change: dict[str, Any]) -> None:
    listed = with_row(replace(ROW, **change))
    for known, rows in ((stored_with(ROW), {}), (record(STORED), {"a": ROW}), (record(STORED, items=2), {"a": ROW})):
        admission = decided([listed], {"a": known}, rows=rows)
        assert (ids(admission), admission.look_again, admission.stored) == ([], (), 1)


def test_a_remembered_row_counts_and_not_the_first_one_that_was_seen() -> None:
    newer = replace(ROW, size=5)
    assert not decided([with_row(newer)], {"a": stored_with(newer)}, rows={"a": ROW}).look_again
    assert decided([with_row(ROW)], {"a": stored_with(newer)}, rows={"a": ROW}).look_again == ("a",)


@pytest.mark.parametrize("state", ["transcoding", "failure", "uploading"])
def test_a_changed_medium_that_gopro_is_processing_is_looked_at_when_it_is_ready(state: str) -> None:
    admission = decided([with_row(replace(ROW, size=5), state=state)], {"a": stored_with(ROW)})
    assert (ids(admission), admission.stored, admission.pending, admission.not_ready) == ([], 1, 0, ())


@pytest.mark.parametrize("status", [FAILED, DOWNLOADING, MISSING])
def test_a_medium_that_was_stored_has_its_ordinary_turn_and_its_files_are_compared(status: Status) -> None:
    changed = stored_with(ROW, status)
    admission = decided([with_row(replace(ROW, size=5)), medium("b")], {"a": changed, "b": record(FAILED)}, max_looks=0)
    assert (sorted(ids(admission)), admission.look_again) == (["a", "b"], ("a",))
    assert not decided([with_row(ROW)], {"a": changed}).look_again
    never_stored = replace(changed, stored_at=None)
    assert not decided([with_row(replace(ROW, size=5))], {"a": never_stored}).look_again


def test_looks_come_last_and_least_recently_tried_first_and_are_bounded() -> None:
    records = {
        name: stored_with(ROW, tried_at=f"2026-01-0{day}T00:00:00Z") for name, day in (("x", 3), ("y", 1), ("z", 2))
    }
    looks = [with_row(replace(ROW, size=5), name) for name in "xyz"]
    others = [medium("new"), medium("failed"), medium("broken", state="failure")]
    known = {**records, "failed": record(FAILED, tried_on=1)}
    admission = decided([*looks, *others], known, max_looks=2)
    assert ids(admission) == ["new", "failed", "broken", "y", "z"]
    assert (admission.look_again, admission.stored, admission.deferred, admission.pending) == (("y", "z"), 1, 0, 0)
    assert ids(decided([*looks, *others], known, max_looks=0)) == ["new", "failed", "broken"]
    few = decided([*looks, *others], known, max_media=4)
    assert (ids(few), few.stored, few.pending) == (["new", "failed", "broken", "y"], 2, 0)
    fewer = decided([*looks, *others], known, max_media=1)
    assert (ids(fewer), fewer.stored, fewer.deferred, fewer.pending) == (["new"], 3, 1, 1)


def test_the_bytes_of_looks_count_with_the_others() -> None:
    looks = [with_row(replace(ROW, size=2 * GB), name) for name in "xyz"]
    records = {name: stored_with(ROW) for name in "xyz"}
    assert ids(decided([*looks, medium("a")], records, max_bytes=3 * GB)) == ["a", "x"]
    assert ids(decided([*looks, medium("a", size=3 * GB)], records, max_bytes=3 * GB)) == ["a"]
    assert ids(decided(looks, records, max_bytes=1)) == ["x"]


def test_the_first_row_that_is_seen_of_a_medium_stored_without_one_is_kept() -> None:
    media = [with_row(replace(ROW, size=number), name) for number, name in enumerate("abcdef")]
    records = {
        "a": record(STORED),
        "b": record(STORED, items=2),
        "c": stored_with(ROW),
        "d": record(FAILED),
        "e": replace(record(FAILED), stored_at="2026-01-06T00:00:00Z"),
    }
    rows = first_rows(media, records, {})
    assert rows == {name: replace(ROW, size=number) for number, name in enumerate("abcdef") if name in "abe"}
    again = first_rows([replace(one, size=9) for one in media], records, rows)
    assert again == rows
    looked_at = {**records, "a": stored_with(ROW)}
    assert first_rows(media[:1], looked_at, again) == {name: rows[name] for name in "be"}


LONG_AGO, THREE_DAYS_AGO = "2026-06-07T01:59:59Z", "2026-06-07T02:00:00Z"


@pytest.mark.parametrize("state", ["uploading", "transcoding", "something new"])
def test_a_medium_that_gopro_still_processes_is_pending(state: str) -> None:
    for created_at in (THREE_DAYS_AGO, ""):
        admission = decided([medium("a", state=state, created_at=created_at)])
        assert (ids(admission), admission.pending, admission.not_ready) == ([], 1, ())


@pytest.mark.parametrize(("state", "since"), [("transcoding", LONG_AGO), ("failure", THREE_DAYS_AGO)])
def test_a_medium_that_failed_at_gopro_or_is_long_not_ready_is_named_and_taken_on(state: str, since: str) -> None:
    listed = replace(medium("a", state=state, created_at=since), filename="GX01.MP4")
    admission = decided([listed])
    assert (ids(admission), admission.pending, admission.deferred) == (["a"], 0, 0)
    assert admission.not_ready == (NotReadyMedium(media_id="a", filename="GX01.MP4", state=state, since=since),)


def test_a_stored_medium_is_never_named_as_not_ready() -> None:
    admission = decided([medium("a", state="failure")], {"a": record(STORED)})
    assert (admission.stored, admission.not_ready) == (1, ())


def test_media_that_are_not_ready_come_last_and_least_recently_tried_first() -> None:
    broken = [medium(f"{letter}", state="failure") for letter in "abc"]
    records = {"a": record(FAILED, tried_on=3), "b": record(FAILED, tried_on=2), "z": record(FAILED, tried_on=1)}
    media = [*broken, medium("z")]
    assert ids(decided(media, records)) == ["z", "c", "b", "a"]
    admission = decided(media, records, max_media=2)
    assert (ids(admission), admission.pending, admission.deferred) == (["z", "c"], 2, 0)
    admission = decided([*media, medium("y"), medium("x")], records, max_media=2)
    assert (ids(admission), admission.pending, admission.deferred) == (["x", "y"], 3, 1)


def test_only_some_of_the_media_that_are_not_ready_are_taken_on_and_all_are_named_longest_first() -> None:
    times = [f"2026-05-{day:02}T00:00:{second:02}Z" for second in range(2) for day in range(30, 0, -1)]
    media = [medium(f"m{number:02}", state="uploading", created_at=time) for number, time in enumerate(times)]
    admission = decided(media)
    assert len(admission.admitted) == NOT_READY_TAKEN_ON == 50
    assert admission.pending == 10
    assert [one.since for one in admission.not_ready] == sorted(times)


@pytest.mark.parametrize(
    ("created_at", "known", "since"),
    [
        ("2026-06-01T03:00:00+01:00", None, "2026-06-01T02:00:00Z"),
        ("2026-06-01T02:00:00Z", "2026-06-02T02:00:00Z", "2026-06-01T02:00:00Z"),
        ("2026-06-01T02:00:00Z", "2026-05-02T02:00:00Z", "2026-05-02T02:00:00Z"),
        ("2027-01-01T00:00:00Z", None, "2026-06-10T02:00:00Z"),
        ("2026-06-01T02:00:00", None, "2026-06-10T02:00:00Z"),
        ("yesterday", "2026-06-02T02:00:00Z", "2026-06-02T02:00:00Z"),
        ("0001-01-01T00:00:00+14:00", None, "2026-06-10T02:00:00Z"),
    ],
)
def test_a_medium_is_not_ready_since_its_upload_or_since_it_was_seen_first(
    created_at: str, known: str | None, since: str
) -> None:
    media = [medium("a", state="uploading", created_at=created_at), medium("b"), medium("c", state="")]
    assert not_ready_since(media, {"a": known} if known else {}, now=NOW) == {"a": since}


def test_a_medium_whose_state_gopro_does_not_say_is_taken_on() -> None:
    assert ids(decided([medium("a", state="")])) == ["a"]


def test_media_never_tried_come_first_and_the_oldest_of_them_first() -> None:
    media = [medium("new", captured_at="2026-03-01T00:00:00Z"), medium("tried"), medium("old")]
    assert ids(decided(media, {"tried": record(FAILED, tried_on=1)})) == ["old", "new", "tried"]


def test_the_newest_come_first_where_a_session_may_end_in_the_middle_and_the_others_keep_their_turn() -> None:
    media = [
        *(medium(f"new{day}", captured_at=f"2026-01-0{day}T00:00:00Z") for day in (2, 3, 1)),
        *(medium(one) for one in ("failed late", "failed early", "wanted")),
    ]
    records = {
        "failed late": record(FAILED, tried_on=9),
        "failed early": record(FAILED, tried_on=8),
        "wanted": record(MISSING),
    }
    newest_first = decided(media, records, newest_first=True)
    assert ids(newest_first) == ["wanted", "new3", "new2", "new1", "failed early", "failed late"]
    assert ids(decided(media, records)) == ["wanted", "new1", "new2", "new3", "failed early", "failed late"]
    assert ids(decided(media, records, newest_first=True, max_media=2)) == ["wanted", "new3"]


def test_a_medium_without_a_date_comes_before_the_oldest() -> None:
    media = [medium("a", captured_at="0001-01-01T00:00:00Z"), medium("b", captured_at=None)]
    assert ids(decided(media)) == ["b", "a"]


def test_media_that_failed_come_least_recently_tried_first() -> None:
    records = {"a": record(FAILED, tried_on=3), "b": record(DOWNLOADING, tried_on=2), "c": record(FAILED)}
    assert ids(decided(["a", "b", "c"], records)) == ["c", "b", "a"]


def test_media_that_an_operator_wants_again_come_first_until_they_are_tried() -> None:
    records = {
        "b": record(FAILED, tried_on=1),
        "c": record(MISSING, tried_on=4, items=1),
        "d": record(MISSING, tried_on=3, items=1),
    }
    assert ids(decided(["a", "b", "c", "d"], records)) == ["d", "c", "a", "b"]
    assert ids(decided(["a", "b", "c", "d"], records, max_media=1)) == ["d"]
    records["d"] = record(DOWNLOADING, tried_on=5)
    assert ids(decided(["a", "b", "c", "d"], records)) == ["c", "a", "b", "d"]


def test_a_sync_takes_on_no_more_media_than_its_limit() -> None:
    admission = decided(["a", "b", "c"], max_media=2)
    assert (ids(admission), admission.deferred) == (["a", "b"], 1)


def test_a_sync_takes_on_no_more_bytes_than_its_limit() -> None:
    assert ids(decided(["a", "b", "c"], max_bytes=2 * GB)) == ["a", "b"]


def test_the_first_medium_is_taken_on_whatever_its_size() -> None:
    assert ids(decided([medium("a", size=9000 * GB), medium("b", size=1)])) == ["a"]


def test_an_unknown_size_counts_as_4_gigabytes() -> None:
    media = [medium("a", size=None), medium("b", size=None), medium("c", size=1)]
    assert ids(decided(media, max_bytes=8 * GB)) == ["a", "b"]


LISTED = st.builds(
    medium,
    st.text("abcdef", min_size=1, max_size=4),
    captured_at=st.none() | st.sampled_from(["2015-01-01T00:00:00Z", "2026-01-01T00:00:00Z"]),
    size=st.none() | st.integers(0, 6 * GB),
    items=st.integers(1, 3),
    state=st.sampled_from(["ready", "ready", "ready", "transcoding", ""]),
)
RECORDS = st.builds(
    record,
    st.sampled_from([STORED, FAILED, DOWNLOADING, MISSING]),
    items=st.integers(1, 3),
    tried_on=st.none() | st.integers(1, 2),
)
LIBRARIES = st.lists(LISTED, unique_by=lambda listed: listed.media_id, max_size=30)
KNOWN = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), RECORDS, max_size=30)


@given(LIBRARIES, KNOWN, st.integers(1, 20), st.integers(0, 40 * GB), st.randoms())
def test_every_medium_is_counted_once_and_the_limits_hold(
    media: list[ListedMedium], records: dict[str, MediumRecord], max_media: int, max_bytes: int, random: Random
) -> None:
    admission = decided(media, records, max_media=max_media, max_bytes=max_bytes)
    assert len(admission.admitted) + admission.stored + admission.pending + admission.deferred == len(media)
    assert len(admission.admitted) <= max_media
    sizes = [UNKNOWN_SIZE if taken.size is None else taken.size for taken in admission.admitted]
    assert sum(sizes) <= max_bytes or len(sizes) == 1
    assert admission.admitted or not admission.deferred
    shuffled = list(media)
    random.shuffle(shuffled)
    assert ids(decided(shuffled, records, max_media=max_media, max_bytes=max_bytes)) == ids(admission)


@given(LIBRARIES, st.integers(1, 5), st.integers(0, 20 * GB), st.data())
def test_every_medium_has_its_turn_in_as_many_nights_as_there_are_media(
    media: list[ListedMedium], max_media: int, max_bytes: int, outcomes: st.DataObject
) -> None:
    records: dict[str, MediumRecord] = {}
    for night in range(1, len(media) + 1):
        for media_id in ids(decided(media, records, max_media=max_media, max_bytes=max_bytes)):
            status = outcomes.draw(st.sampled_from([STORED, FAILED]))
            records[media_id] = record(status, items=9, tried_on=night)
    assert set(records) == {listed.media_id for listed in media if listed.state != "transcoding"}
