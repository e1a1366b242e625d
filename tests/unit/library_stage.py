"""A media bucket and its library table on moto, filled as the downloader fills them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from moto import mock_aws

from ops.adopt import Adopted, adopt
from ops.deployment import Deployment
from ops.library import LibraryStores
from ops.verify import Problem, Verification
from services.downloader.library_table import Lease, LibraryTable
from services.shared.events import MediaDiscovered
from services.shared.library.objects import ObjectMetadata, object_key
from services.shared.library.records import (
    REQUEST,
    VERSIONS,
    FileRecord,
    LibraryReader,
    MediumRecord,
    Row,
    Status,
)
from tests.unit.clocks import ManualClock

BUCKET, TABLE = "media-bucket", "library"
NOW = ManualClock().moment
LATER = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


_SESSION = boto3.Session("test", "test", region_name="us-east-1")


@cache
def _client(service: str) -> Any:
    """Return one client for all tests: making it takes longer than most tests."""
    return _SESSION.client(service)  # type: ignore[call-overload]


@cache
def _dynamodb() -> Any:
    return _SESSION.resource("dynamodb")


class StagedDeployment(Deployment):
    """A stack on moto."""

    def client(self, service: str) -> Any:
        return _client(service)

    def table(self, output: str) -> Any:
        return _dynamodb().Table(self.outputs[output])


@dataclass
class LibraryStage:
    """The stores, and the figures of the last command. The stores' clock stands at `NOW`."""

    deployment: Deployment
    s3: Any
    dynamodb: Any
    library: LibraryTable
    verification: Verification = field(init=False)

    # --- What a sync does -------------------------------------------------------------------------------------------

    def store(self, event: MediaDiscovered, *bodies: bytes, items: Sequence[int] = (), stored: bool = True) -> Lease:
        """Store files as the next items of a medium, which is STORED afterwards unless `stored` says no."""
        lease = self.take(event)
        files = self.library.files(event.media_id)
        items = items or range(len(files) + 1, len(files) + 1 + len(bodies))
        for item, body in zip(items, bodies, strict=True):
            name = f"GX{item % VERSIONS:02}0639.MP4"
            key = object_key(event, item=item, name=name, taken=[record.key for record in files.values()])
            total = max(event.item_count, len(files) + len(bodies))
            etag = self.put(event, body, item=item, key=key, files=total)
            record = FileRecord(
                media_id=event.media_id,
                item=item,
                origin=f"source/default/{item % VERSIONS}",
                original_name=name,
                key=key,
                size=len(body),
                origin_etag=f"etag-{item}",
                sync_id=event.sync_id,
                status=Status.STORED,
                etag=etag,
                proof="length",
                checksum="",  # moto has none
            )
            self.library.save_files(lease, [record])
        if stored:
            files = self.library.files(event.media_id)
            total_bytes = sum(record.size for record in files.values())
            self.library.finish(lease, row=Row.of(event), files=len(files), total_bytes=total_bytes)
        return lease

    def take(self, event: MediaDiscovered) -> Lease:
        lease = self.library.take(event)
        assert isinstance(lease, Lease)
        return lease

    def put(
        self,
        event: MediaDiscovered,
        body: bytes,
        *,
        item: int = 1,
        key: str,
        files: int = 1,
        origin_etag: str = "",
        without: Sequence[str] = (),
    ) -> str:
        """Write an object as the downloader does, without some of its metadata. Returns its ETag."""
        metadata = ObjectMetadata.of(
            event,
            item=item,
            files=files,
            origin=f"source/default/{item % VERSIONS}",
            name=f"GX{item % VERSIONS:02}0639.MP4",
            origin_etag=origin_etag or f"etag-{item}",
            origin_size=len(body),
        )
        said = {name: value for name, value in metadata.encode().items() if name not in without}
        etag: str = self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, Metadata=said)["ETag"]
        return etag.strip('"')

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def delete(self, key: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=key)

    def forget(self, media_id: str, *items: int) -> None:
        """Delete these records from the table, or all records of a medium."""
        for item in items or [0, *self.library.files(media_id)]:
            self.dynamodb.delete_item(TableName=TABLE, Key={"media_id": media_id, "item": item})

    # --- what is there ----------------------------------------------------------------------------------------------

    def key(self, media_id: str, item: int = 1) -> str:
        return self.library.files(media_id)[item].key

    def own(self, media_id: str) -> MediumRecord | None:
        return self.stores.medium(media_id).own

    def records(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Return all records of media and files by media id and item number."""
        items = self.dynamodb.scan(TableName=TABLE)["Items"]
        return {(str(item["media_id"]), int(item["item"])): item for item in items if item["media_id"] != REQUEST}

    def full_walk_asked(self) -> str:
        return LibraryReader(self.dynamodb, TABLE, clock=ManualClock()).full_walk_asked()

    # --- the commands -----------------------------------------------------------------------------------------------

    @property
    def stores(self) -> LibraryStores:
        return LibraryStores(self.deployment)

    def verify(self, *, now: datetime = LATER, **options: Any) -> list[Problem]:
        self.verification = Verification(stores=self.stores)
        return list(self.verification.run(now=now, **options))

    def adopt(self, *, dry_run: bool = False, stores: LibraryStores | None = None) -> Adopted:
        return sum(adopt(stores or self.stores, dry_run=dry_run), start=Adopted())


def medium(media_id: str = "m-1", item_count: int = 1, **more: Any) -> MediaDiscovered:
    known: dict[str, Any] = {"sync_id": "s-1", "filename": "GX010639.MP4", "captured_at": "2026-01-30T21:08:11Z"}
    return MediaDiscovered(media_id=media_id, item_count=item_count, **{**known, **more})


@contextmanager
def library_stage() -> Iterator[LibraryStage]:
    with mock_aws():
        deployed = StagedDeployment(_SESSION, "cloud-sync-dev")
        deployed.__dict__["outputs"] = {"MediaBucketName": BUCKET, "LibraryTableName": TABLE}  # as if asked for already
        s3 = deployed.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        keys = [("media_id", "S", "HASH"), ("item", "N", "RANGE")]
        deployed.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, _, k in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb = deployed.table("LibraryTableName").meta.client
        yield LibraryStage(deployed, s3, dynamodb, LibraryTable(dynamodb, TABLE, clock=ManualClock()))
