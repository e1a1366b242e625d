"""One medium, from GoPro's manifest to proven objects: the downloader against the fake cloud, over real HTTP."""

import hashlib
import http.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws

from services.downloader import download
from services.downloader.download import Downloader, WaitingForLease
from services.downloader.lease import Lease, Library
from services.downloader.transfer import (
    S3_CONFIG,
    Bucket,
    ConnectionLost,
    Limits,
    OriginBroken,
    Pace,
    StoredObject,
    Upload,
)
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from services.shared.events import MediaDiscovered, MediaDownloaded, MediaDownloadFailed, MediaDownloadPaused
from services.shared.gopro.client import GoProClient, Unavailable
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.lane import Lane
from services.shared.gopro.session import NoSession, Session
from services.shared.inbox import Fenced, GaveUp
from services.shared.library import MISSING, STORED, medium_records
from tests.gopro_cloud import FakeGoProCloud, Generated, Medium, Shape
from tests.gopro_cloud import Library as Cloud
from tests.gopro_cloud.faults import (
    Answer,
    Corrupt,
    Drop,
    ExpireAfter,
    Fault,
    Gzip,
    HtmlPage,
    IgnoreRange,
    NoLength,
    Redirect,
    Replace,
    StaleUrls,
    Throttle,
    Truncate,
    WrongRange,
    ZeroBytes,
)
from tests.moto_s3 import take_bytearrays

MIB = 1 << 20
TABLE, BUCKET = "library", "media"
SIZE = 12 * MIB + 345  # three parts of 5 MiB


@dataclass
class Message:
    """One receive, as a reaction sees it."""

    receives: int = 1
    max_receives: int = 4
    seconds: float = 800.0
    hidden: list[float] = field(default_factory=list)

    @property
    def last(self) -> bool:
        return self.receives >= self.max_receives

    def gives_up(self, error: BaseException) -> bool:
        return isinstance(error, download.PermanentError) or self.last

    def hide(self, seconds: float) -> None:
        self.hidden.append(seconds)

    def remaining_seconds(self) -> float:
        return self.seconds


@dataclass
class Stage:
    """Everything a downloader works with."""

    cloud: FakeGoProCloud
    s3: Any
    dynamodb: Any
    rejected: list[int] = field(default_factory=list)
    session: Session | None = None
    patience: float = 1.0  # of a lane, in seconds
    sleep: Callable[[float], None] = lambda _: None
    connections: int = 1
    memory: int = 64 * MIB

    def __post_init__(self) -> None:
        self.hosts = AllowedHosts(["127.0.0.1"])
        self.library = Library(self.dynamodb, TABLE, sleep=lambda _: None)
        token = self.cloud.tokens.paste(86_400)
        self.session = Session(access_token=token, version=1, obtained_at="2026-11-23T01:00:00Z")

    def downloader(self, library: Library | None = None, bucket: Bucket | None = None) -> Downloader:
        gopro = GoProClient(self.cloud.url, hosts=self.hosts)
        return Downloader(
            gopro=gopro,
            hosts=self.hosts,
            library=library or self.library,
            bucket=bucket or Bucket(self.s3, BUCKET),
            lane=lambda event, message, sleep: Lane(
                gopro,
                current_session=lambda: self.session,
                reject=self.rejected.append,
                patience_seconds=self.patience,
                sleep=sleep,
            ),
            limits=Limits(connections=self.connections, memory_bytes=self.memory),
            pace=Pace(),
            sleep=self.sleep,
        )

    def serve(self, *media: Medium) -> None:
        self.cloud.replace_library(Cloud(media=media))

    def react(self, event: Any, message: Any = None) -> list[Any]:
        return self.downloader().react(event, message or Message())

    def objects(self) -> dict[str, bytes]:
        listed = self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {o["Key"]: self.s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read() for o in listed}

    def digests(self) -> list[str]:
        return sorted(hashlib.sha256(body).hexdigest() for body in self.objects().values())

    def sources(self, media_id: str) -> list[str]:
        return sorted(original["sha256"] for original in self.cloud.originals(media_id))

    def record(self, media_id: str = "m-1") -> dict[str, Any]:
        return dict(medium_records(self.dynamodb, TABLE, [media_id]).get(media_id, {}))

    def uploads(self) -> list[Any]:
        return list(self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def ranges(self) -> list[str | None]:
        return [seen.range for seen in self.cloud.observations.requests(endpoint="cdn")]


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture
def stage(cloud: FakeGoProCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unit-test")
    cloud.reset()
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", config=S3_CONFIG)
        s3.create_bucket(Bucket=BUCKET)
        take_bytearrays(s3.meta.events)
        resource = boto3.resource("dynamodb", region_name="us-east-1")
        keys = [("media_id", "S", "HASH"), ("item", "N", "RANGE")]
        resource.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": n, "KeyType": k} for n, _, k in keys],
            AttributeDefinitions=[{"AttributeName": n, "AttributeType": t} for n, t, _ in keys],
            BillingMode="PAY_PER_REQUEST",
        )
        yield Stage(cloud, s3, resource.meta.client)


def video(*faults: Fault, **fields: Any) -> Medium:
    known: dict[str, Any] = {
        "media_id": "m-1",
        "contents": (Generated(SIZE, "m-1"),),
        "filename": "GX010123.MP4",
        "etag_part_bytes": 5 * MIB,
        "faults": faults,
    }
    return Medium(**{**known, **fields})


def discovered(media_id: str = "m-1", sync_id: str = "s-1", **fields: Any) -> MediaDiscovered:
    known: dict[str, Any] = {"filename": "GX010123.MP4", "captured_at": "2026-01-30T21:08:11Z", "camera": "HERO13"}
    return MediaDiscovered(sync_id=sync_id, media_id=media_id, **{**known, **fields})


def only(events: list[Any]) -> Any:
    assert len(events) == 1
    return events[0]


@pytest.mark.scenario(42)
def test_a_video_is_stored_byte_for_byte_and_its_etag_proves_it(stage: Stage) -> None:
    stage.serve(video())
    fact = only(stage.react(discovered()))
    assert isinstance(fact, MediaDownloaded)
    assert stage.digests() == stage.sources("m-1")
    assert [(f.key, f.size, f.proof) for f in fact.files] == [
        ("gopro/2026/01/30/m-1/GX010123.MP4", SIZE, "origin-etag")
    ]
    assert (fact.bytes, fact.files_total, fact.already_stored, fact.epoch) == (SIZE, 1, False, 1)
    assert stage.record()["status"] == STORED
    head = stage.s3.head_object(Bucket=BUCKET, Key=fact.files[0].key)["Metadata"]
    assert (head["media-id"], head["item"], head["sync-id"], head["camera"]) == ("m-1", "1", "s-1", "HERO13")


@pytest.mark.parametrize("size", [1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 31 * MIB])
def test_files_of_every_size_are_stored_over_several_connections(stage: Stage, size: int) -> None:
    stage.connections = 4
    stage.serve(video(contents=(Generated(size, "m-1"),)))
    fact = only(stage.react(discovered()))
    assert (fact.bytes, fact.files[0].proof) == (size, "origin-etag")
    assert stage.digests() == stage.sources("m-1")
    assert stage.cloud.observations.max_downloads <= 4


def test_a_chaptered_video_is_stored_as_all_of_its_chapters(stage: Stage) -> None:
    chapters = tuple(Generated(MIB + n, f"chapter {n}") for n in range(3))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters, filename="GX010639.MP4", item_numbers=False))
    fact = only(stage.react(discovered(filename="GX010639.MP4", item_count=3)))
    assert [f.key.rpartition("/")[2] for f in fact.files] == ["GX010639.MP4", "GX020639.MP4", "GX030639.MP4"]
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.parametrize(
    "medium",
    [
        video(
            shape=Shape.BURST, contents=tuple(Generated(1000 + n, f"{n}") for n in range(4)), filename="G0010131.JPG"
        ),
        video(shape=Shape.PHOTO, raw=Generated(5000, "raw"), filename="GOPR0132.JPG"),
        video(shape=Shape.EDIT, filename=""),
    ],
    ids=["burst", "raw photo", "edit"],
)
def test_every_kind_of_medium_is_stored_whole(stage: Stage, medium: Medium) -> None:
    stage.serve(medium)
    stage.react(discovered(filename=medium.filename, item_count=len(medium.contents)))
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(3, 4)
def test_what_is_stored_is_not_downloaded_again_and_told_to_each_sync_that_asks(stage: Stage) -> None:
    stage.serve(video())
    first = only(stage.react(discovered()))
    stage.cloud.observations.clear()
    again = only(stage.react(discovered()))
    other = only(stage.react(discovered(sync_id="s-2")))
    assert stage.ranges() == []
    assert (again.event_id, again.already_stored) == (first.event_id, False)
    assert (other.sync_id, other.already_stored, other.files) == ("s-2", True, first.files)


def test_a_medium_that_has_grown_keeps_its_files_and_gets_the_new_one(stage: Stage) -> None:
    chapters = tuple(Generated(MIB + n, f"chapter {n}") for n in range(3))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters[:2]))
    stage.react(discovered(item_count=2))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters))
    stage.cloud.observations.clear()
    fact = only(stage.react(discovered(sync_id="s-2", item_count=3)))
    assert (fact.files_total, fact.epoch, len(stage.ranges())) == (3, 2, 1)
    assert stage.digests() == stage.sources("m-1")


BREAKS: list[Fault] = [
    Drop(at_bytes=7 * MIB),
    Truncate(at_bytes=7 * MIB),
    ExpireAfter(served_bytes=7 * MIB),
    StaleUrls(seconds=60),
    IgnoreRange(times=9),
    Answer(endpoint="cdn", status=403),
]


@pytest.mark.scenario(8, 10, 40)
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("fault", BREAKS, ids=lambda f: type(f).__name__)
def test_what_breaks_on_the_way_is_mended_within_the_same_try(stage: Stage, fault: Fault, connections: int) -> None:
    stage.connections = connections
    stage.serve(video(fault))
    only(stage.react(discovered()))
    assert stage.cloud.faults.not_struck() == []
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(10, 40)
def test_a_broken_connection_goes_on_where_it_broke_also_when_ranges_are_then_ignored(stage: Stage) -> None:
    stage.serve(video(Drop(at_bytes=MIB), IgnoreRange(after=1, times=9)))
    only(stage.react(discovered()))
    assert stage.cloud.faults.not_struck() == []
    assert len(asked := stage.ranges()) == 2
    assert str(asked[1]).startswith(f"bytes={MIB}-")
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(10)
def test_what_a_connection_brought_of_a_part_before_it_broke_is_not_fetched_again(stage: Stage) -> None:
    stage.serve(video(Throttle(bytes_per_second=16 * MIB), Drop(at_bytes=4 * MIB + 99)))
    only(stage.react(discovered()))
    starts = [int((asked or "").removeprefix("bytes=").split("-")[0]) for asked in stage.ranges()[:3]]
    assert starts[:2] == [0, 2 * MIB]
    assert starts[2] >= 3 * MIB
    assert stage.cloud.faults.not_struck() == []
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(8)
@pytest.mark.parametrize("connections", [1, 3])
def test_a_url_that_expires_half_way_is_resolved_again_and_what_came_is_kept(stage: Stage, connections: int) -> None:
    stage.connections = connections
    stage.serve(video(ExpireAfter(served_bytes=7 * MIB)))
    only(stage.react(discovered()))
    cdn = stage.cloud.observations.requests(endpoint="cdn")
    assert 403 in {seen.status for seen in cdn}
    assert len(stage.cloud.observations.requests(endpoint="download")) == 2
    assert sum(seen.bytes_sent for seen in cdn if seen.status == 206) < SIZE + MIB
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(39)
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("more", [0, 99])
def test_an_original_that_is_replaced_half_way_starts_over_and_never_mixes(
    stage: Stage, connections: int, more: int
) -> None:
    stage.connections = connections
    stage.serve(video(Replace(at_bytes=7 * MIB, size_delta=more)))
    before = stage.sources("m-1")
    fact = only(stage.react(discovered()))
    assert stage.sources("m-1") != before
    assert 412 in {seen.status for seen in stage.cloud.observations.requests(endpoint="cdn")}, "asked for by its ETag"
    assert fact.bytes == SIZE + more
    assert stage.digests() == stage.sources("m-1")
    assert stage.uploads() == []


WRONG: list[Fault] = [
    Truncate(at_bytes=7 * MIB, honest=True, times=None),
    WrongRange(times=None),
    Gzip(times=None),
    NoLength(times=None),
    HtmlPage(times=None),
    ZeroBytes(times=None),
    Answer(endpoint="cdn", status=503, retry_after=7, times=None),
    Answer(endpoint="cdn", status=403, times=None),
    Drop(at_bytes=0, times=None),
]


@pytest.mark.scenario(9, 40, 41)
@pytest.mark.parametrize("fault", WRONG, ids=lambda f: f"{type(f).__name__}-{getattr(f, 'status', '')}")
def test_what_can_not_be_proven_is_never_completed_and_tried_again(stage: Stage, fault: Fault) -> None:
    stage.serve(video(fault))
    with pytest.raises(download.TransientError):
        stage.react(discovered())
    assert stage.cloud.faults.not_struck() == []
    assert stage.objects() == {}
    assert isinstance(stage.library.take(discovered()), Lease), "the lease is free for the next try"


@pytest.mark.scenario(42)
def test_corrupted_bytes_of_the_same_length_are_stored_without_the_origins_proof(stage: Stage) -> None:
    stage.serve(video(Corrupt(at_bytes=7 * MIB)))
    assert only(stage.react(discovered())).files[0].proof == "length"


@pytest.mark.scenario(51)
def test_a_redirect_out_of_the_allowed_hosts_is_refused(stage: Stage) -> None:
    stage.serve(video(Redirect(times=None)))
    with pytest.raises(GaveUp) as end:
        stage.react(discovered())
    assert "169.254.169.254 is not among the allowed ones" in only(end.value.facts).reason


@pytest.mark.scenario(14)
def test_a_slow_down_of_the_origin_is_waited_for_as_long_as_it_asks(stage: Stage) -> None:
    stage.serve(video(Answer(endpoint="cdn", status=503, retry_after=77)))
    with pytest.raises(OriginBroken) as error:
        stage.react(discovered())
    assert error.value.retry_after == 77


@pytest.mark.scenario(38)
def test_a_medium_that_is_gone_fails_at_once_and_leaves_nothing_to_redrive(stage: Stage) -> None:
    stage.serve(video(gone=True))
    with pytest.raises(GaveUp) as end:
        stage.react(discovered())
    fact = only(end.value.facts)
    assert isinstance(fact, MediaDownloadFailed)
    assert "404" in fact.reason
    assert not end.value.dead_letter
    assert (stage.record()["status"], stage.record()["reason"]) == ("FAILED", fact.reason)


def test_where_only_a_proxy_is_offered_nothing_is_stored_and_that_is_said(stage: Stage) -> None:
    stage.serve(video(source_offered=False))
    with pytest.raises(GaveUp) as end:
        stage.react(discovered())
    assert "no original" in only(end.value.facts).reason
    assert stage.objects() == {}


def test_a_missing_chapter_fails_the_medium_and_the_others_are_stored(stage: Stage) -> None:
    stage.serve(video())
    with pytest.raises(GaveUp) as end:
        stage.react(discovered(item_count=2))
    assert "lists 2 items and offers 1" in only(end.value.facts).reason
    assert stage.digests() == stage.sources("m-1")


def test_objects_say_which_of_how_many_files_they_are(stage: Stage) -> None:
    def said(*names: str) -> list[tuple[str, ...]]:
        heads = [stage.s3.head_object(Bucket=BUCKET, Key=key)["Metadata"] for key in sorted(stage.objects())]
        return [tuple(head[name] for name in names) for head in heads]

    chapters = tuple(Generated(MIB + n, f"chapter {n}") for n in range(3))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters[:2], filename="GX010639.MP4"))
    with pytest.raises(GaveUp):
        stage.react(discovered(item_count=3))
    named = ("item", "origin", "item-count", "files")
    assert said(*named) == [("1", "source/default/1", "3", "3"), ("2", "source/default/2", "3", "3")]
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters, raw=Generated(5000, "raw"), filename="GX010639.MP4"))
    stage.react(discovered(item_count=3))
    assert said("item", "files") == [("4", "4"), ("1", "3"), ("2", "3"), ("3", "4")]


def test_a_file_that_gopro_stopped_offering_half_way_is_no_part_of_what_is_stored(stage: Stage) -> None:
    chapters = (Generated(MIB, "chapter 1"), Generated(SIZE, "chapter 2"))
    stage.serve(video(Drop(at_bytes=7 * MIB, times=99), shape=Shape.CHAPTERED, contents=chapters))
    with pytest.raises(ConnectionLost):
        stage.react(discovered(item_count=2))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters[:1]))
    fact = only(stage.react(discovered(), Message(receives=2)))
    assert (fact.files_total, fact.bytes, len(fact.files)) == (1, MIB, 1)
    assert stage.record()["files_total"] == 1


def test_the_last_try_says_so_and_leaves_the_message_to_the_dead_letters(stage: Stage) -> None:
    stage.serve(video(Drop(at_bytes=0, times=None)))
    with pytest.raises(GaveUp) as end:
        stage.react(discovered(), Message(receives=4))
    fact = only(end.value.facts)
    assert (fact.attempts, fact.epoch, end.value.dead_letter) == (4, 1, True)
    assert stage.record()["status"] == "FAILED"


@pytest.mark.scenario(10)
def test_the_parts_of_a_failed_try_are_kept_for_the_next(stage: Stage) -> None:
    stage.serve(video(Drop(at_bytes=11 * MIB, times=4)))
    with pytest.raises(ConnectionLost):
        stage.react(discovered())
    stage.cloud.observations.clear()
    fact = only(stage.react(discovered(), Message(receives=2)))
    assert stage.ranges()[-1] == f"bytes={10 * MIB}-{SIZE - 1}"
    assert fact.epoch == 2
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(11)
def test_a_worker_that_is_killed_within_a_part_loses_that_part_and_no_other(stage: Stage) -> None:
    stage.memory = 5 * MIB  # for one part
    stage.serve(video())

    class Killed(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            if number == 3:
                raise _Crash
            super().put_part(upload, number, body)

    with pytest.raises(_Crash):
        stage.downloader(bucket=Killed(stage.s3, BUCKET)).react(discovered(), Message())  # type: ignore[arg-type]
    stage.library.release(Lease(media_id="m-1", epoch=1))  # as its end would
    stage.cloud.observations.clear()
    only(stage.react(discovered(), Message(receives=2)))
    assert stage.ranges()[-1] == f"bytes={10 * MIB}-{SIZE - 1}"
    opening = 2 * MIB  # what tells the version is thrown away where its part is there
    assert sum(seen.bytes_sent for seen in stage.cloud.observations.requests(endpoint="cdn")) <= 2 * MIB + 345 + opening
    assert stage.digests() == stage.sources("m-1")
    assert stage.uploads() == []


@pytest.mark.scenario(30)
def test_an_upload_that_was_aborted_meanwhile_begins_afresh(stage: Stage) -> None:
    stage.serve(video(Drop(at_bytes=11 * MIB, times=4)))
    with pytest.raises(ConnectionLost):
        stage.react(discovered())
    upload = only(stage.uploads())
    stage.s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    stage.react(discovered(), Message(receives=2))
    assert stage.digests() == stage.sources("m-1")
    assert stage.uploads() == []


class _Crash(BaseException):
    """The process ends here."""


class CrashingLibrary(Library):
    """Dies before the n-th write of a file's record."""

    crash_at = 1

    def save_file(self, lease: Lease, item: int, record: Any) -> None:
        self.crash_at -= 1
        if self.crash_at < 0:
            raise _Crash
        super().save_file(lease, item, record)


@pytest.mark.scenario(2)
def test_a_crash_between_completing_and_writing_it_down_costs_no_second_download(stage: Stage) -> None:
    stage.serve(video())
    dying = CrashingLibrary(stage.dynamodb, TABLE)
    with pytest.raises(_Crash):
        stage.downloader(dying).react(discovered(), Message())  # type: ignore[arg-type]
    assert len(stage.objects()) == 1
    lease = Lease(media_id="m-1", epoch=1)
    stage.library.release(lease)  # as its end would
    stage.cloud.observations.clear()
    fact = only(stage.react(discovered(), Message(receives=2)))
    assert (fact.epoch, fact.bytes, fact.files[0].proof) == (2, SIZE, "origin-etag")
    assert [seen.bytes_sent for seen in stage.cloud.observations.requests(endpoint="cdn")] != [SIZE]
    assert len(stage.objects()) == 1


def test_another_file_at_the_key_is_not_overwritten_and_not_in_the_way(stage: Stage) -> None:
    stage.serve(video())
    stage.s3.put_object(Bucket=BUCKET, Key="gopro/2026/01/30/m-1/GX010123.MP4", Body=b"an older version")
    fact = only(stage.react(discovered()))
    assert fact.files[0].key.startswith("gopro/2026/01/30/m-1/GX010123-")
    assert stage.objects()["gopro/2026/01/30/m-1/GX010123.MP4"] == b"an older version"
    assert stage.sources("m-1")[0] in stage.digests()


@pytest.mark.scenario(44)
def test_a_key_that_is_taken_while_the_parts_come_is_left_for_another_and_no_upload_stays_behind(stage: Stage) -> None:
    stage.serve(video())
    key = "gopro/2026/01/30/m-1/GX010123.MP4"

    class Overtaken(Bucket):
        def complete(self, upload: Upload) -> StoredObject:
            if upload.key == key:
                stage.s3.put_object(Bucket=BUCKET, Key=key, Body=b"was first")
            return super().complete(upload)

    fact = only(stage.downloader(bucket=Overtaken(stage.s3, BUCKET)).react(discovered(), Message()))  # type: ignore[arg-type]
    assert fact.files[0].key != key
    assert stage.objects()[key] == b"was first"
    assert stage.sources("m-1")[0] in stage.digests()
    assert stage.uploads() == []


@pytest.mark.parametrize("media_id", ["m-1", "m 1/ü"])
def test_a_lost_library_table_is_made_good_from_the_bucket_without_a_download(stage: Stage, media_id: str) -> None:
    stage.serve(video(media_id=media_id))
    stage.react(discovered(media_id))
    for record in stage.dynamodb.scan(TableName=TABLE)["Items"]:
        stage.dynamodb.delete_item(TableName=TABLE, Key={"media_id": record["media_id"], "item": record["item"]})
    only(stage.react(discovered(media_id)))
    assert stage.record(media_id)["status"] == STORED
    assert len(stage.objects()) == 1


def want_again(stage: Stage, *items: int) -> None:
    """Marks a medium and these of its files as `cloud-sync verify --refetch` does."""
    for item in (0, *items):
        stage.dynamodb.update_item(
            TableName=TABLE,
            Key={"media_id": "m-1", "item": item},
            UpdateExpression="SET #status = :missing ADD epoch :one",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":missing": MISSING, ":one": int(item == 0)},
        )


def test_of_a_medium_that_is_wanted_again_only_what_is_gone_is_fetched_and_to_its_old_key(stage: Stage) -> None:
    """As `cloud-sync verify --refetch` marks it."""
    chapters = tuple(Generated(SIZE + n, f"chapter {n}") for n in range(3))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters))
    stage.react(discovered(item_count=3))
    before = stage.library.files("m-1")
    stage.s3.delete_object(Bucket=BUCKET, Key=before[2]["key"])
    want_again(stage, 2, 3)  # the third has come back meanwhile
    stage.cloud.observations.clear()
    fact = only(stage.react(discovered(sync_id="s-2", item_count=3)))
    assert (fact.files_total, fact.already_stored) == (3, False)
    fetched = list(stage.cloud.observations.requests(endpoint="cdn"))
    assert sum(seen.bytes_sent for seen in fetched if seen.item == 2) == chapters[1].size
    assert sum(seen.bytes_sent for seen in fetched if seen.item == 3) <= SMALLEST_SEGMENT
    assert {seen.item for seen in fetched} == {2, 3}
    assert {item: record["key"] for item, record in stage.library.files("m-1").items()} == {
        item: record["key"] for item, record in before.items()
    }
    assert stage.digests() == stage.sources("m-1")
    assert stage.record()["status"] == STORED


def test_a_file_that_is_wanted_again_and_that_gopro_no_longer_offers_fails_the_medium(stage: Stage) -> None:
    photo: dict[str, Any] = {"shape": Shape.PHOTO, "contents": (Generated(MIB, "photo"),), "filename": "GOPR0132.JPG"}
    stage.serve(video(raw=Generated(5000, "raw"), **photo))
    stage.react(discovered())
    files = stage.library.files("m-1")
    for record in files.values():
        stage.s3.delete_object(Bucket=BUCKET, Key=record["key"])
    want_again(stage, *files)
    stage.serve(video(**photo))

    with pytest.raises(GaveUp) as end:
        stage.react(discovered(sync_id="s-2"))
    fact = only(end.value.facts)
    assert fact.reason == "the bucket has lost raw_photo/default/1, and GoPro no longer offers it"
    assert not end.value.dead_letter
    assert stage.record()["status"] == "FAILED"
    assert stage.digests() == stage.sources("m-1"), "the other file is stored again"
    assert sorted(record["status"] for record in stage.library.files("m-1").values()) == [MISSING, STORED]

    stage.serve(video(raw=Generated(5000, "raw"), **photo))
    assert only(stage.react(discovered(sync_id="s-3"))).files_total == 2
    assert stage.record()["status"] == STORED


def test_a_file_that_is_wanted_again_and_that_gopro_stops_offering_half_way_stays_missing(stage: Stage) -> None:
    chapters = (Generated(MIB, "chapter 1"), Generated(SIZE, "chapter 2"))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters))
    stage.react(discovered(item_count=2))
    stage.s3.delete_object(Bucket=BUCKET, Key=stage.library.files("m-1")[2]["key"])
    want_again(stage, 2)
    stage.serve(video(Drop(at_bytes=7 * MIB, times=99), shape=Shape.CHAPTERED, contents=chapters))
    with pytest.raises(ConnectionLost):
        stage.react(discovered(item_count=2))
    stage.serve(video(shape=Shape.CHAPTERED, contents=chapters[:1]))

    with pytest.raises(GaveUp) as end:
        stage.react(discovered(), Message(receives=2))
    assert only(end.value.facts).reason == "the bucket has lost source/default/2, and GoPro no longer offers it"


@pytest.mark.scenario(43)
def test_a_live_lease_is_waited_for_once_and_then_handed_to_a_fresh_message(stage: Stage) -> None:
    stage.serve(video())
    stage.library.take(discovered(sync_id="s-2"))
    with pytest.raises(WaitingForLease) as waits:
        stage.react(discovered())
    assert waits.value.retry_after == pytest.approx(110, abs=3)
    event = discovered(size=5, item_count=2)
    again = only(stage.react(event, Message(receives=2)))
    assert isinstance(again, MediaDownloadPaused)
    assert (again.hops, again.media_id, again.filename, again.size, again.item_count) == (
        0,
        "m-1",
        event.filename,
        5,
        2,
    )


@pytest.mark.scenario(12)
def test_a_download_pauses_in_time_and_goes_on_to_the_end(stage: Stage) -> None:
    stage.memory = 5 * MIB  # for one part
    stage.serve(video())
    message = Message()

    class Slow(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            message.seconds = 59

    event: Any = discovered()
    for hops in (1, 2, 3):
        message.seconds = 800
        event = only(stage.downloader(bucket=Slow(stage.s3, BUCKET)).react(event, message))  # type: ignore[arg-type]
        assert isinstance(event, MediaDownloadPaused)
        assert (event.hops, event.parts_done, event.idle_slices) == (hops, hops, 0)
    assert stage.objects() == {}, "completing can take minutes, so it is left to a slice that has them"
    assert isinstance(only(stage.react(event)), MediaDownloaded)
    assert stage.digests() == stage.sources("m-1")


@pytest.mark.scenario(12)
def test_three_slices_without_a_new_part_are_the_end(stage: Stage) -> None:
    stage.serve(video())
    event: Any = discovered()
    for idle in (1, 2):
        event = only(stage.react(event, Message(seconds=30)))
        assert event.idle_slices == idle
    with pytest.raises(GaveUp) as end:
        stage.react(event, Message(seconds=30))
    assert "without a new part" in only(end.value.facts).reason


@pytest.mark.scenario(12, 13)
def test_the_number_of_pauses_is_bounded(stage: Stage) -> None:
    stage.serve(video())
    event = only(stage.react(discovered(), Message(seconds=30)))
    with pytest.raises(GaveUp):
        stage.react(replace(event, hops=download.MAX_HOPS, idle_slices=0, parts_done=-1), Message(seconds=30))


def test_an_outage_near_the_end_of_a_slice_is_not_waited_for_beyond_it(stage: Stage) -> None:
    stage.memory = 5 * MIB  # for one part
    stage.serve(video(ExpireAfter(served_bytes=7 * MIB)))
    message = Message()

    class OutageAfterAPart(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            stage.cloud.outage(600, of="api")
            message.seconds = 100

    def sleep(seconds: float) -> None:
        message.seconds -= seconds

    stage.sleep, stage.patience = sleep, 300
    paused = only(stage.downloader(bucket=OutageAfterAPart(stage.s3, BUCKET)).react(discovered(), message))  # type: ignore[arg-type]
    assert (type(paused), paused.parts_done, paused.idle_slices) == (MediaDownloadPaused, 1, 0)
    assert message.seconds >= 60


def test_a_session_that_ends_is_replaced_without_failing_the_medium(stage: Stage) -> None:
    stage.serve(video())
    stage.cloud.tokens.revoke_access()
    fresh = stage.cloud.tokens.paste(86_400)

    def renew(version: int) -> None:
        stage.session = Session(access_token=fresh, version=version + 1, obtained_at="2026-11-23T02:00:00Z")

    stage.rejected = type("Rejected", (list,), {"append": lambda self, version: renew(version)})()
    assert isinstance(only(stage.react(discovered())), MediaDownloaded)


def test_with_a_session_known_to_be_dead_gopro_is_not_called(stage: Stage) -> None:
    stage.serve(video())
    assert stage.session
    stage.session = replace(stage.session, dead_because="the refresh token was revoked")
    stage.cloud.observations.clear()
    with pytest.raises(NoSession, match="refresh token was revoked"):
        stage.react(discovered())
    assert stage.cloud.observations.requests() == []


def test_trouble_with_one_medium_is_left_to_the_queue(stage: Stage) -> None:
    stage.serve(video(Answer(endpoint="download", status=500, media_id="m-1", times=None)))
    with pytest.raises(Unavailable):
        stage.react(discovered())


def test_an_upload_that_could_not_be_written_down_is_given_up(stage: Stage) -> None:
    stage.serve(video())
    dying = CrashingLibrary(stage.dynamodb, TABLE)
    dying.crash_at = 0
    with pytest.raises(_Crash):
        stage.downloader(dying).react(discovered(), Message())  # type: ignore[arg-type]
    assert stage.uploads() == []


@pytest.mark.scenario(43)
def test_a_worker_that_was_taken_over_says_nothing_and_completes_nothing(stage: Stage) -> None:
    stage.serve(video())

    class Overtaken(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            stage.dynamodb.update_item(
                TableName=TABLE,
                Key={"media_id": "m-1", "item": 0},
                UpdateExpression="ADD epoch :one",
                ExpressionAttributeValues={":one": 1},
            )

    with pytest.raises(Fenced):
        stage.downloader(bucket=Overtaken(stage.s3, BUCKET)).react(discovered(), Message())  # type: ignore[arg-type]
    assert stage.record()["status"] == "DOWNLOADING"


def test_the_first_act_is_to_hide_the_message(stage: Stage) -> None:
    message = Message()
    stage.serve(video())
    stage.react(discovered(), message)
    assert message.hidden[0] == 120


def test_no_authorization_goes_to_the_cdn_and_nothing_is_deleted(stage: Stage) -> None:
    stage.serve(video())
    stage.react(discovered())
    assert all(not seen.authorized for seen in stage.cloud.observations.requests(endpoint="cdn"))
    assert stage.cloud.observations.requests(endpoint="change") == []


# ── Files of one request ─────────────────────────────────────────────────────────────────────────────────────────────


def photo(**fields: Any) -> Medium:
    known: dict[str, Any] = {"shape": Shape.PHOTO, "filename": "GOPR0132.JPG", "etag_part_bytes": None}
    return video(**{"contents": (Generated(MIB, "m-1"),), **known, **fields})


def s3_operations(stage: Stage) -> list[str]:
    """What S3 is asked for from now on."""
    asked: list[str] = []
    stage.s3.meta.events.register("before-call.s3", lambda model, **_: asked.append(model.name))
    return asked


def test_a_small_photo_takes_one_request_of_the_cdn_and_two_of_s3(stage: Stage) -> None:
    stage.connections = 4
    stage.serve(photo())
    asked = s3_operations(stage)
    fact = only(stage.react(discovered(filename="GOPR0132.JPG")))
    assert asked == ["HeadObject", "PutObject"]
    assert len(stage.ranges()) == 1
    assert stage.digests() == stage.sources("m-1")
    assert (fact.bytes, fact.files[0].size) == (MIB, MIB)
    head = stage.s3.head_object(Bucket=BUCKET, Key=fact.files[0].key)["Metadata"]
    assert (head["media-id"], head["item"]) == ("m-1", "1")


def test_a_lost_answer_to_the_one_request_ends_as_stored_and_nothing_is_overwritten(stage: Stage) -> None:
    stage.serve(photo())
    lost: list[Any] = []
    plain = boto3.client("s3", region_name="us-east-1")

    def store_and_lose(request: Any, **_: Any) -> Any:
        if lost:
            return None
        lost.append(request)
        about = {
            name.removeprefix("x-amz-meta-"): value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
            if name.startswith("x-amz-meta-")
        }
        key = unquote(urlsplit(request.url).path).removeprefix(f"/{BUCKET}").removeprefix("/")
        plain.put_object(Bucket=BUCKET, Key=key, Body=bytes(request.body), Metadata=about)
        raise ConnectionClosedError(endpoint_url="s3")

    stage.s3.meta.events.register_first("before-send.s3.PutObject", store_and_lose)
    asked = s3_operations(stage)
    fact = only(stage.react(discovered(filename="GOPR0132.JPG")))
    assert isinstance(fact, MediaDownloaded)
    assert lost
    assert asked == ["HeadObject", "PutObject", "HeadObject"], "the object there tells that it is this very file"
    assert stage.digests() == stage.sources("m-1")
    assert stage.record()["status"] == STORED


@pytest.mark.scenario(2)
def test_a_crash_after_the_one_request_costs_no_second_one(stage: Stage) -> None:
    stage.serve(photo())
    with pytest.raises(_Crash):
        stage.downloader(CrashingLibrary(stage.dynamodb, TABLE)).react(discovered(), Message())  # type: ignore[arg-type]
    stage.library.release(Lease(media_id="m-1", epoch=1))  # as its end would
    asked = s3_operations(stage)
    fact = only(stage.react(discovered(), Message(receives=2)))
    assert (fact.epoch, fact.bytes) == (2, MIB)
    assert asked == ["HeadObject"]


def test_another_photo_at_the_key_is_not_overwritten(stage: Stage) -> None:
    stage.serve(photo())
    key = "gopro/2026/01/30/m-1/GOPR0132.JPG"

    class Overtaken(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            if upload.key == key:
                stage.s3.put_object(Bucket=BUCKET, Key=key, Body=b"was first")
            super().put_part(upload, number, body)

    fact = only(stage.downloader(bucket=Overtaken(stage.s3, BUCKET)).react(discovered(), Message()))  # type: ignore[arg-type]
    assert fact.files[0].key != key
    assert stage.objects()[key] == b"was first"
    assert stage.sources("m-1")[0] in stage.digests()


def test_an_empty_original_is_refused_and_tried_again(stage: Stage) -> None:
    stage.serve(photo(contents=(Generated(0, "m-1"),)))
    with pytest.raises(OriginBroken, match="empty"):
        stage.react(discovered())
    assert stage.cloud.faults.not_struck() == []
    assert stage.objects() == {}
    assert isinstance(stage.library.take(discovered()), Lease)


def test_the_files_of_a_medium_share_their_connections(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    connect = http.client.HTTPConnection.connect

    def counted(connection: http.client.HTTPConnection) -> None:
        connect(connection)
        opened.append(connection.port)

    stage.serve(photo(shape=Shape.BURST, contents=tuple(Generated(1000 + n, f"{n}") for n in range(9))))
    monkeypatch.setattr("services.downloader.transfer.wire.http.client.HTTPConnection.connect", counted)
    fact = only(stage.react(discovered(item_count=9)))
    assert (fact.files_total, len(stage.ranges())) == (9, 9)
    of_the_cdn = len(opened) - len(stage.cloud.observations.requests(endpoint="download"))
    assert of_the_cdn <= 1
