"""What a download goes on with: decided from its records and from what S3 says, without a byte on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from test_download import Message, discovered

from services.downloader import download
from services.downloader.download import UPLOADING, Downloader, OriginalsMissing, _Work
from services.downloader.keys import object_metadata, other_key
from services.downloader.lease import Lease
from services.downloader.manifest import Original
from services.downloader.transfer import (
    KeyOccupied,
    Limits,
    OriginChanged,
    Pace,
    StoredObject,
    Upload,
    UploadGone,
    Version,
)
from services.shared.errors import PermanentError, TransientError
from services.shared.events import MediaDownloadFailed, MediaDownloadPaused
from services.shared.gopro.hosts import AllowedHosts
from services.shared.inbox import Fenced, GaveUp
from services.shared.library import MISSING, STORED
from services.shared.slices import MAX_HOPS, MAX_IDLE_SLICES, PAUSE_SECONDS, SliceOver

FOLDER = "gopro/2026/01/30/m-1"
KEY = f"{FOLDER}/GX010123.MP4"
VERSION = Version(size=12, etag="e-2")
LIMITS = Limits()
LEASE = Lease(media_id="m-1", epoch=4)


@dataclass
class Records:
    """The library table."""

    files: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    broken: bool = False

    def save_file(self, lease: Lease, item: int, record: Mapping[str, Any]) -> None:
        if self.broken:
            raise Fenced
        assert lease == LEASE
        self.files[item] = record

    def release(self, lease: Lease) -> None:
        self.log.append(("release", lease))

    def failed(self, lease: Lease, reason: str) -> None:
        self.log.append(("failed", lease, reason))


@dataclass
class Uploads:
    """The bucket: its objects by key, its uploads by id, and what it was asked for."""

    objects: dict[str, StoredObject] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    about: list[tuple[Any, ...]] = field(default_factory=list)

    def begin(self, key: str, version: Version, *, limits: Limits, metadata: Mapping[str, str]) -> Upload:
        self.log.append(("begin", key))
        self.about.append((limits, metadata))
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


class Api:
    """GoPro's: one medium of two files, whose URLs are new at each call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def call(self, request: Any) -> Any:
        return request("the token")

    def download_listing(self, token: str, media_id: str) -> dict[str, Any]:
        self.calls.append((token, media_id))
        urls = [f"https://cdn/{n}.mp4?fresh={len(self.calls)}" for n in (1, 2)]
        return {"_embedded": {"variations": [{"label": "source", "url": url} for url in urls]}}


@dataclass
class Desk:
    """A downloader with one medium in hand."""

    event: Any = field(default_factory=lambda: discovered(item_count=2))
    library: Records = field(default_factory=Records)
    bucket: Uploads = field(default_factory=Uploads)
    api: Api = field(default_factory=Api)
    message: Message = field(default_factory=Message)
    hosts: AllowedHosts = field(default_factory=lambda: AllowedHosts(["cdn"]))

    def __post_init__(self) -> None:
        parts: Any = {"gopro": self.api, "library": self.library, "bucket": self.bucket, "lane": None}
        self.downloader = Downloader(hosts=self.hosts, limits=LIMITS, pace=Pace(), **parts)
        self.work: Any = _Work(self.event, self.message, LEASE, self, self.api, "the wires")  # type: ignore[arg-type]
        self.work.files_total = 2
        self.fenced = False

    def check(self) -> None:
        """As the heartbeat does."""
        if self.fenced:
            raise Fenced

    def upload(self, item: int = 1, original: Original | None = None, version: Version = VERSION) -> Any:
        return self.downloader._upload_for(self.work, item, original or ORIGINAL, version)


def original(item: int = 1, name: str = "GX010123.MP4") -> Original:
    return Original(origin=f"source/default/{item}", number=item, name=name, url=f"https://cdn/{item}.mp4")


ORIGINAL = original()


def record(**fields: Any) -> dict[str, Any]:
    """Of a file whose upload was begun, as the table gives it back."""
    known = {"key": f"{FOLDER}/chosen.MP4", "size": Decimal(12), "origin_etag": "e-2", "status": UPLOADING}
    return {**known, "upload_id": "begun", "part_size": Decimal(5), "part_count": Decimal(3), **fields}


def copy_at(key: str, *, item: int = 1, version: Version = VERSION) -> StoredObject:
    metadata = object_metadata(
        discovered(),
        item=item,
        files=1,
        origin=f"source/default/{item}",
        name="",
        origin_etag=version.etag,
        origin_size=version.size,
    )
    return StoredObject(key=key, size=version.size, etag="", checksum="", metadata=metadata)


# ── The upload to go on with ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_file_gets_an_upload_which_is_written_down_before_its_first_part() -> None:
    desk = Desk()
    upload = desk.upload()
    assert upload == Upload(upload_id="new", key=KEY, version=VERSION, part_size=5)
    assert desk.bucket.log == [("find", KEY), ("begin", KEY)]
    metadata = object_metadata(
        desk.event,
        item=1,
        files=2,
        origin="source/default/1",
        name="GX010123.MP4",
        origin_etag="e-2",
        origin_size=12,
    )
    assert desk.bucket.about == [(LIMITS, metadata)]
    written = {
        "origin": "source/default/1",
        "original_name": "GX010123.MP4",
        "key": KEY,
        "size": 12,
        "origin_etag": "e-2",
        "status": UPLOADING,
        "upload_id": "new",
        "part_size": 5,
        "part_count": 3,
    }
    assert desk.library.files == desk.work.files == {1: written}


@pytest.mark.parametrize(("before", "after"), [(MISSING, MISSING), (UPLOADING, UPLOADING)])
def test_a_file_that_the_bucket_has_lost_stays_missing_until_it_is_stored(before: str, after: str) -> None:
    desk = Desk()
    desk.work.files[1] = {"key": KEY, "status": before}
    desk.upload()
    assert desk.library.files[1]["status"] == after


def test_an_upload_that_can_not_be_written_down_is_given_up() -> None:
    desk = Desk()
    desk.library.broken = True
    with pytest.raises(Fenced):
        desk.upload()
    assert desk.bucket.log == [("find", KEY), ("begin", KEY), ("abort", KEY, "new")]
    assert desk.work.files == {}


def test_a_key_is_none_that_another_file_of_the_medium_has() -> None:
    desk = Desk()
    desk.work.files[1] = record(key=KEY)
    assert desk.upload(2, original(2)).key == f"{FOLDER}/GX010123-2.MP4"
    assert desk.upload(3, original(3, name="GX020123.MP4")).key == f"{FOLDER}/GX020123.MP4"
    assert [metadata["original-name"] for _, metadata in desk.bucket.about] == ["GX010123.MP4", "GX020123.MP4"]


def test_an_upload_of_this_version_goes_on() -> None:
    desk = Desk()
    desk.work.files[1] = record()
    begun = desk.bucket.uploads["begun"] = Upload(upload_id="begun", key="", version=VERSION, part_size=5)
    assert desk.upload() is begun
    assert desk.bucket.log == [("resume", "begun", f"{FOLDER}/chosen.MP4", VERSION, 5)]
    assert [type(value) for value in desk.bucket.log[0]] == [str, str, str, Version, int]


def test_an_upload_that_is_gone_makes_room_for_another_at_the_key_that_was_chosen() -> None:
    desk = Desk()
    desk.work.files[1] = record()
    assert desk.upload().upload_id == "new"
    key = f"{FOLDER}/chosen.MP4"
    assert [asked[:2] for asked in desk.bucket.log] == [("resume", "begun"), ("find", key), ("begin", key)]


@pytest.mark.parametrize("version", [Version(size=13, etag="e-2"), Version(size=12, etag="f-2")])
def test_an_upload_of_another_version_is_given_up_before_a_new_one_begins(version: Version) -> None:
    desk = Desk()
    desk.work.files[1] = record()
    desk.bucket.uploads["begun"] = Upload(upload_id="begun", key="", version=VERSION, part_size=5)
    assert desk.upload(version=version).version == version
    key = f"{FOLDER}/chosen.MP4"
    assert desk.bucket.log == [("abort", key, "begun"), ("find", key), ("begin", key)]


@pytest.mark.parametrize("without", [{"upload_id": ""}, {}], ids=["one request", "no word of it"])
def test_a_file_without_an_upload_is_looked_for_at_its_key_and_nothing_is_given_up(without: dict[str, str]) -> None:
    desk = Desk()
    desk.work.files[1] = {name: value for name, value in record().items() if name != "upload_id"} | without
    key = f"{FOLDER}/chosen.MP4"
    found = desk.bucket.objects[key] = copy_at(key)
    assert desk.upload() is found
    assert desk.upload(version=Version(size=99, etag="f")).key == other_key(key, "f")
    assert [asked for asked, *_ in desk.bucket.log] == ["find", "find", "find", "begin"]


@pytest.mark.parametrize("other", [copy_at(KEY, item=2), copy_at(KEY, version=Version(size=12, etag="f"))])
def test_another_object_at_the_key_is_left_alone(other: StoredObject) -> None:
    desk = Desk()
    desk.bucket.objects[KEY] = other
    second = other_key(KEY, "e-2")
    assert desk.upload().key == second
    assert desk.library.files[1]["key"] == second
    found = desk.bucket.objects[second] = copy_at(second)
    desk.work.files.clear()
    assert desk.upload() is found


def test_a_copy_of_another_medium_is_none_of_this() -> None:
    desk = Desk(event=discovered("m-2", item_count=2))
    key = KEY.replace("m-1", "m-2")
    desk.bucket.objects[key] = copy_at(key)
    assert desk.upload().key == other_key(key, "e-2")


def test_where_both_keys_are_taken_by_others_nothing_is_stored() -> None:
    desk = Desk()
    for key in (KEY, other_key(KEY, "e-2")):
        desk.bucket.objects[key] = copy_at(key, item=2)
    with pytest.raises(PermanentError, match=f"^other objects lie at {KEY} and at the key that would take its place$"):
        desk.upload()


# ── One file, and its restarts ───────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Tries:
    """In the place of the transfer: how each try ends, and what it was given."""

    desk: Desk
    ends: list[Exception | None]
    given: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(self, work: Any, item: int, original: Original, origin: Any) -> None:
        self.given.append((work, item, original, origin, work.bytes_under_way, work.parts_under_way))
        work.bytes_under_way, work.parts_under_way = 7, 2
        if end := self.ends[len(self.given) - 1]:
            raise end


def tried(desk: Desk, *ends: Exception | None) -> Tries:
    tries = Tries(desk, list(ends))
    desk.downloader._try_to_store = tries  # type: ignore[method-assign]
    desk.downloader._store_file(desk.work, 1, ORIGINAL)
    return tries


def test_a_file_is_tried_once_if_nothing_happens() -> None:
    desk = Desk()
    ((work, item, given, origin, *under_way),) = tried(desk, None).given
    assert (work, item, given, under_way) == (desk.work, 1, ORIGINAL, [0, 0])
    assert (origin._url, origin.wires, origin._check) == (ORIGINAL.url, "the wires", desk.hosts.check)
    assert desk.bucket.log == []


@pytest.mark.parametrize("error", [OriginChanged("it did"), UploadGone("it is")])
def test_a_file_starts_over_twice_each_time_from_nothing(error: Exception) -> None:
    desk = Desk()
    tries = tried(desk, error, error, None)
    assert [given[4:] for given in tries.given] == [(0, 0)] * 3
    assert desk.bucket.log == []
    with pytest.raises(TransientError, match=r"^source/default/1 kept changing while it was stored$"):
        tried(desk, error, error, error, None)


def test_an_upload_to_a_key_that_was_taken_meanwhile_is_given_up() -> None:
    desk = Desk()
    desk.work.files[1] = record()
    assert len(tried(desk, KeyOccupied("it is"), None).given) == 2
    assert desk.bucket.log == [("abort", f"{FOLDER}/chosen.MP4", "begun")]


def test_what_is_no_reason_to_start_over_ends_the_try() -> None:
    with pytest.raises(OriginalsMissing):
        tried(Desk(), OriginalsMissing("it is"))


def test_without_time_for_a_part_no_file_is_begun() -> None:
    desk = Desk(message=Message(seconds=PAUSE_SECONDS))
    with pytest.raises(SliceOver):
        tried(desk)


def test_a_url_is_renewed_by_the_name_of_its_file() -> None:
    desk = Desk()
    tries = Tries(desk, [None])
    desk.downloader._try_to_store = tries  # type: ignore[method-assign]
    desk.downloader._store_file(desk.work, 2, original(2))
    renew = tries.given[0][3]._renew
    assert [renew(), renew()] == ["https://cdn/2.mp4?fresh=1", "https://cdn/2.mp4?fresh=2"]
    assert desk.api.calls == [("the token", "m-1")] * 2


def test_a_file_that_is_no_longer_offered_has_no_url() -> None:
    desk = Desk()
    tries = Tries(desk, [None])
    desk.downloader._try_to_store = tries  # type: ignore[method-assign]
    desk.downloader._store_file(desk.work, 3, original(3))
    with pytest.raises(OriginalsMissing, match=r"^GoPro no longer offers source/default/3$"):
        tries.given[0][3]._renew()


# ── Pauses ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "slowest_part", "time"),
    [(60.0, 0.0, False), (60.1, 0.0, True), (60.1, 20.0, True), (80.0, 30.0, False), (80.1, 30.0, True)],
)
def test_another_part_is_begun_only_where_twice_its_time_and_a_reserve_are_left(
    seconds: float, slowest_part: float, time: bool
) -> None:
    desk = Desk(message=Message(seconds=seconds))
    assert desk.work.may_go_on(slowest_part) is time
    assert desk.work.may_go_on() is (seconds > PAUSE_SECONDS)


def test_a_worker_that_was_taken_over_may_not_go_on() -> None:
    desk = Desk()
    desk.fenced = True
    with pytest.raises(Fenced):
        desk.work.may_go_on()


def paused(**fields: Any) -> MediaDownloadPaused:
    known = {"sync_id": "s-1", "media_id": "m-1", "filename": "GX010123.MP4", "item_count": 2, "hops": 5}
    return MediaDownloadPaused(**{**known, **fields})


def pause(event: Any, *, parts: int = 0, files: dict[int, dict[str, Any]] | None = None) -> tuple[Any, Records]:
    desk = Desk(event=event)
    desk.work.parts_under_way, desk.work.files = parts, files or {}
    return desk.downloader._pause(desk.work), desk.library


def test_a_pause_says_where_to_go_on_and_frees_the_medium() -> None:
    files = {3: record(), 1: record(status=STORED), 2: record()}
    event, library = pause(discovered(item_count=2), parts=2, files=files)
    assert isinstance(event, MediaDownloadPaused)
    assert (event.media_id, event.item_count, event.sync_id) == ("m-1", 2, "s-1")
    assert (event.hops, event.item, event.parts_done, event.idle_slices) == (1, 2, 5, 0)
    assert library.log == [("release", LEASE)]


def test_where_all_begun_files_are_stored_the_next_goes_on() -> None:
    stored = record(status=STORED)
    assert pause(discovered())[0].item == 1
    assert pause(discovered(), files={1: stored, 2: stored})[0].item == 3


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
def test_a_slice_is_idle_that_brought_no_new_part(event: Any, parts: int, idle: int) -> None:
    after, _ = pause(event, parts=parts)
    assert (after.idle_slices, after.parts_done, after.hops) == (idle, parts, event.hops + 1)


def test_a_download_may_pause_so_often_and_not_once_more() -> None:
    event, _ = pause(paused(hops=MAX_HOPS - 1), parts=1)
    assert event.hops == MAX_HOPS
    with pytest.raises(GaveUp):
        pause(paused(hops=MAX_HOPS), parts=1)


def test_a_download_that_goes_nowhere_is_given_up() -> None:
    desk = Desk(event=paused(parts_done=2, idle_slices=MAX_IDLE_SLICES - 1))
    with pytest.raises(GaveUp) as end:
        desk.downloader._pause(desk.work)
    (fact,) = end.value.facts
    assert isinstance(fact, MediaDownloadFailed)
    assert fact.reason == f"given up after 6 pauses, {MAX_IDLE_SLICES} of them without a new part"
    assert isinstance(end.value.__cause__, download.NoProgress)
    assert desk.library.log == [("failed", LEASE, fact.reason)]
