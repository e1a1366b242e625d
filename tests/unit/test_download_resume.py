"""Finding or beginning an upload, restarting a file, and pausing: decided from records and from what S3 says."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from services.downloader.download import Download, Originals
from services.downloader.library_table import Lease
from services.downloader.manifest import Original, OriginalsMissing
from services.downloader.reactions import NoProgress, next_slice, same_slice
from services.downloader.transfer import (
    MIB,
    Headers,
    KeyOccupied,
    Limits,
    Origin,
    OriginBusy,
    OriginChanged,
    StoredObject,
    Upload,
    UploadGone,
    UrlExpired,
    Version,
)
from services.downloader.transfer.bucket import Part
from services.shared.errors import Fenced, PermanentError, TransientError
from services.shared.events import MediaDownloadPaused, MediumEvent, Slice
from services.shared.gopro.hosts import AllowedHosts, ForbiddenHost
from services.shared.inbox.heartbeat import MAX_HOPS, MAX_IDLE_SLICES, PAUSE_SECONDS, Budget, SliceOver
from services.shared.library.objects import ObjectMetadata, other_key
from services.shared.library.records import VERSIONS, FileRecord, Status
from tests.unit.clocks import ManualClock
from tests.unit.downloader_stage import discovered

FOLDER = "gopro/2026/01/30/m-1"
KEY, CHOSEN = f"{FOLDER}/GX010123.MP4", f"{FOLDER}/chosen.MP4"
VERSION = Version(size=12, etag="e-2")
LIMITS = Limits()
LEASE = Lease(media_id="m-1", epoch=4)


@dataclass
class Records:
    """The library table."""

    files: dict[int, FileRecord] = field(default_factory=dict)
    broken: bool = False

    def save_files(self, lease: Lease, records: Sequence[FileRecord]) -> None:
        if self.broken:
            raise Fenced
        assert lease == LEASE
        self.files.update({record.item: record for record in records})


@dataclass
class FakeBucket:
    """Its objects by key, its uploads by id, and what it was asked for."""

    objects: dict[str, StoredObject] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    log: list[tuple[object, ...]] = field(default_factory=list)
    begun: list[tuple[Limits, Headers]] = field(default_factory=list)

    def begin(self, key: str, version: Version, *, limits: Limits, headers: Headers) -> Upload:
        self.log.append(("begin", key))
        self.begun.append((limits, headers))
        return Upload(upload_id="new", key=key, version=version, part_size=5)

    def resume(self, upload_id: str, key: str, version: Version, *, part_size: int) -> Upload:
        self.log.append(("resume", upload_id, key, version, part_size))
        if upload_id not in self.uploads:
            raise UploadGone("it is")
        return self.uploads[upload_id]

    def find(self, key: str) -> StoredObject | None:
        self.log.append(("find", key))
        return self.objects.get(key)

    def abort(self, key: str, upload_id: str) -> None:
        self.log.append(("abort", key, upload_id))


class GoPro:
    """One medium of two files, whose URLs are new at each call."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def download_listing(self, media_id: str) -> dict[str, Any]:
        self.calls.append(media_id)
        urls = [f"https://cdn/{n}.mp4?fresh={len(self.calls)}" for n in (1, 2)]
        return {"_embedded": {"variations": [{"label": "source", "url": url} for url in urls]}}


@dataclass
class Desk:
    """One download in hand."""

    event: MediumEvent = field(default_factory=lambda: discovered(item_count=2))
    library: Records = field(default_factory=Records)
    bucket: FakeBucket = field(default_factory=FakeBucket)
    gopro: GoPro = field(default_factory=GoPro)
    seconds: float = 800.0
    fenced: bool = False

    def __post_init__(self) -> None:
        self.download = Download(
            medium=self.event,
            lease=LEASE,
            budget=Budget(lambda: self.seconds, self, ManualClock()),
            gopro=cast("Any", self.gopro),
            library=cast("Any", self.library),
            clock=ManualClock(),
            files_total=2,
        )

    def check(self) -> None:
        """As the heartbeat does."""
        if self.fenced:
            raise Fenced

    def originals(self) -> Originals:
        return Originals(cast("Any", self.bucket), hosts=AllowedHosts(["cdn"]), limits=LIMITS, clock=ManualClock())

    def upload(self, item: int = 1, original: Original | None = None, version: Version = VERSION) -> Any:
        original = original or original_of(item)
        self.download.choose_keys([(item, original)])
        return self.originals().find_or_begin(self.download, item, original, version)


def original_of(item: int = 1, name: str = "GX010123.MP4") -> Original:
    return Original(origin=f"source/default/{item}", number=item, name=name, url=f"https://cdn/{item}.mp4")


def record(item: int = 1, **fields: Any) -> FileRecord:
    """Return the record of a file whose upload was begun."""
    known: dict[str, Any] = {"key": CHOSEN, "size": 12, "origin_etag": "e-2", "sync_id": "s-1"}
    begun = {"upload_id": "begun", "part_size": 5, "part_count": 3}
    return FileRecord(media_id="m-1", item=item, **{**known, **begun, "status": Status.UPLOADING, **fields})


def metadata_of(item: int = 1, version: Version = VERSION, name: str = "GX010123.MP4") -> dict[str, str]:
    return ObjectMetadata.of(
        discovered(item_count=2),
        item=item,
        files=2,
        origin=f"source/default/{item}",
        name=name,
        origin_etag=version.etag,
        origin_size=version.size,
    ).encode()


def copy_at(key: str, *, item: int = 1, version: Version = VERSION) -> StoredObject:
    return StoredObject(key=key, size=version.size, etag="", checksum="", metadata=metadata_of(item, version))


# ── Finding or beginning an upload ───────────────────────────────────────────────────────────────────────────────────


def test_a_new_upload_is_recorded_before_its_first_part() -> None:
    desk = Desk()
    assert desk.upload() == Upload(upload_id="new", key=KEY, version=VERSION, part_size=5)
    assert desk.bucket.log == [("find", KEY), ("begin", KEY)]
    headers = Headers(
        metadata=metadata_of(),
        content_type="video/mp4",
        content_disposition="attachment; filename*=UTF-8''GX010123.MP4",
    )
    assert desk.bucket.begun == [(LIMITS, headers)]
    written = record(origin="source/default/1", original_name="GX010123.MP4", key=KEY, upload_id="new")
    assert desk.library.files == desk.download.files == {1: written}


def test_a_file_without_a_name_is_saved_under_its_mediums() -> None:
    desk = Desk(event=discovered(filename="GOPR1.JPG"))
    desk.upload(original=original_of(name=""))
    ((_, headers),) = desk.bucket.begun
    assert (headers.content_type, headers.content_disposition) == (
        "image/jpeg", "attachment; filename*=UTF-8''GOPR1.JPG",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "filename", "expected"),
    [("own.MP4", "GOPR1.JPG", "own.MP4"), ("", "", "item-1")],
    ids=["its own", "that of its key"],
)
def test_a_file_is_saved_under_its_own_name_or_that_of_its_key(name: str, filename: str, expected: str) -> None:
    desk = Desk(event=discovered(filename=filename))
    desk.upload(original=original_of(name=name))
    assert desk.bucket.begun[0][1].content_disposition == f"attachment; filename*=UTF-8''{expected}"


@pytest.mark.parametrize("status", [Status.MISSING, Status.UPLOADING])
def test_a_missing_file_stays_missing_until_it_is_stored(status: Status) -> None:
    desk = Desk()
    desk.download.files[1] = record(key=KEY, status=status, upload_id=None)
    desk.upload()
    assert desk.library.files[1].status == status


def test_an_upload_that_cannot_be_recorded_is_aborted() -> None:
    desk = Desk(library=Records(broken=True))
    with pytest.raises(Fenced):
        desk.upload()
    assert desk.bucket.log == [("find", KEY), ("begin", KEY), ("abort", KEY, "new")]
    assert desk.download.files == {}


def test_two_files_of_a_medium_never_share_a_key() -> None:
    desk = Desk()
    desk.download.files[1] = record(key=KEY)
    assert desk.upload(2).key == f"{FOLDER}/GX010123-2.MP4"
    assert desk.upload(3, original_of(3, name="GX020123.MP4")).key == f"{FOLDER}/GX020123.MP4"
    assert [headers.metadata["original-name"] for _, headers in desk.bucket.begun] == ["GX010123.MP4", "GX020123.MP4"]


def test_keys_are_chosen_for_new_files_and_for_another_version_of_stored_ones() -> None:
    desk = Desk()
    desk.download.files = {1: record(1, status=Status.STORED), 2: record(2)}
    desk.download.choose_keys([(item, original_of(item)) for item in (1, 2, 3)])
    assert desk.download.keys == {1 + VERSIONS: f"{FOLDER}/GX010123-v2.MP4", 3: KEY}


def test_an_upload_of_the_same_version_is_resumed() -> None:
    desk = Desk()
    desk.download.files[1] = record()
    begun = desk.bucket.uploads["begun"] = Upload(upload_id="begun", key="", version=VERSION, part_size=5)
    assert desk.upload() is begun
    assert desk.bucket.log == [("resume", "begun", CHOSEN, VERSION, 5)]


def test_an_upload_that_was_begun_without_an_etag_is_resumed_by_its_size_alone() -> None:
    desk = Desk()
    desk.download.files[1] = record(origin_etag="")
    begun = desk.bucket.uploads["begun"] = Upload(upload_id="begun", key="", version=VERSION, part_size=5)
    assert desk.upload() is begun
    assert desk.upload(version=Version(size=13, etag="")).upload_id == "new"


def test_a_new_upload_replaces_one_that_is_gone_at_the_same_key() -> None:
    desk = Desk()
    desk.download.files[1] = record()
    assert desk.upload().upload_id == "new"
    assert [asked[:2] for asked in desk.bucket.log] == [("resume", "begun"), ("find", CHOSEN), ("begin", CHOSEN)]


@pytest.mark.parametrize("version", [Version(size=13, etag="e-2"), Version(size=12, etag="f-2")])
def test_an_upload_of_another_version_is_aborted_before_a_new_one_begins(version: Version) -> None:
    desk = Desk()
    desk.download.files[1] = record()
    desk.bucket.uploads["begun"] = Upload(upload_id="begun", key="", version=VERSION, part_size=5)
    assert desk.upload(version=version).version == version
    assert desk.bucket.log == [("abort", CHOSEN, "begun"), ("find", CHOSEN), ("begin", CHOSEN)]


@pytest.mark.parametrize("upload_id", ["", None], ids=["one request", "no upload"])
def test_a_file_without_an_upload_is_looked_for_at_its_key(upload_id: str | None) -> None:
    desk = Desk()
    desk.download.files[1] = record(upload_id=upload_id)
    found = desk.bucket.objects[CHOSEN] = copy_at(CHOSEN)
    assert desk.upload() is found
    assert desk.upload(version=Version(size=99, etag="f")).key == other_key(CHOSEN, "f")
    assert [asked for asked, *_ in desk.bucket.log] == ["find", "find", "find", "begin"]


@pytest.mark.parametrize(
    "other",
    [
        copy_at(KEY, item=2),
        copy_at(KEY, version=Version(size=12, etag="f")),
        copy_at(KEY, version=Version(size=13, etag="e-2")),
    ],
    ids=["item", "etag", "size"],
)
def test_a_file_gets_another_key_where_another_object_has_its_own(other: StoredObject) -> None:
    desk = Desk()
    desk.bucket.objects[KEY] = other
    second = other_key(KEY, "e-2")
    assert desk.upload().key == second
    assert desk.library.files[1].key == second
    found = desk.bucket.objects[second] = copy_at(second)
    desk.download.files.clear()
    assert desk.upload() is found


def test_an_object_of_another_medium_is_not_taken_for_a_copy() -> None:
    desk = Desk(event=discovered("m-2", item_count=2))
    key = KEY.replace("m-1", "m-2")
    desk.bucket.objects[key] = copy_at(key)
    assert desk.upload().key == other_key(key, "e-2")


def test_nothing_is_stored_where_other_objects_have_both_keys() -> None:
    desk = Desk()
    for key in (KEY, other_key(KEY, "e-2")):
        desk.bucket.objects[key] = copy_at(key, item=2)
    with pytest.raises(
        PermanentError, match=f"^the key {KEY} and the alternative key are both taken by other objects$"
    ):
        desk.upload()


# ── One file, and its restarts ───────────────────────────────────────────────────────────────────────────────────────


class FakeSource:
    """An origin that is open, whose copy succeeds."""

    version = VERSION

    def copy(self, _: object, upload: Upload, *, limits: Limits) -> StoredObject:
        assert limits == LIMITS
        return StoredObject(key=upload.key, size=VERSION.size, etag="e-2", checksum="c", metadata={})


def tried(desk: Desk, monkeypatch: pytest.MonkeyPatch, *ends: Exception) -> list[Origin]:
    """Store a file whose first copies end with these errors. Returns the origin of each copy, begun from nothing."""
    origins: list[Origin] = []

    def open_source(origin: Origin, **_: object) -> AbstractContextManager[FakeSource]:
        assert desk.download.uploads == {}
        desk.download.uploads[1] = Upload(upload_id="u", key="", version=VERSION, part_size=5)
        origins.append(origin)
        if len(origins) <= len(ends):
            raise ends[len(origins) - 1]
        return nullcontext(FakeSource())

    monkeypatch.setattr("services.downloader.download.open_source", open_source)
    desk.download.choose_keys([(1, original_of())])
    desk.originals().store(desk.download, 1, original_of(), cast("Any", "the connections"))
    return origins


def test_a_file_is_copied_from_its_original_and_then_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    (origin,) = tried(desk, monkeypatch)
    assert origin._url == "https://cdn/1.mp4"
    assert str(origin.connections) == "the connections"
    assert [origin._renew() for _ in range(2)] == ["https://cdn/1.mp4?fresh=1", "https://cdn/1.mp4?fresh=2"]
    origin._check_url("https://cdn/1.mp4")
    with pytest.raises(ForbiddenHost):
        origin._check_url("https://elsewhere/1.mp4")
    stored: dict[str, Any] = {
        "status": Status.STORED,
        "etag": "e-2",
        "checksum": "c",
        "proof": "origin-etag",
        "part_count": 3,
    }
    named: dict[str, Any] = {"origin": "source/default/1", "original_name": "GX010123.MP4", "key": KEY}
    assert desk.library.files == {1: record(upload_id=None, part_size=None, **named, **stored)}
    assert desk.download.uploads == {}


@pytest.mark.parametrize(
    ("version", "unchanged"),
    [
        (VERSION, True),
        (Version(size=12, etag=""), True),
        (Version(size=12, etag="f-2"), False),
        (Version(size=13, etag=""), False),
    ],
)
def test_a_stored_file_is_copied_again_beside_the_first_only_if_it_has_changed(
    monkeypatch: pytest.MonkeyPatch, version: Version, unchanged: bool
) -> None:
    desk, looked = Desk(), []

    def read_version(origin: Origin, **_: object) -> Version:
        looked.append(origin._url)
        return version

    monkeypatch.setattr("services.downloader.download.read_version", read_version)
    desk.download.files[1] = record(1, status=Status.STORED)
    origins = tried(desk, monkeypatch)
    assert set(looked) == {"https://cdn/1.mp4"}
    assert len(origins) == (0 if unchanged else 1)
    assert sorted(desk.library.files) == ([] if unchanged else [1 + VERSIONS])


@pytest.mark.parametrize("error", [OriginChanged("it did"), UploadGone("it is")])
def test_a_file_is_copied_three_times_at_most(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    desk = Desk()
    assert len(tried(desk, monkeypatch, error, error)) == 3
    with pytest.raises(TransientError, match=r"^source/default/1 kept changing while it was copied$"):
        tried(Desk(), monkeypatch, error, error, error)
    assert not [asked for asked, *_ in desk.bucket.log if asked == "abort"]


def test_an_upload_to_a_key_that_another_object_took_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    desk.download.files[1] = record()
    assert len(tried(desk, monkeypatch, KeyOccupied("it is"))) == 2
    assert desk.bucket.log[0] == ("abort", CHOSEN, "begun")


def test_an_error_of_the_engine_is_transient_with_its_text_and_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match=r"^the origin is busy$") as raised:
        tried(Desk(), monkeypatch, OriginBusy("the origin is busy", retry_after=7))
    assert raised.value.retry_after == 7


def test_no_file_is_begun_without_time_for_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SliceOver):
        tried(Desk(seconds=PAUSE_SECONDS), monkeypatch)


def test_a_url_is_renewed_by_the_name_of_its_file_and_one_listing_serves_all_files() -> None:
    desk = Desk()
    first, second = (f"source/default/{n}" for n in (1, 2))
    assert desk.download.fresh_url(second, "https://cdn/2.mp4") == "https://cdn/2.mp4?fresh=1"
    assert desk.download.fresh_url(first, "https://cdn/1.mp4") == "https://cdn/1.mp4?fresh=1"
    assert desk.gopro.calls == ["m-1"]
    assert desk.download.fresh_url(second, "https://cdn/2.mp4?fresh=1") == "https://cdn/2.mp4?fresh=2"
    assert desk.gopro.calls == ["m-1", "m-1"]
    with pytest.raises(OriginalsMissing, match=r"^GoPro no longer offers source/default/3$"):
        desk.download.fresh_url("source/default/3", "https://cdn/3.mp4")


# ── Side by side ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("size", "item_count", "files", "at_once"),
    [
        (12 * MIB, 12, 12, 10),  # connections, and a quarter more for what is being uploaded
        (12 * 8 * MIB, 12, 12, 10),
        (12 * 8 * MIB + 1, 12, 12, 1),
        (12 * 8 * MIB, 12, 3, 3),  # the others are stored already
        (3 * 8 * MIB, 0, 3, 3),
        (3 * 8 * MIB + 1, 0, 3, 1),
        (None, 12, 12, 10),
    ],
)
def test_small_files_are_stored_side_by_side(size: int | None, item_count: int, files: int, at_once: int) -> None:
    medium = discovered(size=size, item_count=item_count)
    assert Desk().originals().at_once(medium, files) == at_once


def test_no_more_files_are_stored_at_once_than_the_memory_has_room_for() -> None:
    desk = Desk()
    limits = Limits(connections=8, memory_bytes=3 * 8 * MIB)
    originals = Originals(cast("Any", desk.bucket), hosts=AllowedHosts([]), limits=limits, clock=ManualClock())
    assert originals.at_once(discovered(size=12), 12) == 3


class Workers:
    """What becomes of the files of a medium that are stored side by side."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: Mapping[int, BaseException], *, together: int) -> None:
        self.desk = Desk(event=discovered(size=12, item_count=12))
        self.asked: list[int] = []
        self._ends = ends
        self._together = threading.Barrier(together, timeout=5)
        self._originals = self.desk.originals()
        monkeypatch.setattr(self._originals, "store", self.store)

    def store(self, download: Download, item: int, original: Original, connections: object) -> None:
        assert (download, original, connections) == (self.desk.download, original_of(item), "the connections")
        self.asked.append(item)
        if item <= self._together.parties:
            self._together.wait()
        if item in self._ends:
            raise self._ends[item]

    def run(self) -> None:
        numbered = [(item, original_of(item)) for item in range(1, 13)]
        self._originals.store_all(self.desk.download, numbered, cast("Any", "the connections"))


class Thread(threading.Thread):
    """A thread of which no more than `room` can be started."""

    started: ClassVar[list[threading.Thread]] = []
    room = 99

    def start(self) -> None:
        if len(self.started) == self.room:
            raise RuntimeError("can't start new thread")
        self.started.append(self)
        super().start()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Return those that are started."""
    monkeypatch.setattr(Thread, "started", [])
    monkeypatch.setattr("services.downloader.download.threading", SimpleNamespace(Thread=Thread, Lock=threading.Lock))
    return Thread.started


def test_as_many_files_as_there_is_room_for_are_in_hand_at_once(
    monkeypatch: pytest.MonkeyPatch, threads: list[threading.Thread]
) -> None:
    workers = Workers(monkeypatch, {}, together=10)
    workers.run()
    assert [(thread.name, thread.daemon) for thread in threads] == [("file", True)] * 9, "and the one that waits"
    assert sorted(workers.asked) == list(range(1, 13))
    assert sorted(workers.desk.download.keys) == list(range(1, 13))


def test_fewer_threads_store_all_files_where_there_is_no_memory_for_more(
    monkeypatch: pytest.MonkeyPatch, threads: list[threading.Thread]
) -> None:
    monkeypatch.setattr(Thread, "room", 2)
    workers = Workers(monkeypatch, {}, together=3)
    workers.run()
    assert len(threads) == 2
    assert sorted(workers.asked) == list(range(1, 13))


@pytest.mark.parametrize("end", [SliceOver(), Fenced(), KeyboardInterrupt()], ids=lambda end: type(end).__name__)
def test_no_further_file_is_begun_after_the_end_of_a_slice_or_a_lease(
    monkeypatch: pytest.MonkeyPatch, end: BaseException
) -> None:
    workers = Workers(monkeypatch, dict.fromkeys(range(1, 11), end), together=10)
    with pytest.raises(type(end)):
        workers.run()
    assert sorted(workers.asked) == list(range(1, 11))


def test_a_lost_lease_counts_more_than_the_end_of_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(monkeypatch, {**{item: SliceOver() for item in range(1, 10)}, 10: Fenced()}, together=10)
    with pytest.raises(Fenced):
        workers.run()


def test_the_records_that_several_threads_wait_to_write_are_written_together() -> None:
    desk, written = Desk(), []
    first_is_writing, all_wait = threading.Event(), threading.Event()

    def save_files(lease: Lease, records: Sequence[FileRecord]) -> None:
        written.append([one.item for one in records])
        first_is_writing.set()
        assert all_wait.wait(5)

    desk.library.save_files = save_files  # type: ignore[method-assign]
    threads = [threading.Thread(target=desk.download.save, args=[record(item)]) for item in (1, 2, 3)]
    threads[0].start()
    assert first_is_writing.wait(5)
    for thread in threads[1:]:
        thread.start()
    while len(desk.download._unsaved) < 2:
        time.sleep(0.001)
    all_wait.set()
    for thread in threads:
        thread.join()
    assert [sorted(items) for items in written] == [[1], [2, 3]]
    assert sorted(desk.download.files) == [1, 2, 3]


def test_records_of_others_are_written_after_one_write_failed() -> None:
    desk = Desk(library=Records(broken=True))
    other = record(2)
    desk.download._unsaved.append(other)
    with pytest.raises(Fenced):
        desk.download.save(record(1))
    assert (list(desk.download._unsaved), desk.download.files) == ([other], {})
    desk.library.broken = False
    desk.download.save(record(3))
    assert sorted(desk.library.files) == sorted(desk.download.files) == [2, 3]


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "slowest_part", "enough"),
    [
        (60.0, 0.0, False),
        (60.1, 0.0, True),
        (60.1, 20.0, True),
        (80.0, 30.0, False),
        (80.1, 30.0, True),
    ],
)
def test_another_part_is_begun_only_with_twice_its_time_and_a_reserve(
    seconds: float, slowest_part: float, enough: bool
) -> None:
    desk = Desk(seconds=seconds)
    if enough:
        desk.download.budget.begin_step(slowest_part)
    else:
        with pytest.raises(SliceOver):
            desk.download.budget.begin_step(slowest_part)


def test_a_worker_that_was_overtaken_begins_no_part() -> None:
    with pytest.raises(Fenced):
        Desk(fenced=True).download.budget.begin_step()


def test_the_progress_is_what_the_bucket_has() -> None:
    desk = Desk()
    desk.download.files = {
        3: record(3),
        1: record(1, status=Status.STORED, size=30),
        4: record(4, status=Status.MISSING, origin="source/default/4"),
        2: record(2, status=Status.STORED, size=40),
    }
    assert (desk.download.bytes_done, desk.download.parts_done, desk.download.next_item) == (70, 6, 3)
    upload = desk.download.uploads[3] = Upload(upload_id="u", key="", version=VERSION, part_size=5)
    upload.parts[2] = Part(etag="", size=5, crc=None)
    assert (desk.download.bytes_done, desk.download.parts_done) == (75, 7)
    assert [file.item for file in desk.download.stored] == [1, 2]


# ── Files that could not be stored ───────────────────────────────────────────────────────────────────────────────────


def test_one_file_that_fails_keeps_no_other_from_being_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, asked = Desk(event=discovered(size=10**9, item_count=3)), []

    def store(download: Download, item: int, original: Original, connections: object) -> None:
        asked.append(item)
        if item in errors:
            raise errors[item]

    originals = desk.originals()
    monkeypatch.setattr(originals, "store", store)
    errors: dict[int, Exception] = {1: PermanentError("gone"), 2: KeyError("no")}
    numbered = [(item, original_of(item, name="" if item == 2 else "a.MP4")) for item in (1, 2, 3)]
    originals.store_all(desk.download, numbered, cast("Any", None))
    assert asked == [1, 2, 3]
    assert desk.download.failures == [("a.MP4", errors[1]), ("source/default/2", errors[2])]
    for ends in (Fenced(), SliceOver()):
        errors = {2: ends}
        asked.clear()
        with pytest.raises(type(ends)):
            originals.store_all(desk.download, numbered, cast("Any", None))
        assert asked == [1, 2]


def test_a_file_that_the_origin_refuses_with_new_urls_too_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match=r"^it does$"):
        tried(Desk(), monkeypatch, UrlExpired("it does"))


def test_an_empty_file_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeSource, "version", Version(size=0, etag=""))
    with pytest.raises(PermanentError, match=r"^the file is empty at its origin \(0 bytes\)$"):
        tried(Desk(), monkeypatch)


@pytest.mark.parametrize(("stored", "following"), [(0, 1), (2, 3)])
def test_a_pause_after_only_stored_files_resumes_at_the_next_one(stored: int, following: int) -> None:
    desk = Desk()
    desk.download.files = {item: record(item, status=Status.STORED) for item in range(1, stored + 1)}
    assert desk.download.next_item == following


def paused(**fields: Any) -> MediaDownloadPaused:
    known = {"sync_id": "s-1", "media_id": "m-1", "filename": "GX010123.MP4", "item_count": 2, "hops": 5}
    return MediaDownloadPaused(**{**known, **fields})


@pytest.mark.parametrize(
    ("event", "parts", "idle"),
    [
        (discovered(), 0, 1),
        (discovered(), 1, 0),
        (paused(parts_done=2, idle_slices=0), 2, 1),
        (paused(parts_done=2, idle_slices=1), 2, 2),
        (paused(parts_done=2, idle_slices=1), 1, 2),
        (paused(parts_done=2, idle_slices=2), 3, 0),
    ],
)
def test_a_slice_without_a_new_part_is_idle(event: MediumEvent, parts: int, idle: int) -> None:
    after = next_slice(event, item=7, parts_done=parts)
    assert (after.idle_slices, after.parts_done, after.item, after.hops) == (idle, parts, 7, event.hops + 1)
    assert (after.sync_id, after.media_id, after.filename, after.item_count) == (
        event.sync_id, "m-1", "GX010123.MP4", event.item_count,
    )  # fmt: skip


def test_a_pause_carries_what_the_last_slices_have_done() -> None:
    done = [Slice(began_at=f"2026-11-23T01:{minute:02}:00Z", seconds=50.0) for minute in range(25)]
    assert next_slice(discovered(), item=1, parts_done=1, done=done[0]).slices == (done[0],)
    assert next_slice(paused(slices=(done[0],)), item=1, parts_done=1, done=done[1]).slices == (done[0], done[1])
    assert next_slice(paused(slices=(done[0],)), item=1, parts_done=1).slices == (done[0],)
    assert next_slice(paused(slices=tuple(done[:20])), item=1, parts_done=1, done=done[20]).slices == tuple(done[1:21])
    assert same_slice(paused(slices=(done[0],))).slices == (done[0],)


def test_a_slice_counts_what_it_stored_and_not_what_it_found() -> None:
    desk = Desk()
    download = desk.download
    download.files = {1: record(1, status=Status.STORED)}
    download.begin_slice()

    def upload(upload_id: str, *sizes: int) -> Upload:
        parts = {number: Part(etag="", size=size, crc=None) for number, size in enumerate(sizes, start=1)}
        return Upload(key=upload_id, upload_id=upload_id, version=VERSION, part_size=5 * MIB, parts=parts)

    found, begun = upload("found", 5 * MIB), upload("begun")
    download.resume(2, found)
    download.resume(3, begun)
    found.parts[2] = Part(etag="", size=5 * MIB, crc=None)
    begun.parts = {1: Part(etag="", size=7, crc=None)}
    download.resume(2, found)  # its origin changed, and the same upload was found again
    download.connections = 4
    worked = download.slice(began_at="2026-11-23T01:00:00Z", seconds=2.5, retries=1)
    assert worked == Slice(
        began_at="2026-11-23T01:00:00Z", seconds=2.5, bytes=5 * MIB + 7, parts=2, connections=4, retries=1
    )


def test_a_new_message_for_the_same_slice_keeps_everything() -> None:
    event = paused(item=3, parts_done=2, idle_slices=1)
    assert same_slice(event) == event
    assert same_slice(discovered(size=5)).hops == 0


@pytest.mark.scenario(12, 13)
def test_the_number_of_pauses_is_bounded() -> None:
    assert next_slice(paused(hops=MAX_HOPS - 1), item=1, parts_done=1).hops == MAX_HOPS
    with pytest.raises(NoProgress):
        next_slice(paused(hops=MAX_HOPS), item=1, parts_done=1)


def test_a_download_without_progress_is_given_up() -> None:
    event = paused(parts_done=2, idle_slices=MAX_IDLE_SLICES - 1)
    with pytest.raises(NoProgress, match=f"^given up after 6 pauses, {MAX_IDLE_SLICES} of them without a new part$"):
        next_slice(event, item=1, parts_done=2)
