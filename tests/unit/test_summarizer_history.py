"""The history's record of a closed sync: its counts, and what it tells of the media."""

from dataclasses import replace

import pytest

from services.shared.clock import iso
from services.shared.events import Filters, NotReadyMedium, Slice
from services.summarizer.history import (
    KINDS,
    MISSING,
    NAME_LENGTH,
    OTHERS,
    REASON_LENGTH,
    Details,
    Kind,
    MissingMedium,
    PastSync,
    details,
    past,
    place,
    sync_at,
)
from services.summarizer.reasons import NO_RESULT
from services.summarizer.records import ClosedSync, Medium, Sync
from tests.unit.summarizer_facts import (
    BEGIN,
    NOW,
    SYNC,
    Known,
    a_sync_of,
    cancelled,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    skipped,
)


def stored(media_id: str, *, size: int = 10, camera: str = "HERO13", type_: str = "Video") -> Medium:
    return Medium(media_id=media_id, state="DOWNLOADED", bytes=size, seconds=1.5, camera=camera, type=type_)


def record(known: Known, **more: bool) -> PastSync:
    assert isinstance(known.sync, ClosedSync)
    return past(known.sync, details(known.sync, list(known.media.values())), **more)


def test_the_record_has_the_counts_of_its_sync() -> None:
    facts = [downloaded("m0", bytes=70), downloaded("m1", already_stored=True), failed("m2"), skipped("m4")]
    loss = failed("m5", known_since="2026-10-01T00:00:00Z")
    known = Known([*a_sync_of(6)[:-1], listed(7)], [*facts, loss])
    closed = known.close("deadline")
    assert record(known, imported=True) == PastSync(
        sync_id=SYNC,
        requested_at=iso(BEGIN),
        closed_at=iso(NOW),
        trigger="scheduled",
        outcome="partial",
        closed_because="deadline",
        reason="The sync did not finish within 12 hours of its request.",
        was_listed=True,
        listed=7,
        discovered=7,
        downloaded=2,
        already_stored=1,
        failed=2,
        known_losses=1,
        skipped=1,
        outstanding=2,
        bytes=70,
        imported=True,
        version=closed.version,
        kinds=(Kind(camera="", type="", media=1, bytes=70),),
        seconds=3.0,
        missing=(
            MissingMedium(media_id="m2", filename="GXm2.MP4", because="failed", reason="gone at the source"),
            MissingMedium(media_id="m3", filename="GXm3.MP4", because="no result", reason=NO_RESULT),
            MissingMedium(
                media_id="m4", filename="GXm4.MP4", because="skipped", reason="the sync was cancelled before its turn"
            ),
            MissingMedium(
                media_id="m5",
                filename="GXm5.MP4",
                because="failed",
                reason="gone at the source",
                since="2026-10-01T00:00:00Z",
            ),
        ),
    )


def test_the_record_has_what_the_listing_counted() -> None:
    filters = Filters(types=("Photo",))
    known = Known([requested(), listed(0, stored=7, pending=2, deferred=3, filters=filters)])
    known.close_if_over()
    kept = record(known)
    assert (kept.stored, kept.pending, kept.deferred, kept.filters) == (7, 2, 3, filters)
    assert not kept.imported
    assert not kept.covers_the_library
    assert replace(kept, filters=Filters()).covers_the_library
    assert not replace(kept, filters=Filters(), was_listed=False).covers_the_library


def test_results_after_the_close_are_in_the_record() -> None:
    known = Known(a_sync_of(2), [downloaded("m0")])
    known.close("stalled")
    assert (record(known).verdict, record(known).unexpected) == ("partial", 1)
    known.take([downloaded("m1", bytes=30)])
    known.amend()
    kept = record(known)
    assert (kept.outcome, kept.verdict) == ("partial", "well")
    assert (kept.downloaded, kept.new, kept.bytes, kept.outstanding, kept.amendments) == (2, 2, 40, 0, 1)
    assert kept.missing == ()


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({}, "well"),
        ({"failed": 2, "known_losses": 2}, "well"),
        ({"failed": 2, "known_losses": 1}, "partial"),
        ({"outstanding": 1}, "partial"),
        ({"skipped": 1}, "partial"),
        ({"was_listed": False}, "partial"),
        ({"outcome": "failed"}, "failed"),
    ],
)
def test_a_sync_ends_as_what_it_left_undone(counts: dict[str, object], verdict: str) -> None:
    given = {"outcome": "completed", "was_listed": True, **counts}
    kept = PastSync(sync_id="s", requested_at="", closed_at="", trigger="manual", closed_because="complete", **given)  # type: ignore[arg-type]
    assert kept.verdict == verdict


def test_what_is_new_and_what_is_missing_is_counted_without_what_others_did_and_what_is_known() -> None:
    kept = PastSync(
        sync_id="s",
        requested_at="",
        closed_at="",
        trigger="manual",
        outcome="partial",
        closed_because="cancelled",
        downloaded=9,
        already_stored=2,
        failed=5,
        known_losses=1,
        outstanding=3,
        skipped=2,
    )
    assert (kept.new, kept.unexpected) == (7, 4 + 3 + 2)


def test_a_sync_whose_listing_never_ended_counts_the_media_that_it_knows() -> None:
    known = Known([requested(), discovered("m0"), discovered("m1"), downloaded("m0")])
    known.close("deadline")
    kept = record(known)
    assert (kept.was_listed, kept.discovered, kept.outstanding, kept.verdict) == (False, 2, 1, "failed")


def test_more_media_than_were_announced_are_all_counted() -> None:
    known = Known(a_sync_of(1), [downloaded("m0")])
    known.close_if_over()
    known.take([discovered("m1")])
    assert (record(known).discovered, record(known).outstanding) == (2, 1)


def test_each_kind_of_missing_medium_is_named_with_its_reason() -> None:
    ready = NotReadyMedium(media_id="n", filename="N.MP4", state="transcoding", since="2026-11-20T00:00:00Z")
    gone = failed("m1", "empty at GoPro", known_since="2026-10-01T00:00:00Z")
    known = Known(a_sync_of(3), [listed(3, not_ready=(ready,)), failed("m2"), gone, cancelled(), skipped("m0")])
    known = Known([*a_sync_of(3)[:-1], listed(3, not_ready=(ready,))], [failed("m2"), gone, cancelled(), skipped("m0")])
    known.close_if_over()
    assert record(known).missing == (
        MissingMedium(media_id="m2", filename="GXm2.MP4", because="failed", reason="gone at the source"),
        MissingMedium(
            media_id="m0", filename="GXm0.MP4", because="skipped", reason="the sync was cancelled before its turn"
        ),
        MissingMedium(
            media_id="n",
            filename="N.MP4",
            because="not ready",
            reason="GoPro says: transcoding",
            since="2026-11-20T00:00:00Z",
        ),
        MissingMedium(
            media_id="m1",
            filename="GXm1.MP4",
            because="failed",
            reason="empty at GoPro",
            since="2026-10-01T00:00:00Z",
        ),
    )


def test_a_medium_without_a_result_has_the_reason_of_the_session() -> None:
    sync = Sync(sync_id=SYNC, session_problem="the session was refused")
    (missing,) = details(sync, [Medium(media_id="m", state="DISCOVERED")]).missing
    assert missing.reason == "the session was refused"


@pytest.mark.parametrize("since", ["yesterday", "2026-11-20", "2026-11-20T00:00:00", "\x00"])
def test_a_time_that_is_none_is_left_out(since: str) -> None:
    loss = Medium(media_id="m", state="FAILED", reason="gone", known_since=since)
    waits = NotReadyMedium(media_id="n", filename="n", state="failure", since=since)
    assert [one.since for one in details(Sync(sync_id=SYNC, not_ready=(waits,)), [loss]).missing] == ["", ""]


def test_a_record_stays_small_whatever_the_media_are_like() -> None:
    long = "x" * 5_000
    media = [Medium(media_id=f"f{n:03}", state="FAILED", filename=long, reason=long) for n in range(MISSING + 5)]
    media += [stored(f"s{n:03}", size=n, camera=f"camera {n:03}") for n in range(KINDS + 5)]
    told = details(Sync(sync_id=SYNC), media)
    assert [one.media_id for one in told.missing] == [f"f{n:03}" for n in range(MISSING)]
    assert {(len(one.filename), len(one.reason)) for one in told.missing} == {(NAME_LENGTH, REASON_LENGTH)}
    assert len(told.kinds) == KINDS
    assert told.kinds[0] == Kind(camera="camera 024", type="Video", media=1, bytes=24)
    assert told.kinds[-1] == Kind(camera=OTHERS, type=OTHERS, media=6, bytes=15)
    assert sum(kind.bytes for kind in told.kinds) == sum(range(KINDS + 5))


def test_as_many_kinds_as_fit_are_all_told_apart() -> None:
    told = details(Sync(sync_id=SYNC), [stored(f"s{n}", camera=f"camera {n:02}") for n in range(KINDS)])
    assert [kind.camera for kind in told.kinds] == [f"camera {n:02}" for n in range(KINDS)]


def test_kinds_are_added_up_the_largest_first_without_what_another_sync_stored() -> None:
    media = [
        stored("a", size=5, type_="Photo"),
        stored("b", size=4),
        stored("c", size=3),
        stored("d", size=5, type_="Burst"),
        replace(stored("e", size=90), already_stored=True),
        Medium(media_id="f", state="FAILED", camera="HERO13", type="Video", dead_letter=True),
    ]
    assert details(Sync(sync_id=SYNC), media) == Details(
        kinds=(
            Kind(camera="HERO13", type="Video", media=2, bytes=7),
            Kind(camera="HERO13", type="Burst", media=1, bytes=5),
            Kind(camera="HERO13", type="Photo", media=1, bytes=5),
        ),
        seconds=7.5,
        missing=(MissingMedium(media_id="f", filename="", because="failed"),),
        dead_letters=1,
    )


def test_the_work_is_that_of_all_slices_failed_ones_included_and_the_files_are_those_stored() -> None:
    slices = (Slice(began_at=iso(BEGIN), seconds=2.25, parts=3), Slice(began_at=iso(NOW), seconds=1.5, parts=4))
    media = [
        replace(stored("a"), slices=(*slices, Slice(began_at=iso(NOW), seconds=0.12345)), files_total=2),
        Medium(media_id="b", state="FAILED", slices=slices[:1], files_total=9),
        replace(stored("c"), already_stored=True, files_total=5),
    ]
    told = details(Sync(sync_id=SYNC), media)
    assert (told.seconds, told.parts, told.files) == (7.623, 10, 2)


def test_a_record_is_found_by_the_time_of_the_request_and_names_its_sync() -> None:
    early, late = Sync(sync_id="z#1", requested_at="2026-11-22T01:00:00Z"), Sync(sync_id="a", requested_at=iso(BEGIN))
    assert place(early) < place(late)
    assert [sync_at(place(sync)) for sync in (early, late)] == ["z#1", "a"]
