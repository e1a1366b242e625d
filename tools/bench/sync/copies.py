"""Compares the copies with the originals by SHA-256: speed counts only for correct copies."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ops.local.gopro_cloud import Library
from tools.local_stage import LocalStage

_READ_BYTES = 1 << 20


class Cloud(Protocol):
    """A GoPro Cloud that lists its originals: in this process, or the control of one in another process."""

    def originals(self, media_id: str) -> list[dict[str, Any]]: ...


@dataclass(frozen=True, kw_only=True)
class Original:
    media_id: str
    filename: str
    sha256: str


def originals(cloud: Cloud, library: Library) -> list[Original]:
    """Return the originals of all media.

    The query also makes the fake cloud compute its ETags, so that no later download waits for them; the real cloud has
    had its ETags since the upload.
    """
    media_ids = [medium.media_id for medium in library.media]
    media_ids += [series.media_id(index) for series in library.series for index in range(series.count)]
    return [
        Original(media_id=media_id, filename=one["filename"], sha256=one["sha256"])
        for media_id in media_ids
        for one in cloud.originals(media_id)
    ]


def in_bucket(stage: LocalStage, *, named_by: str = "media-id") -> dict[str, str]:
    """Return the SHA-256 of every object in the media bucket, by this metadata of it."""
    s3, bucket = stage.client("s3"), stage.outputs["MediaBucketName"]
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="gopro/"):
        for listed in page.get("Contents", []):
            answer = s3.get_object(Bucket=bucket, Key=listed["Key"])
            found[answer["Metadata"][named_by]] = _sha256(answer["Body"].iter_chunks(_READ_BYTES))
    return found


def in_folder(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every video below a folder, by file name."""
    found = {}
    for path in folder.rglob("*.MP4"):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return a line for every copy that is missing, has other bytes, or was never wanted."""
    return [
        *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
        *(f"{name} has other bytes" for name in sorted(wanted.keys() & found.keys()) if wanted[name] != found[name]),
        *(f"{name} was never wanted" for name in sorted(found.keys() - wanted.keys())),
    ]


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
