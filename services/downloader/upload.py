"""Multipart uploads to the media bucket that can be taken up again, and whose outcome is proven by S3 itself.

S3 checks each part against its CRC64NVME, the whole object against the combined one and against its size, and takes
the object only where none is. `ListParts` is the truth about what has arrived.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from awscrt import checksums
from botocore.exceptions import ClientError

from services.downloader.origin import Version
from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1 << 20
SMALLEST_PART = 5 * MIB  # S3's limit for every part but the last
_MOST_PARTS = 9_000  # S3 takes 10,000
# Part sizes that upload tools use. GoPro's own isn't published; 20 and 100 MiB have been seen.
_USUAL_PARTS = tuple(size * MIB for size in (5, 8, 10, 15, 16, 20, 25, 32, 50, 64, 100, 128, 256, 512))

ORIGIN_ETAG, LENGTH = "origin-etag", "length"  # what the match with the origin rests on


class UploadGone(TransientError):
    """The upload is no longer there: aborted, or completed before."""


class KeyOccupied(TransientError):
    """Another object lies at the key."""


@dataclass(frozen=True, kw_only=True)
class Part:
    etag: str
    size: int
    crc: int | None  # None where S3 didn't say it


@dataclass(kw_only=True)
class Upload:
    """An upload under way. `parts`: by number, those that S3 has."""

    upload_id: str
    key: str
    version: Version  # of the origin
    part_size: int
    parts: dict[int, Part] = field(default_factory=dict)

    @property
    def part_count(self) -> int:
        return max(1, -(-self.version.size // self.part_size))

    def length_of(self, number: int) -> int:
        """Bytes of the part of this number, from 1."""
        return min(self.part_size, self.version.size - (number - 1) * self.part_size)

    def next_missing(self, after: int = 0) -> int | None:
        """The lowest number above `after` of a part that S3 doesn't have."""
        return next((n for n in range(after + 1, self.part_count + 1) if n not in self.parts), None)

    @property
    def bytes_done(self) -> int:
        return sum(part.size for part in self.parts.values())


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    key: str
    size: int
    etag: str
    checksum: str  # CRC64NVME, base64
    metadata: Mapping[str, str]

    def is_copy_of(self, version: Version, *, media_id: str, item: int) -> bool:
        """Whether this is that version of that original, by what `object_metadata` wrote on it."""
        said = {name: unquote(value) for name, value in self.metadata.items()}
        return (
            self.size == version.size
            and said.get("media-id") == media_id
            and said.get("item") == str(item)
            and said.get("origin-etag") == version.etag
        )

    def proof(self, version: Version) -> str:
        return ORIGIN_ETAG if version.etag and self.etag == version.etag else LENGTH


def choose_part_size(version: Version, *, memory_bytes: int) -> int:
    """Bytes of a part, within what the memory allows for a buffer.

    An upload cut as the origin's was has the same ETag (md5 of the parts' md5s, and their number), which proves the
    copy without reading anything twice. `-N` bounds the origin's part size, and one of the usual ones may fit.
    """
    largest = max(SMALLEST_PART, memory_bytes // MIB * MIB)
    smallest = max(SMALLEST_PART, -(-version.size // _MOST_PARTS))
    number = version.etag.rpartition("-")[2]
    if number.isdigit() and (count := int(number)) > 0:
        for size in _USUAL_PARTS:
            if smallest <= size <= largest and (count - 1) * size < version.size <= count * size:
                return size
    default = 16 * MIB if version.size >= 256 * MIB else 8 * MIB
    return min(max(default, -(-smallest // MIB) * MIB), max(largest, smallest))


class MediaBucket:
    """The bucket of the originals."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def begin(self, key: str, version: Version, *, part_size: int, metadata: Mapping[str, str]) -> Upload:
        answer = self._client.create_multipart_upload(
            Bucket=self._bucket,
            Key=key,
            Metadata=dict(metadata),
            ChecksumAlgorithm="CRC64NVME",
            ChecksumType="FULL_OBJECT",
        )
        return Upload(upload_id=answer["UploadId"], key=key, version=version, part_size=part_size)

    def resume(self, upload_id: str, key: str, version: Version, *, part_size: int) -> Upload:
        """An upload begun earlier, with the parts that S3 has of it. Raises `UploadGone`."""
        upload = Upload(upload_id=upload_id, key=key, version=version, part_size=part_size)
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self._bucket, Key=key, UploadId=upload_id)
        try:
            for page in pages:
                for part in page.get("Parts", []):
                    number, size = part["PartNumber"], part["Size"]
                    if number <= upload.part_count and size == upload.length_of(number):
                        crc = part.get("ChecksumCRC64NVME")
                        upload.parts[number] = Part(etag=part["ETag"], size=size, crc=_number(crc) if crc else None)
        except ClientError as error:
            if _code(error) == "NoSuchUpload":
                raise UploadGone("the upload begun earlier is no longer there") from error
            raise
        return upload

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        """Sends a part, which S3 checks. Safe to call from several threads, for different parts."""
        crc = checksums.crc64nvme(body)
        try:
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=upload.key,
                UploadId=upload.upload_id,
                PartNumber=number,
                Body=body,  # type: ignore[arg-type]  # the stubs don't know that a bytearray is sent without a copy
                ContentLength=len(body),
                ChecksumCRC64NVME=_text(crc),
            )
        except ClientError as error:
            if _code(error) == "NoSuchUpload":
                raise UploadGone("the upload went away while its parts were sent") from error
            raise
        upload.parts[number] = Part(etag=answer["ETag"], size=len(body), crc=crc)

    def complete(self, upload: Upload) -> StoredObject:
        """Makes the object of the parts, and reads back what S3 says of it.

        Raises `UploadGone` or `KeyOccupied` when S3 no longer knows the upload or has an object at the key: whether
        that is this very file, the object there tells (`find`).
        """
        numbers = range(1, upload.part_count + 1)
        parts = [upload.parts[n] for n in numbers]
        whole: Any = {}
        crcs = [part.crc for part in parts if part.crc is not None]
        if len(crcs) == len(parts):
            whole = {"ChecksumCRC64NVME": _text(_combined(parts)), "ChecksumType": "FULL_OBJECT"}
        try:
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
        except ClientError as error:
            if _code(error) == "NoSuchUpload":
                raise UploadGone("the upload was gone when it was to be completed") from error
            if _code(error) in ("PreconditionFailed", "412"):
                raise KeyOccupied("an object is at the key already") from error
            if _code(error) == "ConditionalRequestConflict":
                # S3 asks for a new upload then, with all of its parts.
                self.abort(upload.key, upload.upload_id)
                raise UploadGone("S3 was writing to the same key and wants the upload anew") from error
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
