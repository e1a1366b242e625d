"""One medium, from GoPro's manifest to objects that are proven, or to a failure that says why."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Self, cast

import pytest

from ops.local.gopro_cloud import FakeGoProCloud, Generated, Medium, Shape
from ops.local.gopro_cloud.faults import (
    Answer,
    CdnMoved,
    Corrupt,
    Delay,
    Drop,
    ExpireAfter,
    Fault,
    Gzip,
    HtmlPage,
    IgnoreRange,
    NoLength,
    OtherEtag,
    Redirect,
    Refused,
    Replace,
    StaleUrls,
    Truncate,
    WrongRange,
    ZeroBytes,
)
from services.downloader.library_table import Lease, LibraryTable
from services.downloader.manifest import OriginalsMissing
from services.downloader.reactions import WaitingForLease
from services.downloader.transfer import Bucket, ConnectionPool, Upload
from services.downloader.transfer.connections import Connection
from services.downloader.transfer.parts import SMALLEST_SEGMENT
from services.shared.errors import PermanentError, TransientError
from services.shared.events import MediaDownloadPaused, MediaDownloadSkipped, MediumEvent
from services.shared.gopro.client import AccountRefused, CallRefused, SourceGone
from services.shared.gopro.hosts import ForbiddenHost
from services.shared.library.records import FileRecord, Status
from tests.unit.downloader_stage import (
    BUCKET,
    MIB,
    SIZE,
    TABLE,
    Message,
    Stage,
    chaptered,
    discovered,
    downloader_stage,
    photo,
    video,
)

KEY = "gopro/2026/01/30/m-1/GX010123.MP4"


@pytest.fixture(scope="module")
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud() as running:
        yield running


@pytest.fixture
def stage(cloud: FakeGoProCloud) -> Iterator[Stage]:
    with downloader_stage(cloud) as running:
        yield running


class Dies(BaseException):
    """The process ends here."""


# ── Whole media ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(42)
def test_a_video_is_stored_byte_for_byte_and_its_etag_proves_it(stage: Stage) -> None:
    stage.serve(video())
    message = Message()
    fact = stage.stored(discovered(), message)
    assert stage.is_copied()
    assert [(f.key, f.size, f.proof) for f in fact.files] == [(KEY, SIZE, "origin-etag")]
    assert (fact.bytes, fact.files_total, fact.already_stored, fact.epoch) == (SIZE, 1, False, 1)
    assert stage.record().status == Status.STORED
    (said,) = stage.metadata()
    assert (said["media-id"], said["item"], said["sync-id"], said["camera"]) == ("m-1", "1", "s-1", "HERO13")
    assert message.hidden[0] == 120, "the first act is to hide the message"
    assert all(not seen.authorized for seen in stage.cloud.observations.requests(endpoint="cdn"))
    assert stage.cloud.observations.requests(endpoint="change") == [], "nothing is deleted at GoPro"


def test_a_small_photo_takes_one_request_to_the_cdn_and_two_to_s3(stage: Stage) -> None:
    stage.connections = 4
    stage.serve(photo())
    asked = stage.s3_operations()
    fact = stage.stored(discovered())
    assert asked == ["HeadObject", "PutObject"]
    assert len(stage.ranges()) == 1
    assert (fact.bytes, stage.is_copied()) == (MIB, True)
    (said,) = stage.metadata()
    assert (said["media-id"], said["item"]) == ("m-1", "1")


@pytest.mark.parametrize(
    "medium",
    [
        video(shape=Shape.BURST, contents=tuple(Generated(1000 + n, f"{n}") for n in range(4))),
        photo(raw=Generated(5000, "raw")),
        video(shape=Shape.EDIT, filename=""),
        chaptered([MIB, MIB + 1, MIB + 2], item_numbers=False),
    ],
    ids=["burst", "raw photo", "edit", "chapters"],
)
def test_every_kind_of_medium_is_stored_whole(stage: Stage, medium: Medium) -> None:
    stage.serve(medium)
    fact = stage.stored(discovered(filename=medium.filename, item_count=len(medium.contents)))
    assert stage.is_copied()
    assert len({file.key for file in fact.files}) == fact.files_total


def test_the_files_of_a_medium_share_one_pool_of_connections(stage: Stage) -> None:
    opened: list[ConnectionPool] = []
    taken: list[tuple[ConnectionPool, Connection]] = []

    class Watched(ConnectionPool):
        def __enter__(self) -> Self:
            opened.append(self)
            return super().__enter__()

        def take(self, check: Callable[[], None] = lambda: None) -> Connection:
            taken.append((self, connection := super().take(check)))
            return connection

    stage.connect = Watched
    stage.serve(chaptered([MIB, MIB + 1, MIB + 2]))
    stage.stored(discovered(item_count=3, size=3 * 9 * MIB))  # too large to be stored side by side
    (pool,) = opened
    assert taken == [(pool, taken[0][1])] * 3, "each file takes the connection that the one before gave back"


def test_small_files_are_stored_side_by_side_over_no_more_connections_than_the_lane_has(stage: Stage) -> None:
    stage.connections = 4
    stage.connect = lambda: ConnectionPool(connections=4, begin=4, memory_bytes=64 * MIB)
    stage.serve(time_lapse(Delay(endpoint="cdn", seconds=0.1, times=None)))
    fact = stage.stored(discovered(item_count=12, size=12 * 1000))
    assert (fact.files_total, stage.is_copied()) == (12, True)
    assert 2 <= stage.cloud.observations.downloads.max <= 4
    assert len({file.key for file in fact.files}) == 12


@pytest.mark.scenario(12)
def test_a_pause_among_small_files_loses_at_most_those_in_hand(stage: Stage) -> None:
    message = Message()

    class Slow(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            message.seconds = 59

    stage.connections = 4
    stage.serve(time_lapse())
    stage.bucket = Slow(stage.s3, BUCKET)
    event: MediumEvent = discovered(item_count=12)
    slices, stored = 0, 0
    while isinstance(event := cast("MediumEvent", stage.react(event, message)), MediaDownloadPaused):
        message.seconds, slices = 800, slices + 1
        assert len(stage.objects()) > stored
        stored = len(stage.objects())
    assert slices > 1
    assert stage.is_copied()
    assert (
        len([seen for seen in stage.cloud.observations.requests(endpoint="cdn") if seen.status == 206])
        <= 12 + 5 * slices
    )


@pytest.mark.scenario(3, 4)
def test_a_stored_medium_is_not_downloaded_again_and_is_reported_to_every_sync(stage: Stage) -> None:
    stage.serve(video())
    first = stage.stored(discovered())
    stage.cloud.observations.clear()
    again, other = stage.stored(discovered()), stage.stored(discovered(sync_id="s-2"))
    assert stage.ranges() == []
    assert (again.event_id, again.already_stored) == (first.event_id, False)
    assert (other.sync_id, other.already_stored, other.files) == ("s-2", True, first.files)


def test_a_medium_that_has_grown_keeps_its_files_and_gets_the_new_one(stage: Stage) -> None:
    sizes = [MIB, MIB + 1, MIB + 2]
    stage.serve(chaptered(sizes[:2]))
    stage.stored(discovered(item_count=2))
    stage.serve(chaptered(sizes))
    stage.cloud.observations.clear()
    fact = stage.stored(discovered(sync_id="s-2", item_count=3))
    assert (fact.files_total, fact.epoch, len(stage.ranges())) == (3, 2, 1)
    assert stage.is_copied()


@pytest.mark.parametrize("media_id", ["m-1", "m 1/ü"])
def test_a_lost_library_table_is_restored_from_the_bucket_without_a_download(stage: Stage, media_id: str) -> None:
    stage.serve(video(media_id=media_id))
    stage.stored(discovered(media_id))
    for record in stage.dynamodb.scan(TableName=TABLE)["Items"]:
        stage.dynamodb.delete_item(TableName=TABLE, Key={"media_id": record["media_id"], "item": record["item"]})
    stage.stored(discovered(media_id))
    assert stage.record(media_id).status == Status.STORED
    assert len(stage.objects()) == 1


# ── An origin in trouble ─────────────────────────────────────────────────────────────────────────────────────────────

CURABLE: list[Fault] = [
    Drop(at_bytes=7 * MIB),
    Truncate(at_bytes=7 * MIB),
    ExpireAfter(at_bytes=7 * MIB),
    StaleUrls(seconds=60),
    IgnoreRange(times=9),
    NoLength(times=None),
    Answer(endpoint="cdn", status=403),
]


@pytest.mark.scenario(8, 10, 40)
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("fault", CURABLE, ids=lambda f: type(f).__name__)
def test_a_fault_that_passes_is_cured_within_the_same_try(stage: Stage, fault: Fault, connections: int) -> None:
    stage.connections = connections
    stage.serve(video(fault))
    stage.stored(discovered())
    assert stage.cloud.faults.not_struck() == []
    assert stage.is_copied()


@pytest.mark.scenario(8)
@pytest.mark.parametrize("connections", [1, 3])
def test_an_expired_url_is_renewed_and_no_byte_is_fetched_twice(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    # A slow machine would split segments, and lose the bytes that are under way then.
    monkeypatch.setattr("services.downloader.transfer.parts._SPLIT_SECONDS", 3600.0)
    stage.connections = connections
    stage.serve(video(ExpireAfter(at_bytes=7 * MIB)))
    stage.stored(discovered())
    cdn = stage.cloud.observations.requests(endpoint="cdn")
    assert 403 in {seen.status for seen in cdn}
    assert len(stage.cloud.observations.requests(endpoint="download")) == 2
    assert sum(seen.bytes_sent for seen in cdn if seen.status == 206) < SIZE + MIB
    assert stage.is_copied()


@pytest.mark.scenario(39)
@pytest.mark.parametrize(("connections", "more"), [(1, 0), (3, 0), (3, 99)])
def test_an_original_that_is_replaced_half_way_starts_over_and_never_mixes(
    stage: Stage, connections: int, more: int
) -> None:
    stage.connections = connections
    stage.serve(video(Replace(at_bytes=7 * MIB, size_delta=more)))
    assert stage.stored(discovered()).bytes == SIZE + more
    assert 412 in {seen.status for seen in stage.cloud.observations.requests(endpoint="cdn")}, "asked for by its ETag"
    assert stage.is_copied()
    assert stage.uploads() == []


@pytest.mark.scenario(40)
@pytest.mark.parametrize("connections", [1, 3])
@pytest.mark.parametrize("kind", ["weak", "none", "by_edge"])
def test_a_file_is_stored_though_its_etags_prove_nothing_and_its_proof_says_so(
    stage: Stage, connections: int, kind: Literal["weak", "none", "by_edge"]
) -> None:
    stage.connections = connections
    stage.serve(video(OtherEtag(kind=kind, times=None)))
    assert [file.proof for file in stage.stored(discovered()).files] == ["length"]
    assert stage.is_copied()
    assert stage.uploads() == []


LASTING: list[Fault] = [
    Truncate(at_bytes=7 * MIB, honest=True, times=None),
    WrongRange(times=None),
    Gzip(times=None),
    HtmlPage(times=None),
    Drop(at_bytes=0, times=None),
]


@pytest.mark.scenario(9, 40, 41)
@pytest.mark.parametrize("fault", LASTING, ids=lambda f: f"{type(f).__name__}-{getattr(f, 'status', '')}")
def test_a_file_that_cannot_be_proven_is_never_completed(stage: Stage, fault: Fault) -> None:
    stage.serve(video(fault))
    with pytest.raises(TransientError):
        stage.react(discovered())
    assert stage.cloud.faults.not_struck() == []
    assert stage.objects() == {}
    assert isinstance(stage.library.take(discovered()), Lease), "the lease is free for the next try"


HOPELESS: list[Fault] = [
    Answer(endpoint="cdn", status=404, item=3, times=None),
    Answer(endpoint="cdn", status=403, item=3, times=None),
    ZeroBytes(item=3, times=None),
]
CURABLE_LATER: list[Fault] = [
    HtmlPage(item=3, times=None),
    Answer(endpoint="cdn", status=500, item=3, times=None),
    Drop(at_bytes=0, item=3, times=None),
]


def time_lapse(*faults: Fault) -> Medium:
    contents = tuple(Generated(1000 + n, f"frame {n}") for n in range(12))
    return video(*faults, shape=Shape.BURST, contents=contents, filename="GOPR0001.JPG", etag_part_bytes=None)


@pytest.mark.parametrize(
    "fault", [*HOPELESS, *CURABLE_LATER], ids=lambda f: f"{type(f).__name__}-{getattr(f, 'status', '')}"
)
def test_one_bad_frame_withholds_no_other_frame(stage: Stage, fault: Fault) -> None:
    stage.serve(time_lapse(fault))
    event, hopeless = discovered(item_count=12), fault in HOPELESS
    fact = stage.failed(event, Message(receives=4), error=PermanentError if hopeless else TransientError)
    (failed,) = fact.failed_files
    assert fact.reason == f"11 of 12 files stored; missing: {failed.name} ({failed.reason})"
    assert (fact.files_stored, fact.files_total, fact.dead_letter) == (11, 12, not hopeless)
    record = stage.record()
    assert (record.status, record.files_stored, record.files_total, record.failed_files) == (
        Status.FAILED, 11, 12, fact.failed_files,
    )  # fmt: skip
    assert (len(stage.objects()), bool(record.known_since)) == (11, hopeless)

    stage.cloud.observations.clear()
    stage.serve(time_lapse())
    whole = stage.stored(discovered(sync_id="s-2", item_count=12))
    assert len(stage.ranges()) == 1, "only the missing file is fetched"
    assert (whole.files_total, stage.is_copied()) == (12, True)


def test_chapters_are_stored_whatever_becomes_of_the_first_one(stage: Stage) -> None:
    refused = Answer(endpoint="cdn", status=403, item=1, times=None)
    stage.serve(chaptered([MIB + n for n in range(4)], refused))
    fact = stage.failed(discovered(item_count=4), error=PermanentError)
    assert (fact.files_stored, fact.files_total, [file.name for file in fact.failed_files]) == (3, 4, ["GX010639.MP4"])
    assert "the origin refuses the file, with new URLs too (403)" in fact.reason
    assert len(stage.objects()) == 3


def test_a_file_that_is_empty_at_gopro_fails_for_good(stage: Stage) -> None:
    stage.serve(photo(contents=(Generated(0, "m-1"),)))
    fact = stage.failed(discovered(), error=PermanentError)
    assert (fact.reason, fact.dead_letter) == ("the file is empty at its origin (0 bytes)", False)
    assert stage.objects() == {}


def test_a_loss_that_an_earlier_sync_has_reported_is_known(stage: Stage) -> None:
    stage.serve(time_lapse(HOPELESS[0]))
    first = stage.failed(discovered(item_count=12), error=PermanentError)
    again = stage.failed(discovered(sync_id="s-2", item_count=12), error=PermanentError)
    assert (first.known_since, again.known_since) == ("", "2026-11-23T02:00:00Z")


def test_a_slice_that_only_met_failures_is_a_failed_try_and_no_pause(stage: Stage) -> None:
    message = Message()
    stage.serve(chaptered([MIB, MIB + 1], HtmlPage(item=1, times=None)))

    class Closing(ConnectionPool):
        def give_back(self, connection: Connection) -> None:
            message.seconds = 59  # too little for another file
            super().give_back(connection)

    stage.connect = Closing
    with pytest.raises(
        TransientError, match=r"^0 of 2 files stored; missing: GX010639.MP4 \(the origin sent text/html"
    ):
        stage.react(discovered(item_count=2, size=99 * MIB), message)  # too large for two at once


@pytest.mark.scenario(14)
def test_the_next_try_waits_as_long_as_a_busy_origin_asks(stage: Stage) -> None:
    stage.serve(video(Answer(endpoint="cdn", status=503, retry_after=77)))
    with pytest.raises(TransientError, match=r"the origin is busy \(503\)") as error:
        stage.react(discovered())
    assert error.value.retry_after == 77


@pytest.mark.scenario(42)
def test_corrupted_bytes_of_the_same_length_are_stored_without_the_origins_proof(stage: Stage) -> None:
    stage.serve(video(Corrupt(at_bytes=7 * MIB)))
    assert stage.stored(discovered()).files[0].proof == "length"


@pytest.mark.scenario(51)
def test_a_redirect_out_of_the_allowed_hosts_is_refused(stage: Stage) -> None:
    stage.serve(video(Redirect(times=None)))
    assert "169.254.169.254" in stage.failed(discovered(), error=PermanentError).reason


# ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(38)
def test_a_medium_that_is_gone_at_gopro_fails_for_good(stage: Stage) -> None:
    stage.serve(video(gone=True))
    fact = stage.failed(discovered(), error=SourceGone)
    assert "404" in fact.reason
    assert not fact.dead_letter
    record = stage.record()
    assert (record.status, record.reason, record.epoch, record.lease_until) == (
        Status.FAILED, fact.reason, fact.epoch, None,
    )  # fmt: skip


def test_a_medium_that_gopro_alone_refuses_fails_for_good_in_gopros_words(stage: Stage) -> None:
    stage.serve(video())
    stage.cloud.arm(
        Refused(endpoint="download", media_id=discovered().media_id, status=401, error="no_rights", message="Not you")
    )
    assert "(401: no_rights: Not you)" in stage.failed(discovered(), error=CallRefused).reason


def test_a_medium_of_a_refused_account_fails_for_good_in_gopros_words(stage: Stage) -> None:
    stage.serve(video())
    stage.cloud.arm(Refused())
    fact = stage.failed(discovered(), error=AccountRefused)
    assert fact.reason.startswith("GoPro refuses the account (403: subscription_required: ")
    assert "gopro.com" in fact.remedy


def test_a_medium_of_which_gopro_offers_only_a_proxy_fails_for_good(stage: Stage) -> None:
    stage.serve(video(source_offered=False))
    assert "no original" in stage.failed(discovered(), error=OriginalsMissing).reason
    assert stage.objects() == {}


def test_when_gopro_moves_its_files_every_medium_fails_for_the_same_reason_with_what_to_do(stage: Stage) -> None:
    stage.serve(video(), chaptered([MIB, MIB + 1], media_id="m-2"))
    stage.cloud.arm(CdnMoved(host="localhost", times=None))
    facts = [stage.failed(discovered(media_id), error=ForbiddenHost) for media_id in ("m-1", "m-2")]
    assert {(fact.reason, fact.dead_letter) for fact in facts} == {
        ("GoPro offers its files at localhost, which is not an allowed host (setting `download_hosts`)", False)
    }
    assert all('download_hosts = ["127.0.0.1", "localhost"]' in fact.remedy for fact in facts)
    assert not stage.ranges()


def test_a_medium_that_is_smaller_than_listed_is_stored_with_a_warning_that_stays_known(stage: Stage) -> None:
    warning = f"smaller than listed: {MIB:,} of {3 * MIB:,} bytes"
    stage.serve(chaptered([MIB]))
    fact = stage.stored(discovered(item_count=0, size=3 * MIB))
    assert (fact.warning, stage.is_copied(), stage.record().warning) == (warning, True, warning)
    again = stage.stored(discovered(item_count=0, size=3 * MIB, sync_id="s-2"))
    assert (again.warning, again.already_stored) == (warning, True)


def test_a_warning_ends_when_the_rest_is_stored(stage: Stage) -> None:
    stage.serve(chaptered([MIB], listed_size=3 * MIB))
    assert stage.stored(discovered(item_count=1, size=3 * MIB)).warning
    stage.serve(chaptered([MIB, 2 * MIB]))
    assert stage.stored(discovered(item_count=2, size=3 * MIB, sync_id="s-2")).warning == ""
    assert stage.record().warning == ""


def test_a_raw_file_without_its_photo_is_stored_and_the_photo_is_missing(stage: Stage) -> None:
    stage.serve(photo(raw=Generated(MIB, "raw"), source_offered=False))
    reason = stage.failed(discovered(item_count=1), error=OriginalsMissing).reason
    assert "offers the RAW file, but not the photo" in reason
    assert [len(body) for body in stage.objects().values()] == [MIB]


def test_an_unknown_item_count_stays_unknown_and_all_chapters_are_stored(stage: Stage) -> None:
    stage.serve(chaptered([MIB, MIB + 1]))
    fact = stage.stored(discovered(item_count=0))
    assert (fact.files_total, stage.is_copied(), stage.record().item_count) == (2, True, None)
    assert stage.metadata()[0]["item-count"] == "0"


def test_the_other_files_of_a_medium_with_a_missing_chapter_are_stored(stage: Stage) -> None:
    stage.serve(video())
    assert "lists 2 items and offers 1" in stage.failed(discovered(item_count=2), error=OriginalsMissing).reason
    assert stage.is_copied()


def test_a_medium_that_is_not_ready_fails_as_known_and_says_its_state_where_no_original_is_offered(
    stage: Stage,
) -> None:
    stage.serve(video(source_offered=False))
    not_ready = discovered(state="failure", state_since="2026-11-01T02:00:00Z")
    fact = stage.failed(not_ready, error=OriginalsMissing)
    assert "not made it ready (its state there is failure): " in fact.reason
    assert fact.known_since == "2026-11-01T02:00:00Z"


def test_a_medium_that_is_not_ready_is_stored_where_its_original_is_offered(stage: Stage) -> None:
    stage.serve(video())
    assert stage.stored(discovered(state="failure", state_since="2026-11-01T02:00:00Z")).files_total == 1
    assert stage.is_copied()


def test_the_last_failed_try_is_recorded_before_it_is_reported(stage: Stage) -> None:
    stage.serve(video(Drop(at_bytes=0, times=None)))
    fact = stage.failed(discovered(), Message(receives=4), TransientError)
    assert (fact.attempts, fact.epoch, fact.dead_letter) == (4, stage.record().epoch, True)
    assert stage.record().status == Status.FAILED


def test_a_failure_carries_what_an_operator_can_do(stage: Stage) -> None:
    error = PermanentError("the CDN has moved", remedy="Allow its host.")
    (fact,) = stage.downloader().failed(discovered(), Message(), error)  # type: ignore[arg-type]
    assert getattr(fact, "remedy", "") == "Allow its host."


def test_a_failed_try_leaves_a_medium_alone_that_another_worker_has_taken_meanwhile(stage: Stage) -> None:
    lease = stage.library.take(discovered(sync_id="s-2"))
    (fact,) = stage.downloader().failed(discovered(), Message(receives=4), TransientError("no answer"))  # type: ignore[arg-type]
    assert (type(fact).__name__, getattr(fact, "epoch", None)) == ("MediaDownloadFailed", lease.epoch)
    assert stage.record().status == Status.DOWNLOADING


def test_a_failed_try_reports_a_medium_as_stored_that_another_sync_has_stored_meanwhile(stage: Stage) -> None:
    stage.serve(video())
    first = stage.stored(discovered(sync_id="s-2"))
    (fact,) = stage.downloader().failed(discovered(), Message(receives=4), TransientError("no answer"))  # type: ignore[arg-type]
    assert (fact.sync_id, getattr(fact, "already_stored", None), getattr(fact, "files", None)) == (
        "s-1", True, first.files,
    )  # fmt: skip
    assert stage.record().status == Status.STORED


def test_objects_say_which_of_how_many_files_they_are(stage: Stage) -> None:
    stage.serve(chaptered([MIB, MIB + 1]))
    stage.failed(discovered(item_count=3), error=OriginalsMissing)
    assert [(said["item"], said["origin"], said["item-count"], said["files"]) for said in stage.metadata()] == [
        ("1", "source/default/1", "3", "3"),
        ("2", "source/default/2", "3", "3"),
    ]


def test_a_file_that_gopro_stopped_offering_half_way_does_not_count(stage: Stage) -> None:
    stage.serve(chaptered([MIB, SIZE], Drop(at_bytes=7 * MIB, times=99)))
    with pytest.raises(TransientError):
        stage.react(discovered(item_count=2))
    stage.serve(chaptered([MIB]))
    fact = stage.stored(discovered(), Message(receives=2))
    assert (fact.files_total, fact.bytes, len(fact.files)) == (1, MIB, 1)
    assert stage.record().files_total == 1


# ── Resuming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class PartWorkerDies(Bucket):
    """Dies before it uploads the third part."""

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        if number == 3:
            raise Dies
        super().put_part(upload, number, body)


@pytest.mark.scenario(11)
def test_a_worker_that_is_killed_within_a_part_loses_that_part_and_no_other(stage: Stage) -> None:
    stage.memory = 5 * MIB  # for one part
    stage.serve(video())
    stage.bucket = PartWorkerDies(stage.s3, BUCKET)
    with pytest.raises(Dies):
        stage.react(discovered())
    stage.release()
    stage.bucket = Bucket(stage.s3, BUCKET)
    stage.cloud.observations.clear()
    stage.stored(discovered(), Message(receives=2))
    assert stage.ranges()[-1] == f"bytes={10 * MIB}-{SIZE - 1}"
    opening = 2 * MIB  # the request that shows the version is wasted where S3 has its part
    assert sum(seen.bytes_sent for seen in stage.cloud.observations.requests(endpoint="cdn")) <= 2 * MIB + 345 + opening
    assert stage.is_copied()
    assert stage.uploads() == []


@pytest.mark.scenario(11)
def test_a_worker_that_is_killed_among_small_files_loses_at_most_those_in_hand(stage: Stage) -> None:
    left = list(range(5))

    class FrameWorkerDies(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            if not left:
                raise Dies
            left.pop()
            super().put_part(upload, number, body)

    stage.connections = 4
    stage.serve(time_lapse())
    stage.bucket = FrameWorkerDies(stage.s3, BUCKET)
    with pytest.raises(Dies):
        stage.react(discovered(item_count=12))
    stage.release()
    stage.bucket = Bucket(stage.s3, BUCKET)
    asked = stage.s3_operations()
    assert stage.stored(discovered(item_count=12), Message(receives=2)).files_total == 12
    assert asked.count("PutObject") == 12 - 5
    assert stage.is_copied()


class RecordWorkerDies(LibraryTable):
    """Dies before it records a stored file."""

    def save_files(self, lease: Lease, records: Sequence[FileRecord]) -> None:
        if any(record.status == Status.STORED for record in records):
            raise Dies
        super().save_files(lease, records)


@pytest.mark.scenario(2)
@pytest.mark.parametrize("medium", [video(), photo()], ids=["in parts", "in one request"])
def test_a_crash_between_completing_a_file_and_recording_it_costs_no_second_upload(
    stage: Stage, medium: Medium
) -> None:
    stage.serve(medium)
    stage.library = RecordWorkerDies(stage.dynamodb, TABLE, clock=stage.clock)
    with pytest.raises(Dies):
        stage.react(discovered())
    assert len(stage.objects()) == 1
    stage.library = LibraryTable(stage.dynamodb, TABLE, clock=stage.clock)
    stage.release()
    stage.cloud.observations.clear()
    asked = stage.s3_operations()
    fact = stage.stored(discovered(), Message(receives=2))
    assert (fact.epoch, fact.bytes) == (2, medium.contents[0].size)
    assert not {"UploadPart", "PutObject", "CompleteMultipartUpload"} & set(asked)
    assert sum(seen.bytes_sent for seen in stage.cloud.observations.requests(endpoint="cdn")) <= SMALLEST_SEGMENT
    assert stage.is_copied()


# ── Files that an operator marked as missing ─────────────────────────────────────────────────────────────────────────


def mark_missing(stage: Stage, *items: int) -> None:
    """Mark a medium and these of its files as `cloud-sync verify --refetch` does."""
    for item in (0, *items):
        stage.dynamodb.update_item(
            TableName=TABLE,
            Key={"media_id": "m-1", "item": item},
            UpdateExpression="SET #status = :missing ADD epoch :one",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":missing": "MISSING", ":one": int(item == 0)},
        )


def test_a_missing_file_that_gopro_no_longer_offers_fails_the_medium(stage: Stage) -> None:
    stage.serve(photo(raw=Generated(5000, "raw")))
    stage.stored(discovered())
    files = stage.library.files("m-1")
    for file in files.values():
        stage.s3.delete_object(Bucket=BUCKET, Key=file.key)
    mark_missing(stage, *files)
    stage.serve(photo())
    fact = stage.failed(discovered(sync_id="s-2"), error=OriginalsMissing)
    (lost,) = fact.failed_files
    assert lost.reason == "the bucket has lost it, and GoPro no longer offers it"
    assert fact.reason == f"1 of 2 files stored; missing: {lost.name} ({lost.reason})"
    assert stage.is_copied(), "the other file is stored again"
    assert sorted(str(file.status) for file in stage.library.files("m-1").values()) == ["MISSING", "STORED"]

    stage.serve(photo(raw=Generated(5000, "raw")))
    assert stage.stored(discovered(sync_id="s-3")).files_total == 2


# ── Leases and pauses ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(43)
def test_a_message_waits_once_for_another_workers_lease_and_is_then_replaced(stage: Stage) -> None:
    stage.library.take(discovered(sync_id="s-2"))
    with pytest.raises(WaitingForLease) as waits:
        stage.react(discovered())
    assert waits.value.retry_after == 110
    event = discovered(size=5, item_count=2)
    again = stage.react(event, Message(receives=2))
    assert isinstance(again, MediaDownloadPaused)
    assert (again.hops, again.media_id, again.filename, again.size, again.item_count) == (
        0, "m-1", event.filename, 5, 2,
    )  # fmt: skip


def test_nothing_of_a_cancelled_sync_is_begun_or_resumed(stage: Stage) -> None:
    stage.serve(video())
    stage.cancelled.add("s-1")
    paused = MediaDownloadPaused(sync_id="s-1", hops=3, media_id="m-1")
    for event, hops in ((discovered(), 0), (paused, 3)):
        assert stage.react(event) == MediaDownloadSkipped(sync_id="s-1", hops=hops, media_id="m-1")
    assert stage.dynamodb.scan(TableName=TABLE)["Items"] == []
    stage.stored(discovered(sync_id="s-2"))


@pytest.mark.scenario(12)
def test_a_download_pauses_in_time_and_resumes_until_it_is_whole(stage: Stage) -> None:
    message = Message()

    class Slow(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            message.seconds = 59

    stage.memory = 5 * MIB  # for one part
    stage.serve(video())
    stage.bucket = Slow(stage.s3, BUCKET)
    event: MediumEvent = discovered()
    for hops in (1, 2, 3):
        message.seconds = 800
        paused = stage.react(event, message)
        assert isinstance(paused, MediaDownloadPaused)
        assert (paused.hops, paused.parts_done, paused.idle_slices) == (hops, hops, 0)
        event = paused
    assert stage.objects() == {}, "completing can take minutes, so it is left to a slice that has them"
    fact = stage.stored(event, Message(receives=3))
    parts = [5 * MIB, 5 * MIB, SIZE - 10 * MIB]
    assert [(one.bytes, one.parts, one.retries) for one in fact.slices] == [
        *((size, 1, 0) for size in parts),
        (0, 0, 2),
    ]
    assert [one.connections for one in fact.slices] == [1] * 4
    assert (fact.hops, fact.proven_by_etag) == (3, 1)
    assert stage.is_copied()
