"""Computes the state of a sync from its facts. The order and the repetition of facts do not change the result.

The reason is that each part of the state moves in one direction only: a medium's state to a higher rank, its result to
a higher epoch (then by content), and the time of the request to an earlier time.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, datetime

import msgspec

from services.shared.clock import iso, moment_in, precise
from services.shared.events import (
    AuthenticationFailed,
    Event,
    FailedFile,
    Filters,
    LibraryListed,
    LibraryListingFailed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadSkipped,
    NotReadyMedium,
    SessionAuthenticated,
    SessionRejected,
    Slice,
    SyncCancelRequested,
    SyncRequested,
)
from services.summarizer.records import Medium, SessionSeen, Sync

RANK = {"DISCOVERED": 0, "SKIPPED": 1, "FAILED": 2, "DOWNLOADED": 3}
RESULTS = ("FAILED", "DOWNLOADED")  # the states that are announced if they are reached after the close

# Limits for what other services send. They keep a record far below DynamoDB's 400 KB.
REASON_LENGTH = 1000
NAME_LENGTH = 200
WARNING_LENGTH = 300
WORD_LENGTH = 40
WARNINGS = 20
NOT_READY = 50
FAILED_FILES = 20  # of a medium
FILE_LENGTH = 100  # of a file's name, and of its reason
SLICES = 20  # of a medium
SESSIONS = 20  # of a sync

MediumFact = MediaDiscovered | MediaDownloadSkipped | MediaDownloaded | MediaDownloadFailed


@dataclass(frozen=True, kw_only=True)
class Tallied:
    """A sync after some facts, and the media that the facts have changed."""

    sync: Sync
    media: tuple[Medium, ...]


def media_ids(facts: Sequence[Event]) -> list[str]:
    """Return the ids of the media that these facts are about, each once."""
    return list(dict.fromkeys(fact.media_id for fact in facts if isinstance(fact, MediumFact)))


def tally(before: Sync, media: Mapping[str, Medium], facts: Sequence[Event], *, now: datetime) -> Tallied | None:
    """Return the sync and its media after these facts; None when they change nothing.

    `before`: the sync as known so far, blank before its first fact. `media`: those known of `media_ids(facts)`, by id.
    """
    version = before.version + 1
    after, touched = before, dict(media)
    for fact in facts:
        after = _tally_sync(after, fact, now)
        if isinstance(fact, MediumFact):
            known = touched.get(fact.media_id)
            medium = _tally_medium(known, fact)
            has_risen = known is None or RANK[medium.state] > RANK[known.state]
            if not before.is_open and has_risen and medium.state in RESULTS:
                medium = replace(medium, late=version)
                after = replace(after, late=version, unsettled=True)
            after = _recount(after, known, medium)
            touched[fact.media_id] = medium
    changed = tuple(medium for media_id, medium in touched.items() if medium != media.get(media_id))
    if after == before and not changed:
        return None
    return Tallied(sync=replace(after, version=version), media=changed)


def _tally_sync(sync: Sync, fact: Event, now: datetime) -> Sync:
    if isinstance(fact, LibraryListed) and sync.expected is None:
        sync = replace(
            sync,
            expected=fact.discovered,
            listed=fact.listed,
            stored=fact.stored,
            pending=fact.pending,
            deferred=fact.deferred,
            looked_again=fact.looked_again,
            unreadable=fact.unreadable,
            unseen=fact.unseen,
            not_ready=tuple(map(_not_ready, fact.not_ready[:NOT_READY])),
            warnings=_cut_all(fact.warnings, WARNING_LENGTH, WARNINGS),
            known_warnings=_cut_all(fact.known_warnings, WARNING_LENGTH, WARNINGS),
            filters=_filters(fact.filters),
            library_media=fact.library_media,
            walk=fact.walk,
            full_walk_at=_moment(fact.full_walk_at),
            listed_at=_moment(fact.occurred_at),
            listing_pauses=fact.hops,
        )
    if isinstance(fact, SessionAuthenticated | SessionRejected):
        sync = replace(sync, sessions=_sessions(sync.sessions, fact))
    if not sync.is_open:
        return sync
    happened_at = _time_of(fact, now)
    if isinstance(fact, SyncRequested):
        trigger = _cut(fact.trigger, WORD_LENGTH) or "manual"
        if not sync.trigger or (happened_at, trigger) < (sync.requested_at, sync.trigger):
            sync = replace(sync, requested_at=happened_at, trigger=trigger)
    elif not sync.requested_at or (not sync.trigger and happened_at < sync.requested_at):
        sync = replace(sync, requested_at=happened_at)
    if isinstance(fact, AuthenticationFailed):
        version, problem, remedy = max(
            (sync.session_version, sync.session_problem, sync.session_remedy),
            (fact.session_version, _cut(fact.reason, REASON_LENGTH) or "unknown", _cut(fact.remedy, REASON_LENGTH)),
        )
        sync = replace(
            sync,
            session_version=version,
            session_problem=problem,
            session_remedy=remedy,
            request_refused=sync.request_refused or fact.request_refused,
        )
    if isinstance(fact, SyncCancelRequested):
        sync = replace(sync, cancel_requested_at=min(filter(None, (sync.cancel_requested_at, happened_at))))
    if isinstance(fact, LibraryListingFailed):
        sync = replace(sync, listing_problem=max(sync.listing_problem, _cut(fact.reason, REASON_LENGTH) or "unknown"))
    return sync


def _tally_medium(known: Medium | None, fact: MediumFact) -> Medium:
    medium = known or Medium(media_id=fact.media_id, state="DISCOVERED")
    if isinstance(fact, MediaDiscovered):
        if medium.listed:
            return medium
        return replace(
            medium,
            listed=True,
            filename=_cut(fact.filename, NAME_LENGTH),
            size=fact.size,
            item_count=fact.item_count,
            type=_cut(fact.type, WORD_LENGTH),
            camera=_cut(fact.camera, WORD_LENGTH),
            captured_at=_moment(fact.captured_at or ""),
            looked_again=medium.looked_again or fact.look_again,
        )
    if isinstance(fact, MediaDownloadSkipped):
        result = replace(medium, state="SKIPPED")
    elif isinstance(fact, MediaDownloadFailed):
        result = replace(
            medium,
            state="FAILED",
            epoch=fact.epoch,
            reason=_cut(fact.reason, REASON_LENGTH) or "unknown",
            files_stored=fact.files_stored,
            files_total=fact.files_total,
            failed_files=tuple(map(_failed_file, fact.failed_files[:FAILED_FILES])),
            # A failure that an operator can fix is never a known loss.
            known_since="" if fact.remedy else _cut(fact.known_since, WORD_LENGTH),
            dead_letter=fact.dead_letter,
            remedy=_cut(fact.remedy, REASON_LENGTH),
            attempts=fact.attempts,
            hops=fact.hops,
            slices=_slices(fact.slices),
            ended_at=_moment(fact.occurred_at),
        )
    else:
        # Built from scratch, so that nothing of an earlier failure stays.
        result = Medium(
            media_id=medium.media_id,
            state="DOWNLOADED",
            listed=medium.listed,
            filename=medium.filename,
            size=medium.size,
            item_count=medium.item_count,
            type=medium.type,
            camera=medium.camera,
            captured_at=medium.captured_at,
            epoch=fact.epoch,
            bytes=fact.bytes,
            seconds=round(fact.seconds, 3) if math.isfinite(fact.seconds) else 0.0,
            already_stored=fact.already_stored,
            looked_again=medium.looked_again or fact.looked_again,
            warning=_cut(fact.warning, WARNING_LENGTH),
            files_total=fact.files_total,
            proven_by_etag=_proven_by_etag(fact),
            hops=fact.hops,
            slices=_slices(fact.slices),
            ended_at=_moment(fact.occurred_at),
            late=medium.late,
        )
    return max(medium, result, key=_weight)


def _weight(medium: Medium) -> tuple[int, bool, int, int, float, bytes]:
    """Return the weight of a result. Of two results of a medium, the heavier one stands.

    The whole medium comes last, so that even two results of one lease have an order.
    """
    own = not medium.already_stored
    return RANK[medium.state], own, medium.epoch, medium.bytes, medium.seconds, msgspec.json.encode(medium)


def _recount(sync: Sync, before: Medium | None, after: Medium) -> Sync:
    changes = _counts(after)
    changes.subtract(_counts(before))
    return replace(sync, **{name: getattr(sync, name) + change for name, change in changes.items()})


def _counts(medium: Medium | None) -> Counter[str]:
    """Return what a medium adds to the counts of its sync, by field."""
    if medium is None:
        return Counter()
    downloaded = medium.state == "DOWNLOADED"
    own = downloaded and not medium.already_stored
    return Counter(
        discovered=1,
        downloaded=downloaded,
        already_stored=downloaded and not own,
        failed=medium.state == "FAILED",
        known_losses=bool(medium.known_since),
        skipped=medium.state == "SKIPPED",
        bytes=medium.bytes if own else 0,
    )


def _proven_by_etag(fact: MediaDownloaded) -> int | None:
    """Return how many files of a medium are proven by their ETag; None if the fact does not tell of all files."""
    if fact.proven_by_etag is not None:
        return fact.proven_by_etag
    if not fact.files or len(fact.files) != fact.files_total:
        return None
    return sum(file.proof == "origin-etag" for file in fact.files)


def _slices(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Return the last slices, without those whose beginning or duration is unreadable."""
    readable = [one for one in slices if _moment(one.began_at) and math.isfinite(one.seconds)]
    return tuple(
        replace(one, began_at=_moment(one.began_at), seconds=round(one.seconds, 3)) for one in readable[-SLICES:]
    )


def _sessions(known: Sequence[SessionSeen], fact: SessionAuthenticated | SessionRejected) -> tuple[SessionSeen, ...]:
    """Return what is known of the sessions after a fact about one. Of repeated facts, the earliest stands."""
    seen = {one.version: one for one in known}
    before = seen.get(fact.session_version, SessionSeen(version=fact.session_version))
    happened_at = _moment(fact.occurred_at)
    if isinstance(fact, SessionRejected):
        after = replace(before, rejected_at=_earliest(before.rejected_at, happened_at))
    else:
        after = replace(
            before,
            authenticated_at=_earliest(before.authenticated_at, happened_at),
            expires_at=_earliest(before.expires_at, _moment(fact.expires_at or "")),
        )
    return tuple(one for _, one in sorted({**seen, after.version: after}.items())[:SESSIONS])


def _earliest(*moments: str) -> str:
    """Return the earliest of these times; empty if none is known."""
    return min(filter(None, moments), default="")


def _failed_file(file: FailedFile) -> FailedFile:
    return FailedFile(name=_cut(file.name, FILE_LENGTH), reason=_cut(file.reason, FILE_LENGTH))


def _not_ready(medium: NotReadyMedium) -> NotReadyMedium:
    return NotReadyMedium(
        media_id=_cut(medium.media_id, NAME_LENGTH),
        filename=_cut(medium.filename, NAME_LENGTH),
        state=_cut(medium.state, WORD_LENGTH),
        since=_cut(medium.since, WORD_LENGTH),
    )


def _filters(filters: Filters) -> Filters:
    return replace(filters, types=_cut_all(filters.types, WORD_LENGTH, WARNINGS))


def _cut_all(texts: Sequence[str], length: int, count: int) -> tuple[str, ...]:
    return tuple(_cut(text, length) for text in texts[:count])


def _cut(text: str, length: int) -> str:
    """Return the beginning of a text. Replaces lone surrogates, which UTF-8 cannot encode."""
    return text[:length].encode(errors="replace").decode()


def _moment(text: str) -> str:
    """Return a time in UTC as ISO 8601, with milliseconds if it has any; empty if the text is none.

    Also empty for the first and the last year, such as Go's zero time, which not every time zone can express.
    """
    moment = moment_in(text)
    return precise(moment) if moment and MINYEAR < moment.year < MAXYEAR else ""


def _time_of(fact: Event, now: datetime) -> str:
    """Return when a fact happened, or now if that is unknown or in the future.

    The deadline counts from the earliest such time of a sync.
    """
    happened_at = moment_in(fact.occurred_at)
    return iso(min(happened_at, now)) if happened_at else iso(now)
