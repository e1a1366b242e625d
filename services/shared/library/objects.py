"""The originals in the media bucket: their keys, and what their metadata says of them."""

import hashlib
import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from posixpath import splitext
from typing import Self
from urllib.parse import quote, unquote

from services.shared.events import MediumEvent
from services.shared.gopro.client import whole_number
from services.shared.library.records import VERSIONS

PREFIX = "gopro/"
_UNDATED = "0000/00/00"
_NAME_BYTES = 200  # a key has room for 1,024 bytes in all
_EXTENSION_BYTES = 16  # what follows a later dot is part of the name
_METADATA_BYTES = 500  # of one value; S3 takes 2 KB of metadata for an object
_UNSAFE = re.compile(r"[^\w.()+@-]+")
_ATTRIBUTE = "!#$&+^`|"  # what RFC 8187 leaves as it is, beside that which `quote` always does
_CONTENT_TYPES = {
    ".360": "video/mp4",
    ".dng": "image/x-adobe-dng",
    ".gpr": "image/x-gopro-gpr",
    ".heic": "image/heic",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".lrv": "video/mp4",
    ".m4a": "audio/mp4",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".thm": "image/jpeg",
    ".wav": "audio/wav",
    ".zip": "application/zip",
}
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def object_key(medium: MediumEvent, *, item: int, name: str, taken: Collection[str]) -> str:
    """Return the key of a file: `gopro/{yyyy}/{mm}/{dd}/{media id}/{safe file name}`, dated by capture time in UTC.

    `taken`: the keys of the medium's other files. Names that differ only by case count as equal, because the copies may
    end on a file system that ignores case. Of equal names, the later one gets `-{item}`. Another version of a file gets
    `-v2`, `-v3`, ….
    """
    folder, version, number = media_folder(medium.media_id, medium.captured_at), item // VERSIONS, item % VERSIONS
    stem, dot, extension = safe_name(name or medium.filename, fallback=f"item-{number}").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    if version:
        stem = f"{stem}-v{version + 1}"
    candidate = f"{folder}{stem}{dot}{extension}"
    occupied = {key.casefold() for key in taken}
    while candidate.casefold() in occupied:
        candidate = f"{folder}{stem}-{number}{dot}{extension}"
        number += 1
    return candidate


def media_folder(media_id: str, captured_at: str | None) -> str:
    """Return what the keys of a medium's files begin with, including the last `/`."""
    return f"{PREFIX}{_date(captured_at)}/{_safe_id(media_id)}/"


def other_key(key: str, etag: str) -> str:
    """Return the key for a file whose own key another object has. Nothing is ever overwritten."""
    mark = hashlib.sha256(etag.encode()).hexdigest()[:8]
    folder, _, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    return f"{folder}/{stem}-{mark}.{extension}" if dot else f"{folder}/{name}-{mark}"


def safe_name(name: str, *, fallback: str) -> str:
    """Return a file name that cannot leave its folder, mislead a reader or break a tool.

    Letters and digits of every script stay; other characters than `._-()+@` become `_`.
    """
    stem, extension = _split(_UNSAFE.sub("_", _last_part(name)).rstrip("._ "))
    return _fitting(stem.lstrip("._ ") or fallback, extension)


def _last_part(name: str) -> str:
    """Return the name without folders and without characters that cannot be seen."""
    plain = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c)[0] != "C")
    return re.split(r"[/\\]", plain)[-1]


def _split(name: str) -> tuple[str, str]:
    """Return what a name begins with, and its extension with the dot; empty if it has none."""
    stem, dot, extension = name.rpartition(".")
    return (stem, dot + extension) if dot and len(extension.encode()) <= _EXTENSION_BYTES else (name, "")


def _fitting(stem: str, extension: str) -> str:
    room = _NAME_BYTES - max(1, len(extension.encode()))
    return stem.encode()[:room].decode(errors="ignore") + extension


def content_type(key: str) -> str:
    """Return the media type of a file, by its extension."""
    return _CONTENT_TYPES.get(splitext(key)[1].lower(), "application/octet-stream")


def content_disposition(name: str, *, key: str) -> str:
    """Return the `Content-Disposition` under which a browser saves the file by its own name (RFC 6266, RFC 8187)."""
    own = _fitting(*_split(_last_part(name).strip())) or key.rpartition("/")[2]
    return f"attachment; filename*=UTF-8''{quote(own, safe=_ATTRIBUTE)}"


@dataclass(frozen=True, kw_only=True)
class ObjectMetadata:
    """What an object says of itself, so that the library table can be rebuilt from the bucket."""

    media_id: str
    item: int  # 0 where the object doesn't say
    item_count: int | None  # as GoPro listed it, 0 if unknown. Early versions didn't say this, nor the next two
    files: int | None  # that the medium has, as far as was known at the time
    origin: str | None  # which of the medium's files this is
    original_name: str
    captured_at: str
    camera: str
    sync_id: str
    origin_etag: str | None  # None where the object doesn't say; empty where the origin sent none
    origin_size: int  # bytes; 0 where the object doesn't say

    @classmethod
    def of(
        cls, medium: MediumEvent, *, item: int, files: int, origin: str, name: str, origin_etag: str, origin_size: int
    ) -> Self:
        """Describe a file of a medium."""
        return cls(
            media_id=medium.media_id,
            item=item,
            item_count=medium.item_count,
            files=files,
            origin=origin,
            original_name=name or medium.filename,
            captured_at=medium.captured_at or "",
            camera=medium.camera,
            sync_id=medium.sync_id,
            origin_etag=origin_etag,
            origin_size=origin_size,
        )

    @classmethod
    def decode(cls, metadata: Mapping[str, str]) -> Self:
        """Read the metadata of an object, which may be another's."""
        said = {name: unquote(value) for name, value in metadata.items()}
        return cls(
            media_id=said.get("media-id", ""),
            item=whole_number(said.get("item")) or 0,
            item_count=whole_number(said.get("item-count")),
            files=whole_number(said.get("files")),
            origin=said.get("origin"),
            original_name=said.get("original-name", ""),
            captured_at=said.get("captured-at", ""),
            camera=said.get("camera", ""),
            sync_id=said.get("sync-id", ""),
            origin_etag=said.get("origin-etag"),
            origin_size=whole_number(said.get("origin-size")) or 0,
        )

    def encode(self) -> dict[str, str]:
        """Return the metadata to write. S3 takes ASCII only, so texts are percent-encoded, and long ones cut."""
        origin = None if self.origin is None else quote(self.origin)
        return {
            "media-id": quote(self.media_id),
            "item": str(self.item),
            "item-count": str(self.item_count),
            "files": str(self.files),
            # Half an origin would name another file. Without it, the next download of the medium recognizes the object.
            **({"origin": origin} if origin is not None and len(origin) <= _METADATA_BYTES else {}),
            "original-name": _cut(self.original_name),
            "captured-at": quote(self.captured_at, safe=":"),
            "camera": _cut(self.camera),
            "sync-id": self.sync_id,
            "origin-etag": quote(self.origin_etag or ""),
            "origin-size": str(self.origin_size),
        }


def is_copy(
    metadata: Mapping[str, str], size: int, *, media_id: str, item: int, origin_etag: str, origin_size: int
) -> bool:
    """Return whether an object of this size and metadata is a copy of that version of that file."""
    said = ObjectMetadata.decode(metadata)
    return (said.media_id, said.item, said.origin_etag, size) == (media_id, item, origin_etag, origin_size)


def _cut(text: str) -> str:
    while len(encoded := quote(text, errors="replace")) > _METADATA_BYTES:  # half a surrogate pair becomes "?"
        text = text[:-1]
    return encoded


def _safe_id(media_id: str) -> str:
    if _SAFE_ID.fullmatch(media_id):
        return media_id
    # GoPro's ids are opaque. Of an unsafe one the safe characters stay, and a hash keeps it unique.
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
