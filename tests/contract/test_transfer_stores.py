"""Whole copies by the transfer engine, from a real HTTP server into stores that check what they are sent."""

import base64
import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from awscrt import checksums
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from bench.seaweed import ACCESS_KEY, SECRET_KEY
from ops.local.emulator import REGION
from services.downloader.transfer import (
    S3_CONFIG,
    Bucket,
    Copied,
    KeyOccupied,
    Limits,
    Origin,
    Upload,
    UploadGone,
    WirePool,
    copy,
)
from tests.gopro_cloud import FakeGoProCloud, Generated, Library, Medium
from tests.gopro_cloud.visitor import Visitor

if TYPE_CHECKING:
    from tests.contract.embedded_aws import EmbeddedAws

MIB = 1 << 20
PART = 5 * MIB  # what the origin was cut into, and so what a copy is cut into
LIMITS = Limits(connections=3, memory_bytes=4 * PART)


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture(scope="module", params=["seaweed", "embedded-aws"])
def endpoint_url(request: pytest.FixtureRequest) -> str:
    if request.param == "seaweed":
        return str(request.getfixturevalue("seaweed_url"))
    aws: EmbeddedAws = request.getfixturevalue("aws")
    return aws.endpoint_url


@dataclass
class Stage:
    """A file at an origin, and a bucket to copy it into."""

    cloud: FakeGoProCloud
    s3: Any
    name: str
    wires: WirePool
    media_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.s3, self.name)

    def serve(self, size: int, *, cut: int | None = PART) -> None:
        medium = Medium(media_id=self.media_id, contents=(Generated(size, self.media_id),), etag_part_bytes=cut)
        self.cloud.replace_library(Library(media=(medium,)))

    def url(self) -> str:
        return Visitor(self.cloud.url, self.cloud.tokens.paste(3600)).source_url(self.media_id)

    def begin(self, version: Any) -> Upload:
        return self.bucket.begin("key", version, limits=LIMITS, metadata={"media-id": self.media_id})

    def copy(self, plan: Callable[[Any], Any] | None = None, **options: Any) -> Copied | None:
        origin = Origin(self.url(), self.url, wires=self.wires)
        more: dict[str, Any] = {"sleep": lambda _: None, **options}
        return copy(origin, self.bucket, plan or self.begin, limits=LIMITS, **more)

    def stored(self) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.name, Key="key")["Body"].read())

    @property
    def source_sha256(self) -> str:
        return str(self.cloud.originals(self.media_id)[0]["sha256"])

    def answer_once(self, operation: str, status: int, body: str) -> None:
        """The next request of this operation gets this answer, and S3 never sees it."""
        left = [AWSResponse("", status, {}, _Raw(body.encode()))]
        self.s3.meta.events.register(f"before-send.s3.{operation}", lambda **_: left.pop() if left else None)


class _Raw:
    """A response body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body


@pytest.fixture
def stage(cloud: FakeGoProCloud, endpoint_url: str) -> Iterator[Stage]:
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    s3 = session.client("s3", endpoint_url=endpoint_url, config=S3_CONFIG)
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(Bucket=name)
    cloud.reset()
    with WirePool() as wires:
        yield Stage(cloud, s3, name, wires)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def checksum(body: bytes) -> str:
    return base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()


# --- whole, whatever the size --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [PART, None], ids=["origin-in-parts", "origin-whole"])
@pytest.mark.parametrize(
    "of_part", [lambda _: 0, lambda _: 1, lambda part: part - 1, lambda part: part, lambda part: part + 1,
                lambda part: 5 * part + 17],
    ids=["empty", "one-byte", "part-less-1", "part", "part-and-1", "many-parts"],
)  # fmt: skip
def test_a_copy_is_the_original_byte_for_byte(stage: Stage, of_part: Callable[[int], int], cut: int | None) -> None:
    size = of_part(cut or 8 * MIB)
    stage.serve(size, cut=cut)
    copied = stage.copy()
    assert copied is not None
    stored = stage.stored()
    assert (len(stored), sha256(stored)) == (size, stage.source_sha256)
    assert (copied.version.size, copied.object.size) == (size, size)
    assert copied.object.checksum in ("", checksum(stored))
    found = stage.bucket.find("key")
    assert found is not None
    assert (found.size, found.metadata["media-id"]) == (size, stage.media_id)
    assert found.checksum == checksum(stored)


def test_a_copy_cut_as_its_origin_was_has_the_same_etag(stage: Stage) -> None:
    stage.serve(3 * PART + 5)
    copied = stage.copy()
    assert copied is not None
    assert copied.object.etag == copied.version.etag
    assert copied.version.etag.endswith("-4")


# --- taken up again ------------------------------------------------------------------------------------------------


def begun(stage: Stage, size: int, *, parts: int) -> Upload:
    """An upload that a first worker left with so many parts."""
    stage.serve(size)
    uploads: list[Upload] = []

    def plan(version: Any) -> Upload:
        uploads.append(stage.begin(version))
        return uploads[0]

    assert stage.copy(plan, may_go_on=lambda _: not uploads or len(uploads[0].parts) < parts) is None
    return uploads[0]


def test_what_a_first_worker_stored_is_not_fetched_again(stage: Stage) -> None:
    left = begun(stage, 6 * PART + 1, parts=2)
    done = dict(left.parts)
    assert 2 <= len(done) < left.part_count
    stage.cloud.observations.clear()

    def resume(version: Any) -> Upload:
        again = stage.bucket.resume(left.upload_id, left.key, version, part_size=left.part_size)
        assert {number: part.size for number, part in again.parts.items()} == {n: p.size for n, p in done.items()}
        return again

    copied = stage.copy(resume)
    assert copied is not None
    assert sha256(stage.stored()) == stage.source_sha256
    fetched = sum(seen.bytes_sent for seen in stage.cloud.observations.requests(endpoint="cdn"))
    # What opened the file is thrown away if its part was there.
    assert fetched <= 6 * PART + 1 - sum(part.size for part in done.values()) + 2 * MIB


@pytest.mark.scenario(30)
def test_an_upload_that_was_aborted_is_gone_and_a_new_one_stores_the_file(stage: Stage) -> None:
    left = begun(stage, 4 * PART, parts=1)
    stage.bucket.abort(left.key, left.upload_id)
    with pytest.raises(UploadGone):
        stage.bucket.resume(left.upload_id, left.key, left.version, part_size=left.part_size)
    assert stage.copy() is not None
    assert sha256(stage.stored()) == stage.source_sha256


def test_an_upload_that_is_aborted_while_its_parts_come_ends_the_copy(stage: Stage) -> None:
    stage.serve(6 * PART)
    with pytest.raises(UploadGone):
        stage.copy(progress=lambda upload: stage.bucket.abort(upload.key, upload.upload_id))


# --- what S3 refuses -----------------------------------------------------------------------------------------------


@pytest.mark.scenario(44)
@pytest.mark.parametrize("size", [100, 2 * PART], ids=["in-one", "in-parts"])
def test_what_is_at_the_key_is_never_overwritten(stage: Stage, size: int) -> None:
    stage.s3.put_object(Bucket=stage.name, Key="key", Body=b"first")
    stage.serve(size, cut=None if size < PART else PART)
    with pytest.raises(KeyOccupied):
        stage.copy()
    assert stage.stored() == b"first"


@pytest.mark.parametrize("size", [100, 2 * PART], ids=["in-one", "in-parts"])
def test_bytes_that_change_on_their_way_are_refused_and_not_stored(stage: Stage, size: int) -> None:
    stage.serve(size, cut=None if size < PART else PART)

    def flip(request: Any, **_: Any) -> None:
        if request.body:
            request.body = bytes([request.body[0] ^ 1]) + bytes(request.body[1:])

    for operation in ("PutObject", "UploadPart"):
        stage.s3.meta.events.register_first(f"before-send.s3.{operation}", flip)
    with pytest.raises(ClientError):
        stage.copy()
    assert stage.bucket.find("key") is None


@pytest.mark.scenario(44)
def test_a_success_that_tells_of_an_error_is_tried_again(stage: Stage) -> None:
    stage.serve(2 * PART)
    stage.answer_once(
        "CompleteMultipartUpload",
        200,
        "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    )
    assert stage.copy() is not None
    assert sha256(stage.stored()) == stage.source_sha256


@pytest.mark.scenario(44)
def test_a_conflict_at_the_key_gives_the_upload_up_and_a_new_one_stores_the_file(stage: Stage) -> None:
    stage.serve(2 * PART)
    stage.answer_once(
        "CompleteMultipartUpload",
        409,
        "<Error><Code>ConditionalRequestConflict</Code><Message>conflicting</Message></Error>",
    )
    with pytest.raises(UploadGone):
        stage.copy()
    assert stage.s3.list_multipart_uploads(Bucket=stage.name).get("Uploads", []) == []
    assert stage.copy() is not None
    assert sha256(stage.stored()) == stage.source_sha256


@pytest.mark.scenario(45)
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_store_that_asks_to_slow_down_is_asked_again(stage: Stage, operation: str) -> None:
    stage.serve(2 * PART)
    stage.answer_once(operation, 503, "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
    assert stage.copy() is not None
    assert sha256(stage.stored()) == stage.source_sha256
