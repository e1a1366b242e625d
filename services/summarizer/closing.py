"""Whether and why a sync closes, its summary, and the amendments after it: decisions only."""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from services.shared.clock import iso
from services.shared.envelope import detail
from services.shared.events import (
    ClosedBecause,
    Failure,
    FailureReason,
    Summary,
    SuspiciousMedium,
    SyncAmended,
    SyncCompleted,
    SyncFailed,
)
from services.summarizer.reasons import NO_RESULT, reason, remedy
from services.summarizer.records import Announcement, ClosedSync, Medium, Sync

NAMED = 100  # the most media that an event names in a list
REASONS = 20  # the most reasons in a summary
SUSPICIOUS = 50  # the most suspicious media that a summary names
FAILURE_REASON_LENGTH = 200

_NAMESPACE = uuid.UUID("b7f2d4c6-4a53-5c0e-8f5b-1d2a7e90c3aa")


def why_to_close(sync: Sync) -> ClosedBecause | None:
    """Return why an open sync is over; None if its facts alone do not say that it is."""
    if sync.expected is not None:
        if sync.settled_media != sync.expected:
            return None
        return "cancelled" if sync.cancel_requested_at else "complete"
    if sync.listing_problem:
        return "auth_failed" if sync.session_problem else "listing_failed"
    # A failed session closes only a sync that never had one. A session that could not be renewed may still last for the
    # whole listing, so the outcome of the listing decides.
    if sync.session_problem and not sync.session_version and not sync.discovered:
        return "request_refused" if sync.request_refused else "auth_failed"
    # A lister that has published media will also publish their number, even if cancelled: wait for it.
    return "cancelled" if sync.cancel_requested_at and not sync.discovered else None


def is_past(sync: Sync, deadline: timedelta, now: datetime) -> bool:
    """Return whether the deadline has passed."""
    return now >= datetime.fromisoformat(sync.requested_at) + deadline


def close(
    sync: Sync, media: Sequence[Medium], because: ClosedBecause, *, now: datetime, deadline: timedelta
) -> ClosedSync:
    """Return the closed sync, with its summary. `media`: all media of the sync, read at this version of it."""
    was_listed = sync.expected is not None
    discovered = sync.discovered if sync.expected is None else sync.expected
    outstanding = max(0, discovered - sync.settled_media)
    failures = [_failure(sync, medium) for medium in _unstored(media)]
    downloaded = [medium for medium in media if medium.state == "DOWNLOADED"]
    stored = {medium.media_id for medium in downloaded}
    suspicious = [_suspicious(medium) for medium in downloaded if medium.warning]
    unexpected = sync.failed - sync.known_losses + outstanding
    has_problem = unexpected or not was_listed or because == "cancelled"
    outcome: Literal["completed", "partial", "failed"] = "completed"
    if not was_listed and because != "cancelled":
        outcome = "failed"
    elif unexpected or sync.skipped or not was_listed:
        outcome = "partial"
    summary = Summary(
        sync_id=sync.sync_id,
        summary_id=summary_id(sync.sync_id),
        outcome=outcome,
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
        known_losses=sync.known_losses,
        dead_letters=sum(medium.dead_letter for medium in media),
        skipped=sync.skipped,
        outstanding=outstanding,
        pending=sync.pending,
        deferred=sync.deferred,
        looked_again=sync.looked_again,
        looked_again_downloaded=sum(medium.looked_again for medium in downloaded),
        bytes=sync.bytes,
        failures=tuple(failures[:NAMED]),
        failures_total=sync.failed + outstanding,
        reasons=_reasons(media, failures),
        suspicious=tuple(suspicious[:SUSPICIOUS]),
        suspicious_total=len(suspicious),
        # The lister names a medium whose source may yet be stored; what is stored is no longer missing.
        not_ready=tuple(one for one in sync.not_ready if one.media_id not in stored),
        unreadable=sync.unreadable,
        unseen=sync.unseen,
        filters=sync.filters,
        library_media=sync.library_media,
        walk=sync.walk,
        full_walk_at=sync.full_walk_at,
        warnings=sync.warnings,
        known_warnings=sync.known_warnings,
        reason=reason(sync, because, deadline) if has_problem else "",
        remedy=remedy(sync, because) if has_problem else "",
    )
    known = replace(sync, version=sync.version + 1, state="CLOSED", quiet=None, unsettled=True)
    return ClosedSync(**vars(known), closed_because=because, outcome=summary.outcome, summary=detail(summary)["data"])


def amend(sync: ClosedSync, media: Iterable[Medium]) -> ClosedSync:
    """Return the sync with its next announcement, of the results since the last one. `media`: all of its media."""
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


def announced_event(sync: ClosedSync) -> Summary | SyncAmended:
    """Return the event of a closed sync's current announcement. Every call returns the same one."""
    announcement = sync.announcement
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


def closing_event(sync: ClosedSync) -> Summary:
    """Return the summary of a closed sync, from its frozen record."""
    kind = SyncFailed if sync.outcome == "failed" else SyncCompleted
    return msgspec.convert({**sync.summary, "sync_id": sync.sync_id}, kind)


def summary_id(sync_id: str) -> str:
    """Return the id of a sync's only summary, derived from the sync's id."""
    return str(uuid.uuid5(_NAMESPACE, sync_id))


def _unstored(media: Iterable[Medium]) -> list[Medium]:
    """Return the failed media, known losses last among them, and then the media without a result."""

    def place(medium: Medium) -> tuple[bool, bool, str, str]:
        return medium.state != "FAILED", bool(medium.known_since), medium.filename, medium.media_id

    return sorted((medium for medium in media if medium.state in ("FAILED", "DISCOVERED")), key=place)


def _failure(sync: Sync, medium: Medium) -> Failure:
    why = medium.reason if medium.state == "FAILED" else sync.session_problem or NO_RESULT
    return Failure(
        media_id=medium.media_id,
        filename=medium.filename,
        reason=why[:FAILURE_REASON_LENGTH],
        files_stored=medium.files_stored,
        files_total=medium.files_total,
        known_since=medium.known_since,
        dead_letter=medium.dead_letter,
    )


def _reasons(media: Iterable[Medium], failures: Iterable[Failure]) -> tuple[FailureReason, ...]:
    """Return the reasons of the failures, the most frequent first. Reasons of known losses come last."""
    remedies = {medium.media_id: medium.remedy for medium in media}
    counted: Counter[tuple[bool, str, str]] = Counter()
    dead_letters: Counter[tuple[bool, str, str]] = Counter()
    for one in failures:
        group = bool(one.known_since), one.reason, remedies[one.media_id]
        counted[group] += 1
        dead_letters[group] += one.dead_letter
    ordered = sorted(counted.items(), key=lambda entry: (entry[0][0], -entry[1], entry[0]))
    return tuple(
        FailureReason(
            reason=why, media=count, known=known, remedy=remedy, dead_letters=dead_letters[known, why, remedy]
        )
        for (known, why, remedy), count in ordered[:REASONS]
    )


def _suspicious(medium: Medium) -> SuspiciousMedium:
    return SuspiciousMedium(media_id=medium.media_id, filename=medium.filename, warning=medium.warning)
