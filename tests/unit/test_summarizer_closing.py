"""Whether and why a sync closes, its summary, and its amendments."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from services.shared.envelope import detail
from services.shared.events import (
    ClosedBecause,
    Event,
    FailureReason,
    Filters,
    NotReadyMedium,
    Summary,
    SuspiciousMedium,
    SyncAmended,
    SyncCompleted,
    SyncFailed,
)
from services.summarizer.closing import announced_event, close, closing_event, is_past, why_to_close
from services.summarizer.records import Announcement, Quiet
from tests.unit.summarizer_facts import (
    BEGIN,
    DEADLINE,
    NOT_LISTED,
    NOW,
    REVOKED,
    SYNC,
    Known,
    a_sync_of,
    at,
    cancelled,
    discovered,
    downloaded,
    failed,
    listed,
    requested,
    skipped,
)

NOT_RENEWED = replace(REVOKED, session_version=1)


def summary(facts: Sequence[Event], because: ClosedBecause, sync_id: str = SYNC) -> Summary:
    return closing_event(Known(facts, sync_id=sync_id).close(because))


def failures(event: Summary) -> list[tuple[str, str]]:
    return [(failure.media_id, failure.reason) for failure in event.failures]


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        pytest.param([requested()], None, id="only_requested"),
        pytest.param([requested(), discovered("m0"), downloaded("m0")], None, id="results_before_the_listing"),
        pytest.param([*a_sync_of(2), downloaded("m0")], None, id="a_result_is_missing"),
        pytest.param([*a_sync_of(2), downloaded("m0"), failed("m1")], "complete", id="every_medium_has_a_result"),
        pytest.param([downloaded("m0"), failed("m1"), listed(2)], "complete", id="the_listing_arrives_last"),
        pytest.param([*a_sync_of(1), downloaded("m0"), downloaded("m9")], None, id="more_results_than_expected"),
        pytest.param([listed(0)], "complete", id="nothing_new"),
        pytest.param([requested(), REVOKED], "auth_failed", id="no_session"),
        pytest.param([requested(), replace(REVOKED, request_refused=True)], "request_refused", id="a_wrong_request"),
        pytest.param([requested(), NOT_RENEWED], None, id="a_session_that_was_not_renewed_and_may_last"),
        pytest.param([requested(), NOT_RENEWED, NOT_LISTED], "auth_failed", id="a_session_that_did_not_last"),
        pytest.param([*a_sync_of(2), REVOKED], None, id="a_session_that_fails_after_the_listing"),
        pytest.param([discovered("m0"), REVOKED], None, id="a_session_that_fails_before_the_listing_is_reported"),
        pytest.param([requested(), NOT_LISTED], "listing_failed", id="no_listing"),
        pytest.param([discovered("m0"), NOT_LISTED], "listing_failed", id="a_listing_that_broke_off"),
        pytest.param([*a_sync_of(2), NOT_LISTED], None, id="a_failed_listing_that_succeeded_before"),
        pytest.param([*a_sync_of(1), REVOKED, NOT_LISTED, failed("m0")], "complete", id="failures_after_the_listing"),
        pytest.param([requested(), cancelled()], "cancelled", id="cancelled_before_anything_began"),
        pytest.param([discovered("m0"), cancelled(), skipped("m0")], None, id="cancelled_while_media_are_published"),
        pytest.param([*a_sync_of(2), cancelled(), skipped("m0")], None, id="cancelled_with_a_medium_in_hand"),
        pytest.param([*a_sync_of(2), cancelled(), skipped("m0"), failed("m1")], "cancelled", id="cancelled_and_done"),
        pytest.param([*a_sync_of(1), cancelled(), downloaded("m0")], "cancelled", id="cancelled_with_nothing_left"),
        pytest.param([requested(), cancelled(), REVOKED], "auth_failed", id="cancelled_without_a_session"),
        pytest.param([requested(), cancelled(), NOT_LISTED], "listing_failed", id="cancelled_without_a_listing"),
    ],
)
def test_why_a_sync_closes(facts: list[Event], because: str | None) -> None:
    assert why_to_close(Known(facts).sync) == because


def test_the_deadline_counts_from_the_request() -> None:
    sync = Known([requested()]).sync
    assert not is_past(sync, DEADLINE, BEGIN + DEADLINE - timedelta(seconds=1))
    assert is_past(sync, DEADLINE, BEGIN + DEADLINE)


def test_a_partial_failure_is_a_completed_sync_with_failures() -> None:
    event = summary([*a_sync_of(3), downloaded("m0"), downloaded("m2"), failed("m1", "gone")], "complete")
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.discovered, event.downloaded, event.failed) == ("partial", 3, 2, 1)
    assert failures(event) == [("m1", "gone")]
    assert event.failures[0].filename == "GXm1.MP4"
    assert (event.failures_total, event.bytes) == (1, 20)


def test_a_summary_has_the_counts_and_warnings_of_the_listing() -> None:
    listing = listed(1, listed=19, stored=8, pending=2, deferred=6, warnings=("shrank",))
    event = summary([requested(), listing, downloaded("m0", already_stored=True)], "complete")
    assert (event.sync_id, event.discovered, event.listed, event.stored) == (SYNC, 1, 19, 8)
    assert (event.pending, event.deferred, event.warnings) == (2, 6, ("shrank",))
    assert (event.downloaded, event.already_stored, event.bytes) == (1, 1, 0)


def test_a_closed_sync_is_due_for_its_announcement_and_the_review() -> None:
    before = Known([*a_sync_of(1), downloaded("m0")]).sync
    reviewed = replace(before, quiet=Quiet(version=1, reviewed_at=""), unsettled=False)
    sync = close(reviewed, [], "complete", now=NOW, deadline=DEADLINE)
    assert (sync.state, sync.is_open, sync.version) == ("CLOSED", False, before.version + 1)
    assert (sync.closed_because, sync.outcome, sync.quiet) == ("complete", "completed", None)
    assert (sync.announcement, sync.unsettled) == (Announcement(), True)
    assert announced_event(sync) == closing_event(sync)


def test_a_session_that_failed_and_was_replaced_leaves_no_trace_in_a_complete_sync() -> None:
    event = summary([*a_sync_of(1), REVOKED, downloaded("m0")], "complete")
    assert (event.outcome, event.failures, event.reason, event.remedy) == ("completed", (), "", "")


@pytest.mark.parametrize(
    ("facts", "because", "reason", "remedy"),
    [
        ([requested(), REVOKED], "auth_failed", "refresh token was revoked", "Put a new refresh_token"),
        ([requested(), REVOKED], "request_refused", "refresh token was revoked", "Put a new refresh_token"),
        ([requested(), NOT_LISTED], "listing_failed", "its API has changed", "new SyncRequested"),
        (
            [requested(), discovered("m0"), downloaded("m0")],
            "deadline",
            "listing was never reported",
            "cloud-sync redrive",
        ),
    ],
)
def test_a_sync_without_a_listing_failed_and_has_a_reason_and_a_remedy(
    facts: list[Event], because: ClosedBecause, reason: str, remedy: str
) -> None:
    event = summary(facts, because)
    assert isinstance(event, SyncFailed)
    assert (event.outcome, event.closed_because) == ("failed", because)
    assert reason in event.reason
    assert remedy in event.remedy


@pytest.mark.parametrize("because", ["deadline", "stalled"])
def test_a_sync_closed_early_names_failed_then_outstanding_media(because: ClosedBecause) -> None:
    event = summary([*a_sync_of(3), downloaded("m1"), failed("m2", "gone")], because)
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.failed, event.outstanding, event.failures_total) == ("partial", 1, 1, 2)
    assert failures(event) == [("m2", "gone"), ("m0", "it had no result when the sync closed")]
    assert event.reason


def test_known_losses_make_no_sync_a_partial_one() -> None:
    since = {"known_since": "2026-11-02T01:00:00Z"}
    facts = [*a_sync_of(3), failed("m0", "gone", **since), failed("m1", "refused", dead_letter=True), downloaded("m2")]
    event = summary(facts, "complete")
    assert (event.outcome, event.failed, event.known_losses, event.dead_letters) == ("partial", 2, 1, 1)
    assert failures(event) == [("m1", "refused"), ("m0", "gone")]
    assert [(one.known_since, one.dead_letter) for one in event.failures] == [("", True), (since["known_since"], False)]
    event = summary([*a_sync_of(1), failed("m0", "gone", **since)], "complete")
    assert (event.outcome, event.failed, event.failures_total, event.reason) == ("completed", 1, 1, "")
    event = summary([*a_sync_of(2), failed("m0", "gone", **since)], "stalled")
    assert (event.outcome, event.outstanding, event.failures_total) == ("partial", 1, 2)


def test_a_cancelled_sync_is_completed_with_what_was_in_hand() -> None:
    facts = [*a_sync_of(3), cancelled(), downloaded("m0"), skipped("m1"), skipped("m2")]
    event = summary(facts, "cancelled")
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.closed_because, event.downloaded, event.skipped) == ("partial", "cancelled", 1, 2)
    assert (event.failures, event.failures_total, event.outstanding) == ((), 0, 0)
    assert (event.reason, event.remedy) == (f"The sync was cancelled at {at(40)}.", "")
    event = summary([*a_sync_of(1), cancelled(), downloaded("m0")], "cancelled")
    assert (event.outcome, event.reason) == ("completed", f"The sync was cancelled at {at(40)}.")


def test_a_sync_that_is_cancelled_before_its_listing_did_not_fail() -> None:
    event = summary([requested(), cancelled()], "cancelled")
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.discovered) == ("partial", 0)
    assert event.reason == f"The sync was cancelled at {at(40)} before the library was listed."


def test_a_failure_says_how_many_of_its_files_are_stored() -> None:
    event = summary([*a_sync_of(1), failed("m0", files_stored=11, files_total=12)], "complete")
    assert [(one.files_stored, one.files_total) for one in event.failures] == [(11, 12)]


def test_the_reasons_of_failures_are_counted_and_known_ones_come_last() -> None:
    facts = [failed(f"m{n}", "gone", known_since="2026-11-02") for n in range(3)]
    facts += [
        failed("m3", "b"),
        failed("m4", "a"),
        failed("m5", "moved", remedy="Allow it."),
        failed("m6", "moved", remedy="Allow it."),
    ]
    event = summary([*a_sync_of(8), *facts], "stalled")
    assert event.reasons == (
        FailureReason(reason="moved", media=2, remedy="Allow it."),
        FailureReason(reason="a", media=1),
        FailureReason(reason="b", media=1),
        FailureReason(reason="it had no result when the sync closed", media=1),
        FailureReason(reason="gone", media=3, known=True),
    )
    many = summary([*a_sync_of(30), *[failed(f"m{n}", f"reason {n}") for n in range(30)]], "complete")
    assert len(many.reasons) == 20


def test_a_summary_has_what_is_odd_about_the_library_and_its_media() -> None:
    late = NotReadyMedium(media_id="m7", filename="a.mp4", state="failure", since="2026-11-02")
    filters = Filters(types=("Video",))
    more = {"looked_again": 2, "unreadable": 3, "unseen": 4, "not_ready": (late,), "known_warnings": ("w",)}
    walk = {"walk": "newest", "full_walk_at": "2026-11-20T01:00:09Z"}
    listing = listed(60, filters=filters, library_media=90, **more, **walk)
    results = [downloaded(f"m{n:02}", warning="smaller than listed") for n in range(59)]
    event = summary([requested(), listing, *results, downloaded("m59", looked_again=True)], "complete")
    assert (event.looked_again, event.looked_again_downloaded, event.unreadable, event.unseen) == (2, 1, 3, 4)
    assert (event.not_ready, event.known_warnings, event.filters, event.library_media) == ((late,), ("w",), filters, 90)
    assert (event.walk, event.full_walk_at) == ("newest", "2026-11-20T01:00:09Z")
    assert (len(event.suspicious), event.suspicious_total) == (50, 59)
    assert event.suspicious[0] == SuspiciousMedium(media_id="m00", filename="", warning="smaller than listed")


def test_a_session_that_failed_after_the_listing_is_why_the_outstanding_media_failed() -> None:
    event = summary([*a_sync_of(2), downloaded("m0"), REVOKED], "stalled")
    assert failures(event) == [("m1", "the refresh token was revoked")]
    assert "the refresh token was revoked" in event.reason
    assert event.remedy.startswith("Put a new refresh_token")


def test_media_whose_discovery_never_arrived_are_outstanding_too() -> None:
    event = summary([requested(), discovered("m0"), listed(3)], "deadline")
    assert (event.discovered, event.outstanding, event.failures_total, len(event.failures)) == (3, 3, 3, 1)


def test_the_summary_id_is_derived_from_the_sync() -> None:
    one = summary([listed(0)], "complete")
    other = summary([listed(0, occurred_at="2026-11-23T01:00:05Z")], "deadline")
    assert one.summary_id == other.summary_id != summary([listed(0)], "complete", "another").summary_id


def test_records_and_events_stay_small_however_much_fails() -> None:
    long = "\N{ROCKET}" * 5000
    facts = [discovered(f"m{n}", filename=long) for n in range(1000)]
    results = [failed(f"m{n}", long) for n in range(1000)]
    event = summary([*facts, listed(1000, warnings=[long] * 50), *results], "complete")
    assert (len(event.failures), event.failures_total) == (100, 1000)
    assert max(len(failure.reason) for failure in event.failures) == 200
    assert len(str(detail(replace(event))).encode()) < 250_000


@pytest.mark.parametrize(
    ("trigger", "sync_id", "named"),
    [("by hand", "a", "by hand"), ("", "scheduled-2026-11-23", "scheduled"), ("", "a-b-c", "manual")],
)
def test_a_sync_whose_request_never_arrived_has_a_trigger_too(trigger: str, sync_id: str, named: str) -> None:
    facts = [requested(trigger=trigger)] if trigger else []
    assert summary([*facts, listed(0)], "complete", sync_id).trigger == named


def amendment(known: Known, *late: Event) -> SyncAmended:
    known.take(late)
    event = announced_event(known.amend())
    assert isinstance(event, SyncAmended)
    return event


def test_amendments_are_numbered_and_each_has_only_new_results() -> None:
    known = Known([*a_sync_of(4), *[failed(f"m{n}") for n in range(3)]])
    closed = known.close("stalled")
    first = amendment(known, downloaded("m0"))
    second = amendment(known, downloaded("m2"), failed("m3"))
    assert known.sync.version == closed.version + 4, "each by a fact and by its amendment"
    assert (first.number, first.recovered, first.failed) == (1, ("m0",), ())
    assert (second.number, second.recovered, second.failed) == (2, ("m2",), ("m3",))
    assert first.event_id != second.event_id
    assert (first.sync_id, first.summary_id) == (SYNC, closing_event(closed).summary_id)
    assert known.amend().summary == closed.summary


def test_an_amendment_names_a_hundred_media_and_counts_all() -> None:
    known = Known([requested(), listed(300)])
    known.close("deadline")
    event = amendment(known, *[downloaded(f"m{n}") for n in range(150)], *[failed(f"f{n}") for n in range(150)])
    assert (len(event.recovered), event.recovered_total) == (100, 150)
    assert (len(event.failed), event.failed_total) == (100, 150)
