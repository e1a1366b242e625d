"""Where an original lies in the bucket, and what is written on it."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from services.downloader.transfer import StoredObject, Version
from services.shared.events import MediumEvent

PREFIX = "gopro/"
_UNDATED = "0000/00/00"
_NAME_BYTES = 200  # a key has room for 1,024 bytes in all
_EXTENSION_BYTES = 16  # what follows a later dot is part of the name
_METADATA_BYTES = 500  # all of an object's own metadata has to fit in 2 KB
_UNSAFE = re.compile(r"[^\w.()+@-]+")
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def object_key(medium: MediumEvent, *, item: int, name: str, taken: Collection[str]) -> str:
    """`gopro/{yyyy}/{mm}/{dd}/{media id}/{safe file name}`, dated by capture time in UTC.

    `taken`: keys of the medium's other items. A name that differs from one of theirs by case only counts as equal,
    since the copies may end on a file system that makes no difference; equal names get `-{item}`.
    """
    folder = media_folder(medium.media_id, medium.captured_at)
    stem, dot, extension = safe_name(name or medium.filename, fallback=f"item-{item}").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    candidate, number = f"{folder}{stem}{dot}{extension}", item
    occupied = {key.casefold() for key in taken}
    while candidate.casefold() in occupied:
        candidate = f"{folder}{stem}-{number}{dot}{extension}"
        number += 1
    return candidate


def media_folder(media_id: str, captured_at: str | None) -> str:
    """What the keys of a medium's files begin with, its `/` included."""
    return f"{PREFIX}{_date(captured_at)}/{_safe_id(media_id)}/"


def other_key(key: str, etag: str) -> str:
    """Another key for a file whose own is occupied by another version of it. Nothing is ever overwritten."""
    mark = hashlib.sha256(etag.encode()).hexdigest()[:8]
    folder, _, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    return f"{folder}/{stem}-{mark}.{extension}" if dot else f"{folder}/{name}-{mark}"


def safe_name(name: str, *, fallback: str) -> str:
    """A file name without anything that could leave its folder, mislead a reader or trouble a tool.

    Letters and digits of every script stay; other characters than `._-()+@` become `_`.
    """
    plain = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C")
    last = re.split(r"[/\\]", plain)[-1]
    cleaned = _UNSAFE.sub("_", last).strip("._ ") or fallback
    stem, dot, extension = cleaned.rpartition(".")
    if not dot or len(extension.encode()) > _EXTENSION_BYTES:
        stem, dot, extension = cleaned, "", ""
    room = _NAME_BYTES - len(extension.encode()) - 1
    return stem.encode()[:room].decode(errors="ignore") + dot + extension


def object_metadata(
    medium: MediumEvent, *, item: int, files: int, origin: str, name: str, origin_etag: str, origin_size: int
) -> dict[str, str]:
    """What an object says of itself, so that the library table can be made anew of it.

    `files`: how many the medium has, as far as is known now; `origin`: which of them this is. S3 takes ASCII only, so
    names are percent-encoded.
    """
    # Half an origin would be another one. Without it an object is taken for what it is by its medium's next download.
    named = {"origin": quote(origin)} if len(quote(origin)) <= _METADATA_BYTES else {}
    return {
        "media-id": quote(medium.media_id),
        "item": str(item),
        "item-count": str(medium.item_count),
        "files": str(files),
        **named,
        "original-name": _clipped(name or medium.filename),
        "captured-at": quote(medium.captured_at or "", safe=":"),
        "camera": _clipped(medium.camera),
        "sync-id": medium.sync_id,
        "origin-etag": quote(origin_etag),
        "origin-size": str(origin_size),
    }


def read_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """What `object_metadata` wrote on an object, with names as they were before they were percent-encoded."""
    return {name: unquote(value) for name, value in metadata.items()}


def is_copy(stored: StoredObject, version: Version, *, media_id: str, item: int) -> bool:
    """Whether an object is that version of that original, by its size and what `object_metadata` wrote on it."""
    said = read_metadata(stored.metadata)
    return (
        stored.size == version.size
        and said.get("media-id") == media_id
        and said.get("item") == str(item)
        and said.get("origin-etag") == version.etag
    )


def _clipped(text: str) -> str:
    while len(encoded := quote(text)) > _METADATA_BYTES:
        text = text[:-1]
    return encoded


def _safe_id(media_id: str) -> str:
    if _SAFE_ID.fullmatch(media_id):
        return media_id
    # GoPro's ids are opaque: one that isn't plain keeps what is, and a mark of its own.
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', media_id)[:48]}-{hashlib.sha256(media_id.encode()).hexdigest()[:12]}"


def _date(captured_at: str | None) -> str:
    try:
        moment = datetime.fromisoformat(captured_at or "")
    except ValueError:
        return _UNDATED
    try:
        return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime("%Y/%m/%d").zfill(10)
    except (OverflowError, ValueError):
        return _UNDATED
