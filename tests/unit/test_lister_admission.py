"""Which media a sync takes on."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.lister.admission import UNKNOWN_SIZE, Admission, Known, admit
from services.shared.gopro.media import ListedMedium

GB = 1_000_000_000


def medium(
    media_id: str,
    *,
    captured_at: str | None = "2026-01-01T00:00:00Z",
    size: int | None = GB,
    items: int = 1,
    state: str = "ready",
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
    )


def decided(
    media: list[ListedMedium],
    records: dict[str, dict[str, Any]] | None = None,
    *,
    max_media: int = 1000,
    max_bytes: float = 4000 * GB,
) -> Admission:
    known = {media_id: Known.from_record(record) for media_id, record in (records or {}).items()}
    return admit(media, known, max_media=max_media, max_bytes=max_bytes)


def ids(admission: Admission) -> list[str]:
    return [taken.media_id for taken in admission.admitted]


def test_a_stored_medium_is_not_taken_on_again() -> None:
    admission = decided([medium("a")], {"a": {"status": "STORED", "item_count": Decimal(1)}})
    assert ids(admission) == []
    assert admission.stored == 1


def test_a_stored_medium_that_has_grown_is() -> None:
    admission = decided([medium("a", items=3)], {"a": {"status": "STORED", "item_count": Decimal(2)}})
    assert ids(admission) == ["a"]


def test_a_stored_medium_stays_stored_when_gopro_lists_less_of_it_or_works_on_it() -> None:
    stored = {"status": "STORED", "item_count": Decimal(3)}
    admission = decided([medium("a", items=1), medium("b", state="transcoding")], {"a": stored, "b": stored})
    assert admission.stored == 2


def test_a_stored_medium_whose_items_nobody_counted_is_stored() -> None:
    assert decided([medium("a", items=5)], {"a": {"status": "STORED"}}).stored == 1


@pytest.mark.parametrize("state", ["uploading", "transcoding", "failure", "something new"])
def test_a_medium_that_gopro_is_not_done_with_is_pending(state: str) -> None:
    admission = decided([medium("a", state=state)])
    assert ids(admission) == []
    assert admission.pending == 1


def test_a_medium_whose_state_gopro_does_not_say_is_not_left_behind_for_ever() -> None:
    assert ids(decided([medium("a", state="")])) == ["a"]


def test_those_never_tried_come_first_and_the_oldest_of_them_foremost() -> None:
    media = [medium("new", captured_at="2026-03-01T00:00:00Z"), medium("tried"), medium("old")]
    admission = decided(media, {"tried": {"status": "FAILED", "tried_at": "2026-01-01T00:00:00Z"}})
    assert ids(admission) == ["old", "new", "tried"]


def test_one_of_which_nobody_knows_when_it_was_taken_comes_before_the_oldest() -> None:
    media = [medium("a", captured_at="0001-01-01T00:00:00Z"), medium("b", captured_at=None)]
    assert ids(decided(media)) == ["b", "a"]


def test_those_that_failed_come_least_recently_tried_first() -> None:
    records = {
        "a": {"status": "FAILED", "tried_at": "2026-01-03T00:00:00Z"},
        "b": {"status": "DOWNLOADING", "tried_at": "2026-01-02T00:00:00Z"},
        "c": {"status": "FAILED"},
    }
    assert ids(decided([medium("a"), medium("b"), medium("c")], records)) == ["c", "b", "a"]


def test_those_that_an_operator_wants_again_come_before_all_others_until_they_are_tried() -> None:
    records = {
        "c": {"status": "MISSING", "tried_at": "2026-01-04T00:00:00Z", "item_count": Decimal(1)},
        "d": {"status": "MISSING", "tried_at": "2026-01-03T00:00:00Z", "item_count": Decimal(1)},
        "b": {"status": "FAILED", "tried_at": "2026-01-01T00:00:00Z"},
    }
    media = [medium("a"), medium("b"), medium("c"), medium("d")]
    assert ids(decided(media, records)) == ["d", "c", "a", "b"]
    assert ids(decided(media, records, max_media=1)) == ["d"]
    records["d"] = {"status": "DOWNLOADING", "tried_at": "2026-01-05T00:00:00Z"}
    assert ids(decided(media, records)) == ["c", "a", "b", "d"]


def test_no_more_are_taken_on_than_wanted() -> None:
    admission = decided([medium("a"), medium("b"), medium("c")], max_media=2)
    assert ids(admission) == ["a", "b"]
    assert admission.deferred == 1


def test_no_more_bytes_are_taken_on_than_wanted() -> None:
    assert ids(decided([medium("a"), medium("b"), medium("c")], max_bytes=2 * GB)) == ["a", "b"]


def test_the_first_is_taken_on_whatever_its_size() -> None:
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
RECORDS = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["STORED", "FAILED", "DOWNLOADING", "MISSING"]),
        "item_count": st.integers(1, 3).map(Decimal),
    },
    optional={"tried_at": st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])},
)
LIBRARIES = st.lists(LISTED, unique_by=lambda listed: listed.media_id, max_size=30)
KNOWN = st.dictionaries(st.text("abcdef", min_size=1, max_size=4), RECORDS, max_size=30)


@given(LIBRARIES, KNOWN, st.integers(1, 20), st.integers(0, 40 * GB), st.randoms())
def test_every_medium_is_counted_once_and_the_limits_hold(
    media: list[ListedMedium], records: dict[str, dict[str, Any]], max_media: int, max_bytes: int, random: Any
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
def test_in_so_many_nights_every_medium_has_its_turn(
    media: list[ListedMedium], max_media: int, max_bytes: int, outcomes: st.DataObject
) -> None:
    ready = {listed.media_id for listed in media if listed.state != "transcoding"}
    records: dict[str, dict[str, Any]] = {}
    tried: set[str] = set()
    for night in range(len(media)):
        admission = decided(media, records, max_media=max_media, max_bytes=max_bytes)
        for media_id in ids(admission):
            stored = outcomes.draw(st.booleans())
            records[media_id] = {
                "status": "STORED" if stored else "FAILED",
                "item_count": Decimal(9),
                "tried_at": f"2026-01-01T{night:06}",
            }
            tried.add(media_id)
    assert tried == ready
