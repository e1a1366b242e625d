"""Lines of text about a sync: how it stands, and what changed between two looks at it. Pure functions."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.shared.library.records import GOPRO, SESSION, MediumRecord

_NAME = 80  # characters of a name that are shown
_NO_BREAK = "\N{NO-BREAK SPACE}"

Record = Mapping[str, Any]  # of the syncs table, with plain values


@dataclass(frozen=True, kw_only=True)
class View:
    """A sync as the tables show it at one moment."""

    sync: Record | None = None  # of the syncs table
    media: Mapping[str, Record] = field(default_factory=dict)  # of the syncs table, by media id
    working: Mapping[str, MediumRecord] = field(default_factory=dict)  # the media being downloaded, by media id
    elsewhere: Mapping[str, MediumRecord] = field(default_factory=dict)  # the same, by another sync
    untold: Mapping[str, MediumRecord] = field(default_factory=dict)  # stored by this sync, and not counted yet
    signed_in: bool = True  # whether the sync has a session with GoPro

    @property
    def is_closed(self) -> bool:
        return self.sync is not None and self.sync.get("state") == "CLOSED"

    @property
    def is_over(self) -> bool:
        """Whether the sync is closed, and nothing of it is being tried again."""
        return self.is_closed and not self.working

    @property
    def progress(self) -> object:
        """What differs between two views when something has come in between."""
        return self.sync, self.media, self.arrived

    @property
    def arrived(self) -> Mapping[str, int]:
        """The bytes of each medium that this sync has fetched, as far as known."""
        working = {
            media_id: record.progress.bytes if record.progress else record.bytes_done
            for media_id, record in self.working.items()
        }
        return {**working, **self._stored}

    @property
    def moments(self) -> Mapping[str, float]:
        """When the bytes of each working lane were counted, in seconds of the worker's clock."""
        return {
            media_id: record.progress.at / 1000
            for media_id, record in self.working.items()
            if record.progress and media_id not in self._stored
        }

    @property
    def sizes(self) -> Mapping[str, int]:
        """The bytes of each medium that this sync fetches; 0 where that is not known. Failed ones don't count."""
        listed = {
            media_id: int(medium.get("size") or 0)
            for media_id, medium in self.media.items()
            if medium["state"] == "DISCOVERED" and media_id not in self.elsewhere
        }
        opened = {
            media_id: record.progress.of_bytes
            for media_id, record in self.working.items()
            if record.progress and record.progress.of_bytes
        }
        return {**listed, **opened, **self._stored}

    @property
    def _stored(self) -> Mapping[str, int]:
        told = {
            media_id: _count(medium, "bytes")
            for media_id, medium in self.media.items()
            if medium["state"] == "DOWNLOADED" and not medium.get("already_stored")
        }
        return {**{media_id: record.bytes_total for media_id, record in self.untold.items()}, **told}

    @property
    def outcome(self) -> str:
        """`completed`, `partial` or `failed`, with what came after the close; empty while the sync is open."""
        return outcome(self.sync) if self.sync and self.is_closed else ""


def outcome(sync: Record) -> str:
    """Return the outcome of a closed sync. One whose media were all stored after the close is `completed`."""
    closed_as = str(sync.get("outcome", ""))
    if _came_late(sync) and sync.get("expected") is not None:
        settled = _count(sync, "downloaded") + _known_losses(sync)
        if not _failed(sync) and settled >= max(_count(sync, "expected"), _count(sync, "discovered")):
            return "completed"
    return closed_as


def changes(before: View, after: View) -> Iterator[str]:
    """Yield a line for everything that happened between two views."""
    if after.sync is None:
        return
    if before.sync is None:
        yield f"sync {after.sync['sync_id']}, requested at {after.sync.get('requested_at') or 'an unknown time'}"
    if after.sync.get("expected") is not None and (before.sync or {}).get("expected") is None:
        yield _listed(after.sync)
    for media_id in after.working.keys() - before.working.keys():
        yield f"  downloading  {name(after, media_id)}"
    for media_id in after.elsewhere.keys() - before.elsewhere.keys():
        yield f"  waiting      {name(after, media_id)}: another sync is downloading it"
    for media_id, medium in after.media.items():
        if medium["state"] != before.media.get(media_id, {}).get("state"):
            yield from _became(medium, name(after, media_id))
    if after.is_over and not before.is_over:
        yield closing(after.sync)


def standing(view: View) -> str:
    """Say in one line how the sync stands."""
    if view.sync is None:
        return "waiting for the sync to start"
    expected = view.sync.get("expected")
    of = f" of {int(expected)}" if expected is not None else ""
    parts = [f"{_count(view.sync, 'downloaded')}{of} stored", *_others(view)]
    parts += [waits] if (waits := waits_for(view)) else []
    in_progress = sum(view.arrived[media_id] for media_id in view.working if media_id in view.arrived)
    return f"{', '.join(parts)}; {size(_count(view.sync, 'bytes') + in_progress)}"


def waits_for(view: View) -> str:
    """Say what the whole sync waits for; empty while media are known."""
    if view.sync is None:
        return "waiting for the sync to start"
    if view.sync.get("expected") is not None or view.sync.get("discovered"):
        return ""
    return "listing the library" if view.signed_in else "waiting for a session with GoPro"


def funnel(view: View) -> str:
    """Say in one line what has become of the library's media, from all of them to those that are stored now."""
    sync = view.sync or {}
    if sync.get("expected") is None:
        return f"{_count(sync, 'discovered')} found so far" if sync.get("discovered") else ""
    head = f"{_count(sync, 'listed')} in the library, {_count(sync, 'stored')} stored already, "
    now = ", ".join([f"{_count(sync, 'downloaded')} stored", *_others(view)])
    return f"{head}{_count(sync, 'expected')} new: {now}"


def _others(view: View) -> list[str]:
    """Say what becomes of the media that are not stored."""
    return [
        *_losses(view.sync or {}),
        *([f"{len(view.working)} in progress"] if view.working else []),
        *([f"{len(view.elsewhere)} waiting for another sync"] if view.elsewhere else []),
    ]


def lane_waits_for(record: MediumRecord) -> str:
    """Say what a lane waits for; empty while bytes arrive."""
    waits = {SESSION: "waits for a session", GOPRO: "GoPro is busy"}
    return waits.get(record.progress.waits_for, "") if record.progress else "begins"


def lane_parts(record: MediumRecord) -> str:
    """Say which parts of a medium are in the bucket, and which of its files is copied."""
    now = record.progress
    if now is None or not now.of_parts:
        return ""
    files = f"file {min(now.files + 1, now.of_files)} of {now.of_files}, " if now.of_files > 1 else ""
    return f"{files}part {min(now.parts + 1, now.of_parts)} of {now.of_parts}"


def closing(sync: Record) -> str:
    """Say in one line how the sync ended, with the results that came after its close."""
    summary = sync.get("summary") or {}
    outcomes = {"completed": "completed", "partial": "completed with failures", "failed": "FAILED"}
    left = _count(summary, "outstanding")
    counts = _result(summary) + (f", {left} without a result" if left else "")
    reason = printable(str(summary.get("reason") or ""))
    was_cancelled = sync.get("closed_because") == "cancelled"
    ended = "ended" if was_cancelled else outcomes.get(outcome(sync), "closed")
    head = f"sync {sync['sync_id']} {ended} ({sync.get('closed_because')}): "
    if _came_late(sync):
        return f"{head}{_result(sync)}; when it closed: {counts}"
    return head + counts + (f"; {reason}" if reason else "")


def described(view: View) -> dict[str, Any]:
    """Return a sync and its media for other programs, with the texts as the tables have them."""
    of_sync = ("sync_id", "state", "closed_because", "requested_at", "listed", "expected", "downloaded", "failed")
    of_medium = ("filename", "state", "bytes", "seconds", "files_total", "already_stored", "reason")
    sync = view.sync or {}
    return {
        **{name: sync.get(name) for name in (*of_sync, "known_losses", "skipped", "late", "bytes")},
        "outcome": view.outcome or None,
        "summary": sync.get("summary"),
        "media": [
            {"media_id": media_id, **{name: medium.get(name) for name in of_medium}}
            for media_id, medium in sorted(view.media.items())
        ],
    }


def name(view: View, media_id: str) -> str:
    """Return what to call a medium: several may have the same file name, and some have none."""
    record = view.working.get(media_id) or view.elsewhere.get(media_id)
    known = view.media.get(media_id, {}).get("filename") or (record.filename if record else "")
    return f"{called(str(known))} ({called(media_id)})" if known else called(media_id)


def called(text: str) -> str:
    """Return a name from elsewhere so that it harms no terminal, however long it is."""
    return printable(text if len(text) <= _NAME else f"{text[: _NAME - 1]}…")


def size(count: float) -> str:
    """Format a number of bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 - the step between decimal units
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def folded(text: str, width: int | None, *, indent: int | None = None) -> list[str]:
    """Return a line as lines that are at most this wide, if their words are; None: as it is."""
    if width is None or len(text) <= width:
        return [text]
    indent = indent if indent is not None else 15 if text.startswith(" ") else 4
    text = re.sub(r"(\d) (?=[a-zA-Z]{1,9}\b)", f"\\1{_NO_BREAK}", text)  # a number stays with its noun
    lines = textwrap.wrap(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def printable(text: str) -> str:
    """Return text from elsewhere without the characters that control a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _listed(sync: Record) -> str:
    seen = f"the library has {_count(sync, 'listed')} media"
    if any((sync.get("filters") or {}).values()):
        total = sync.get("library_media")
        seen = f"{_count(sync, 'listed')} media match the filter{'' if total is None else f', of {int(total)}'}"
    rest = {"not ready yet": _count(sync, "pending"), "left for a later sync": _count(sync, "deferred")}
    more = "".join(f", {count} {what}" for what, count in rest.items() if count)
    return f"{seen}: {_count(sync, 'stored')} stored already, {_count(sync, 'expected')} to download{more}"


def _became(medium: Record, called: str) -> Iterator[str]:
    if medium["state"] == "DOWNLOADED":
        seconds = float(medium.get("seconds") or 0)
        result = f"{size(_count(medium, 'bytes'))} in {seconds:.1f} s"
        yield f"  stored       {called}, {'by another sync' if medium.get('already_stored') else result}"
    elif medium["state"] == "SKIPPED":
        yield f"  skipped      {called}: the sync was cancelled"
    elif medium["state"] == "FAILED":
        yield f"  failed       {called}: {printable(str(medium.get('reason') or 'no reason known'))}"


def _came_late(sync: Record) -> bool:
    """Return whether results arrived after the close."""
    return bool(_count(sync, "late"))


def _result(counts: Record) -> str:
    """Say what became of the media, by the counts of a summary or of a sync."""
    return ", ".join([f"{_count(counts, 'downloaded')} stored", *(_losses(counts) or ["0 failed"])])


def _losses(counts: Record) -> list[str]:
    failed, known = _failed(counts), _known_losses(counts)
    skipped = _count(counts, "skipped")
    losses = [f"{failed} failed"] * bool(failed) + [f"{known} known losses"] * bool(known)
    return losses + [f"{skipped} left for the next sync"] * bool(skipped)


def _failed(counts: Record) -> int:
    """Return the failures without the known losses, which are no news."""
    return _count(counts, "failed") - _known_losses(counts)


def _known_losses(counts: Record) -> int:
    return _count(counts, "known_losses")


def _count(record: Record, field_name: str) -> int:
    return int(record.get(field_name) or 0)
