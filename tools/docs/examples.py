"""An example of every event: shown in its schema, and validated against it by a test."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.shared.events import (
    AuthenticationFailed,
    Event,
    FailedFile,
    Failure,
    Filters,
    LibraryListed,
    LibraryListingFailed,
    LibraryListingPaused,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    MediaDownloadSkipped,
    NotReadyMedium,
    OperatorsNotified,
    SessionAuthenticated,
    SessionEnding,
    SessionProbeDue,
    SessionRejected,
    Slice,
    StoredFile,
    SyncAmended,
    SyncCancelRequested,
    SyncCompleted,
    SyncFailed,
    SyncRequested,
    SyncReviewDue,
)

_SENT_AT: Mapping[str, Any] = {"sync_id": "scheduled-2026-11-23", "occurred_at": "2026-11-23T01:00:09Z"}
_MEDIUM: Mapping[str, Any] = {
    "media_id": "6a9300000000000000000001",
    "type": "Video",
    "filename": "GX010123.MP4",
    "captured_at": "2026-01-30T21:08:11Z",
    "size": 4_012_345_678,
    "item_count": 2,
    "camera": "HERO13 Black",
    "labels": ("gpmf", "high_res_proxy_mp4", "source"),
}
_FILE = StoredFile(
    key="gopro/2026/01/30/6a9300000000000000000001/GX010123.MP4",
    size=4_011_000_000,
    checksum="kNDqJxL1Yk4=",
    proof="origin-etag",
)
_SLICE = Slice(began_at="2026-11-23T01:00:31.250Z", seconds=112.4, bytes=_FILE.size, parts=240, connections=3)
_SUMMARY: Mapping[str, Any] = {
    "summary_id": "scheduled-2026-11-23",
    "trigger": "scheduled",
    "requested_at": "2026-11-23T01:00:03Z",
    "closed_at": "2026-11-23T01:42:17Z",
}
EXAMPLES: Mapping[str, Event] = {
    type(example).__name__: example
    for example in (
        SyncRequested(
            **_SENT_AT,
            trigger="scheduled",
            scheduled_time="2026-11-23T01:00:00Z",
            filters=Filters(types=("Video",), captured_from="2026-01-01T00:00:00Z"),
        ),
        SessionAuthenticated(
            **_SENT_AT, session_version=7, requested_at="2026-11-23T01:00:03Z", expires_at="2026-11-24T01:00:08Z"
        ),
        AuthenticationFailed(
            **_SENT_AT, reason="the refresh token was revoked", remedy="Put a new one into the credentials secret."
        ),
        SessionRejected(**_SENT_AT, session_version=7),
        MediaDiscovered(**_SENT_AT, **_MEDIUM),
        LibraryListingPaused(
            **_SENT_AT,
            hops=1,
            seen_key="listings/scheduled-2026-11-23/1.json",
            next_page=101,
            session_version=7,
            requested_at="2026-11-23T01:00:03Z",
        ),
        LibraryListed(
            **_SENT_AT,
            listed=212,
            stored=200,
            discovered=11,
            pending=1,
            deferred=0,
            not_ready=(
                NotReadyMedium(
                    media_id="6a9300000000000000000003",
                    filename="GX010125.MP4",
                    state="failure",
                    since="2026-11-02T01:00:09Z",
                ),
            ),
            warnings=("GoPro counts 213 media in the account, but 212 in the listing.",),
        ),
        LibraryListingFailed(**_SENT_AT, reason="GoPro's listing lacks `_pages.total_items`"),
        MediaDownloadPaused(**_SENT_AT, **_MEDIUM, hops=1, item=2, parts_done=41, slices=(_SLICE,)),
        MediaDownloaded(
            **_SENT_AT,
            media_id=_MEDIUM["media_id"],
            epoch=1,
            files=(_FILE,),
            files_total=1,
            bytes=_FILE.size,
            seconds=112.4,
            proven_by_etag=1,
            slices=(_SLICE,),
        ),
        MediaDownloadFailed(
            **_SENT_AT,
            media_id=_MEDIUM["media_id"],
            reason="1 of 2 files stored; missing: GX020123.MP4 (GoPro's CDN answered 404)",
            epoch=1,
            attempts=1,
            files_stored=1,
            files_total=2,
            failed_files=(FailedFile(name="GX020123.MP4", reason="GoPro's CDN answered 404"),),
        ),
        MediaDownloadSkipped(**_SENT_AT, media_id=_MEDIUM["media_id"]),
        SyncCancelRequested(**_SENT_AT),
        SyncReviewDue(),
        SessionProbeDue(),
        SessionEnding(
            sync_id="scheduled-2026-11-24",
            occurred_at="2026-11-23T19:00:00Z",
            warned_on="2026-11-23",
            since="2026-11-23T13:55:00Z",
            ends_about="2026-11-23T22:40:00Z",
            next_sync_at="2026-11-24T01:00:00Z",
        ),
        SyncCompleted(
            **_SENT_AT,
            **_SUMMARY,
            outcome="partial",
            closed_because="complete",
            listed=212,
            stored=200,
            discovered=11,
            downloaded=10,
            failed=1,
            pending=1,
            bytes=39_812_345_678,
            failures=(
                Failure(
                    media_id="6a9300000000000000000002",
                    filename="GX010124.MP4",
                    reason="GoPro no longer has the medium",
                ),
            ),
            failures_total=1,
        ),
        SyncFailed(
            **_SENT_AT,
            **_SUMMARY,
            outcome="failed",
            closed_because="auth_failed",
            reason="the refresh token was revoked",
            remedy="Put a new one into the credentials secret.",
        ),
        SyncAmended(
            **_SENT_AT,
            summary_id="scheduled-2026-11-23",
            number=1,
            recovered=("6a9300000000000000000002",),
            recovered_total=1,
        ),
        OperatorsNotified(
            **_SENT_AT,
            notification_id="5f3c1f2e-0d6b-5c1e-9d0a-6f1f0c1b7a55",
            about="SyncFailed",
            severity="critical",
            subject="Cloud Sync FAILED: no session with GoPro (scheduled-2026-11-23)",
            text=(
                "Cloud Sync FAILED: no session with GoPro.\n\nWhy: the refresh token was revoked\n\n"
                "To do:\n    cloud-sync credentials login --env prod\n"
            ),
            link="https://eu-central-1.console.aws.amazon.com/s3/object/BUCKET?region=eu-central-1&prefix=KEY",
        ),
    )
}
# Examples of a hand-written `detail` of a SyncRequested.
BY_HAND: Sequence[Mapping[str, Any]] = (
    {},
    {"provider": "gopro"},
    {"sync_id": "holidays", "filters": {"types": ["Video"], "captured_from": "2026-07-01T00:00:00Z"}},
)
