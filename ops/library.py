"""The library table and the media bucket beside each other. What is read of an object is what S3 says of it."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ops.deployment import Deployment
from ops.errors import OperatorError
from services.downloader.keys import PREFIX
from services.downloader.transfer import StoredObject
from services.shared.library import MEDIUM, MISSING, STORED

WORKERS = 10  # as many connections as a client of boto3 keeps

Record = Mapping[str, Any]  # of the library table, with plain values
_Subject = TypeVar("_Subject")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class FoundObject(StoredObject):
    """An object in the media bucket."""

    modified: datetime  # UTC


@dataclass(frozen=True, kw_only=True)
class Absent:
    """No object is at a key."""

    hidden: bool  # by a delete marker: deleting that brings the object back


@dataclass(frozen=True, kw_only=True)
class MediumRecords:
    """What the library table has of a medium."""

    media_id: str
    own: Record  # empty where there is none
    files: Mapping[int, Record]  # by item

    @property
    def filename(self) -> str:
        first = self.files[min(self.files)] if self.files else {}
        return str(self.own.get("filename") or first.get("original_name") or "")

    @property
    def known_files(self) -> int:
        """Those that are stored, or were; others may have been begun and then taken back."""
        return sum(record["status"] in (STORED, MISSING) for record in self.files.values())

    @property
    def lacks_files(self) -> bool:
        """Whether the table knows fewer files than the medium was stored with, or doesn't know with how many."""
        return bool(self.known_files < self.own.get("files_total", math.inf))


class LibraryStores:
    """Raises `OperatorError` where the table or the bucket is gone."""

    def __init__(self, deployment: Deployment) -> None:
        table = deployment.table("LibraryTableName")
        # A resource's client takes and gives plain values and, unlike the resource, can be shared by threads.
        self.dynamodb, self.table = table.meta.client, str(table.name)
        self._s3, self._bucket = deployment.client("s3"), deployment.outputs["MediaBucketName"]
        try:
            self.dynamodb.describe_table(TableName=self.table)
        except self.dynamodb.exceptions.ResourceNotFoundException as error:
            raise OperatorError(
                f"The library table {self.table} is gone. Restore it, or make it again under this name, empty, "
                "and let `.venv/bin/cloud-sync adopt` fill it: docs/operating.md, 'The library table is lost'."
            ) from error
        try:
            self._s3.head_bucket(Bucket=self._bucket)
        except ClientError as error:
            if _code(error) not in ("404", "NoSuchBucket"):
                raise
            # Else every object would seem to be missing, one by one.
            raise OperatorError(f"The media bucket {self._bucket} is gone.") from error

    def media_ids(self) -> Iterator[str]:
        """Each medium of which the table has a record, once."""
        seen: set[str] = set()
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.table, ProjectionExpression="media_id", ConsistentRead=True
        )
        for page in pages:
            for media_id in dict.fromkeys(str(record["media_id"]) for record in page["Items"]):
                if media_id not in seen:
                    seen.add(media_id)
                    yield media_id

    def records(self, media_id: str) -> MediumRecords:
        """As they are at this moment."""
        own: Record = {}
        files: dict[int, Record] = {}
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression="media_id = :id",
            ExpressionAttributeValues={":id": media_id},
            ConsistentRead=True,
        )
        for page in pages:
            for record in page["Items"]:
                if record["item"] == MEDIUM:
                    own = record
                else:
                    files[int(record["item"])] = record
        return MediumRecords(media_id=media_id, own=own, files=files)

    def object_keys(self) -> Iterator[str]:
        """Of all objects that the downloader may have written, in order."""
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=PREFIX):
            for listed in page.get("Contents", []):
                yield str(listed["Key"])

    def head(self, key: str) -> FoundObject | Absent:
        """What S3 says of the object at a key. Where S3 may not tell (403), that is an error and not an absence."""
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
        )

    def uploads(self, *, begun_before: datetime) -> Iterator[tuple[str, str]]:
        """(key, upload id) of the multipart uploads that are neither completed nor aborted."""
        for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=PREFIX):
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < begun_before:
                    yield str(upload["Key"]), str(upload["UploadId"])


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[_Subject], _Result], subjects: Iterable[_Subject]
) -> Iterator[_Result]:
    """What `work` makes of each, in their order. Several are worked on at once; few are held at a time."""
    ahead: deque[Future[_Result]] = deque()
    for subject in subjects:
        ahead.append(pool.submit(work, subject))
        if len(ahead) > 2 * WORKERS:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))
