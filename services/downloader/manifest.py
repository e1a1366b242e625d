"""Which files are a medium's originals: a decision made from GoPro's download listing, by its structure.

What the listing means is known from public clients. Its traps: `files[0]` of a single video is a proxy, a proxy can
have the resolution of the source, a burst's lone `source` is only its cover, `concat` is a derived join. A proxy is
never taken for an original: where none is offered, the manifest is empty or says what is missing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from services.shared.gopro.media import UnexpectedAnswer, text, whole_number

_NUMBER_IN_PATH = re.compile(r"/(\d+)\.[^/.]+$")
_FILE_NAME = re.compile(r"filename\*?=(?:UTF-8'')?\"?([^\";]+)\"?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Original:
    """One file that a camera made (or that GoPro keeps as the source of an edit)."""

    origin: str  # names the file within its medium, the same at every listing: "source/default/2"
    number: int  # GoPro's item number, from 1
    name: str  # file name as GoPro gives it; may be empty
    url: str = field(repr=False)  # signed, good for about an hour: resolve again rather than keep it


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The originals that can be had now, and what is known to be missing."""

    originals: tuple[Original, ...]
    missing: tuple[str, ...] = ()  # in words, for the failure's reason


def read_manifest(listing: Mapping[str, Any], *, item_count: int) -> Manifest:
    """The originals of a medium that GoPro lists with `item_count` items.

    Raises `UnexpectedAnswer` when the listing isn't of the known shape.
    """
    embedded = listing.get("_embedded")
    if not isinstance(embedded, dict):
        raise UnexpectedAnswer("GoPro's download listing has no `_embedded`: its API has changed")
    files = [entry for entry in _entries(embedded, "files") if not _is_proxy(entry)]
    variations = _entries(embedded, "variations")
    # The source of an edit can be its project file, which is no picture.
    sources = [entry for entry in variations if entry.get("label") == "source" and entry.get("type") != "json"]
    baked = [entry for entry in variations if entry.get("label") == "baked_source"]
    raws = [entry for entry in _entries(embedded, "sidecar_files") if entry.get("label") == "raw_photo"]

    if len(files) > 1 and len(sources) <= 1:
        chosen, expected, label = files, item_count, "files"  # a burst or time-lapse; a lone source is its cover
    elif sources:
        chosen, expected, label = sources, item_count, "source"
    elif baked:
        chosen, expected, label = baked, 1, "baked_source"
    else:
        return Manifest(originals=(), missing=("GoPro offers no original, only renditions made from it",))

    numbered = [*_number(chosen, label), *_number(raws, "raw_photo")]
    fallback = text(listing.get("filename"))
    originals = tuple(
        Original(origin=origin, number=number, name=_file_name(entry["url"]) or fallback, url=entry["url"])
        for origin, number, entry in numbered
        if _is_available(entry)
    )
    missing = [f"GoPro marks {origin} as not available" for origin, _, entry in numbered if not _is_available(entry)]
    if len(chosen) < expected:
        missing.append(f"GoPro lists {expected} items and offers {len(chosen)}")
    return Manifest(originals=originals, missing=tuple(missing))


def assign_items(originals: Sequence[Original], known: Mapping[str, int]) -> list[tuple[int, Original]]:
    """An item number (1..N, unique in the medium) for each original, in order.

    `known`: item numbers by `origin`, given at an earlier time; those stay, so that a medium that has grown keeps
    the files that it has.
    """
    taken = set(known.values())
    assigned = []
    for original in originals:
        item = known.get(original.origin)
        if item is None:
            item = original.number if original.number > 0 and original.number not in taken else _first_free(taken)
            taken.add(item)
        assigned.append((item, original))
    return sorted(assigned, key=lambda pair: pair[0])


def _first_free(taken: Iterable[int]) -> int:
    return max(taken, default=0) + 1


def _entries(embedded: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = embedded.get(name)
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnexpectedAnswer(f"GoPro's download listing has an unreadable `{name}`: its API has changed")
    return entries


def _number(entries: Sequence[dict[str, Any]], label: str) -> list[tuple[str, int, dict[str, Any]]]:
    """(origin, item number, entry) of each; where the listing doesn't number an entry, its URL's path may."""
    numbered = []
    for position, entry in enumerate(entries, start=1):
        number = whole_number(entry.get("item_number")) or _number_in_path(_url(entry)) or position
        camera = entry.get("camera_position") or "default"
        numbered.append((f"{label}/{camera}/{number}", number, entry))
    origins = [origin for origin, _, _ in numbered]
    if len(set(origins)) < len(origins):
        return [(f"{label}/{at}", at, entry) for at, (_, _, entry) in enumerate(numbered, start=1)]
    return sorted(numbered, key=lambda row: (row[1], row[0]))


def _number_in_path(url: str) -> int | None:
    match = _NUMBER_IN_PATH.search(urlsplit(url).path)
    return int(match[1]) if match else None


def _url(entry: Mapping[str, Any]) -> str:
    url = entry.get("url")
    return url if isinstance(url, str) else ""


def _is_available(entry: Mapping[str, Any]) -> bool:
    return bool(_url(entry)) and entry.get("available", True) not in (False, "false", 0, None)


def _is_proxy(entry: Mapping[str, Any]) -> bool:
    return "proxy" in urlsplit(_url(entry)).path or "proxy" in str(entry.get("label", ""))


def _file_name(url: str) -> str:
    """The name in the URL's `response-content-disposition`: the camera's own, also for each chapter."""
    for disposition in parse_qs(urlsplit(url).query).get("response-content-disposition", []):
        if match := _FILE_NAME.search(disposition):
            return unquote(match[1]).strip()
    return ""
