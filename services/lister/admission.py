"""Admission: which of the listed media a sync takes on, and in which order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.shared.clock import iso, moment_in
from services.shared.events import NotReadyMedium
from services.shared.gopro.client import FAILURE, READY, ListedMedium
from services.shared.library.records import MediumRecord, Row, Status

UNKNOWN_SIZE = 4_000_000_000  # bytes to assume for a medium whose size GoPro does not state
LONG_NOT_READY = timedelta(days=3)  # GoPro usually processes a medium within hours
NOT_READY_TAKEN_ON = 50  # per sync: GoPro may offer the originals of a medium that is not ready


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What becomes of the listed media. Each medium counts once."""

    admitted: tuple[ListedMedium, ...]  # taken on by this sync, in this order
    stored: int
    pending: int  # not ready at GoPro, and not taken on
    deferred: int  # left for a later sync
    not_ready: tuple[NotReadyMedium, ...]  # not stored; GoPro failed to process them, or takes long; longest first
    look_again: tuple[str, ...]  # ids of the admitted whose row has changed since they were stored


def not_ready_since(
    media: Iterable[ListedMedium], known_since: Mapping[str, str], *, now: datetime
) -> Mapping[str, str]:
    """Return since when each medium is not ready, by media id: since its upload, or since a listing first saw it so.

    `known_since`: what this function returned for the last listing. Times are UTC in ISO 8601.
    """
    return {
        medium.media_id: min(known_since.get(medium.media_id, iso(now)), _time(medium.created_at) or iso(now))
        for medium in media
        if not is_ready(medium)
    }


def first_rows(
    media: Iterable[ListedMedium], records: Mapping[str, MediumRecord], known: Mapping[str, Row]
) -> Mapping[str, Row]:
    """Return the rows to compare with, by media id, for stored media whose record has no row.

    These are media stored by 0.1.0, or found in the bucket by `cloud-sync adopt`. The first row that a listing shows of
    such a medium serves for comparison until the medium is looked at again. So they cause no looks by themselves, and
    from then on no change is missed. `known`: what this function returned for the last listing.
    """
    rows = dict(known)
    for medium in media:
        record = records.get(medium.media_id)
        if record and record.was_stored and record.row is None:
            rows.setdefault(medium.media_id, Row.of(medium))
        else:
            rows.pop(medium.media_id, None)
    return rows


def admit(
    media: Iterable[ListedMedium],
    records: Mapping[str, MediumRecord],
    *,
    rows: Mapping[str, Row],
    since: Mapping[str, str],
    now: datetime,
    max_media: int,
    max_bytes: float,
    max_looks: int,
    newest_first: bool,
) -> Admission:
    """Decide which media a sync takes on.

    `records`: the library table's, by media id. `rows`: what `first_rows` returned for these media. `since`: what
    `not_ready_since` returned for them.

    The order is:

    1. Media that the bucket has lost and an operator wants again.
    2. Media that were never tried, oldest first. With `newest_first`, newest first, in case the session ends midway.
    3. Other media, least recently tried first.
    4. Up to `NOT_READY_TAKEN_ON` media that GoPro has not made ready, in the same order.
    5. Up to `max_looks` stored media whose row in the listing has changed, least recently tried first.

    Admission ends at the first medium that would exceed a limit. Smaller media never overtake a large one, so every
    medium gets its turn. The first medium in the order is admitted whatever its size.
    """
    stored = pending = 0
    ready: list[ListedMedium] = []
    not_ready: list[ListedMedium] = []
    looks: list[ListedMedium] = []
    changed: set[str] = set()
    long_ago = iso(now - LONG_NOT_READY)
    for medium in media:
        record = records.get(medium.media_id)
        if record and has_changed(record, medium, rows):
            changed.add(medium.media_id)
        if record and record.status == Status.STORED:
            if medium.media_id in changed and is_ready(medium):
                looks.append(medium)
            else:
                stored += 1
        elif is_ready(medium):
            ready.append(medium)
        elif medium.state == FAILURE or since[medium.media_id] < long_ago:
            not_ready.append(medium)
        else:
            pending += 1

    def turn(medium: ListedMedium) -> tuple[bool, bool, str, str]:
        record = records.get(medium.media_id)
        wanted = record is not None and record.status == Status.MISSING
        tried_at = record.tried_at if record else medium.captured_at
        return not wanted, record is not None, tried_at or "", medium.media_id

    def in_turn(media: list[ListedMedium]) -> Sequence[ListedMedium]:
        ordered = sorted(media, key=turn)
        if not newest_first:
            return ordered
        never_tried = [medium for medium in ordered if medium.media_id not in records]
        newest = reversed(never_tried)
        return [medium if medium.media_id in records else next(newest) for medium in ordered]

    candidates = [*in_turn(ready), *in_turn(not_ready)[:NOT_READY_TAKEN_ON]]
    admitted = _within([], candidates, max_media=max_media, max_bytes=max_bytes)
    taken = len(admitted)
    taken_ready = min(taken, len(ready))
    admitted = _within(admitted, sorted(looks, key=turn)[:max_looks], max_media=max_media, max_bytes=max_bytes)
    return Admission(
        admitted=tuple(admitted),
        stored=stored + len(looks) - (len(admitted) - taken),
        pending=pending + len(not_ready) - (taken - taken_ready),
        deferred=len(ready) - taken_ready,
        not_ready=tuple(
            NotReadyMedium(
                media_id=medium.media_id, filename=medium.filename, state=medium.state, since=since[medium.media_id]
            )
            for medium in sorted(not_ready, key=lambda medium: (since[medium.media_id], medium.media_id))
        ),
        look_again=tuple(medium.media_id for medium in admitted if medium.media_id in changed),
    )


def _within(
    before: Sequence[ListedMedium], candidates: Iterable[ListedMedium], *, max_media: int, max_bytes: float
) -> list[ListedMedium]:
    admitted = [*before]
    taken = sum(_size(medium) for medium in before)
    for medium in candidates:
        taken += _size(medium)
        if (admitted and taken > max_bytes) or len(admitted) >= max_media:
            break
        admitted.append(medium)
    return admitted


def _size(medium: ListedMedium) -> int:
    return UNKNOWN_SIZE if medium.size is None else medium.size


def _time(text: str) -> str:
    """Return a time in the form of `iso`; empty if the text is no time with a zone."""
    moment = moment_in(text)
    return iso(moment) if moment else ""


def is_ready(medium: ListedMedium) -> bool:
    """Return whether GoPro says that it has made the medium ready, or does not say."""
    return medium.state in (READY, "")


def has_changed(record: MediumRecord, medium: ListedMedium, rows: Mapping[str, Row]) -> bool:
    """Return whether a medium has changed at GoPro since it was stored. `rows`: as for `admit`."""
    if not record.was_stored:
        return False
    if record.row is None and record.item_count and medium.item_count and medium.item_count > record.item_count:
        return True  # of the row, 0.1.0 remembered only the count
    remembered = record.row or rows.get(medium.media_id)
    return remembered is not None and Row.of(medium).tells_more_than(remembered)
