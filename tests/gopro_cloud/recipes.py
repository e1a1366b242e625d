"""Contents in their JSON form."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from tests.gopro_cloud.contents import Content, Flipped, Generated, Literal, LocalFile
from tests.gopro_cloud.mp4 import Film
from tests.gopro_cloud.stills import Photograph, RawPhotograph

if TYPE_CHECKING:
    from collections.abc import Callable


def content_from_json(form: dict[str, Any]) -> Content:
    """Read what a content's `to_json` wrote; ValueError names what is wrong with it."""
    fields = dict(form)
    kind = fields.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of content {kind!r}; known are {', '.join(_KINDS)}")
    try:
        return _KINDS[kind](**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"content of kind {kind!r}: {error}") from error


def _literal(*, text: str = "", **fields: str) -> Literal:
    return Literal(base64.b64decode(fields.pop("base64", "")) or text.encode(), **fields)


def _flipped(*, original: dict[str, Any], offsets: list[int]) -> Flipped:
    return Flipped(content_from_json(original), tuple(offsets))


_KINDS: dict[str, Callable[..., Content]] = {
    "generated": Generated,
    "literal": _literal,
    "file": LocalFile,
    "flipped": _flipped,
    "film": Film,
    "photograph": Photograph,
    "raw_photograph": RawPhotograph,
}
