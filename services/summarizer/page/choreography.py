"""The choreography of one sync as a picture: services and bus, and how many of each event went which way.

Every count comes from the facts of the sync. An event counts once, however often it was delivered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from services.shared.events import (
    AuthenticationFailed,
    Event,
    LibraryListed,
    LibraryListingFailed,
    LibraryListingPaused,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadPaused,
    MediaDownloadSkipped,
    SessionAuthenticated,
    SessionRejected,
    SyncAmended,
    SyncCancelRequested,
    SyncCompleted,
    SyncFailed,
    SyncRequested,
)
from services.summarizer.records import ClosedSync, Medium

Direction = Literal["in", "out", "loop"]  # from the bus to the service, the other way, or both: a pause and its end

REACTS: Mapping[str, tuple[type[Event], ...]] = {
    "authenticator": (SyncRequested, SessionRejected),
    "lister": (SessionAuthenticated, LibraryListingPaused),
    "downloader": (MediaDiscovered, MediaDownloadPaused),
}
"""What each service reacts to in a sync. The summarizer reacts to every fact."""

_PUBLISHES: Mapping[str, tuple[type[Event], ...]] = {
    "authenticator": (SessionAuthenticated, AuthenticationFailed),
    "lister": (LibraryListingPaused, MediaDiscovered, LibraryListed, LibraryListingFailed),
    "downloader": (MediaDownloadPaused, MediaDownloaded, MediaDownloadFailed, MediaDownloadSkipped),
    "summarizer": (SyncCompleted, SyncFailed, SyncAmended),
}
_PROBLEMS = (SessionRejected, AuthenticationFailed, LibraryListingFailed, MediaDownloadFailed, SyncFailed)
_FACTS = "every fact of this sync"

WIDTH = 316  # as wide as a phone shows it, so that its text keeps its size
BUS_X, BUS_WIDTH = 6, 14
BOX_X, BOX_WIDTH = 200, 112
_ARROW_BEGIN, _ARROW_END = BUS_X + BUS_WIDTH + 2, BOX_X - 2
_TOP = 44  # of the first service; above it is who asked
_ROW = 30
_PAD = 10
_NOTE = 16
_GAP = 16


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many events of each type the sync had, and what happened on the way. None: unknown."""

    events: Mapping[type[Event], int | None]
    retries: int | None  # tries of downloads that failed and were repeated
    dead_letters: int  # of the downloader, now
    by_others: int  # media that another sync had stored

    def of(self, event: type[Event]) -> int | None:
        """Return how many events of a type there were."""
        return self.events.get(event, 0)


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """Events of one type between the bus and a service."""

    event: str
    count: int | None
    direction: Direction
    is_problem: bool
    y: int

    @property
    def label(self) -> str:
        """The type and its count."""
        return self.event if self.event == _FACTS else f"{self.event} × {_number(self.count)}"  # noqa: RUF001  # a times sign

    @property
    def heads(self) -> tuple[str, ...]:
        """The arrowheads, each as the points of a polygon."""
        at_box = f"{_ARROW_END},{self.y} {_ARROW_END - 8},{self.y - 4} {_ARROW_END - 8},{self.y + 4}"
        at_bus = f"{_ARROW_BEGIN},{self.y} {_ARROW_BEGIN + 8},{self.y - 4} {_ARROW_BEGIN + 8},{self.y + 4}"
        return (*([at_box] if self.direction != "out" else []), *([at_bus] if self.direction != "in" else []))


@dataclass(frozen=True, kw_only=True)
class Note:
    """What happened within a service."""

    text: str
    tone: Literal["calm", "warn", "bad"]
    y: int


@dataclass(frozen=True, kw_only=True)
class Box:
    """A service."""

    name: str
    y: int
    height: int
    arrows: tuple[Arrow, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table that says the same as the picture."""

    event: str
    publisher: str
    reacting: str
    count: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """The picture, in units that are pixels at its natural size, and its table."""

    height: int
    asked_by: str
    boxes: tuple[Box, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]  # those of all boxes, with their service

    @property
    def has_unknown(self) -> bool:
        """Whether the number of some event is unknown."""
        return any(row.count == _number(None) for row in self.rows)


def counts(sync: ClosedSync, media: Sequence[Medium]) -> Counts:
    """Return the counts of a sync and its media.

    A sync that closed before facts told of sessions and slices has unknown counts of these.
    """
    knows_sessions = bool(sync.sessions) or not (sync.discovered or sync.expected is not None or sync.listing_problem)
    worked_on = [medium for medium in media if medium.state in ("DOWNLOADED", "FAILED") and not medium.already_stored]
    knows_work = all(medium.slices or medium.attempts for medium in worked_on)
    rejected = sum(bool(session.rejected_at) for session in sync.sessions)
    return Counts(
        events={
            SyncRequested: 1 if sync.trigger else None,
            SyncCancelRequested: 1 if sync.cancel_requested_at else 0,
            SessionAuthenticated: (
                sum(bool(session.authenticated_at) for session in sync.sessions) if knows_sessions else None
            ),
            SessionRejected: rejected if knows_sessions else None,
            AuthenticationFailed: 1 if sync.session_problem else 0,
            LibraryListingPaused: sync.listing_pauses if sync.listed_at or sync.expected is None else None,
            MediaDiscovered: sum(medium.listed for medium in media),
            LibraryListed: 0 if sync.expected is None else 1,
            LibraryListingFailed: 1 if sync.listing_problem else 0,
            MediaDownloadPaused: sum(medium.hops for medium in media) if knows_work else None,
            MediaDownloaded: sync.downloaded,
            MediaDownloadFailed: sync.failed,
            MediaDownloadSkipped: sync.skipped,
            SyncCompleted: 0 if sync.outcome == "failed" else 1,
            SyncFailed: 1 if sync.outcome == "failed" else 0,
            SyncAmended: sync.announcement.number,
        },
        retries=sum(map(retries, worked_on)) if knows_work else None,
        dead_letters=sum(medium.dead_letter for medium in media),
        by_others=sync.already_stored,
    )


def retries(medium: Medium) -> int:
    """Return how many tries of a medium's download failed and were repeated, as far as its facts tell."""
    return sum(one.retries for one in medium.slices) + max(0, medium.attempts - 1)


def picture(sync: ClosedSync, found: Counts) -> Picture:
    """Return the picture. Event types that did not occur are left out."""
    boxes: list[Box] = []
    y = _TOP
    for name in _PUBLISHES:
        arrows = _arrows(name, found, y + _PAD)
        texts = _notes(name, found)
        below = y + 34
        notes = tuple(Note(text=text, tone=tone, y=below + _NOTE * place) for place, (text, tone) in enumerate(texts))
        height = max(_PAD + _ROW * len(arrows), 34 + _NOTE * len(notes), 44)
        boxes.append(Box(name=name, y=y, height=height, arrows=arrows, notes=notes))
        y += height + _GAP
    return Picture(
        height=y - _GAP + 2,
        asked_by="the schedule" if sync.trigger == "scheduled" else "an operator",
        boxes=tuple(boxes),
        rows=tuple(_rows(sync, found)),
        notes=tuple(f"{box.name}: {note.text}" for box in boxes for note in box.notes),
    )


def _arrows(name: str, found: Counts, top: int) -> tuple[Arrow, ...]:
    reacts, publishes = REACTS.get(name, ()), _PUBLISHES[name]
    wanted: list[tuple[str, int | None, Direction, bool]] = [] if reacts else [(_FACTS, None, "in", False)]
    for event in dict.fromkeys((*reacts, *publishes)):
        if found.of(event) == 0:
            continue
        direction: Direction = "in" if event not in publishes else "out" if event not in reacts else "loop"
        wanted.append((event.__name__, found.of(event), direction, event in _PROBLEMS))
    return tuple(
        Arrow(event=event, count=count, direction=direction, is_problem=is_problem, y=top + _ROW * place + _ROW // 2)
        for place, (event, count, direction, is_problem) in enumerate(wanted)
    )


def _notes(name: str, found: Counts) -> list[tuple[str, Literal["calm", "warn", "bad"]]]:
    if name != "downloader":
        return []
    notes: list[tuple[str, Literal["calm", "warn", "bad"]]] = []
    if found.retries:
        notes.append((f"↻ {found.retries:,} {'retry' if found.retries == 1 else 'retries'}", "warn"))
    if pauses := found.of(MediaDownloadPaused):
        notes.append((f"‖ {pauses:,} {'pause' if pauses == 1 else 'pauses'}", "calm"))
    if found.by_others:
        notes.append((f"{found.by_others:,} by another sync", "calm"))
    if found.dead_letters:
        notes.append((f"✕ {found.dead_letters:,} dead {'letter' if found.dead_letters == 1 else 'letters'}", "bad"))
    return notes


def reacting_services(event: type[Event]) -> list[str]:
    """Return the services that react to an event of a sync."""
    reacting = [name for name, reacts in REACTS.items() if event in reacts]
    # The summarizer hears every fact but the pauses, which say nothing about a result, and its own events.
    is_fact = event not in (LibraryListingPaused, MediaDownloadPaused, *_PUBLISHES["summarizer"])
    return [*reacting, "summarizer"] if is_fact else reacting


def _rows(sync: ClosedSync, found: Counts) -> list[Row]:
    rows = []
    for event, count in found.events.items():
        if count == 0:
            continue
        publishers = list(event.publishers)
        if event is SyncRequested:
            publishers = ["schedule" if sync.trigger == "scheduled" else "operator"]
        reacting = reacting_services(event)
        rows.append(
            Row(
                event=event.__name__,
                publisher=" or ".join(publishers),
                reacting=", ".join(reacting) or "whoever listens",
                count=_number(count),
            )
        )
    return rows


def _number(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"
