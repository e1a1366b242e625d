"""A medium as GoPro lists it. Only its id is safe to require; numbers and booleans sometimes come as strings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.shared.errors import PermanentError

READY = "ready"

# The values of `type` that the search knows. It ignores any other with 200, so a typo would select everything.
MEDIA_TYPES = frozenset({
    "Photo", "Video", "TimeLapse", "TimeLapseVideo", "Burst", "BurstVideo", "Chaptered", "Continuous", "Livestream",
    "Looped", "LoopedVideo", "ExternalVideo", "Session", "Audio", "MultiClipEdit", "Edit",
})  # fmt: skip


class UnexpectedAnswer(PermanentError):
    """GoPro answered with something that this client can't read: its API has changed."""


@dataclass(frozen=True, kw_only=True)
class ListedMedium:
    """One row of the search."""

    media_id: str  # opaque
    type: str
    filename: str  # may be empty, may repeat
    captured_at: str | None  # UTC, ISO 8601; wrong where a camera's clock was
    size: int | None  # bytes over all items, sometimes overstated; None where GoPro doesn't say
    item_count: int
    state: str  # "ready", or what GoPro still does with it
    camera: str


_DIGITS = 18  # of a number at most: longer ones are no counts or sizes, and Python refuses to read the longest

# What the search is asked for: just what `read_medium` reads (the default is some seventy fields).
FIELDS = "id,type,filename,file_size,item_count,captured_at,created_at,ready_to_view,camera_model"


def read_medium(row: Mapping[str, Any]) -> ListedMedium:
    """Raises `UnexpectedAnswer` when the row has no id."""
    media_id = row.get("id")
    if not isinstance(media_id, str) or not media_id:
        raise UnexpectedAnswer("GoPro's listing has a row without an id")
    return ListedMedium(
        media_id=media_id,
        type=text(row.get("type")),
        filename=text(row.get("filename")),
        captured_at=text(row.get("captured_at")) or text(row.get("created_at")) or None,
        size=whole_number(row.get("file_size")),
        item_count=max(1, whole_number(row.get("item_count")) or 1),
        state=text(row.get("ready_to_view")),
        camera=text(row.get("camera_model")),
    )


def whole_number(value: object) -> int | None:
    """A count or size, which may have come as a string; None when it is neither."""
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**_DIGITS:
        return None
    return value


def text(value: object) -> str:
    """The text, fit for UTF-8 (JSON can escape halves of characters); empty when it is none."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""
