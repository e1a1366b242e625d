"""The table of a sync's media, in groups that a browser can fold."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from services.summarizer.page.choreography import retries
from services.summarizer.page.wording import UNKNOWN, lasting, rate, read, stamp
from services.summarizer.records import Medium
from services.summarizer.texts import line, size, some

ROWS = 1000  # media that the page names
OPEN = 60  # up to so many rows are unfolded at first
_STATES = {"FAILED": "Not stored", "DISCOVERED": "Without a result", "SKIPPED": "Left for the next sync"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A medium as people read it."""

    name: str
    media_id: str
    captured: str
    size: str
    files: str
    proof: str
    time: str
    remark: str  # what is not as usual; empty if nothing is


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows under one heading."""

    title: str
    anchor: str
    rows: tuple[Row, ...]
    is_open: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first media of a sync; `hidden`: how many others it has."""

    groups: tuple[Group, ...]
    hidden: int


def table(media: Iterable[Medium], zone: tzinfo) -> Table:
    """Return the table: first what is not stored, then what is suspicious, then the others by their month."""
    media = sorted(media, key=lambda medium: (medium.captured_at, medium.filename, medium.media_id))
    media.sort(key=lambda medium: medium.captured_at.rpartition("-")[0], reverse=True)  # the latest month first
    media.sort(key=_place)
    shown = media[:ROWS]
    grouped: dict[str, list[Medium]] = {}
    for medium in shown:
        grouped.setdefault(_title(medium, zone), []).append(medium)
    stored = sum(_place(medium) == len(_FIRST) for medium in shown)
    if stored <= OPEN:
        merged: dict[str, list[Medium]] = {}
        for title, members in grouped.items():
            is_stored = _place(members[0]) == len(_FIRST)
            merged.setdefault("Stored" if is_stored else title, []).extend(members)
        grouped = merged
    groups = [
        Group(
            title=title,
            anchor=f"media-{number}",
            rows=tuple(_row(medium, zone) for medium in members),
            is_open=len(members) <= OPEN and (len(shown) <= OPEN or _place(members[0]) < len(_FIRST)),
        )
        for number, (title, members) in enumerate(grouped.items(), start=1)
    ]
    return Table(groups=tuple(groups), hidden=len(media) - len(shown))


_FIRST = ("FAILED", "DISCOVERED", "SKIPPED", "suspicious")


def _place(medium: Medium) -> int:
    """Return where a medium stands. The stored ones that are as usual come last."""
    kind = "suspicious" if medium.warning else medium.state
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


def _title(medium: Medium, zone: tzinfo) -> str:
    if medium.state in _STATES:
        return _STATES[medium.state]
    if medium.warning:
        return "Stored, but suspicious"
    captured = read(medium.captured_at)
    return f"{captured.astimezone(zone):%B %Y}" if captured else "Captured at an unknown time"


def _row(medium: Medium, zone: tzinfo) -> Row:
    is_stored = medium.state == "DOWNLOADED"
    seconds = sum(one.seconds for one in medium.slices) or medium.seconds
    bytes_ = medium.bytes if is_stored else medium.size
    copied = is_stored and not medium.already_stored and seconds
    return Row(
        name=line(medium.filename, 200) or "(name unknown)",
        media_id=line(medium.media_id, 200),
        captured=stamp(read(medium.captured_at), zone),
        size=size(bytes_) if bytes_ else UNKNOWN,
        files=_files(medium),
        proof=proof(medium),
        time=f"{lasting(seconds)}, {rate(medium.bytes, seconds)}" if copied else "",
        remark=_remark(medium),
    )


def _files(medium: Medium) -> str:
    if medium.state == "DOWNLOADED":
        return some(medium.files_total, "file") if medium.files_total else UNKNOWN
    total = medium.files_total or medium.item_count
    return f"{medium.files_stored:,} of {some(total, 'file') if total else '? files'}"


def proof(medium: Medium) -> str:
    """Return how the copies of a medium's files are proven."""
    if medium.state != "DOWNLOADED":
        return ""
    if medium.proven_by_etag is None or not medium.files_total:
        return UNKNOWN
    if medium.proven_by_etag == medium.files_total:
        return "ETag match"
    return "length match" if not medium.proven_by_etag else f"{medium.proven_by_etag:,} ETag match, others length"


def _remark(medium: Medium) -> str:
    parts = []
    if medium.warning:
        parts.append(line(medium.warning, 300))
    if medium.state == "FAILED":
        parts.append(line(medium.reason, 160) or "reason unknown")
        parts += ["a known loss"] if medium.known_since else []
        parts += ["a dead letter"] if medium.dead_letter else []
    parts += ["stored by another sync"] if medium.already_stored else []
    parts += ["looked at again"] if medium.looked_again else []
    if count := retries(medium):
        parts.append(f"tried again {_times(count)}")
    if medium.hops:
        parts.append(f"paused {_times(medium.hops)}")
    parts += ["after the close"] if medium.late is not None else []
    return "; ".join(parts)


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count:,} times"  # noqa: PLR2004  # the words for it


@dataclass(frozen=True, kw_only=True)
class Proofs:
    """The files of the media that are stored now, by their proof."""

    by_etag: int
    by_length: int
    unknown_media: int  # of which no fact tells


def proofs(media: Iterable[Medium]) -> Proofs:
    """Return how many files have which proof."""
    stored = [medium for medium in media if medium.state == "DOWNLOADED"]
    known = [medium for medium in stored if medium.proven_by_etag is not None]
    by_etag = sum(medium.proven_by_etag or 0 for medium in known)
    return Proofs(
        by_etag=by_etag,
        by_length=sum(medium.files_total for medium in known) - by_etag,
        unknown_media=len(stored) - len(known),
    )


@dataclass(frozen=True, kw_only=True)
class Came:
    """What is new in the bucket, for the owner."""

    media: int
    size: str
    kinds: tuple[tuple[str, int], ...]  # GoPro's media types, the most frequent first
    cameras: tuple[tuple[str, int], ...]
    captured: str  # from when to when; empty if unknown


def came(media: Iterable[Medium], zone: tzinfo) -> Came:
    """Return what this sync has stored."""
    stored = [medium for medium in media if medium.state == "DOWNLOADED" and not medium.already_stored]
    captured = [medium.captured_at for medium in stored if medium.captured_at]
    ends = [min(captured), max(captured)] if captured else []
    days = [f"{datetime.fromisoformat(moment).astimezone(zone):%Y-%m-%d}" for moment in ends]
    return Came(
        media=len(stored),
        size=size(sum(medium.bytes for medium in stored)),
        kinds=_most(medium.type for medium in stored),
        cameras=_most(medium.camera for medium in stored),
        captured=" to ".join(dict.fromkeys(days)),
    )


def _most(words: Iterable[str]) -> tuple[tuple[str, int], ...]:
    found: dict[str, int] = {}
    for word in words:
        found[word] = found.get(word, 0) + 1
    ordered: Sequence[tuple[str, int]] = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple((line(word, 40) or UNKNOWN, count) for word, count in ordered[:8])
