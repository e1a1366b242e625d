"""The downloader against the fake GoPro Cloud, over real HTTP, with moto's S3 and DynamoDB."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from moto import mock_aws

from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Medium, Shape
from ops.local.gopro_cloud.faults import Fault
from services.downloader.download import Originals
from services.downloader.library_table import Lease, LibraryTable
from services.downloader.reactions import DOWNLOAD, Downloader
from services.downloader.transfer import S3_CONFIG, Bucket, ConnectionPool, Limits
from services.shared.events import Event, MediaDiscovered, MediaDownloaded, MediaDownloadFailed, MediumEvent
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.patient import PatientClient, Session
from services.shared.library.records import LibraryReader, MediumRecord
from tests.moto_s3 import take_bytearrays
from tests.unit.clocks import ManualClock

MIB = 1 << 20
TABLE, BUCKET = "library", "media"
SIZE = 12 * MIB + 345  # three parts of 5 MiB
_SESSION = boto3.Session("test", "test", region_name="us-east-1")
_OPERATIONS = "s3-operations"


@dataclass
class Message:
    """One receive of a message."""

    receives: int = 1
    seconds: float = 800.0
    hidden: list[float] = field(default_factory=list)

    def hide(self, seconds: float) -> None:
        self.hidden.append(seconds)

    def remaining_seconds(self) -> float:
        return self.seconds


@dataclass
class Stage:
    """Everything that a downloader works with."""

    cloud: FakeGoProCloud
    s3: Any
    dynamodb: Any
    clock: ManualClock = field(default_factory=ManualClock)
    patience: float = 1.0  # seconds that calls to GoPro may wait
    connections: int = 1
    memory: int = 64 * MIB
    connect: Callable[[], ConnectionPool] = ConnectionPool
    cancelled: set[str] = field(default_factory=set)  # ids of syncs
    bucket: Bucket = field(init=False)
    library: LibraryTable = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.s3, BUCKET)
        self.library = LibraryTable(self.dynamodb, TABLE, clock=self.clock)
        token = self.cloud.tokens.paste(86_400)
        self.session = Session(access_token=token, version=1, obtained_at="2026-11-23T01:00:00Z")

    def downloader(self) -> Downloader:
        hosts = AllowedHosts(["127.0.0.1"])
        client = GoProClient(self.cloud.url, hosts=hosts, clock=self.clock)
        limits = Limits(connections=self.connections, memory_bytes=self.memory)
        return Downloader(
            library=self.library,
            cancelled=cast("Any", SimpleNamespace(include=lambda sync_id: sync_id in self.cancelled)),
            gopro=PatientClient(
                client,
                read_session=lambda: self.session,
                bus=cast("Any", None),
                patience_seconds=self.patience,
                clock=self.clock,
            ),
            originals=Originals(self.bucket, hosts=hosts, limits=limits, clock=self.clock),
            connect=self.connect,
            clock=self.clock,
        )

    def serve(self, *media: Medium) -> None:
        self.cloud.replace_library(Library(media=media))

    def react(self, event: MediumEvent, message: Message | None = None) -> Event:
        """React to an event. Returns the only event that comes of it."""
        (published,) = DOWNLOAD.do(self.downloader(), event, message or Message())
        return published

    def stored(self, event: MediumEvent, message: Message | None = None) -> MediaDownloaded:
        fact = self.react(event, message)
        assert isinstance(fact, MediaDownloaded)
        return fact

    def failed(
        self, event: MediumEvent, message: Message | None = None, error: type[Exception] = Exception
    ) -> MediaDownloadFailed:
        """React to an event, which fails with this error for the last time. Returns what is published."""
        message = message or Message()
        with pytest.raises(error) as raised:
            self.react(event, message)
        (fact,) = DOWNLOAD.on_end(self.downloader(), event, message, raised.value)
        assert isinstance(fact, MediaDownloadFailed)
        return fact

    def release(self, epoch: int = 1) -> None:
        """End a dead worker's lease."""
        self.library.release(Lease(media_id="m-1", epoch=epoch))

    def objects(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {o["Key"]: self.s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in listed}

    def metadata(self) -> list[Mapping[str, str]]:
        """Return the metadata of all objects, in the order of their keys."""
        return [self.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"] for key in sorted(self.objects())]

    def is_copied(self, media_id: str = "m-1") -> bool:
        """Return whether the bucket has the originals of a medium, byte for byte, and nothing else."""
        copies = sorted(hashlib.sha256(body).hexdigest() for body in self.objects().values())
        return copies == sorted(original["sha256"] for original in self.cloud.originals(media_id))

    def record(self, media_id: str = "m-1") -> MediumRecord:
        return LibraryReader(self.dynamodb, TABLE, clock=self.clock).media([media_id])[media_id]

    def uploads(self) -> list[Any]:
        return list(self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def ranges(self) -> list[str | None]:
        return [seen.range for seen in self.cloud.observations.requests(endpoint="cdn")]

    def s3_operations(self) -> list[str]:
        """Return a list of the operations that S3 is asked for from now on."""
        asked: list[str] = []
        self.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name), _OPERATIONS)
        return asked


@contextmanager
def downloader_stage(cloud: FakeGoProCloud) -> Iterator[Stage]:
    cloud.reset()
    with mock_aws():
        _s3().create_bucket(Bucket=BUCKET)
        yield Stage(cloud, _s3(), library_table_client())
        _s3().meta.events.unregister("before-call.s3", unique_id=_OPERATIONS)


@cache
def _s3() -> Any:
    """Return one client for all tests: making it takes longer than many of them."""
    client = _SESSION.client("s3", config=S3_CONFIG)
    take_bytearrays(client.meta.events)
    return client


@cache
def _dynamodb() -> Any:
    return _SESSION.resource("dynamodb")


def library_table_client() -> Any:
    """Return the client of a resource that has an empty library table."""
    resource = _dynamodb()
    keys = [("media_id", "S", "HASH"), ("item", "N", "RANGE")]
    resource.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": n, "KeyType": k} for n, _, k in keys],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return resource.meta.client


def video(*faults: Fault, **fields: Any) -> Medium:
    known: dict[str, Any] = {
        "media_id": "m-1",
        "contents": (Generated(SIZE, "m-1"),),
        "filename": "GX010123.MP4",
        "etag_part_bytes": 5 * MIB,
        "faults": faults,
    }
    return Medium(**{**known, **fields})


def photo(*faults: Fault, **fields: Any) -> Medium:
    """Return a medium whose file is uploaded in one request."""
    known: dict[str, Any] = {"shape": Shape.PHOTO, "contents": (Generated(MIB, "m-1"),), "etag_part_bytes": None}
    return video(*faults, **{**known, **fields})


def chaptered(sizes: Sequence[int], *faults: Fault, **fields: Any) -> Medium:
    contents = tuple(Generated(size, f"chapter {size}") for size in sizes)
    return video(*faults, shape=Shape.CHAPTERED, contents=contents, filename="GX010639.MP4", **fields)


def discovered(media_id: str = "m-1", sync_id: str = "s-1", **fields: Any) -> MediaDiscovered:
    known: dict[str, Any] = {"filename": "GX010123.MP4", "captured_at": "2026-01-30T21:08:11Z", "camera": "HERO13"}
    return MediaDiscovered(sync_id=sync_id, media_id=media_id, **{**known, **fields})
