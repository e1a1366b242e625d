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
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError

from ops.local.emulator import REGION
from ops.local.gopro_cloud import FakeGoProCloud, Generated, Library, Medium
from ops.local.gopro_cloud.visitor import Visitor
from services.downloader.transfer import (
    S3_CONFIG,
    Bucket,
    ConnectionPool,
    Headers,
    KeyOccupied,
    Limits,
    Origin,
    StoredObject,
    Upload,
    UploadGone,
    Version,
    open_source,
)
from tools.bench.seaweed import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from tests.contract.embedded_aws import EmbeddedAws

pytestmark = pytest.mark.slow

MIB = 1 << 20
PART = 5 * MIB  # what the origin was cut into, and so what a copy is cut into
DISPOSITION = "attachment; filename*=UTF-8''Z%C3%BCrich%3B%20100%25.MP4"
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
    pool: ConnectionPool
    media_id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.s3, self.name)

    def serve(self, size: int, *, cut: int | None = PART) -> None:
        medium = Medium(media_id=self.media_id, contents=(Generated(size, self.media_id),), etag_part_bytes=cut)
        self.cloud.replace_library(Library(media=(medium,)))

    def url(self) -> str:
        return Visitor(self.cloud.url, self.cloud.tokens.paste(3600)).source_url(self.media_id)

    def begin(self, version: Version) -> Upload:
        headers = Headers(
            metadata={"media-id": self.media_id}, content_type="video/mp4", content_disposition=DISPOSITION
        )
        return self.bucket.begin("key", version, limits=LIMITS, headers=headers)

    def copy(
        self, begin: Callable[[Version], Upload] | None = None, *, check: Callable[[float], None] = lambda _: None
    ) -> tuple[Version, StoredObject]:
        origin = Origin(self.url(), self.url, connections=self.pool)
        with open_source(origin, check=check, sleep=lambda _: None) as source:
            upload = (begin or self.begin)(source.version)
            return source.version, source.copy(self.bucket, upload, limits=LIMITS)

    def stored(self) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.name, Key="key")["Body"].read())

    @property
    def source_sha256(self) -> str:
        return str(self.cloud.originals(self.media_id)[0]["sha256"])

    def answer_once(self, operation: str, status: int, body: str) -> None:
        """The next request of this operation gets this answer, and S3 never sees it."""
        left = [AWSResponse("", status, HTTPHeaders(), _Raw(body.encode()))]
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
    with ConnectionPool() as pool:
        yield Stage(cloud, s3, name, pool)


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
    version, copied = stage.copy()
    stored = stage.stored()
    assert (len(stored), sha256(stored)) == (size, stage.source_sha256)
    assert (version.size, copied.size) == (size, size)
    assert copied.checksum in ("", checksum(stored))
    found = stage.bucket.find("key")
    assert found is not None
    assert (found.size, found.metadata["media-id"]) == (size, stage.media_id)
    assert found.checksum == checksum(stored)
    head = stage.s3.head_object(Bucket=stage.name, Key="key")
    assert (head["ContentType"], head["ContentDisposition"]) == ("video/mp4", DISPOSITION)


def test_a_copy_cut_as_its_origin_was_has_the_same_etag(stage: Stage) -> None:
    stage.serve(3 * PART + 5)
    version, copied = stage.copy()
    assert copied.etag == version.etag
    assert version.etag.endswith("-4")


# --- resumed --------------------------------------------------------------------------------------------------


class TimeIsOver(Exception):
    pass


def begun(stage: Stage, size: int, *, parts: int) -> Upload:
    """An upload that a first worker left with so many parts."""
    stage.serve(size)
    uploads: list[Upload] = []

    def begin(version: Version) -> Upload:
        uploads.append(stage.begin(version))
        return uploads[0]

    def check(_: float) -> None:
        if uploads and len(uploads[0].parts) >= parts:
            raise TimeIsOver

    with pytest.raises(TimeIsOver):
        stage.copy(begin, check=check)
    return uploads[0]


def test_what_a_first_worker_stored_is_not_fetched_again(stage: Stage) -> None:
    left = begun(stage, 6 * PART + 1, parts=2)
    done = dict(left.parts)
    assert 2 <= len(done) < left.part_count
    stage.cloud.observations.clear()

    def resume(version: Version) -> Upload:
        again = stage.bucket.resume(left.upload_id, left.key, version, part_size=left.part_size)
        assert {number: part.size for number, part in again.parts.items()} == {n: p.size for n, p in done.items()}
        return again

    stage.copy(resume)
    assert sha256(stage.stored()) == stage.source_sha256
    # The first request only opens the file. A slow segment may be asked for twice, so bytes are not counted.
    _, *others = (seen.range or "" for seen in stage.cloud.observations.requests(endpoint="cdn"))
    begins = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in others]
    assert {begin // PART + 1 for begin in begins}.isdisjoint(done)


@pytest.mark.scenario(30)
def test_an_upload_that_was_aborted_is_gone_and_a_new_one_stores_the_file(stage: Stage) -> None:
    left = begun(stage, 4 * PART, parts=1)
    stage.bucket.abort(left.key, left.upload_id)
    with pytest.raises(UploadGone):
        stage.bucket.resume(left.upload_id, left.key, left.version, part_size=left.part_size)
    stage.copy()
    assert sha256(stage.stored()) == stage.source_sha256


def test_an_upload_that_is_aborted_ends_the_copy(stage: Stage) -> None:
    stage.serve(6 * PART)

    def begin_and_abort(version: Version) -> Upload:
        upload = stage.begin(version)
        stage.bucket.abort(upload.key, upload.upload_id)
        return upload

    with pytest.raises(UploadGone):
        stage.copy(begin_and_abort)


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
def test_an_error_in_an_answer_of_status_200_is_tried_again(stage: Stage) -> None:
    stage.serve(2 * PART)
    stage.answer_once(
        "CompleteMultipartUpload",
        200,
        "<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    )
    stage.copy()
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
    stage.copy()
    assert sha256(stage.stored()) == stage.source_sha256


@pytest.mark.scenario(45)
@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
def test_a_store_that_asks_to_slow_down_is_asked_again(stage: Stage, operation: str) -> None:
    stage.serve(2 * PART)
    stage.answer_once(operation, 503, "<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>")
    stage.copy()
    assert sha256(stage.stored()) == stage.source_sha256
