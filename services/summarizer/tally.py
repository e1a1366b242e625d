"""Facts and state → state. Nothing but a computation, and whatever the order and the repetitions, with one result.

That holds because each part of the state only ever grows in some order: a medium's state by its rank, the result it
rests on by its epoch and content, the time of the request towards the earliest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.shared.bus import iso
from services.shared.events import (
    AuthenticationFailed,
    Event,
    LibraryListed,
    LibraryListingFailed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SyncRequested,
)
from services.summarizer.sync import Medium, Sync

RANK = {"DISCOVERED": 0, "FAILED": 1, "DOWNLOADED": 2}

# What is kept of texts that others wrote, so that a record stays far below DynamoDB's 400 KB.
REASON_LENGTH = 1000
NAME_LENGTH = 200
WARNING_LENGTH = 300
TRIGGER_LENGTH = 40
WARNINGS = 20


@dataclass(frozen=True, kw_only=True)
class Tallied:
    """What facts made of a sync: its new state, and the media that changed."""

    sync: Sync
    media: tuple[Medium, ...]


def media_ids(facts: Sequence[Event]) -> list[str]:
    """The media that these facts are about, each once."""
    about = (MediaDiscovered, MediaDownloaded, MediaDownloadFailed)
    return list(dict.fromkeys(fact.media_id for fact in facts if isinstance(fact, about)))


def tally(sync: Sync | None, media: Mapping[str, Medium], facts: Sequence[Event], *, now: datetime) -> Tallied | None:
    """What these facts of one sync make of it; None when they change nothing.

    `sync`: as known so far, None when this is the first that is heard of it. `media`: those of `media_ids(facts)`
    that are known.
    """
    before = sync or Sync(sync_id=facts[0].sync_id)
    version = before.version + 1
    after, touched = before, dict(media)
    for fact in facts:
        after = _of_the_sync(after, fact, now)
        if isinstance(fact, MediaDiscovered | MediaDownloaded | MediaDownloadFailed):
            known = touched.get(fact.media_id)
            medium = _of_the_medium(known, fact)
            if not before.is_open and RANK[medium.state] > (RANK[known.state] if known else 0):
                medium = replace(medium, late=version)
                after = replace(after, late=version, unsettled=True)
            after = _recount(after, known, medium)
            touched[fact.media_id] = medium
    changed = tuple(medium for media_id, medium in touched.items() if medium != media.get(media_id))
    if after == sync and not changed:
        return None
    return Tallied(sync=replace(after, version=version), media=changed)


def _of_the_sync(sync: Sync, fact: Event, now: datetime) -> Sync:
    if isinstance(fact, LibraryListed) and sync.expected is None:
        sync = replace(
            sync,
            expected=fact.discovered,
            listed=fact.listed,
            stored=fact.stored,
            pending=fact.pending,
            deferred=fact.deferred,
            warnings=tuple(_kept(warning, WARNING_LENGTH) for warning in fact.warnings[:WARNINGS]),
        )
    if not sync.is_open:
        return sync
    happened_at = _when(fact, now)
    if isinstance(fact, SyncRequested):
        trigger = _kept(fact.trigger, TRIGGER_LENGTH) or "manual"
        if not sync.trigger or (happened_at, trigger) < (sync.requested_at, sync.trigger):
            sync = replace(sync, requested_at=happened_at, trigger=trigger)
    elif not sync.requested_at or (not sync.trigger and happened_at < sync.requested_at):
        sync = replace(sync, requested_at=happened_at)
    if isinstance(fact, AuthenticationFailed):
        newest = max(
            (sync.session_version, sync.session_problem, sync.session_remedy),
            (fact.session_version, _kept(fact.reason, REASON_LENGTH) or "unknown", _kept(fact.remedy, REASON_LENGTH)),
        )
        sync = replace(sync, session_version=newest[0], session_problem=newest[1], session_remedy=newest[2])
    if isinstance(fact, LibraryListingFailed):
        sync = replace(sync, listing_problem=max(sync.listing_problem, _kept(fact.reason, REASON_LENGTH) or "unknown"))
    return sync


def _of_the_medium(known: Medium | None, fact: MediaDiscovered | MediaDownloaded | MediaDownloadFailed) -> Medium:
    medium = known or Medium(media_id=fact.media_id, state="DISCOVERED")
    if isinstance(fact, MediaDiscovered):
        if medium.listed:
            return medium
        return replace(
            medium, listed=True, filename=_kept(fact.filename, NAME_LENGTH), size=fact.size, item_count=fact.item_count
        )
    if isinstance(fact, MediaDownloadFailed):
        result = Medium(
            media_id=fact.media_id,
            state="FAILED",
            epoch=fact.epoch,
            reason=_kept(fact.reason, REASON_LENGTH) or "unknown",
        )
    else:
        result = Medium(
            media_id=fact.media_id,
            state="DOWNLOADED",
            epoch=fact.epoch,
            bytes=fact.bytes,
            seconds=round(fact.seconds, 3) if math.isfinite(fact.seconds) else 0.0,
            already_stored=fact.already_stored,
        )
    if _weight(result) <= _weight(medium):
        return medium
    return replace(
        medium,
        state=result.state,
        epoch=result.epoch,
        bytes=result.bytes,
        seconds=result.seconds,
        already_stored=result.already_stored,
        reason=result.reason,
    )


def _weight(medium: Medium) -> tuple[int, bool, int, int, float, str]:
    """Of two results of a medium, the heavier one stands."""
    own = not medium.already_stored
    return RANK[medium.state], own, medium.epoch, medium.bytes, medium.seconds, medium.reason


def _recount(sync: Sync, before: Medium | None, after: Medium) -> Sync:
    changes = [new - old for new, old in zip(_counts(after), _counts(before), strict=True)]
    return replace(
        sync,
        discovered=sync.discovered + changes[0],
        downloaded=sync.downloaded + changes[1],
        already_stored=sync.already_stored + changes[2],
        failed=sync.failed + changes[3],
        bytes=sync.bytes + changes[4],
    )


def _counts(medium: Medium | None) -> tuple[int, int, int, int, int]:
    """What a medium adds to: discovered, downloaded, already_stored, failed, bytes."""
    if medium is None:
        return 0, 0, 0, 0, 0
    downloaded = medium.state == "DOWNLOADED"
    own = downloaded and not medium.already_stored
    return 1, downloaded, downloaded and not own, medium.state == "FAILED", medium.bytes if own else 0


def _kept(text: str, length: int) -> str:
    """The beginning of a text. Halves of surrogate pairs, which JSON can carry and UTF-8 can't, are replaced."""
    return text[:length].encode(errors="replace").decode()


def _when(fact: Event, now: datetime) -> str:
    """When a fact happened, but never in the future: from the earliest of these the deadline counts."""
    try:
        happened_at = datetime.fromisoformat(fact.occurred_at)
    except ValueError:
        return iso(now)
    return iso(min(happened_at, now)) if happened_at.tzinfo else iso(now)
