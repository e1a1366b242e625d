"""How a sync stands and what has changed of it, in lines for a terminal. Nothing but a computation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Record = Mapping[str, Any]  # of a table, with plain values


@dataclass(frozen=True, kw_only=True)
class View:
    """A sync as the tables show it at one moment."""

    sync: Record | None = None  # of the syncs table
    media: Mapping[str, Record] = field(default_factory=dict)  # of the syncs table, by media id
    working: Mapping[str, Record] = field(default_factory=dict)  # of the library table: what is being downloaded now

    @property
    def is_closed(self) -> bool:
        return self.sync is not None and self.sync.get("state") == "CLOSED"

    @property
    def outcome(self) -> str:
        """`completed`, `partial` or `failed`; empty while the sync is open."""
        return str(self.sync.get("outcome", "")) if self.sync and self.is_closed else ""


def changes(before: View, after: View) -> Iterator[str]:
    """A line for everything that happened between two views."""
    if after.sync is None:
        return
    if before.sync is None:
        yield f"sync {after.sync['sync_id']}, asked for at {after.sync.get('requested_at') or 'an unknown time'}"
    if after.sync.get("expected") is not None and (before.sync or {}).get("expected") is None:
        yield _listed(after.sync)
    for media_id in after.working.keys() - before.working.keys():
        yield f"  downloading  {name(after, media_id)}"
    for media_id, medium in after.media.items():
        if medium["state"] != before.media.get(media_id, {}).get("state"):
            yield from _became(medium, name(after, media_id))
    if after.is_closed and not before.is_closed:
        yield closing(after.sync)


def standing(view: View) -> str:
    """The whole in one line."""
    sync = view.sync
    if sync is None:
        return "waiting for the sync to begin"
    stored, failed = _count(sync, "downloaded"), _count(sync, "failed")
    expected = sync.get("expected")
    of = f" of {int(expected)}" if expected is not None else ""
    under_way = sum(_count(record, "bytes_done") for record in view.working.values())
    parts = [f"{stored}{of} stored"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{len(view.working)} under way"] if view.working else []
    parts += ["listing the library"] if expected is None and not sync.get("discovered") else []
    return f"{', '.join(parts)}; {size(_count(sync, 'bytes') + under_way)}"


def closing(sync: Record) -> str:
    """How the sync ended, in one line."""
    summary = sync.get("summary") or {}
    told = {
        "completed": "completed",
        "partial": "completed with failures",
        "failed": "FAILED",
    }.get(str(sync.get("outcome")), "closed")
    counts = f"{_count(summary, 'downloaded')} stored, {_count(summary, 'failed')} failed"
    left = _count(summary, "outstanding")
    reason = printable(str(summary.get("reason") or ""))
    return (
        f"sync {sync['sync_id']} {told} ({sync.get('closed_because')}): {counts}"
        + (f", {left} without a result" if left else "")
        + (f"; {reason}" if reason else "")
    )


def name(view: View, media_id: str) -> str:
    """What to call a medium. Its file name may be empty, and need not be its own."""
    known = view.media.get(media_id, {}).get("filename") or view.working.get(media_id, {}).get("filename")
    return f"{printable(str(known))} ({media_id})" if known else media_id


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 - the step between decimal units
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def printable(text: str) -> str:
    """Text from elsewhere, which must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _listed(sync: Record) -> str:
    rest = {"not ready yet": _count(sync, "pending"), "left for a later sync": _count(sync, "deferred")}
    more = "".join(f", {count} {what}" for what, count in rest.items() if count)
    return (
        f"the library has {_count(sync, 'listed')} media: {_count(sync, 'stored')} stored already, "
        f"{_count(sync, 'expected')} to download{more}"
    )


def _became(medium: Record, called: str) -> Iterator[str]:
    if medium["state"] == "DOWNLOADED":
        seconds = float(medium.get("seconds") or 0)
        result = f"{size(_count(medium, 'bytes'))} in {seconds:.1f} s"
        yield f"  stored       {called}, {'by another sync' if medium.get('already_stored') else result}"
    elif medium["state"] == "FAILED":
        yield f"  failed       {called}: {printable(str(medium.get('reason') or 'no reason known'))}"


def _count(record: Record, field_name: str) -> int:
    return int(record.get(field_name) or 0)
