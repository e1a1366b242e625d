"""What the metrics say of a sync: decisions only."""

from collections.abc import Mapping

from services.shared.metrics import Metric
from services.summarizer.records import ClosedSync, Sync


def progress(before: Sync, after: Sync) -> Mapping[Metric, int]:
    """Return what facts have added to a sync: media, and bytes where the name says so. Without what did not rise."""
    changes = {
        Metric.MEDIA_DOWNLOADED: after.downloaded - before.downloaded,
        Metric.MEDIA_FAILED: after.failed - before.failed,
        Metric.BYTES_STORED: after.bytes - before.bytes,
    }
    return {metric: change for metric, change in changes.items() if change > 0}


def outcome(sync: ClosedSync) -> Mapping[Metric, int]:
    """Return how a sync ended and, if the library was listed, what the listing found, zeros included."""
    ended = {Metric.SYNC_FAILED if sync.outcome == "failed" else Metric.SYNC_COMPLETED: 1}
    if sync.expected is None:
        return ended
    return {
        **ended,
        Metric.MEDIA_LISTED: sync.listed,
        Metric.MEDIA_STORED_BEFORE: sync.stored,
        Metric.MEDIA_NEW: sync.expected,
        Metric.MEDIA_DEFERRED: sync.deferred,
        Metric.MEDIA_NOT_READY: sync.pending,
    }
