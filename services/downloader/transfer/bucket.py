"""Uploads that can be taken up again, and whose outcome is proven by S3 itself.

S3 checks each part against its CRC64NVME, the whole object against the combined one and against its size, and takes
the object only where none is. `ListParts` is the truth about what has arrived.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awscrt import checksums
from botocore.config import Config
from botocore.exceptions import ClientError

from services.downloader.transfer.limits import Limits
from services.downloader.transfer.origin import Version
from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Completing a large upload can take S3 minutes. A part goes out with the checksum that S3 checks it by: to hash it once
# more, to sign it, would only cost time.
S3_CONFIG = Config(
    read_timeout=300,
    retries={"mode": "standard", "max_attempts": 6},
    max_pool_connections=64,
    s3={"payload_signing_enabled": False},
)

ORIGIN_ETAG, LENGTH = "origin-etag", "length"  # what the match with the origin rests on


class UploadGone(TransientError):
    """The upload is no longer there: aborted, or completed before."""


class UploadConflict(UploadGone):
    """S3 was writing to the same key at the same moment, and wants the upload anew, with all of its parts."""


class KeyOccupied(TransientError):
    """Another object lies at the key."""


_REFUSALS: Mapping[str, tuple[type[TransientError], str]] = {
    "NoSuchUpload": (UploadGone, "the upload is no longer there"),
    "PreconditionFailed": (KeyOccupied, "an object is at the key already"),
    "412": (KeyOccupied, "an object is at the key already"),
    "ConditionalRequestConflict": (UploadConflict, "S3 was writing to the same key and wants the upload anew"),
}


@dataclass(frozen=True, kw_only=True)
class Part:
    etag: str
    size: int
    crc: int | None  # None where S3 didn't say it


@dataclass(kw_only=True)
class Upload:
    """An upload under way. `parts`: by number, those that S3 has."""

    upload_id: str  # empty for a file that goes up in one request
    key: str
    version: Version  # of the origin
    part_size: int
    metadata: Mapping[str, str] = field(default_factory=dict)  # of a file that goes up in one request
    parts: dict[int, Part] = field(default_factory=dict)
    stored: "StoredObject | None" = None  # what a file that went up in one request has become

    @property
    def part_count(self) -> int:
        return max(1, -(-self.version.size // self.part_size))

    def length_of(self, number: int) -> int:
        """Bytes of the part of this number, from 1."""
        return min(self.part_size, self.version.size - (number - 1) * self.part_size)

    @property
    def is_filled(self) -> bool:
        return len(self.parts) == self.part_count

    @property
    def bytes_done(self) -> int:
        return sum(part.size for part in list(self.parts.values()))  # others may come meanwhile


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    key: str
    size: int
    etag: str
    checksum: str  # CRC64NVME, base64
    metadata: Mapping[str, str]

    def proof(self, version: Version) -> str:
        return ORIGIN_ETAG if version.etag and self.etag == version.etag else LENGTH


class Bucket:
    """A bucket that files are stored in, never one over another."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str, version: Version, *, limits: Limits, metadata: Mapping[str, str] | None = None) -> Upload:
        """A new upload, cut as `limits` says."""
        part_size, about = limits.part_size(version), dict(metadata or {})
        if limits.in_one(version):
            return Upload(upload_id="", key=key, version=version, part_size=part_size, metadata=about)
        answer = self._client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            Metadata=about,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )
        return Upload(upload_id=answer["UploadId"], key=key, version=version, part_size=part_size)

    def resume(self, upload_id: str, key: str, version: Version, *, part_size: int) -> Upload:
        """An upload begun earlier, with the parts that S3 has of it. Raises `UploadGone`."""
        upload = Upload(upload_id=upload_id, key=key, version=version, part_size=part_size)
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
        with _refusals_told_apart():
            for page in pages:
                for part in page.get("Parts", []):
                    number, size = part["PartNumber"], part["Size"]
                    if number <= upload.part_count and size == upload.length_of(number):
                        crc = part.get("ChecksumCRC64NVME")
                        upload.parts[number] = Part(etag=part["ETag"], size=size, crc=_number(crc) if crc else None)
        return upload

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        """Sends a part, which S3 checks. Safe to call from several threads, for different parts.

        Raises `UploadGone` or, for a file that goes up in one request, `KeyOccupied`.
        """
        crc = checksums.crc64nvme(body)
        if not upload.upload_id:
            upload.stored = self._put_whole(upload, body, crc)
            upload.parts[number] = Part(etag=upload.stored.etag, size=len(body), crc=crc)
            return
        with _refusals_told_apart():
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=upload.key,
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=body,  # type: ignore[arg-type]  # the stubs don't know that a bytearray is sent without a copy
                ContentLength=len(body),
                ChecksumCRC64NVME=_text(crc),
            )
        upload.parts[number] = Part(etag=answer["ETag"], size=len(body), crc=crc)

    def _put_whole(self, upload: Upload, body: bytes | bytearray, crc: int) -> StoredObject:
        with _refusals_told_apart():
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=upload.key,
                Body=body,  # type: ignore[arg-type]  # as above
                ContentLength=len(body),
                ChecksumCRC64NVME=_text(crc),
                Metadata=dict(upload.metadata),
                IfNoneMatch="*",
            )
        return StoredObject(
            key=upload.key,
            size=len(body),
            etag=answer["ETag"].strip('"'),
            checksum=answer.get("ChecksumCRC64NVME") or _text(crc),  # S3 has taken it under this one
            metadata=upload.metadata,
        )

    def complete(self, upload: Upload) -> StoredObject:
        """Makes the object of the parts, and reads back what S3 says of it.

        What went up in one request is complete.

        Raises `UploadGone` or `KeyOccupied` when S3 no longer knows the upload or has an object at the key: whether
        that is this very file, the object there tells (`find`).
        """
        if upload.stored:
            return upload.stored
        numbers = range(1, upload.part_count + 1)
        parts = [upload.parts[n] for n in numbers]
        whole: Any = {}
        crcs = [part.crc for part in parts if part.crc is not None]
        if len(crcs) == len(parts):
            whole = {"ChecksumCRC64NVME": _text(_combined(parts)), "ChecksumType": "FULL_OBJECT"}
        try:
            with _refusals_told_apart():
                self._client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=upload.key,
                    UploadId=upload.upload_id,
                    MultipartUpload={
                        "Parts": [
                            {
                                "PartNumber": n,
                                "ETag": p.etag,
                                **({"ChecksumCRC64NVME": _text(p.crc)} if p.crc is not None else {}),
                            }
                            for n, p in zip(numbers, parts, strict=True)
                        ]
                    },
                    MpuObjectSize=upload.version.size,
                    IfNoneMatch="*",
                    **whole,
                )
        except UploadConflict:
            self.abort(upload.key, upload.upload_id)
            raise
        stored = self.find(upload.key)
        if stored is None or stored.size != upload.version.size:
            raise TransientError("S3 completed the upload, and the object isn't there or of another size")
        return stored

    def find(self, key: str) -> StoredObject | None:
        """The object at a key. 403 counts as absent: S3 answers so where listing isn't granted."""
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) in ("404", "403", "NoSuchKey", "NotFound", "Forbidden"):
                return None
            raise
        return StoredObject(
            key=key,
            size=head["ContentLength"],
            etag=head["ETag"].strip('"'),
            checksum=head.get("ChecksumCRC64NVME", ""),
            metadata=head["Metadata"],
        )

    def abort(self, key: str, upload_id: str) -> None:
        """Gives an upload up. One that is gone already is fine."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if _code(error) != "NoSuchUpload":
                raise


@contextmanager
def _refusals_told_apart() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if refusal := _REFUSALS.get(_code(error)):
            kind, text = refusal
            raise kind(text) from error
        raise


def _combined(parts: list[Part]) -> int:
    whole = 0
    for position, part in enumerate(parts):
        crc = part.crc or 0
        whole = crc if position == 0 else checksums.combine_crc64nvme(whole, crc, part.size)
    return whole


def _text(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


def _number(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))
