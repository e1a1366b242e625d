"""The funnel of a sync: the library, what of it was new, and what became of that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from services.shared.events import Summary
from services.summarizer.page.verdict import Standing
from services.summarizer.records import Medium

_LEAST_SHARE = 2.0  # percent: what is there can be seen


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a bar, and its row in the table."""

    name: str
    media: int
    fill: str  # a class of the style sheet
    x: float = 0.0  # percent of the bar
    width: float = 0.0  # percent of the bar


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar whose parts make up its whole."""

    name: str
    media: int
    parts: tuple[Part, ...]


def funnel(summary: Summary, now: Standing, media: Iterable[Medium]) -> tuple[Bar, ...]:
    """Return the bars: of the library, and of what this sync took on. Bars without media are left out.

    `media`: those of the sync. An incomplete medium is one that failed and of which some files are stored.
    """
    incomplete = sum(
        medium.state == "FAILED" and not medium.known_since and 0 < medium.files_stored < medium.files_total
        for medium in media
    )
    library = (
        Part(name="stored already", media=summary.stored, fill="calm-fill"),
        Part(name="new", media=now.taken_on - summary.looked_again, fill="new-fill"),
        Part(name="changed at GoPro", media=summary.looked_again, fill="new-fill"),
        Part(name="left for a later sync", media=summary.deferred, fill="warn-fill"),
        Part(name="not ready at GoPro", media=summary.pending, fill="warn-fill"),
        Part(name="could not be read", media=summary.unreadable, fill="bad-fill"),
    )
    taken_on = (
        Part(name="stored", media=now.stored, fill="good-fill"),
        Part(name="incomplete", media=incomplete, fill="warn-fill"),
        Part(name="failed", media=now.failed - incomplete, fill="bad-fill"),
        Part(name="known losses", media=now.known_losses, fill="calm-fill"),
        Part(name="left for the next sync", media=now.skipped, fill="warn-fill"),
        Part(name="without a result", media=now.outstanding, fill="bad-fill"),
    )
    bars = (
        _bar("In the GoPro library" if not _is_filtered(summary) else "In the part that this sync covers", library),
        _bar("Taken on by this sync", taken_on),
    )
    return tuple(bar for bar in bars if bar.media)


def _is_filtered(summary: Summary) -> bool:
    filters = summary.filters
    return bool(filters.types or filters.captured_from or filters.captured_until)


def _bar(name: str, parts: Sequence[Part]) -> Bar:
    there = [part for part in parts if part.media > 0]
    total = sum(part.media for part in there)
    shares = [max(_LEAST_SHARE, 100 * part.media / total) for part in there]
    placed, x = [], 0.0
    for place, part in enumerate(there):
        width = 100 * shares[place] / sum(shares)
        placed.append(replace(part, x=round(x, 3), width=round(width, 3)))
        x += width
    return Bar(name=name, media=total, parts=tuple(placed))
