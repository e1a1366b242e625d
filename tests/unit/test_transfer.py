"""From an origin into an upload: whatever breaks, only bytes of one version arrive, and each exactly once."""

import threading
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.origin import OriginBusy, OriginChanged, Version
from services.downloader.transfer import transfer
from services.downloader.upload import Part, Upload
from services.downloader.wire import ConnectionLost, Wire

PART = 100


def body_of(size: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(size))


@dataclass
class Origin:
    """Answers that break after so many bytes each; those after the last one never do."""

    body: bytes
    breaks: list[int] = field(default_factory=list)
    version: Version | None = None
    knows_ranges: bool = True
    busy: list[float | None] = field(default_factory=list)
    delay: float = 0.0
    opened: list[int] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self, wire: object, first: int, end: int, expected: Version | None = None) -> "Stream":
        with self.lock:
            self.opened.append(first)
            if self.busy:
                raise OriginBusy("busy", retry_after=self.busy.pop(0))
            version = self.version or Version(size=len(self.body), etag="e")
            if expected and expected != version:
                raise OriginChanged("another by now")
            breaks = self.breaks.pop(0) if self.breaks else None
            return Stream(self, first, end if self.knows_ranges else version.size, breaks, version)


@dataclass
class Stream:
    origin: Origin
    position: int
    end: int
    breaks_after: int | None
    version: Version
    closed: bool = False

    @property
    def ranges_ignored(self) -> bool:
        return not self.origin.knows_ranges

    def fill(self, buffer: memoryview) -> int:
        with self.origin.lock:
            self.origin.at_once += 1
            self.origin.most_at_once = max(self.origin.most_at_once, self.origin.at_once)
        time.sleep(self.origin.delay)
        count = min(len(buffer), self.end - self.position)
        if self.breaks_after is not None:
            count = min(count, self.breaks_after)
            self.breaks_after -= count
        buffer[:count] = self.origin.body[self.position : self.position + count]
        self.position += count
        with self.origin.lock:
            self.origin.at_once -= 1
        return count

    def close(self) -> None:
        self.closed = True


@dataclass
class Bucket:
    parts: dict[int, bytes] = field(default_factory=dict)

    def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
        assert number not in self.parts, "a part that is there is not sent again"
        self.parts[number] = bytes(body)  # the buffer is used again
        upload.parts[number] = Part(etag="", size=len(body), crc=0)


def upload_of(body: bytes, *done: int) -> Upload:
    upload = Upload(upload_id="u", key="k", version=Version(size=len(body), etag="e"), part_size=PART)
    for number in done:
        upload.parts[number] = Part(etag="", size=upload.length_of(number), crc=0)
    return upload


def run(origin: Origin, bucket: Bucket, upload: Upload, *, connections: int = 1, **options: object) -> bool:
    more: dict[str, object] = {"sleep": lambda _: None, **options}
    return transfer(origin, bucket, upload, connections=connections, **more)  # type: ignore[arg-type]


def whole(bucket: Bucket) -> bytes:
    return b"".join(part for _, part in sorted(bucket.parts.items()))


@given(
    size=st.integers(1, 700),
    breaks=st.lists(st.integers(1, 150), max_size=8),
    done=st.sets(st.integers(1, 7)),
    connections=st.integers(1, 5),
    knows_ranges=st.booleans(),
)
def test_the_missing_parts_are_the_origins_bytes_however_often_connections_break(
    size: int, breaks: list[int], done: set[int], connections: int, knows_ranges: bool
) -> None:
    body, bucket = body_of(size), Bucket()
    upload = upload_of(body, *(n for n in done if n <= -(-size // PART)))
    before = set(upload.parts)
    origin = Origin(body, list(breaks), knows_ranges=knows_ranges)
    # A server without ranges is opened at byte 0 whatever is asked for; the real stream passes over what comes first.
    assert run(origin, bucket, upload, connections=connections)
    assert set(bucket.parts) == set(range(1, upload.part_count + 1)) - before
    for number, part in bucket.parts.items():
        assert part == body[(number - 1) * PART : number * PART]


def test_as_many_connections_are_used_as_are_allowed_and_never_more() -> None:
    body = body_of(2000)
    origin, bucket = Origin(body, delay=0.03), Bucket()
    assert run(origin, bucket, upload_of(body), connections=4)
    assert origin.most_at_once == 4
    assert whole(bucket) == body


def test_no_more_connections_are_opened_than_there_are_parts_missing() -> None:
    body = body_of(300)
    origin = Origin(body, delay=0.01)
    run(origin, Bucket(), upload_of(body, 1), connections=8)
    assert origin.most_at_once <= 2


def test_with_a_server_that_knows_no_ranges_one_connection_goes_on_alone() -> None:
    body = body_of(1000)
    origin, bucket = Origin(body, knows_ranges=False), Bucket()
    assert run(origin, bucket, upload_of(body), connections=4)
    assert whole(bucket) == body
    assert len(origin.opened) <= 4 + 1


def test_a_stream_that_is_open_already_is_used() -> None:
    body = body_of(90)
    origin = Origin(body)
    stream = origin.open(None, 0, PART)
    run(origin, Bucket(), upload_of(body), opened=(Wire(), stream))
    assert origin.opened == [0]
    assert stream.closed


def test_a_broken_connection_goes_on_at_the_byte_where_it_broke() -> None:
    body = body_of(100)
    origin = Origin(body, [30])
    run(origin, Bucket(), upload_of(body))
    assert origin.opened == [0, 30]


def test_a_source_that_gives_nothing_any_more_fails_after_a_few_connections_and_keeps_the_parts() -> None:
    body, bucket = body_of(250), Bucket()
    upload, origin = upload_of(body), Origin(body, [100, 30, *[0] * 50])
    with pytest.raises(ConnectionLost):
        run(origin, bucket, upload)
    assert list(upload.parts) == [1]
    assert len(origin.opened) < 10


def test_bytes_of_two_versions_never_mix() -> None:
    body, bucket = body_of(250), Bucket()
    origin = Origin(body)
    stream = origin.open(None, 0, PART)
    origin.version = Version(size=250, etag="another")
    with pytest.raises(OriginChanged):
        run(origin, bucket, upload_of(body), opened=(Wire(), stream))
    assert list(bucket.parts) == [1]


@pytest.mark.parametrize("connections", [1, 3])
def test_a_transfer_stops_between_parts_when_it_may_not_go_on(connections: int) -> None:
    body, bucket = body_of(350), Bucket()
    answers = iter([True] * 4)  # before each part, and before each read
    upload = upload_of(body)
    assert not run(Origin(body), bucket, upload, connections=connections, may_go_on=lambda _: next(answers, False))
    assert sorted(bucket.parts) == [1, 2]
    assert run(Origin(body), bucket, upload, connections=connections)
    assert whole(bucket) == body


def test_a_part_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.downloader.transfer._READ_BYTES", 10)
    body, bucket = body_of(350), Bucket()
    origin = Origin(body)
    stream = origin.open(None, 0, 350)
    assert not run(origin, bucket, upload_of(body), opened=(Wire(), stream), may_go_on=lambda _: stream.position < 150)
    assert list(bucket.parts) == [1]
    assert stream.closed
    assert stream.position == 150, "it stops within the part"


def test_whether_it_may_go_on_is_asked_with_the_time_of_the_slowest_part() -> None:
    asked: list[float] = []
    body = body_of(300)
    run(Origin(body, delay=0.05), Bucket(), upload_of(body), may_go_on=lambda s: asked.append(s) or True)
    assert asked[0] == 0
    assert max(asked) >= 0.05


def test_what_the_asked_one_raises_ends_the_transfer() -> None:
    def overtaken(_: float) -> bool:
        raise PermissionError

    with pytest.raises(PermissionError):
        run(Origin(body_of(300)), Bucket(), upload_of(body_of(300)), connections=3, may_go_on=overtaken)


def test_progress_counts_the_bytes_that_are_stored() -> None:
    body = body_of(250)
    seen: list[int] = []
    run(Origin(body), Bucket(), upload_of(body, 1), progress=seen.append)
    assert seen == [200, 250]


def test_a_busy_origin_gets_fewer_connections_and_the_last_one_waits_as_asked() -> None:
    body, bucket, waited = body_of(900), Bucket(), list[float]()
    origin = Origin(body, busy=[7.0, 7.0, 7.0], delay=0.01)
    assert run(origin, bucket, upload_of(body), connections=3, sleep=waited.append)
    assert waited == [7.0]
    assert origin.most_at_once == 1
    assert whole(bucket) == body


@pytest.mark.parametrize("busy", [[300.0], [1.0] * 9, [None] * 9])
def test_an_origin_that_stays_busy_or_asks_for_long_is_left_to_the_message(busy: list[float | None]) -> None:
    with pytest.raises(OriginBusy):
        run(Origin(body_of(300), busy=list(busy)), Bucket(), upload_of(body_of(300)))
