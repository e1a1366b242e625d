"""Whether and why a sync closes, and what is said of it then and afterwards. Decisions only."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from services.shared.bus import iso
from services.shared.events import Event, Failure, Summary, SyncAmended, SyncCompleted, SyncFailed, detail
from services.summarizer import report
from services.summarizer.sync import Announcement, ClosedBecause, Medium, Sync

NAMED = 100  # media that an event names
FAILURE_REASON_LENGTH = 200

_NAMESPACE = uuid.UUID("b7f2d4c6-4a53-5c0e-8f5b-1d2a7e90c3aa")


def why_to_close(sync: Sync) -> ClosedBecause | None:
    """Why an open sync is over, as far as its facts alone can tell."""
    if sync.expected is not None:
        return "complete" if sync.settled_media == sync.expected else None
    if sync.listing_problem:
        return "auth_failed" if sync.session_problem else "listing_failed"
    # Only a sync that never had a session is over by this. Of one whose session could not be renewed the listing tells
    # the outcome: that session may last until its end, or have lasted, though no word of it is here yet.
    if sync.session_problem and not sync.session_version and not sync.discovered:
        return "auth_failed"
    return None


def is_past(sync: Sync, deadline: timedelta, now: datetime) -> bool:
    """Whether the sync has had all the time that it gets."""
    return now >= datetime.fromisoformat(sync.requested_at) + deadline


def close(sync: Sync, media: Sequence[Medium], because: ClosedBecause, *, now: datetime, deadline: timedelta) -> Sync:
    """The sync as closed, with its summary. `media`: all of them, as they stand at the sync's version."""
    could_not_work = sync.expected is None
    discovered = sync.discovered if sync.expected is None else sync.expected
    outstanding = max(0, discovered - sync.settled_media)
    failures = [_failure(sync, medium) for medium in _unstored(media)]
    unsuccessful = sync.failed + outstanding
    kind = SyncFailed if could_not_work else SyncCompleted
    summary = kind(
        sync_id=sync.sync_id,
        summary_id=summary_id(sync.sync_id),
        outcome="failed" if could_not_work else "partial" if unsuccessful else "completed",
        closed_because=because,
        trigger=sync.trigger or ("scheduled" if sync.sync_id.startswith("scheduled-") else "manual"),
        requested_at=sync.requested_at,
        closed_at=iso(now),
        listed=sync.listed,
        stored=sync.stored,
        discovered=discovered,
        downloaded=sync.downloaded,
        already_stored=sync.already_stored,
        failed=sync.failed,
        outstanding=outstanding,
        pending=sync.pending,
        deferred=sync.deferred,
        bytes=sync.bytes,
        failures=tuple(failures[:NAMED]),
        failures_total=unsuccessful,
        warnings=sync.warnings,
        reason=report.reason(sync, because, deadline) if could_not_work or unsuccessful else "",
        remedy=report.remedy(sync, because) if could_not_work or unsuccessful else "",
    )
    return replace(
        sync,
        version=sync.version + 1,
        state="CLOSED",
        quiet=None,
        closed_because=because,
        outcome=summary.outcome,
        summary=detail(summary)["data"],
        announcement=Announcement(),
        unsettled=True,
    )


def amend(sync: Sync, media: Iterable[Medium]) -> Sync:
    """A closed sync with its next announcement: what came in since the last one. `media`: all of the sync."""
    assert sync.announcement is not None  # noqa: S101  # a closed sync has one
    late = sorted(
        (medium for medium in media if medium.late is not None and medium.late > sync.amended),
        key=lambda medium: medium.media_id,
    )
    recovered = [medium.media_id for medium in late if medium.state == "DOWNLOADED"]
    failed = [medium.media_id for medium in late if medium.state == "FAILED"]
    return replace(
        sync,
        version=sync.version + 1,
        amended=sync.version,
        announcement=Announcement(
            number=sync.announcement.number + 1,
            recovered=tuple(recovered[:NAMED]),
            recovered_total=len(recovered),
            failed=tuple(failed[:NAMED]),
            failed_total=len(failed),
        ),
    )


def announced_event(sync: Sync) -> Event:
    """The event that a closed sync's announcement is about: the same whenever it is asked for."""
    announcement = sync.announcement
    assert announcement is not None  # noqa: S101  # a closed sync has one
    if announcement.number == 0:
        return closing_event(sync)
    return SyncAmended(
        sync_id=sync.sync_id,
        summary_id=summary_id(sync.sync_id),
        number=announcement.number,
        recovered=announcement.recovered,
        recovered_total=announcement.recovered_total,
        failed=announcement.failed,
        failed_total=announcement.failed_total,
    )


def closing_event(sync: Sync) -> Summary:
    """The summary of a closed sync, from its frozen record."""
    kind = SyncFailed if sync.outcome == "failed" else SyncCompleted
    return msgspec.convert({**(sync.summary or {}), "sync_id": sync.sync_id}, kind)


def summary_id(sync_id: str) -> str:
    """A sync has one summary, so its id is derived from the sync's."""
    return str(uuid.uuid5(_NAMESPACE, sync_id))


def _unstored(media: Iterable[Medium]) -> list[Medium]:
    """Those that failed, then those without a result."""
    unstored = (medium for medium in media if medium.state != "DOWNLOADED")
    return sorted(unstored, key=lambda medium: (medium.state != "FAILED", medium.filename, medium.media_id))


def _failure(sync: Sync, medium: Medium) -> Failure:
    reason = medium.reason if medium.state == "FAILED" else sync.session_problem or report.NO_RESULT
    return Failure(media_id=medium.media_id, filename=medium.filename, reason=reason[:FAILURE_REASON_LENGTH])
