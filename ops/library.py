"""The library table and the media bucket side by side. Objects are read by their headers only."""

import math
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from botocore.exceptions import ClientError

from ops.deployment import Deployment
from ops.errors import OperatorError
from services.downloader.transfer import StoredObject
from services.shared.library.objects import PREFIX
from services.shared.library.records import FULL_WALK, MEDIUM, REQUEST, FileRecord, MediumRecord, Status

WORKERS = 10  # a boto3 client keeps as many connections

_Subject = TypeVar("_Subject")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class FoundObject(StoredObject):
    """An object in the media bucket."""

    modified: datetime  # UTC
    under_kms: bool = False  # encrypted with KMS: its ETag is no MD5, and never that of its origin


@dataclass(frozen=True, kw_only=True)
class Absent:
    """No object has a key."""

    hidden: bool  # by a delete marker: deleting the marker brings the object back


@dataclass(frozen=True, kw_only=True)
class KnownMedium:
    """A medium with all of its records in the library table."""

    media_id: str
    own: MediumRecord | None
    files: Mapping[int, FileRecord]  # by item number

    @property
    def status(self) -> Status | None:
        """The medium's own status; None where it has no record of its own."""
        return self.own.status if self.own else None

    @property
    def filename(self) -> str:
        """What to call the medium; may be empty."""
        first = self.files[min(self.files)].original_name if self.files else ""
        return (self.own.filename if self.own else "") or first

    @property
    def known_files(self) -> int:
        """The files that are stored, or once were. Others may have been begun and given up."""
        return sum(record.status in (Status.STORED, Status.MISSING) for record in self.files.values())

    @property
    def lacks_files(self) -> bool:
        """Whether the table knows fewer files than the medium was stored with, or doesn't know that number."""
        total = self.own.files_total if self.own else None
        return self.known_files < (math.inf if total is None else total)


class LibraryStores:
    """The table and the bucket. Raises `OperatorError` when one of them is gone."""

    def __init__(self, deployment: Deployment) -> None:
        table = deployment.table("LibraryTableName")
        # A resource's client takes and returns plain values and, unlike the resource, is thread-safe.
        self.dynamodb, self.table = table.meta.client, str(table.name)
        self._s3, self._bucket = deployment.client("s3"), deployment.outputs["MediaBucketName"]
        try:
            self.dynamodb.describe_table(TableName=self.table)
        except self.dynamodb.exceptions.ResourceNotFoundException as error:
            raise OperatorError(
                f"The library table {self.table} is gone. Restore it, or create an empty one with this name "
                "and fill it with `.venv/bin/cloud-sync adopt`: docs/operating.md, 'The library table is lost'."
            ) from error
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in ("404", "NoSuchBucket"):
                raise
            # Otherwise every object would be reported as missing, one by one.
            raise OperatorError(f"The media bucket {self._bucket} is gone.") from error

    def media_ids(self) -> Iterator[str]:
        """Return each medium of which the table has a record, once."""
        seen: set[str] = set()
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.table, ProjectionExpression="media_id", ConsistentRead=True
        )
        for page in pages:
            for media_id in dict.fromkeys(str(item["media_id"]) for item in page["Items"]):
                if media_id not in seen and media_id != REQUEST:
                    seen.add(media_id)
                    yield media_id

    def medium(self, media_id: str) -> KnownMedium:
        """Return a medium's records as they are now."""
        own: MediumRecord | None = None
        files: dict[int, FileRecord] = {}
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression="media_id = :id",
            ExpressionAttributeValues={":id": media_id},
            ConsistentRead=True,
        )
        for page in pages:
            for item in page["Items"]:
                if item["item"] == MEDIUM:
                    own = MediumRecord.from_item(item)
                else:
                    files[int(item["item"])] = FileRecord.from_item(item)
        return KnownMedium(media_id=media_id, own=own, files=files)

    def ask_for_full_walk(self) -> None:
        """Let the next sync walk the whole library, because records were changed that it would not read otherwise.

        Ask before the first change and after the last one: a sync that begins in between fulfills only the first.
        """
        request = {"media_id": REQUEST, "item": MEDIUM, FULL_WALK: uuid.uuid4().hex}
        self.dynamodb.put_item(TableName=self.table, Item=request)

    def object_keys(self) -> Iterator[str]:
        """Return the keys of all objects that the downloader may have written, in order."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=PREFIX):
            for listed in page.get("Contents", []):
                yield str(listed["Key"])

    def head(self, key: str) -> FoundObject | Absent:
        """Return the object at a key. 403 is an error here, and never counts as absent."""
        try:
            head = self._s3.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _code(error) not in ("404", "NoSuchKey"):
                raise
            headers = error.response["ResponseMetadata"]["HTTPHeaders"]
            return Absent(hidden=headers.get("x-amz-delete-marker") == "true")
        return FoundObject(
            key=key,
            size=head["ContentLength"],
            etag=head["ETag"].strip('"'),
            checksum=head.get("ChecksumCRC64NVME", ""),
            metadata=head["Metadata"],
            modified=head["LastModified"],
            under_kms=head.get("ServerSideEncryption", "").startswith("aws:kms"),
        )

    def uploads(self, *, begun_before: datetime) -> Iterator[tuple[str, str]]:
        """Return (key, upload id) of the multipart uploads that are neither completed nor aborted."""
        for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=PREFIX):
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < begun_before:
                    yield str(upload["Key"]), str(upload["UploadId"])


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Subject], _Result], subjects: Iterable[_Subject]
) -> Iterator[_Result]:
    """Return the result of `work` for each subject, in order. Works on several at once, and holds few at a time."""
    ahead: deque[Future[_Result]] = deque()
    for subject in subjects:
        ahead.append(pool.submit(work, subject))
        if len(ahead) > 2 * WORKERS:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))
