"""S3: objects and multipart uploads, with S3's own checks."""

# ruff: noqa: N803  # arguments are named as boto3 names them

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, TypeVar

from awscrt import checksums

from tools.simulator.effects import Client, Effects, refusal
from tools.simulator.faults import AWS, Fault
from tools.simulator.virtual import Process, SimulatorError

_T = TypeVar("_T")

_WRITE = (*AWS, Fault.CONFLICT)
_CODES = ("SlowDown", "InternalError", "ServiceUnavailable")
_LISTED_PARTS = 3  # per page of ListParts
_METADATA_BYTES = 2048
_KEY_BYTES = 1024
_MOST_PARTS = 10_000

# Answer to a repeated Complete of an upload. S3's documentation says that the upload is gone; S3 itself has been seen
# to repeat its first answer; and with `If-None-Match` the object exists already.
Again = Literal["gone", "answered", "precondition"]


@dataclass
class StoredObject:
    body: bytes
    etag: str
    metadata: Mapping[str, str]
    checksum: str = ""  # CRC64NVME of the whole object, base64, where it was requested


@dataclass
class Upload:
    """A multipart upload that is neither completed nor aborted."""

    id: str
    key: str
    metadata: Mapping[str, str]
    by: Process
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)  # bytes and etag by number
    excuse: str = ""  # why the upload may be unrecorded


class S3:
    """One bucket."""

    def __init__(
        self,
        bucket: str,
        effects: Effects,
        *,
        smallest_part: int,
        listing_granted: bool = True,
        again: Again = "gone",
    ) -> None:
        self.bucket = bucket
        self.effects = effects
        self.smallest_part = smallest_part
        self.again = again
        self.listing_granted = listing_granted  # whether a missing key is a 404, or a 403 because S3 hides it
        self.objects: dict[str, StoredObject] = {}
        self.uploads: dict[str, Upload] = {}
        self.completed: dict[str, dict[str, Any]] = {}  # Complete's answer, by upload id
        self.on_put: list[Callable[[str, StoredObject | None, StoredObject], None]] = []  # key, before, after
        self._count = 0

    def put(self, key: str, stored: StoredObject) -> None:
        before = self.objects.get(key)
        self.objects[key] = stored
        for watch in self.on_put:
            watch(key, before, stored)

    def new_upload(self, key: str, metadata: Mapping[str, str], by: Process) -> Upload:
        self._count += 1
        upload = Upload(f"u{self._count}", key, metadata, by)
        self.uploads[upload.id] = upload
        return upload

    def end(self, upload: Upload) -> None:
        del self.uploads[upload.id]

    def live(self, key: str, upload_id: str, operation: str) -> Upload:
        upload = self.uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise refusal("NoSuchUpload", operation)
        return upload


class S3Client(Client):
    def __init__(self, s3: S3) -> None:
        self._s3 = s3

    def put_object(
        self,
        *,
        Bucket: str,
        Key: str,
        Body: bytes | bytearray,
        ContentLength: int | None = None,
        ContentType: str = "",
        ContentDisposition: str = "",
        ChecksumCRC64NVME: str = "",
        Metadata: Mapping[str, str] | None = None,
        IfNoneMatch: str = "",
    ) -> dict[str, Any]:
        body = bytes(Body)
        metadata = self._metadata(Metadata or {})
        if ContentLength not in (None, len(body)):
            raise SimulatorError("PutObject with another ContentLength than its Body has")

        def apply() -> dict[str, Any]:
            _check_key(Key, "PutObject")
            self._check_crc(body, ChecksumCRC64NVME, "PutObject")
            if IfNoneMatch and Key in self._s3.objects:
                raise refusal("PreconditionFailed", "PutObject")
            # Without a checksum in the request, boto3 sends a CRC32, and S3 keeps that one.
            self._s3.put(Key, StoredObject(body, _md5(body), metadata, ChecksumCRC64NVME))
            checksum = {"ChecksumCRC64NVME": ChecksumCRC64NVME} if ChecksumCRC64NVME else {}
            return {"ETag": f'"{_md5(body)}"', **checksum}

        self._conflict("put_object", Key, conditional=bool(IfNoneMatch))
        return self._call("put_object", f"{Key} ({len(body)} bytes)", apply, Bucket)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            if Key not in self._s3.objects:
                raise refusal("NoSuchKey" if self._s3.listing_granted else "AccessDenied", "GetObject")
            body = self._s3.objects[Key].body
            return {"Body": SimpleNamespace(read=lambda: body)}

        return self._call("get_object", Key, apply, Bucket)

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str = "") -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            if Key not in self._s3.objects:
                raise refusal("404" if self._s3.listing_granted else "403", "HeadObject")
            found = self._s3.objects[Key]
            return {
                "ContentLength": len(found.body),
                "ETag": f'"{found.etag}"',
                "Metadata": dict(found.metadata),
                **({"ChecksumCRC64NVME": found.checksum} if ChecksumMode == "ENABLED" and found.checksum else {}),
            }

        return self._call("head_object", Key, apply, Bucket)

    def create_multipart_upload(
        self,
        *,
        Bucket: str,
        Key: str,
        Metadata: Mapping[str, str],
        ChecksumAlgorithm: str,
        ChecksumType: str,
        ContentType: str = "",
        ContentDisposition: str = "",
    ) -> dict[str, Any]:
        if (ChecksumAlgorithm, ChecksumType) != ("CRC64NVME", "FULL_OBJECT"):
            raise SimulatorError("the simulated S3 knows full-object CRC64NVME only")
        metadata = self._metadata(Metadata)
        process = self._s3.effects.scheduler.running().process
        made: list[Upload] = []

        def apply() -> dict[str, Any]:
            _check_key(Key, "CreateMultipartUpload")
            for lost in made:
                lost.excuse = "the answer that named it was lost"
            made.append(self._s3.new_upload(Key, metadata, process))
            return {"UploadId": made[-1].id}

        try:
            return self._call("create_multipart_upload", Key, apply, Bucket)
        except BaseException:
            for upload in made:
                upload.excuse = "the answer that named it never came"
            raise

    def upload_part(
        self,
        *,
        Bucket: str,
        Key: str,
        UploadId: str,
        PartNumber: int,
        Body: bytes | bytearray,
        ContentLength: int,
        ChecksumCRC64NVME: str,
    ) -> dict[str, Any]:
        body = bytes(Body)
        if ContentLength != len(body) or not 1 <= PartNumber <= _MOST_PARTS:
            raise SimulatorError("UploadPart with another ContentLength than its Body has, or a wrong number")

        def apply() -> dict[str, Any]:
            upload = self._s3.live(Key, UploadId, "UploadPart")
            self._check_crc(body, ChecksumCRC64NVME, "UploadPart")
            upload.parts[PartNumber] = (body, _md5(body))
            return {"ETag": f'"{_md5(body)}"', "ChecksumCRC64NVME": ChecksumCRC64NVME}

        return self._call("upload_part", f"{Key} {UploadId} part {PartNumber}", apply, Bucket)

    def get_paginator(self, operation: str) -> Any:
        if operation != "list_parts":
            raise SimulatorError(f"no paginator for {operation} in the simulated S3")
        return SimpleNamespace(paginate=self._list_parts)

    def _list_parts(self, *, Bucket: str, Key: str, UploadId: str) -> Iterator[dict[str, Any]]:
        after, more = 0, True
        while more:

            def apply(after: int = after) -> tuple[list[dict[str, Any]], bool]:
                parts = self._s3.live(Key, UploadId, "ListParts").parts
                numbers = sorted(number for number in parts if number > after)
                listed = [
                    {
                        "PartNumber": number,
                        "Size": len(parts[number][0]),
                        "ETag": f'"{parts[number][1]}"',
                        "ChecksumCRC64NVME": encoded_crc(checksums.crc64nvme(parts[number][0])),
                    }
                    for number in numbers[:_LISTED_PARTS]
                ]
                return listed, len(numbers) > _LISTED_PARTS

            listed, more = self._call("list_parts", f"{Key} {UploadId}", apply, Bucket)
            after = listed[-1]["PartNumber"] if listed else after
            yield {"Parts": listed} if listed else {}

    def complete_multipart_upload(
        self,
        *,
        Bucket: str,
        Key: str,
        UploadId: str,
        MultipartUpload: Mapping[str, Any],
        MpuObjectSize: int | None = None,
        IfNoneMatch: str = "",
        ChecksumCRC64NVME: str = "",
        ChecksumType: str = "",
    ) -> dict[str, Any]:
        given = MultipartUpload["Parts"]

        def apply() -> dict[str, Any]:
            if UploadId in self._s3.completed and self._s3.again == "answered":
                return self._s3.completed[UploadId]
            if IfNoneMatch and self._s3.again == "precondition" and Key in self._s3.objects:
                raise refusal("PreconditionFailed", "CompleteMultipartUpload")
            upload = self._s3.live(Key, UploadId, "CompleteMultipartUpload")
            if IfNoneMatch and Key in self._s3.objects:
                raise refusal("PreconditionFailed", "CompleteMultipartUpload")
            parts = self._listed(upload, given)
            whole = b"".join(parts)
            if MpuObjectSize not in (None, len(whole)):
                raise refusal("InvalidRequest", "CompleteMultipartUpload")
            self._check_crc(whole, ChecksumCRC64NVME, "CompleteMultipartUpload")
            digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in parts)).hexdigest()
            checksum = encoded_crc(checksums.crc64nvme(whole))
            self._s3.end(upload)
            self._s3.put(Key, StoredObject(whole, f"{digest}-{len(parts)}", upload.metadata, checksum))
            answer = {"ETag": f'"{digest}-{len(parts)}"', "ChecksumCRC64NVME": checksum}
            self._s3.completed[UploadId] = answer
            return answer

        self._conflict("complete_multipart_upload", Key, conditional=bool(IfNoneMatch))
        return self._call("complete_multipart_upload", f"{Key} {UploadId}", apply, Bucket)

    def _listed(self, upload: Upload, given: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Return the bytes of the parts that a Complete lists."""
        parts: list[bytes] = []
        numbers = [part["PartNumber"] for part in given]
        if not given:
            raise refusal("MalformedXML", "CompleteMultipartUpload")
        if numbers != sorted(set(numbers)):
            raise refusal("InvalidPartOrder", "CompleteMultipartUpload")
        for part in given:
            body, etag = upload.parts.get(part["PartNumber"], (b"", ""))
            crc = part.get("ChecksumCRC64NVME")
            if part["ETag"].strip('"') != etag or crc not in (None, encoded_crc(checksums.crc64nvme(body))):
                raise refusal("InvalidPart", "CompleteMultipartUpload")
            parts.append(body)
        if any(len(body) < self._s3.smallest_part for body in parts[:-1]):
            raise refusal("EntityTooSmall", "CompleteMultipartUpload")
        return parts

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:
        def apply() -> dict[str, Any]:
            self._s3.end(self._s3.live(Key, UploadId, "AbortMultipartUpload"))
            return {}

        try:
            return self._call("abort_multipart_upload", f"{Key} {UploadId}", apply, Bucket)
        except Exception:
            if UploadId in self._s3.uploads:
                self._s3.uploads[UploadId].excuse = "to abort it was refused"
            raise

    def _conflict(self, name: str, key: str, *, conditional: bool) -> None:
        effects = self._s3.effects
        if conditional and effects.faults.strike((Fault.CONFLICT,), f"s3.{name} conflict"):
            effects.trace.add(f"s3.{name}", key, Fault.CONFLICT)
            raise refusal("ConditionalRequestConflict", name)

    def _call(self, name: str, subject: str, apply: Callable[[], _T], bucket: str) -> _T:
        if bucket != self._s3.bucket:
            raise SimulatorError(f"no bucket {bucket}")
        return self._s3.effects.call(f"s3.{name}", subject, apply, codes=_CODES)

    def _check_crc(self, body: bytes, given: str, operation: str) -> None:
        if given and given != encoded_crc(checksums.crc64nvme(body)):
            raise refusal("BadDigest", operation)

    def _metadata(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        size = sum(len(name) + len(value) for name, value in metadata.items())
        if size > _METADATA_BYTES or not all(value.isascii() for value in metadata.values()):
            raise SimulatorError("S3 takes 2 KB of ASCII as metadata")
        return dict(metadata)


def _check_key(key: str, operation: str) -> None:
    if len(key.encode()) > _KEY_BYTES:
        raise refusal("KeyTooLongError", operation)


def encoded_crc(crc: int) -> str:
    """Return a checksum in S3's notation: base64."""
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


def _md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()  # S3's ETag of a plain object
