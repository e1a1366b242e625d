"""Builders of a sync's facts, and a sync that nothing but the decisions about it changes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.shared.clock import iso
from services.shared.events import (
    AuthenticationFailed,
    ClosedBecause,
    Event,
    LibraryListed,
    LibraryListingFailed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadSkipped,
    SyncCancelRequested,
    SyncRequested,
    SyncReviewDue,
)
from services.summarizer.closing import amend, close, why_to_close
from services.summarizer.notification import Deployment
from services.summarizer.records import ClosedSync, Medium, Sync
from services.summarizer.tally import Tallied, media_ids, tally

SYNC = "scheduled-2026-11-23"
BEGIN = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
NOW = BEGIN + timedelta(hours=1)
DEADLINE = timedelta(hours=12)
DEPLOYMENT = Deployment(
    bus="cloud-sync-prod", bucket="media", topic_arn="arn:aws:sns:eu-central-1:123456789012:notifications"
)
REVOKED = AuthenticationFailed(
    sync_id=SYNC, reason="the refresh token was revoked", remedy="Put a new refresh_token into the secret."
)
NOT_LISTED = LibraryListingFailed(sync_id=SYNC, reason="its API has changed")


def at(seconds: float) -> str:
    """Return the time that many seconds after the request, as events carry it."""
    return iso(BEGIN + timedelta(seconds=seconds))


def requested(**more: Any) -> SyncRequested:
    return SyncRequested(**{"sync_id": SYNC, "trigger": "scheduled", "occurred_at": at(0), **more})


def discovered(media_id: str, **more: Any) -> MediaDiscovered:
    given = {"filename": f"GX{media_id}.MP4", "size": 10, "occurred_at": at(20)}
    return MediaDiscovered(**{"sync_id": SYNC, "media_id": media_id, **given, **more})


def listed(count: int, **more: Any) -> LibraryListed:
    given = {"listed": count, "stored": 0, "pending": 0, "deferred": 0, "occurred_at": at(30)}
    return LibraryListed(**{"sync_id": SYNC, "discovered": count, **given, **more})


def downloaded(media_id: str, **more: Any) -> MediaDownloaded:
    given = {"epoch": 1, "bytes": 10, "seconds": 1.5, "occurred_at": at(60)}
    return MediaDownloaded(**{"sync_id": SYNC, "media_id": media_id, **given, **more})


def failed(media_id: str, reason: str = "gone at the source", **more: Any) -> MediaDownloadFailed:
    given = {"epoch": 1, "attempts": 4, "occurred_at": at(60)}
    return MediaDownloadFailed(**{"sync_id": SYNC, "media_id": media_id, "reason": reason, **given, **more})


def skipped(media_id: str) -> MediaDownloadSkipped:
    return MediaDownloadSkipped(sync_id=SYNC, media_id=media_id, occurred_at=at(60))


def cancelled(seconds: float = 40) -> SyncCancelRequested:
    """Return the request to end the sync, that many seconds after the request of the sync."""
    return SyncCancelRequested(sync_id=SYNC, occurred_at=at(seconds))


def review_due(minutes: float) -> SyncReviewDue:
    """Return a review that many minutes after the request."""
    return SyncReviewDue(occurred_at=at(60 * minutes))


def a_sync_of(count: int) -> list[Event]:
    """Return all facts of a sync before its first download ends."""
    return [requested(), *[discovered(f"m{n}") for n in range(count)], listed(count)]


class Known:
    """A sync and its media as they are known after some batches of facts."""

    def __init__(self, *batches: Sequence[Event], sync_id: str = SYNC) -> None:
        self.sync = Sync(sync_id=sync_id)
        self.media: dict[str, Medium] = {}
        self.closes = 0
        for batch in batches:
            self.take(batch)

    def take(self, batch: Sequence[Event]) -> Tallied | None:
        known = {media_id: self.media[media_id] for media_id in media_ids(batch) if media_id in self.media}
        tallied = tally(self.sync, known, batch, now=NOW)
        if tallied:
            assert tallied.sync.version == self.sync.version + 1
            self.sync = tallied.sync
            self.media |= {medium.media_id: medium for medium in tallied.media}
        return tallied

    def close(self, because: ClosedBecause, *, now: datetime = NOW) -> ClosedSync:
        self.sync = closed = close(self.sync, list(self.media.values()), because, now=now, deadline=DEADLINE)
        self.closes += 1
        return closed

    def close_if_over(self) -> None:
        if self.sync.is_open and (because := why_to_close(self.sync)):
            self.close(because)

    def amend(self) -> ClosedSync:
        assert isinstance(self.sync, ClosedSync)
        self.sync = amended = amend(self.sync, list(self.media.values()))
        return amended
