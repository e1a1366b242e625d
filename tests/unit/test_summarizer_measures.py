"""What the metrics say of a sync."""

from typing import Any

import pytest

from services.shared.metrics import Metric
from services.summarizer.measures import outcome, progress
from services.summarizer.records import ClosedSync, Sync


def closed(**fields: Any) -> ClosedSync:
    known = {"sync_id": "s", "closed_because": "complete", "outcome": "completed", "summary": {}}
    return ClosedSync(**{**known, **fields})


def test_progress_is_what_was_added_to_each_count() -> None:
    before = Sync(sync_id="s", downloaded=1, failed=2, bytes=30)
    after = Sync(sync_id="s", downloaded=4, failed=7, bytes=41)

    assert progress(before, after) == {Metric.MEDIA_DOWNLOADED: 3, Metric.MEDIA_FAILED: 5, Metric.BYTES_STORED: 11}


def test_progress_leaves_out_what_did_not_rise_such_as_a_failure_that_a_redrive_has_mended() -> None:
    before = Sync(sync_id="s", downloaded=1, failed=2, bytes=30)

    assert progress(before, before) == {}
    assert progress(before, Sync(sync_id="s", downloaded=2, failed=1, bytes=30)) == {Metric.MEDIA_DOWNLOADED: 1}


@pytest.mark.parametrize(
    ("ended", "metric"),
    [("completed", Metric.SYNC_COMPLETED), ("partial", Metric.SYNC_COMPLETED), ("failed", Metric.SYNC_FAILED)],
)
def test_a_sync_without_a_listing_only_counts_as_completed_or_failed(ended: str, metric: Metric) -> None:
    assert outcome(closed(outcome=ended, expected=None, listed=9)) == {metric: 1}


def test_a_listed_sync_also_says_what_the_listing_found() -> None:
    sync = closed(listed=100, stored=80, expected=12, deferred=5, pending=3)

    assert outcome(sync) == {
        Metric.SYNC_COMPLETED: 1,
        Metric.MEDIA_LISTED: 100,
        Metric.MEDIA_STORED_BEFORE: 80,
        Metric.MEDIA_NEW: 12,
        Metric.MEDIA_DEFERRED: 5,
        Metric.MEDIA_NOT_READY: 3,
    }


def test_a_night_without_anything_new_has_zeros_so_that_the_dashboard_shows_it() -> None:
    assert outcome(closed(expected=0, listed=7, stored=7))[Metric.MEDIA_NEW] == 0
