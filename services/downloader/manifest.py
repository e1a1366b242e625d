"""Which files are a medium's originals, decided from the structure of GoPro's download listing.

The meaning of the listing is known from public clients. Its traps:

- `files[0]` of a single video is a proxy.
- A proxy can have the resolution of the source.
- The only `source` of a burst is its cover.
- `concat` is a join that GoPro made.

A proxy is never taken for an original. An original is taken from whatever part of the listing offers it. Originals that
are known to be missing are named.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.policy import default as mime
from functools import partial
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from services.shared.errors import PermanentError
from services.shared.gopro.client import UnexpectedAnswer, text, whole_number
from services.shared.library.records import VERSIONS

RAW = "raw_photo"
# The labels of originals, and the part of the listing that usually has each.
_PLACES = {"source": "variations", "baked_source": "variations", RAW: "sidecar_files"}
_LABEL_IN_PATH = re.compile(rf"/({'|'.join(_PLACES)})/[^/]+/[^/]+$")
_OVERSTATED = 10_000  # bytes per file by which GoPro may overstate the size of files that it has reprocessed
_NUMBER_IN_PATH = re.compile(r"/(\d+)\.[^/.]+$")
_EXTENSION_IN_PATH = re.compile(r"\.([A-Za-z0-9]{1,8})$")
_EXTENSIONS = frozenset({"mp4", "mov", "360", "jpg", "jpeg", "gpr", "dng", "heic", "png", "wav", "lrv", "thm"})
_NAME = "filename"
_EXTENDED_NAME = "extended-filename"  # `filename*` is renamed to this: the parser would prefer `filename`
_EXTENDED = re.compile(r"\bfilename(?=\s*\*)", re.IGNORECASE)
_UNQUOTED_NAME = re.compile(r";\s*filename\s*=\s*([^\";]+)(?:;|$)", re.IGNORECASE)
_parse_disposition = partial(mime.header_factory, "Content-Disposition")


class OriginalsMissing(PermanentError):
    """GoPro doesn't offer all originals of a medium. The next sync asks again."""


@dataclass(frozen=True, kw_only=True)
class Original:
    """A file that a camera made, or that GoPro keeps as the source of an edit."""

    origin: str  # names the file within its medium, the same in every listing: "source/default/2"
    number: int  # GoPro's item number, from 1
    name: str  # file name as GoPro gives it, with an extension wherever one is known
    url: str = field(repr=False)  # signed, valid for about an hour: never store it


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The originals that GoPro offers now, and those that are known to be missing."""

    originals: tuple[Original, ...]
    missing: tuple[str, ...] = ()  # in words, for the reason of the failure
    files: int = 0  # all files of the medium, offered or missing; as far as GoPro says


def read_manifest(
    listing: Mapping[str, Any], *, item_count: int | None, filename: str = "", stored: Collection[str] = ()
) -> Manifest:
    """Read the originals of a medium from its download listing.

    `item_count`: the medium's number of items as GoPro lists it; None if unknown. `filename`: the medium's, for files
    that GoPro gives no name. `stored`: the `origin` of each file in the bucket. These files are not missing even if
    GoPro no longer offers them. Raises `UnexpectedAnswer` when the listing doesn't have the known shape.
    """
    embedded = listing.get("_embedded")
    if not isinstance(embedded, dict):
        raise UnexpectedAnswer("GoPro's download listing has no `_embedded`: its API has changed")
    places = {name: _entries(embedded, name) for name in ("files", "variations", "sidecar_files")}
    groups = _groups(places)
    numbered = [(*row, label) for label, rows in groups.items() for row in rows]
    if not numbered and not stored:
        nothing = "GoPro offers no original, only renditions made from it"
        return Manifest(originals=(), missing=(nothing,), files=item_count or 1)

    fallback = text(listing.get("filename")) or filename
    originals = tuple(
        Original(origin=origin, number=number, name=_file_name(entry, label, number, fallback), url=entry["url"])
        for origin, number, entry, label in numbered
        if _is_available(entry)
    )
    unavailable = [origin for origin, _, entry, _ in numbered if not _is_available(entry) and origin not in stored]
    missing = [f"GoPro marks {origin} as not available" for origin in unavailable]
    lacking = 0
    items = {origin for origin, _, entry, label in numbered if label in ("files", "source") and _label(entry) != RAW}
    items |= {origin for origin in stored if RAW not in origin and "baked_source" not in origin}
    if items:
        lacking = max(0, (item_count or len(items)) - len(items))
        if lacking:
            missing.append(f"GoPro lists {item_count} items and offers {len(items)}")
    elif "baked_source" not in groups and all(RAW in origin for origin in stored):
        lacking = item_count or 1
        missing.append("GoPro offers the RAW file, but not the photo that belongs to it")
    return Manifest(originals=originals, missing=tuple(missing), files=len(originals) + len(unavailable) + lacking)


def _groups(places: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, list[tuple[str, int, dict[str, Any]]]]:
    """Return the originals by label, each as (origin, item number, entry). A burst has the label "files"."""
    files = [entry for entry in places["files"] if not _is_proxy(entry)]
    # A source of type json is the project file of an edit.
    candidates = {name: [e for e in entries if e.get("type") != "json"] for name, entries in places.items()}
    sources = [entry for entry in candidates["variations"] if entry.get("label") == "source"]
    burst = files if len(files) > 1 and len(sources) <= 1 else []

    groups = {"files": _number(burst, "files")}
    paths = {_path(entry) for entry in burst}
    for label, place in _PLACES.items():
        if label == "source" and burst:
            continue  # the single source of a burst is its cover
        usual = [entry for entry in candidates[place] if entry.get("label") == label]
        group = groups[label] = _number(usual, label)
        paths |= {_path(entry) for entry in usual}
        for name, entries in candidates.items():
            elsewhere = [e for e in entries if _label(e) == label and not _is_proxy(e) and _path(e) not in paths]
            origins = {origin for origin, _, _ in group}
            for origin, number, entry in _number(elsewhere, label):
                # A file in the usual place keeps its origin, whatever is offered elsewhere.
                if origin not in origins:
                    group.append((origin, number, entry))
                elif _is_available(entry):
                    group.append((f"{name}.{origin}", number, entry))
            paths |= {_path(entry) for entry in elsewhere}
    return {label: group for label, group in groups.items() if group}


def suspicion(files: Mapping[str, int], *, item_count: int | None, listed_size: int | None) -> str:
    """Return in words why a stored medium may be incomplete; empty if it has all that GoPro lists.

    `files`: bytes of each stored original, by `origin`. `item_count`, `listed_size`: None if GoPro doesn't say.
    """
    # The listed size covers all items together, but no RAW files.
    stored = sum(size for origin, size in files.items() if RAW not in origin)
    if listed_size and (listed_size - stored > _OVERSTATED * len(files) or 2 * stored < listed_size):
        return f"smaller than listed: {stored:,} of {listed_size:,} bytes"
    if not listed_size and item_count is None and not all("baked_source" in origin for origin in files):
        return f"GoPro says neither how many files it has nor how large they are: {len(files):,} stored"
    return ""


def assign_items(originals: Sequence[Original], known: Mapping[str, int]) -> list[tuple[int, Original]]:
    """Return each original with its item number (from 1, unique in the medium), in order.

    `known`: the item numbers assigned earlier, by `origin`. They stay, so that a medium that grows keeps its files.
    """
    taken = set(known.values())
    assigned = []
    for original in originals:
        item = known.get(original.origin)
        if item is None:
            is_free = 0 < original.number < VERSIONS and original.number not in taken
            item = original.number if is_free else _first_free(taken)
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
    """Return (origin, item number, entry) for each entry. A number that the entry lacks may be in the URL's path."""
    numbered = []
    for position, entry in enumerate(entries, start=1):
        number = whole_number(entry.get("item_number")) or _number_in_path(_path(entry)) or position
        camera = entry.get("camera_position") or "default"
        numbered.append((f"{label}/{camera}/{number}", number, entry))
    origins = [origin for origin, _, _ in numbered]
    if len(set(origins)) < len(origins):
        return [(f"{label}/{at}", at, entry) for at, (_, _, entry) in enumerate(numbered, start=1)]
    return sorted(numbered, key=lambda row: (row[1], row[0]))


def _number_in_path(path: str) -> int | None:
    match = _NUMBER_IN_PATH.search(path)
    return int(match[1]) if match else None


def _path(entry: Mapping[str, Any]) -> str:
    return _split(_url(entry)).path


def _split(url: str) -> SplitResult:
    with suppress(ValueError):
        return urlsplit(url)
    return urlsplit("")


def _url(entry: Mapping[str, Any]) -> str:
    url = entry.get("url")
    return url if isinstance(url, str) else ""


def _is_available(entry: Mapping[str, Any]) -> bool:
    return bool(_url(entry)) and entry.get("available", True) not in (False, "false", 0, None)


def _is_proxy(entry: Mapping[str, Any]) -> bool:
    return "proxy" in _path(entry) or "proxy" in text(entry.get("label"))


def _label(entry: Mapping[str, Any]) -> str:
    """Return an entry's label, or else the label that its URL or its type implies; empty if none."""
    if label := text(entry.get("label")):
        return label
    match = _LABEL_IN_PATH.search(_path(entry))
    return match[1] if match else RAW if _extension(entry).lower() == "gpr" else ""


def _extension(entry: Mapping[str, Any]) -> str:
    """Return the extension in the URL's path, or else the entry's type; empty if neither is an extension."""
    match = _EXTENSION_IN_PATH.search(_path(entry)) or _EXTENSION_IN_PATH.search(f".{text(entry.get('type'))}")
    return match[1] if match else ""


def _file_name(entry: Mapping[str, Any], label: str, number: int, fallback: str) -> str:
    """Return the camera's own name from the URL's disposition, else `fallback`; with an extension if one is known."""
    extension = _extension(entry)
    names = [name for name in _names_in(_url(entry)) if name]
    name = names[0] if names else ""
    if not name or (not _has_extension(name, extension) and fallback.startswith(name)):
        name, (stem, _, its_own) = fallback, fallback.rpartition(".")
        if extension and stem and (label == RAW or its_own.lower() == "json"):
            name = f"{stem}.{extension}"  # the medium is named after its photo, or after the project of an edit
    name = name or f"{label}-{number}"
    return name if not extension or _has_extension(name, extension) else f"{name.rstrip('.')}.{extension}"


def _has_extension(name: str, expected: str) -> bool:
    _, dot, extension = name.rpartition(".")
    return bool(dot) and extension.strip().lower() in _EXTENSIONS | {expected.lower()}


def _names_in(url: str) -> Iterator[str]:
    """Yield the file names in the URL's `response-content-disposition`. `filename*` comes first (RFC 6266)."""
    for disposition in parse_qs(_split(url).query).get("response-content-disposition", []):
        value = f"attachment; {disposition}"  # the parser needs a disposition type; a second one does no harm
        yield _parameter(_EXTENDED.sub(_EXTENDED_NAME, value), _EXTENDED_NAME)
        name = _parameter(value, _NAME)
        # Some servers send names with spaces unquoted. By the standard, such a name ends at the first space.
        unquoted = _UNQUOTED_NAME.search(value)
        yield unquoted[1].strip() if unquoted and unquoted[1].startswith(name) else name


def _parameter(disposition: str, name: str) -> str:
    with suppress(Exception):  # the parser raises errors of many types for malformed headers
        return text(_parse_disposition(disposition).params[name]).strip()
    return ""
