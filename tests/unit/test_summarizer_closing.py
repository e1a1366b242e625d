"""Whether, why and with which words a sync closes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from summarizer_stage import BEGIN, SYNC, a_sync_of, discovered, downloaded, failed, listed, requested
from test_summarizer_tally import Table, after

from services.shared.events import (
    AuthenticationFailed,
    Event,
    LibraryListingFailed,
    SyncAmended,
    SyncCompleted,
    SyncFailed,
    detail,
)
from services.summarizer.closing import amend, announced_event, close, closing_event, is_past, why_to_close
from services.summarizer.sync import Announcement, ClosedBecause, Quiet, Sync

NOW = BEGIN + timedelta(hours=1)
REVOKED = AuthenticationFailed(sync_id=SYNC, reason="the refresh token was revoked", remedy="Sign in again.")
NOT_RENEWED = replace(REVOKED, session_version=1)
BROKEN = LibraryListingFailed(sync_id=SYNC, reason="its API has changed")


def known(*facts: Event) -> Sync:
    sync = after(facts).sync
    assert sync is not None
    return sync


def closed(facts: Sequence[Event], because: ClosedBecause) -> Sync:
    table = after(facts)
    assert table.sync is not None
    return close(table.sync, list(table.media.values()), because, now=NOW, deadline=timedelta(hours=12))


@pytest.mark.parametrize(
    ("facts", "because"),
    [
        ([requested()], None),
        ([requested(), discovered("m0"), downloaded("m0")], None),
        ([*a_sync_of(2), downloaded("m0")], None),
        ([*a_sync_of(2), downloaded("m0"), failed("m1")], "complete"),
        ([downloaded("m0"), failed("m1"), listed(2)], "complete"),
        ([*a_sync_of(1), downloaded("m0"), downloaded("of-nobody")], None),
        ([listed(0)], "complete"),
        ([requested(), REVOKED], "auth_failed"),
        ([requested(refused="unknown filter"), REVOKED], "auth_failed"),
        ([requested(), NOT_RENEWED], None),
        ([requested(), NOT_RENEWED, BROKEN], "auth_failed"),
        ([*a_sync_of(2), REVOKED], None),
        ([discovered("m0"), REVOKED], None),
        ([requested(), BROKEN], "listing_failed"),
        ([discovered("m0"), BROKEN], "listing_failed"),
        ([*a_sync_of(2), BROKEN], None),
        ([*a_sync_of(1), REVOKED, BROKEN, failed("m0")], "complete"),
    ],
    ids=[
        "asked_for_only",
        "results_before_the_listing_close_nothing",
        "a_result_is_missing",
        "every_medium_has_a_result",
        "the_listing_comes_last",
        "more_results_than_expected_are_not_complete",
        "nothing_new",
        "no_session",
        "a_refused_request",
        "a_session_that_could_not_be_renewed_and_may_still_do_or_have_done",
        "a_session_that_could_not_be_renewed_and_did_not_do",
        "a_session_that_fails_after_the_listing",
        "a_session_that_fails_while_the_end_of_the_listing_is_on_its_way",
        "no_listing",
        "a_listing_that_broke_off_while_told",
        "a_late_word_of_a_failed_listing_that_succeeded",
        "what_happened_after_the_listing_does_not_matter",
    ],
)
def test_why_a_sync_closes(facts: list[Event], because: str | None) -> None:
    assert why_to_close(known(*facts)) == because


def test_the_deadline_counts_from_the_request() -> None:
    sync = known(requested())
    twelve_hours = timedelta(hours=12)
    assert not is_past(sync, twelve_hours, BEGIN + twelve_hours - timedelta(seconds=1))
    assert is_past(sync, twelve_hours, BEGIN + twelve_hours)


def test_a_partial_failure_is_a_completed_sync_with_failures_in_it() -> None:
    sync = closed([*a_sync_of(3), downloaded("m0"), downloaded("m2"), failed("m1", "gone")], "complete")
    event = closing_event(sync)
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.discovered, event.downloaded, event.failed) == ("partial", 3, 2, 1)
    assert [(f.media_id, f.filename, f.reason) for f in event.failures] == [("m1", "GXm1.MP4", "gone")]
    assert event.failures_total == 1
    assert event.bytes == 20


def test_a_summary_says_what_the_listing_counted_and_warned_of() -> None:
    listing = listed(1, listed=19, stored=8, pending=2, deferred=6, warnings=("shrank",))
    event = closing_event(closed([requested(), listing, downloaded("m0", already_stored=True)], "complete"))
    assert (event.sync_id, event.discovered, event.listed, event.stored) == (SYNC, 1, 19, 8)
    assert (event.pending, event.deferred, event.warnings) == (2, 6, ("shrank",))
    assert (event.downloaded, event.already_stored, event.bytes) == (1, 1, 0)


def test_a_closed_sync_is_to_be_announced_and_looked_at_by_the_review() -> None:
    known_so_far = known(*a_sync_of(1), downloaded("m0"))
    watched = replace(known_so_far, quiet=Quiet(version=1, reviewed_at=""), unsettled=False)
    sync = close(watched, [], "complete", now=NOW, deadline=timedelta(hours=12))
    assert (sync.state, sync.is_open, sync.version) == ("CLOSED", False, known_so_far.version + 1)
    assert (sync.closed_because, sync.outcome, sync.quiet) == ("complete", "completed", None)
    assert (sync.announcement, sync.unsettled) == (Announcement(), True)
    assert announced_event(sync) == closing_event(sync)


def test_a_sync_in_which_all_is_stored_is_completed() -> None:
    event = closing_event(closed([*a_sync_of(1), downloaded("m0")], "complete"))
    assert (event.outcome, event.failures, event.reason, event.remedy) == ("completed", (), "", "")


@pytest.mark.parametrize(
    ("facts", "because", "reason", "remedy"),
    [
        ([requested(), REVOKED], "auth_failed", "refresh token was revoked", "Sign in again"),
        ([requested(), BROKEN], "listing_failed", "its API has changed", "new SyncRequested"),
        ([requested(), discovered("m0"), downloaded("m0")], "deadline", "listing was never reported", "dead letters"),
    ],
)
def test_a_sync_without_a_listing_failed_and_says_why_and_what_to_do(
    facts: list[Event], because: ClosedBecause, reason: str, remedy: str
) -> None:
    event = closing_event(closed(facts, because))
    assert isinstance(event, SyncFailed)
    assert event.outcome == "failed"
    assert event.closed_because == because
    assert reason in event.reason
    assert remedy in event.remedy


@pytest.mark.parametrize("because", ["deadline", "stalled"])
def test_a_sync_closed_before_its_end_names_what_is_outstanding(because: ClosedBecause) -> None:
    event = closing_event(closed([*a_sync_of(3), downloaded("m0"), failed("m1", "gone")], because))
    assert isinstance(event, SyncCompleted)
    assert (event.outcome, event.failed, event.outstanding) == ("partial", 1, 1)
    assert [(f.media_id, f.reason) for f in event.failures] == [
        ("m1", "gone"),
        ("m2", "no result had come when the sync was closed"),
    ]
    assert event.failures_total == 2
    assert event.reason


def test_media_that_failed_are_named_before_those_without_a_result() -> None:
    event = closing_event(closed([*a_sync_of(2), failed("m1", "gone")], "stalled"))
    assert [failure.media_id for failure in event.failures] == ["m1", "m0"]


def test_a_session_that_failed_after_the_listing_is_why_the_outstanding_media_failed() -> None:
    event = closing_event(closed([*a_sync_of(2), downloaded("m0"), REVOKED], "stalled"))
    assert [(f.media_id, f.reason) for f in event.failures] == [("m1", "the refresh token was revoked")]
    assert "the refresh token was revoked" in event.reason
    assert event.remedy.startswith("Sign in again.")


def test_a_session_that_failed_and_was_mended_leaves_no_trace_in_a_complete_sync() -> None:
    event = closing_event(closed([*a_sync_of(1), REVOKED, downloaded("m0")], "complete"))
    assert (event.outcome, event.reason, event.remedy) == ("completed", "", "")


def test_media_of_which_no_discovery_was_heard_are_outstanding_too() -> None:
    event = closing_event(closed([requested(), discovered("m0"), listed(3)], "deadline"))
    assert (event.discovered, event.outstanding, event.failures_total, len(event.failures)) == (3, 3, 3, 1)


def test_the_summary_id_is_the_syncs_own() -> None:
    one = closing_event(closed([listed(0)], "complete"))
    other = closing_event(closed([listed(0, occurred_at="2026-11-23T01:00:05Z")], "deadline"))
    elsewhere = closing_event(closed([requested(sync_id="another"), listed(0, sync_id="another")], "complete"))
    assert one.summary_id == other.summary_id != elsewhere.summary_id


def test_records_and_events_stay_small_however_much_fails() -> None:
    reasons = "\N{ROCKET}" * 5000
    facts = [discovered(f"m{n}", filename=reasons) for n in range(1000)]
    results = [failed(f"m{n}", reasons) for n in range(1000)]
    sync = closed([*facts, listed(1000, warnings=[reasons] * 50), *results], "complete")
    event = closing_event(sync)
    assert len(event.failures) == 100
    assert event.failures_total == 1000
    assert max(len(failure.reason) for failure in event.failures) == 200
    assert len(str(detail(replace(event))).encode()) < 250_000


@pytest.mark.parametrize(
    ("trigger", "sync_id", "named"),
    [("by hand", "a", "by hand"), ("", "scheduled-2026-11-23", "scheduled"), ("", "a-b-c", "manual")],
)
def test_a_sync_whose_request_was_never_heard_of_still_has_a_trigger(trigger: str, sync_id: str, named: str) -> None:
    facts: list[Event] = [requested(sync_id=sync_id, trigger=trigger)] if trigger else []
    assert closing_event(closed([*facts, listed(0, sync_id=sync_id)], "complete")).trigger == named


def amendments(table: Table, *late: Event) -> SyncAmended:
    table.take(late)
    assert table.sync is not None
    table.sync = amend(table.sync, list(table.media.values()))
    event = announced_event(table.sync)
    assert isinstance(event, SyncAmended)
    return event


def test_amendments_are_numbered_and_each_tells_only_what_is_new() -> None:
    table = after([*a_sync_of(4), *[failed(f"m{n}") for n in range(3)]])
    assert table.sync is not None
    table.sync = close(table.sync, list(table.media.values()), "stalled", now=NOW, deadline=timedelta(hours=12))
    before: Any = table.sync.summary
    versions = [table.sync.version]
    first = amendments(table, downloaded("m0"))
    versions.append(table.sync.version)
    second = amendments(table, downloaded("m2"), failed("m3"))
    versions.append(table.sync.version)
    assert versions == [versions[0] + 2 * n for n in range(3)], "each by a fact and its amendment"
    assert (first.number, first.recovered, first.failed) == (1, ("m0",), ())
    assert (second.number, second.recovered, second.failed) == (2, ("m2",), ("m3",))
    assert first.event_id != second.event_id
    assert (first.sync_id, first.summary_id) == (SYNC, closing_event(table.sync).summary_id)
    assert table.sync.summary == before


def test_an_amendment_names_a_hundred_and_counts_all() -> None:
    table = after([requested(), listed(300)])
    assert table.sync is not None
    table.sync = close(table.sync, [], "deadline", now=NOW, deadline=timedelta(hours=12))
    event = amendments(table, *[downloaded(f"m{n}") for n in range(150)], *[failed(f"f{n}") for n in range(150)])
    assert (len(event.recovered), event.recovered_total) == (100, 150)
    assert (len(event.failed), event.failed_total) == (100, 150)
