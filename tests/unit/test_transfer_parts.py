"""From an origin into an upload: whatever breaks, only bytes of one version arrive, and each exactly once."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.transfer import (
    ConnectionLost,
    Limits,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginSlow,
    Upload,
    Version,
    parts,
)
from services.downloader.transfer.bucket import Part
from services.downloader.transfer.origin import Reader
from services.downloader.transfer.parts import PartsTransfer
from tests.unit.transfer_fakes import Bucket, Meeting, Server, body_of

PART, SEGMENT = 100, 20


@pytest.fixture(scope="module", autouse=True)
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.downloader.transfer.parts.SMALLEST_SEGMENT", SEGMENT)
        yield


def upload_of(server: Server, *done: int, part_size: int = PART) -> Upload:
    upload = Upload(upload_id="u", key="k", version=server.version(), part_size=part_size)
    for number in done:
        upload.parts[number] = Part(etag="", size=upload.length_of(number), crc=0)
    return upload


def run(
    server: Server,
    bucket: Bucket,
    upload: Upload,
    *,
    connections: int = 1,
    memory: int = 100,
    check: Callable[[float], None] = lambda _: None,
    sleep: Callable[[float], None] = lambda _: None,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """`memory`: for how many parts. `begun` is called once the origin is open and before any part is."""
    origin = server.origin()
    limits = Limits(connections=connections, memory_bytes=memory * upload.part_size)
    with closing(Reader(origin, origin.connections.take(), sleep=sleep)) as reader:
        reader.begin(SEGMENT)
        begun()
        PartsTransfer(origin, cast("Any", bucket), upload, limits=limits, check=check, sleep=sleep).run(reader)


def lengths_asked(server: Server) -> list[int]:
    """Return the bytes of each request but the first, which only begins."""
    return [end - first for first, end in server.asked[1:]]


# ── Exact bytes ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(10, 40)
@given(
    size=st.integers(0, 700),
    part_size=st.integers(30, 300),
    breaks=st.lists(st.integers(1, 150), max_size=8),
    done=st.sets(st.integers(1, 7)),
    connections=st.integers(1, 6),
    memory=st.integers(1, 8),
    ignores=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_the_missing_parts_are_the_origins_bytes_however_often_connections_break(
    size: int, part_size: int, breaks: list[int], done: set[int], connections: int, memory: int, ignores: list[bool]
) -> None:
    # Bytes that are sent again are no progress, so a server that ignores ranges may break few connections.
    server = Server(body_of(size), breaks=breaks[: 3 if any(ignores) else 8], ignores_ranges=list(ignores))
    bucket = Bucket()
    count = max(1, -(-size // part_size))
    upload = upload_of(server, *(n for n in done if n <= count), part_size=part_size)
    before = set(upload.parts)
    run(server, bucket, upload, connections=connections, memory=memory)
    assert set(bucket.parts) == set(range(1, count + 1)) - before
    for number, part in bucket.parts.items():
        assert part == server.body[(number - 1) * part_size : number * part_size]
    assert server.most_open <= connections


def test_an_empty_file_is_one_empty_part() -> None:
    server, bucket = Server(b""), Bucket()
    run(server, bucket, upload_of(server), connections=4)
    assert bucket.parts == {1: b""}


@pytest.mark.scenario(39)
def test_bytes_of_two_versions_never_mix() -> None:
    server, bucket = Server(body_of(250)), Bucket()

    def replaced() -> None:
        server.etag = "another"

    with pytest.raises(OriginChanged):
        run(server, bucket, upload_of(server), begun=replaced)
    assert all(part == server.body[:PART] for part in bucket.parts.values())


def test_a_version_of_another_length_is_refused() -> None:
    upload = Upload(upload_id="u", key="k", version=Version(size=300, etag="e"), part_size=PART)
    with pytest.raises(OriginChanged):
        run(Server(body_of(250)), Bucket(), upload, connections=3)


@pytest.mark.parametrize(("done", "missing"), [((1, 3), [2]), ((1, 2, 3), [])])
def test_stored_parts_are_not_fetched_again(done: tuple[int, ...], missing: list[int]) -> None:
    server, bucket = Server(body_of(300)), Bucket()
    run(server, bucket, upload_of(server, *done), connections=4)
    assert list(bucket.parts) == missing
    assert all(PART <= first < end <= 2 * PART for first, end in server.asked[1:])


# ── Connections and memory ───────────────────────────────────────────────────────────────────────────────────────────


def test_as_many_connections_are_used_as_are_allowed_and_never_more() -> None:
    server, bucket = Server(body_of(2000), before=Meeting(4)), Bucket()
    run(server, bucket, upload_of(server), connections=4)
    assert server.most_open == 4
    assert bucket.whole == server.body


@pytest.mark.parametrize(("size", "memory"), [(PART, 9), (1000, 1), (1000, 2)])
def test_several_connections_fetch_a_part_where_fewer_parts_than_connections_have_room(size: int, memory: int) -> None:
    server, bucket = Server(body_of(size), before=Meeting(4)), Bucket()
    run(server, bucket, upload_of(server), connections=4, memory=memory)
    assert max(lengths_asked(server)) <= PART * max(1, min(memory, size // PART)) // 4
    assert bucket.whole == server.body


def test_one_connection_fetches_a_part_where_all_have_room() -> None:
    server = Server(body_of(2000))
    run(server, Bucket(), upload_of(server), connections=4)
    before_the_last = [(first, end) for first, end in server.asked[1:] if first < 1500]
    assert sorted(before_the_last) == [(SEGMENT, PART), *((n * PART, (n + 1) * PART) for n in range(1, 15))]


def test_no_connection_is_opened_for_less_than_the_smallest_segment() -> None:
    server = Server(body_of(2 * SEGMENT + 1))
    run(server, Bucket(), upload_of(server), connections=8)
    assert server.most_open <= 3
    assert lengths_asked(server)[0] == SEGMENT


def test_a_part_that_is_uploaded_leaves_its_connection_to_another() -> None:
    another_is_fetched = threading.Event()
    server = Server(body_of(600), on_sent=lambda first, _: another_is_fetched.set() if first >= PART else None)
    bucket = Bucket(before=lambda _: _assert(another_is_fetched.wait(60)))
    run(server, bucket, upload_of(server), connections=1)
    assert (server.most_open, bucket.whole) == (1, server.body)


def _assert(holds: bool) -> None:
    assert holds


@pytest.mark.scenario(52)
@pytest.mark.parametrize(("connections", "memory"), [(1, 1), (1, 9), (2, 9), (4, 2), (4, 9), (6, 3)])
def test_no_more_parts_are_in_hand_than_the_limits_allow_however_slow_s3_is(connections: int, memory: int) -> None:
    begun: set[int] = set()
    in_hand: list[int] = []
    allowed = Limits(connections=connections, memory_bytes=memory * PART).parts_in_hand(PART)
    full = threading.Event()

    def note(first: int, _: int) -> None:
        begun.add(first // PART + 1)
        in_hand.append(len(begun - set(bucket.parts)))
        if in_hand[-1] == allowed:
            full.set()

    server = Server(body_of(1600), on_sent=note)
    bucket = Bucket(before=lambda _: _assert(full.wait(60)))
    run(server, bucket, upload_of(server), connections=connections, memory=memory)
    assert max(in_hand) == allowed
    assert server.most_open <= connections
    assert bucket.whole == server.body


def test_buffers_are_used_again() -> None:
    server, bucket = Server(body_of(2000)), Bucket()
    run(server, bucket, upload_of(server), connections=4, memory=3)
    assert len(bucket.parts) == 20
    assert len(bucket.buffers) <= 3


def test_a_buffer_is_freed_before_the_next_one_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    live: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Buffer(bytearray):
        __hash__ = object.__hash__  # type: ignore[assignment]

        def __init__(self, *args: Any) -> None:
            nonlocal most
            super().__init__(*args)
            live.add(self)
            most = max(most, sum(len(buffer) for buffer in live))

    class ForgetfulBucket(Bucket):
        def put_part(self, upload: Upload, number: int, body: bytes | bytearray) -> None:
            super().put_part(upload, number, body)
            self.buffers.clear()

    monkeypatch.setattr(parts, "bytearray", Buffer, raising=False)
    server, bucket = Server(body_of(250)), ForgetfulBucket()
    run(server, bucket, upload_of(server), memory=1)
    assert bucket.whole == server.body
    assert most == PART


class TimeIsOver(Exception):
    pass


def until(holds: Callable[[], bool]) -> Callable[[float], None]:
    """Return a check that ends a copy as soon as this doesn't hold."""

    def check(_: float) -> None:
        if not holds():
            raise TimeIsOver

    return check


@pytest.mark.scenario(53)
@pytest.mark.parametrize("end", ["stored", "out of time", "failed"])
def test_nothing_of_a_transfer_is_kept_once_it_is_over(end: str) -> None:
    server, bucket = Server(body_of(900)), Bucket()
    upload, origin = upload_of(server), server.origin()
    looks = iter([True] * 5)
    if end == "failed":
        server.errors = [(418, None)] * 50
        server.spared = 3

    def remains() -> Any:
        with closing(Reader(origin, origin.connections.take(), sleep=lambda _: None)) as reader:
            reader.begin(SEGMENT)
            transfer = PartsTransfer(
                origin,
                cast("Any", bucket),
                upload,
                limits=Limits(connections=3, memory_bytes=4 * PART),
                check=until(lambda: end != "out of time" or next(looks, False)),
                sleep=lambda _: None,
            )
            try:
                transfer.run(reader)
                assert end == "stored"
            except OriginBroken:
                assert end == "failed"
            except TimeIsOver:
                assert end == "out of time"
            return weakref.ref(transfer)

    gc.disable()
    try:
        assert remains()() is None
    finally:
        gc.enable()


# ── What breaks ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(10)
def test_a_broken_connection_resumes_at_the_byte_where_it_broke() -> None:
    server = Server(body_of(100), breaks=[10, 30])
    run(server, Bucket(), upload_of(server))
    assert [first for first, _ in server.asked] == [0, 10, 40]


def test_an_origin_that_sends_nothing_more_fails_after_a_few_connections_and_keeps_the_parts() -> None:
    server = Server(body_of(250), breaks=[SEGMENT, 80, 30, *[0] * 50])
    upload = upload_of(server)
    with pytest.raises(ConnectionLost):
        run(server, Bucket(), upload)
    assert list(upload.parts) == [1]
    assert len(server.asked) < 10


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_an_origin_with_an_error_is_asked_again(status: int) -> None:
    server, bucket, waited = Server(body_of(900), errors=[(status, None)] * 3), Bucket(), list[float]()
    run(server, bucket, upload_of(server), connections=2, sleep=waited.append)
    assert len(waited) == 3
    assert bucket.whole == server.body


def test_a_refusal_of_s3_ends_the_transfer() -> None:
    def refuse(number: int) -> None:
        if number == 3:
            raise PermissionError

    server, bucket = Server(body_of(900)), Bucket(before=refuse)
    with pytest.raises(PermissionError):
        run(server, bucket, upload_of(server), connections=3)
    assert len(bucket.parts) < 9
    assert server.open_now == 0


# ── A busy origin ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_busy_origin_gets_fewer_connections_and_the_last_one_waits_as_asked() -> None:
    server, bucket, waited = Server(body_of(900)), Bucket(), list[float]()
    server.errors = [(503, 7.0), (429, 7.0), (503, 7.0)]
    server.before_error = Meeting(3)
    run(server, bucket, upload_of(server), connections=3, sleep=waited.append)
    assert waited == [7.0]
    assert bucket.whole == server.body


def test_after_one_busy_response_there_is_one_connection_fewer() -> None:
    server, bucket = Server(body_of(3000), errors=[(503, 7.0)], spared=4), Bucket()
    first_four, last_three = Meeting(4), Meeting(3)
    counts: list[int] = []

    def meet(offset: int) -> None:
        (first_four if offset < 1000 else last_three)()
        counts.extend([server.reading] if offset >= 1000 else [])

    server.before = meet
    run(server, bucket, upload_of(server), connections=4)
    assert max(counts) == 3
    assert bucket.whole == server.body


def test_a_single_connection_that_meets_a_busy_origin_waits_at_once() -> None:
    server, bucket, waited = Server(body_of(SEGMENT), breaks=[10], errors=[(503, 7.0)]), Bucket(), list[float]()
    run(server, bucket, upload_of(server), connections=8, sleep=waited.append)
    assert len(server.asked) == 1 + 1 + 1
    assert 7.0 in waited
    assert bucket.whole == server.body


@pytest.mark.parametrize(
    ("busy", "waits"),
    [([300.0], []), ([1.0] * 9, [1.0] * 3), ([None] * 9, [2.0, 4.0, 8.0])],
    ids=["asks for long", "stays busy", "doesn't say how long"],
)
def test_a_wait_for_a_busy_origin_is_left_to_the_caller_when_it_is_long(
    busy: list[float | None], waits: list[float]
) -> None:
    server, waited = Server(body_of(300), errors=[(503, seconds) for seconds in busy]), list[float]()
    with pytest.raises(OriginBusy) as raised:
        run(server, Bucket(), upload_of(server), sleep=waited.append)
    assert raised.value.retry_after == busy[0]
    assert waited == waits


# ── A slow origin ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_slow_connections_give_way_and_keep_what_they_have_fetched() -> None:
    """Of several, each is given up as soon as it is slow: what they share may be enough for one."""
    server, bucket = Server(body_of(2000), breaks=[10] * 4, stalls=True, before=Meeting(4)), Bucket()
    run(server, bucket, upload_of(server), connections=4)
    assert bucket.whole == server.body
    assert server.sent == 2000


def test_a_single_slow_connection_is_given_up_after_a_few_and_the_error_says_how_slow() -> None:
    server = Server(body_of(300), breaks=[10] * 50, stalls=True)
    with pytest.raises(OriginSlow, match="the origin is slow: 8 kB/s"):
        run(server, Bucket(), upload_of(server))
    assert server.sent == 40


def test_connections_that_are_refused_leave_the_work_to_the_last_one() -> None:
    server, bucket = Server(body_of(900), refuses_beyond=1), Bucket()
    run(server, bucket, upload_of(server), connections=3)
    assert bucket.whole == server.body


def test_a_connection_that_has_nothing_to_fetch_takes_half_of_what_the_slowest_still_has_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.downloader.transfer.parts._SPLIT_SECONDS", 0.001)
    half_is_taken = threading.Event()

    def read(offset: int) -> None:
        if PART // 2 < offset < PART:
            half_is_taken.set()
        elif 0 < offset < PART:
            _assert(half_is_taken.wait(60))

    server, bucket = Server(body_of(2 * PART), before=read), Bucket()
    run(server, bucket, upload_of(server), connections=2)
    assert bucket.whole == server.body
    assert any(PART // 2 < first < PART for first, _ in server.asked)


# ── A server that ignores ranges ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(40)
def test_a_server_without_ranges_is_read_over_one_connection() -> None:
    server, bucket = Server(body_of(1000), ignores_ranges=[True]), Bucket()
    run(server, bucket, upload_of(server), connections=4)
    assert bucket.whole == server.body
    assert server.asked == [(0, SEGMENT)]
    assert (server.most_open, server.sent) == (1, 1000)


def test_one_connection_is_left_when_ranges_are_ignored_later_on() -> None:
    server, bucket = Server(body_of(3000), ignores_ranges=[False, False, True]), Bucket()
    late: list[int] = []
    server.on_sent = lambda first, _: late.append(server.open_now) if first >= 2000 else None
    run(server, bucket, upload_of(server), connections=4)
    assert bucket.whole == server.body
    assert set(late) == {1}
    assert len(server.asked) <= 1 + 2 * 4


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("connections", [1, 3])
def test_a_transfer_stops_between_parts_when_time_is_over(connections: int) -> None:
    server, bucket = Server(body_of(350)), Bucket()
    upload = upload_of(server)
    with pytest.raises(TimeIsOver):
        run(server, bucket, upload, connections=connections, memory=1, check=until(lambda: len(bucket.parts) < 2))
    assert sorted(bucket.parts) == [1, 2]
    run(server, bucket, upload, connections=connections)
    assert bucket.whole == server.body


@pytest.mark.parametrize("connections", [1, 4])
def test_a_transfer_stops_within_a_part_when_time_is_over(monkeypatch: pytest.MonkeyPatch, connections: int) -> None:
    monkeypatch.setattr("services.downloader.transfer.parts._LOOK_BYTES", 10)
    server, bucket = Server(body_of(350)), Bucket()
    enough = until(lambda: server.sent < 150)
    with pytest.raises(TimeIsOver):
        run(server, bucket, upload_of(server), connections=connections, memory=1, check=enough)
    assert list(bucket.parts) == [1]
    assert server.sent <= 150 + 10 * connections
    assert server.open_now == 0


@pytest.mark.timeout(60)
def test_a_thread_that_waits_learns_that_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes another thread to give its connection back and to notice that time is over."""
    put_back = PartsTransfer._put_back

    def slowly(self: PartsTransfer, segment: Any, reader: Reader) -> None:
        put_back(self, segment, reader)
        time.sleep(0.05)

    monkeypatch.setattr(PartsTransfer, "_put_back", slowly)
    monkeypatch.setattr("services.downloader.transfer.parts._LOOK_BYTES", 10)
    # Of two halves of the only part that has room, the second is there at once.
    server = Server(body_of(300), before=lambda offset: time.sleep(0.05) if offset < PART // 2 else None)
    with pytest.raises(TimeIsOver):
        run(server, Bucket(), upload_of(server), connections=2, memory=1, check=until(lambda: server.sent < 80))


def test_the_check_gets_the_time_of_the_slowest_part() -> None:
    asked: list[float] = []
    server = Server(body_of(300), before=lambda _: time.sleep(0.05))
    run(server, Bucket(), upload_of(server), memory=1, check=asked.append)
    assert asked[0] == 0
    assert max(asked) >= 0.05
