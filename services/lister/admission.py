"""Which of the listed media a sync takes on. Nothing here talks to anybody."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.shared.gopro.media import READY, ListedMedium
from services.shared.library import MISSING, STORED

UNKNOWN_SIZE = 4_000_000_000  # bytes that a medium is counted with when GoPro doesn't say


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the library table has of a medium, as far as it matters here."""

    stored: bool
    wanted: bool  # again, by an operator: the bucket has lost something of it
    item_count: int | None  # None where the record doesn't say
    tried_at: str  # UTC, ISO 8601; empty where the record doesn't say

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Known":
        count = record.get("item_count")
        return cls(
            stored=record.get("status") == STORED,
            wanted=record.get("status") == MISSING,
            item_count=None if count is None else int(count),
            tried_at=str(record.get("tried_at", "")),
        )

    def has_all_of(self, medium: ListedMedium) -> bool:
        return self.stored and (self.item_count is None or self.item_count >= medium.item_count)


@dataclass(frozen=True, kw_only=True)
class Admission:
    """Every listed medium is in just one of these."""

    admitted: tuple[ListedMedium, ...]  # in the order in which they are taken on
    stored: int
    pending: int  # GoPro hasn't finished with them
    deferred: int  # left for a later sync


def admit(media: Iterable[ListedMedium], known: Mapping[str, Known], *, max_media: int, max_bytes: float) -> Admission:
    """Which are taken on, and in which order.

    First those that an operator wants again; then those never tried, the oldest of them foremost; then the others, the
    least recently tried foremost.

    Taking on ends with the first medium that would be too much. So none is passed over for good: sooner or later it
    is the first, and the first is taken on whatever its size.
    """
    stored = pending = 0
    candidates: list[ListedMedium] = []
    for medium in media:
        record = known.get(medium.media_id)
        if record and record.has_all_of(medium):
            stored += 1
        elif medium.state not in (READY, ""):
            pending += 1
        else:
            candidates.append(medium)

    def turn(medium: ListedMedium) -> tuple[bool, bool, str, str]:
        record = known.get(medium.media_id)
        wanted = record is not None and record.wanted
        since = record.tried_at if record else medium.captured_at or ""
        return not wanted, record is not None, since, medium.media_id

    admitted: list[ListedMedium] = []
    taken = 0
    for medium in sorted(candidates, key=turn):
        taken += UNKNOWN_SIZE if medium.size is None else medium.size
        if (admitted and taken > max_bytes) or len(admitted) >= max_media:
            break
        admitted.append(medium)
    return Admission(admitted=tuple(admitted), stored=stored, pending=pending, deferred=len(candidates) - len(admitted))
