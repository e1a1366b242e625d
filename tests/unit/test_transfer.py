"""From an origin into an upload: whatever breaks, only bytes of one version arrive, and each exactly once."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.origin import ConnectionLost, OriginChanged, Version
from services.downloader.transfer import transfer
from services.downloader.upload import Part, Upload

PART = 100


def body_of(size: int) -> bytes:
    return bytes(n * 7 % 256 for n in range(size))


@dataclass
class Origin:
    """Connections that break after so many bytes each; the last one never does."""

    body: bytes
    breaks: list[int] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    version: Version | None = None

    def open(self, offset: int, expected: Version | None = None) -> "Stream":
        self.opened.append(offset)
        version = self.version or Version(size=len(self.body), etag="e")
        if expected and expected != version:
            raise OriginChanged("another by now")
        return Stream(self.body[offset:], self.breaks.pop(0) if self.breaks else None, version)


@dataclass
class Stream:
    rest: bytes
    breaks_after: int | None
    version: Version
    closed: bool = False

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self.rest), 37)
        if self.breaks_after is not None:
            count = min(count, self.breaks_after)
            self.breaks_after -= count
        if not count:
            raise ConnectionLost("broken")
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

    def close(self) -> None:
        self.closed = True


@dataclass
class Bucket:
    parts: dict[int, bytes] = field(default_factory=dict)

    def put_part(self, upload: Upload, number: int, body: bytes) -> None:
        assert number not in self.parts, "a part that is there is not sent again"
        self.parts[number] = body
        upload.parts[number] = Part(etag="", size=len(body), crc=0)


def upload_of(body: bytes, *done: int) -> Upload:
    upload = Upload(upload_id="u", key="k", version=Version(size=len(body), etag="e"), part_size=PART)
    for number in done:
        upload.parts[number] = Part(etag="", size=upload.length_of(number), crc=0)
    return upload


def run(origin: Origin, bucket: Bucket, upload: Upload, **options: object) -> bool:
    return transfer(origin, bucket, upload, sleep=lambda _: None, **options)  # type: ignore[arg-type]


@given(size=st.integers(1, 700), breaks=st.lists(st.integers(1, 150), max_size=8), done=st.sets(st.integers(1, 7)))
def test_the_missing_parts_are_the_origins_bytes_however_often_connections_break(
    size: int, breaks: list[int], done: set[int]
) -> None:
    body, bucket = body_of(size), Bucket()
    upload = upload_of(body, *(n for n in done if n <= -(-size // PART)))
    before = set(upload.parts)
    assert run(Origin(body, list(breaks)), bucket, upload)
    assert set(bucket.parts) == set(range(1, upload.part_count + 1)) - before
    for number, part in bucket.parts.items():
        assert part == body[(number - 1) * PART : number * PART]


def test_parts_in_a_row_come_over_one_connection() -> None:
    body = body_of(350)
    origin = Origin(body)
    run(origin, Bucket(), upload_of(body))
    assert origin.opened == [0]


def test_a_stream_that_is_open_already_is_used() -> None:
    body = body_of(250)
    origin = Origin(body)
    stream = origin.open(0)
    run(origin, Bucket(), upload_of(body), stream=stream)
    assert origin.opened == [0]
    assert stream.closed


def test_a_broken_connection_goes_on_at_the_byte_where_it_broke() -> None:
    body = body_of(250)
    origin = Origin(body, [130])
    run(origin, Bucket(), upload_of(body))
    assert origin.opened == [0, 130]


def test_a_source_that_gives_nothing_any_more_fails_after_a_few_connections_and_keeps_the_parts() -> None:
    body, bucket = body_of(250), Bucket()
    upload, origin = upload_of(body), Origin(body, [130, *[0] * 50])
    with pytest.raises(ConnectionLost):
        run(origin, bucket, upload)
    assert list(upload.parts) == [1]
    assert len(origin.opened) < 10


def test_bytes_of_two_versions_never_mix() -> None:
    body, bucket = body_of(250), Bucket()
    origin = Origin(body, [130])
    stream = origin.open(0)
    origin.version = Version(size=250, etag="another")
    with pytest.raises(OriginChanged):
        run(origin, bucket, upload_of(body), stream=stream)
    assert list(bucket.parts) == [1]


def test_a_transfer_stops_between_parts_when_it_may_not_go_on() -> None:
    body, bucket = body_of(350), Bucket()
    upload = upload_of(body)
    assert not run(Origin(body), bucket, upload, may_go_on=lambda: len(bucket.parts) < 2)
    assert list(bucket.parts) == [1, 2]
    assert run(Origin(body), bucket, upload)
    assert b"".join(part for _, part in sorted(bucket.parts.items())) == body


def test_a_part_that_comes_too_slowly_is_not_waited_for() -> None:
    body, bucket = body_of(350), Bucket()
    origin = Origin(body)
    stream = origin.open(0)
    upload = upload_of(body)
    assert not run(origin, bucket, upload, stream=stream, may_go_on=lambda: len(stream.rest) > 180)
    assert list(bucket.parts) == [1]
    assert stream.closed
    assert len(stream.rest) > 100, "it stops within the part"


def test_progress_counts_the_bytes_that_are_stored() -> None:
    body = body_of(250)
    seen: list[int] = []
    run(Origin(body), Bucket(), upload_of(body, 1), progress=seen.append)
    assert seen == [200, 250]
