"""Uploads that can be resumed, and whose result S3 itself proves.

S3 checks each part against its CRC64NVME, and the whole object against the combined checksum and its size. It never
overwrites an object. `ListParts` says which parts have arrived.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awscrt import checksums
from botocore.config import Config
from botocore.exceptions import ClientError

from services.downloader.transfer.errors import KeyOccupied, NotStored, TransferError, UploadConflict, UploadGone
from services.downloader.transfer.origin import Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1 << 20
SMALLEST_PART = 5 * MIB  # S3's limit for every part but the last
_MOST_PARTS = 9_000  # S3 takes 10,000
# Part sizes that upload tools use. GoPro's own isn't published; 20 and 100 MiB have been seen.
_USUAL_PARTS = tuple(size * MIB for size in (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512))

# Completing a large upload can take S3 minutes. S3 checks each part by its checksum, so signing its payload too would
# only cost time.
S3_CONFIG = Config(
    read_timeout=300,
    retries={"mode": "standard", "max_attempts": 6},
    max_pool_connections=64,
    s3={"payload_signing_enabled": False},
)

ORIGIN_ETAG, LENGTH = "origin-etag", "length"  # proofs of a copy

_REFUSALS: Mapping[str, tuple[type[TransferError], str]] = {
    "NoSuchUpload": (UploadGone, "the upload no longer exists"),
    "PreconditionFailed": (KeyOccupied, "another object has the key"),
    "412": (KeyOccupied, "another object has the key"),
    "ConditionalRequestConflict": (UploadConflict, "S3 was writing to the same key, and wants a new upload"),
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The connections and memory that the copy of one file may use."""

    connections: int = 8  # to the origin
    memory_bytes: int = 256 * MIB  # for the buffers of all parts

    def part_size(self, version: Version) -> int:
        """Return the bytes of each part but the last.

        An upload with parts of the origin's size has the origin's ETag (the MD5 of the parts' MD5s, and their number).
        That proves the copy without reading anything twice. The number of parts in the ETag bounds the origin's part
        size, and one of the usual sizes may fit. A file that needs parts larger than the memory gets them, one at a
        time.
        """
        largest = max(SMALLEST_PART, self.memory_bytes // MIB * MIB)
        smallest = max(SMALLEST_PART, -(-version.size // _MOST_PARTS))
        if count := version.origin_parts:
            for size in _USUAL_PARTS:
                if smallest <= size <= largest and (count - 1) * size < version.size <= count * size:
                    return size
        # Each part is a request that S3 charges for, and what is lost of it when a copy pauses.
        default = 32 * MIB if version.size >= 256 * MIB else 8 * MIB
        return min(max(default, -(-smallest // MIB) * MIB), max(largest, smallest))

    def in_one(self, version: Version) -> bool:
        """Return whether to upload a file in one request: it fits into one part, and the origin was not cut either."""
        return version.size <= self.part_size(version) and not version.origin_parts

    def parts_in_hand(self, part_size: int, *, connections: int | None = None) -> int:
        """Return how many parts of this size to work on at once: one for each connection, and some being uploaded.

        `connections`: those that are used now, by default the most that may be.
        """
        connections = min(connections or self.connections, self.connections)
        wanted = connections + -(-connections // 4)
        return max(1, min(wanted, self.memory_bytes // part_size))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part that S3 has."""

    etag: str
    size: int  # bytes
    crc: int | None  # None where S3 doesn't say it


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What an object says of itself. It can't be changed later without a copy."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    content_disposition: str = "attachment"


@dataclass(kw_only=True)
class Upload:
    """An upload that was begun."""

    upload_id: str  # empty for a file that is uploaded in one request
    key: str
    version: Version  # of the origin
    part_size: int  # bytes
    headers: Headers = field(default_factory=Headers)  # only for a file that is uploaded in one request
    parts: dict[int, Part] = field(default_factory=dict)  # those that S3 has, by number
    stored: "StoredObject | None" = None  # the object of a file that was uploaded in one request
    lacking: Callable[[], int] | None = None  # while the file is copied: the bytes that have not arrived yet

    @property
    def part_count(self) -> int:
        """The number of parts of the whole file."""
        return max(1, -(-self.version.size // self.part_size))

    def length_of(self, number: int) -> int:
        """Return the bytes of a part. Numbers count from 1."""
        return min(self.part_size, self.version.size - (number - 1) * self.part_size)

    @property
    def bytes_done(self) -> int:
        """The bytes that S3 has. May be asked from another thread while parts arrive."""
        return sum(part.size for part in list(self.parts.values()))

    @property
    def bytes_arrived(self) -> int:
        """The bytes that S3 has or that are on their way there. May be asked from any thread."""
        return self.version.size - self.lacking() if self.lacking else self.bytes_done


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object, as S3 describes it."""

    key: str
    size: int  # bytes
    etag: str  # without its quotes
    checksum: str  # CRC64NVME, base64
    metadata: Mapping[str, str]

    def proof(self, version: Version) -> str:
        """Return what proves that the object is a copy of this version: the same ETag, or only the same length."""
        return ORIGIN_ETAG if version.etag and self.etag == version.etag else LENGTH


class Bucket:
    """A bucket that files are stored in. No object is ever overwritten."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str, version: Version, *, limits: Limits, headers: Headers | None = None) -> Upload:
        """Begin an upload. A small file gets one of a single request, of which S3 hears nothing yet."""
        part_size, headers = limits.part_size(version), headers or Headers()
        if limits.in_one(version):
            return Upload(upload_id="", key=key, version=version, part_size=part_size, headers=headers)
        answer = self._client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            Metadata=dict(headers.metadata),
            ContentType=headers.content_type,
            ContentDisposition=headers.content_disposition,
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )
        return Upload(upload_id=answer["UploadId"], key=key, version=version, part_size=part_size)

    def resume(self, upload_id: str, key: str, version: Version, *, part_size: int) -> Upload:
        """Return an upload that was begun earlier, with the parts that S3 has. Raises `UploadGone`."""
        upload = Upload(upload_id=upload_id, key=key, version=version, part_size=part_size)
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
        with _known_refusals():
            for page in pages:
                for part in page.get("Parts", []):
                    number, size = part["PartNumber"], part["Size"]
                    if number <= upload.part_count and size == upload.length_of(number):
                        crc = part.get("ChecksumCRC64NVME")
                        upload.parts[number] = Part(etag=part["ETag"], size=size, crc=_number(crc) if crc else None)
        return upload

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        """Upload a part, which S3 checks. Thread-safe for different parts.

        Raises `UploadGone` or, for a file that is uploaded in one request, `KeyOccupied`.
        """
        crc = checksums.crc64nvme(body)
        if not upload.upload_id:
            upload.stored = self._put_whole(upload, body, crc)
            upload.parts[number] = Part(etag=upload.stored.etag, size=len(body), crc=crc)
            return
        with _known_refusals():
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=upload.key,
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=body,  # type: ignore[arg-type]  # the stubs don't know bytearray, which needs no copy
                ContentLength=len(body),
                ChecksumCRC64NVME=_text(crc),
            )
        upload.parts[number] = Part(etag=answer["ETag"], size=len(body), crc=crc)

    def _put_whole(self, upload: Upload, body: bytes | bytearray, crc: int) -> StoredObject:
        with _known_refusals():
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=upload.key,
                Body=body,  # type: ignore[arg-type]  # as above
                ContentLength=len(body),
                ChecksumCRC64NVME=_text(crc),
                Metadata=dict(upload.headers.metadata),
                ContentType=upload.headers.content_type,
                ContentDisposition=upload.headers.content_disposition,
                IfNoneMatch="*",
            )
        return StoredObject(
            key=upload.key,
            size=len(body),
            etag=answer["ETag"].strip('"'),
            checksum=answer.get("ChecksumCRC64NVME") or _text(crc),  # by which S3 has checked it
            metadata=upload.headers.metadata,
        )

    def complete(self, upload: Upload) -> StoredObject:
        """Make the object of the parts, and return it as S3 describes it. Needs all parts.

        A file that was uploaded in one request is complete already.

        Raises `UploadGone` or `KeyOccupied` when S3 no longer knows the upload, or has an object at the key. That may
        be this very file, which its metadata shows (see `find`).
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
            with _known_refusals():
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
            raise NotStored("S3 completed the upload, but the object is absent or has another size")
        return stored

    def find(self, key: str) -> StoredObject | None:
        """Return the object at a key. 403 counts as absent: S3 answers so where listing isn't granted."""
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
        """Abort an upload, unless it is gone already."""
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if _code(error) != "NoSuchUpload":
                raise


@contextmanager
def _known_refusals() -> Iterator[None]:
    """Turn the refusals that a caller can handle into errors of the engine."""
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
