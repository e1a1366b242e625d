"""Values and texts from elsewhere as people read them: on one line, with a unit that fits."""

import unicodedata
from datetime import datetime

from services.shared.events import Filters, Summary

# Marks of writing direction would let a file name reorder the line that it stands in.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def line(text: str, length: int) -> str:
    """Return text from elsewhere on one line, without characters that move the cursor."""
    one = " ".join(text.split())
    clean = "".join("?" if c in _REORDERING or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in one)
    return clean if len(clean) <= length else clean[: length - 1] + "…"


def name(filename: str, media_id: str) -> str:
    """Return what to call a medium: several may have the same file name, and some have none."""
    return f"{line(filename, 200) or '(name unknown)'} ({line(media_id, 100)})"


def day(moment: str) -> str:
    """Return the date of a time in ISO 8601, or all of a text that is none."""
    return line(moment, 40).partition("T")[0]


def size(count: int) -> str:
    """Return a number of bytes with a decimal unit."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004  # steps of decimal units
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.2f} TB"


def duration(begin: str, end: str) -> str:
    """Return the time between two times in ISO 8601."""
    seconds = max(0, int((datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def some(count: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun, which is in the plural unless the number is 1. `plural`: by default with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def wanted(filters: Filters) -> str:
    """Return the part of the library that a sync covers; empty: all of it."""
    parts = [line(", ".join(filters.types), 200)] if filters.types else []
    parts += [f"captured from {line(filters.captured_from, 40)}"] if filters.captured_from else []
    parts += [f"captured before {line(filters.captured_until, 40)}"] if filters.captured_until else []
    return "; ".join(parts)


def walked(summary: Summary) -> str:
    """Return how the library was listed; empty: all of it was."""
    if summary.walk == "full":
        return ""
    return f"only the newest media were listed, the whole library last on {day(summary.full_walk_at)}"
