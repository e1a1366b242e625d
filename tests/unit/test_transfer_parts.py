"""From an origin into an upload: whatever breaks, only bytes of one version arrive, and each exactly once."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.transfer import ConnectionLost, Limits, OriginBusy, OriginChanged, Upload, Version, parts
from services.downloader.transfer.bucket import Part
from services.downloader.transfer.origin import OriginBroken, OriginFailed
from services.downloader.transfer.parts import PartsTransfer
from services.downloader.transfer.reader import Reader
from tests.unit.transfer_fakes import Bucket, Server, body_of

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
    may_go_on: Callable[[float], bool] = lambda _: True,
    progress: Callable[[Upload], None] = lambda _: None,
    sleep: Callable[[float], None] = lambda _: None,
    begun: Callable[[], None] = lambda: None,
) -> bool:
    """`memory`: for how many parts. `begun` is called once the origin is open and before any part is."""
    origin = server.origin()
    limits = Limits(connections=connections, memory_bytes=memory * upload.part_size)
    with closing(Reader(origin, may_go_on=lambda: may_go_on(0.0), sleep=sleep)) as reader:
        reader.begin(SEGMENT)
        begun()
        ports: Any = {"may_go_on": may_go_on, "progress": progress, "sleep": sleep}
        return PartsTransfer(origin, bucket, upload, limits=limits, **ports).run(reader)  # type: ignore[arg-type]


def lengths_asked(server: Server) -> list[int]:
    """Of all but the first request, which only begins."""
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
    # What is passed over once more is nothing new, so of a server that ignores ranges few connections may break.
    server = Server(body_of(size), breaks=breaks[: 3 if any(ignores) else 8], ignores_ranges=list(ignores))
    bucket = Bucket()
    count = max(1, -(-size // part_size))
    upload = upload_of(server, *(n for n in done if n <= count), part_size=part_size)
    before = set(upload.parts)
    assert run(server, bucket, upload, connections=connections, memory=memory)
    assert set(bucket.parts) == set(range(1, count + 1)) - before
    for number, part in bucket.parts.items():
        assert part == server.body[(number - 1) * part_size : number * part_size]
    assert server.most_open <= connections


def test_an_empty_file_is_one_empty_part() -> None:
    server, bucket = Server(b""), Bucket()
    assert run(server, bucket, upload_of(server), connections=4)
    assert bucket.parts == {1: b""}


@pytest.mark.scenario(39)
def test_bytes_of_two_versions_never_mix() -> None:
    server, bucket = Server(body_of(250)), Bucket()

    def replaced() -> None:
        server.etag = "another"

    with pytest.raises(OriginChanged):
        run(server, bucket, upload_of(server), begun=replaced)
    assert all(part == server.body[:PART] for part in bucket.parts.values())


def test_what_is_stored_already_is_not_fetched_again() -> None:
    server, bucket = Server(body_of(300)), Bucket()
    assert run(server, bucket, upload_of(server, 1, 3))
    assert list(bucket.parts) == [2]
    assert all(PART <= first < end <= 2 * PART for first, end in server.asked[1:])


def test_an_upload_that_lacks_nothing_is_filled() -> None:
    server = Server(body_of(250))
    assert run(server, Bucket(), upload_of(server, 1, 2, 3), connections=4)
    assert len(server.asked) == 1


# ── Connections and memory ───────────────────────────────────────────────────────────────────────────────────────────


def test_as_many_connections_are_used_as_are_allowed_and_never_more() -> None:
    server, bucket = Server(body_of(2000), delay=0.03), Bucket()
    assert run(server, bucket, upload_of(server), connections=4)
    assert (server.most_reading, server.most_open) == (4, 4)
    assert bucket.whole == server.body


@pytest.mark.parametrize(("size", "memory", "wanted"), [(PART, 9, 4), (1000, 1, 4), (1000, 2, 4)])
def test_where_fewer_parts_than_connections_have_room_each_is_fetched_by_several(
    size: int, memory: int, wanted: int
) -> None:
    server, bucket = Server(body_of(size), delay=0.03), Bucket()
    assert run(server, bucket, upload_of(server), connections=4, memory=memory)
    assert server.most_reading == wanted
    assert max(lengths_asked(server)) <= PART * max(1, min(memory, size // PART)) // 4
    assert bucket.whole == server.body


def test_with_room_enough_each_part_is_fetched_by_one_connection() -> None:
    server = Server(body_of(2000))
    assert run(server, Bucket(), upload_of(server), connections=4)
    before_the_last = [(first, end) for first, end in server.asked[1:] if first < 1500]
    assert sorted(before_the_last) == [(SEGMENT, PART), *((n * PART, (n + 1) * PART) for n in range(1, 15))]


def test_no_connection_is_opened_for_less_than_the_smallest_segment() -> None:
    server = Server(body_of(2 * SEGMENT + 1), delay=0.02)
    assert run(server, Bucket(), upload_of(server), connections=8)
    assert server.most_open <= 3
    assert lengths_asked(server)[0] == SEGMENT


def test_a_part_that_is_being_sent_leaves_its_connection_to_another() -> None:
    server = Server(body_of(600), delay=0.01)
    fetched_meanwhile: list[int] = []
    bucket = Bucket(delay=0.1)

    def note(first: int, _: int) -> None:
        if bucket.putting:
            fetched_meanwhile.append(first)

    server.on_sent = note
    assert run(server, bucket, upload_of(server), connections=1)
    assert fetched_meanwhile
    assert (server.most_open, bucket.whole) == (1, server.body)


@pytest.mark.scenario(52)
@pytest.mark.parametrize(("connections", "memory"), [(1, 1), (1, 9), (2, 9), (4, 2), (4, 9), (6, 3)])
def test_no_more_parts_are_in_hand_than_the_limits_allow_however_slowly_s3_takes_them(
    connections: int, memory: int
) -> None:
    server, bucket = Server(body_of(1600), delay=0.002), Bucket(delay=0.03)
    begun: set[int] = set()
    most = 0

    def note(first: int, _: int) -> None:
        nonlocal most
        begun.add(first // PART + 1)
        most = max(most, len(begun - set(bucket.parts)))

    upload = upload_of(server)
    allowed = Limits(connections=connections, memory_bytes=memory * PART).parts_in_hand(PART)
    server.on_sent = note
    assert run(server, bucket, upload, connections=connections, memory=memory)
    assert most == allowed
    assert server.most_open <= connections
    assert bucket.whole == server.body


def test_buffers_are_used_again() -> None:
    server, bucket = Server(body_of(2000), delay=0.001), Bucket()
    assert run(server, bucket, upload_of(server), connections=4, memory=3)
    assert len(bucket.parts) == 20
    assert len(bucket.buffers) <= 3


def test_a_buffer_makes_room_before_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    live: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    class Buffer(bytearray):
        __hash__ = object.__hash__  # type: ignore[assignment]

        def __init__(self, *args: Any) -> None:
            nonlocal most
            super().__init__(*args)
            live.add(self)
            most = max(most, sum(len(buffer) for buffer in live))

    monkeypatch.setattr(parts, "bytearray", Buffer, raising=False)
    server, bucket = Server(body_of(250)), Bucket()

    def put_part(upload: Upload, number: int, body: bytes | bytearray) -> None:
        bucket.parts[number] = bytes(body)
        upload.parts[number] = Part(etag="", size=len(body), crc=0)

    monkeypatch.setattr(bucket, "put_part", put_part)
    assert run(server, bucket, upload_of(server), memory=1)
    assert bucket.whole == server.body
    assert most == PART


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
        with closing(Reader(origin, may_go_on=lambda: True, sleep=lambda _: None)) as reader:
            reader.begin(SEGMENT)
            transfer = PartsTransfer(
                origin,
                bucket,  # type: ignore[arg-type]
                upload,
                limits=Limits(connections=3, memory_bytes=4 * PART),
                may_go_on=lambda _: end != "out of time" or next(looks, False),
                progress=lambda _: None,
                sleep=lambda _: None,
            )
            try:
                assert transfer.run(reader) == (end == "stored")
            except OriginBroken:
                assert end == "failed"
            return weakref.ref(transfer)

    gc.disable()
    try:
        assert remains()() is None
    finally:
        gc.enable()


def test_every_connection_is_handed_on_once() -> None:
    server = Server(body_of(900), delay=0.01)
    assert run(server, Bucket(), upload_of(server), connections=3)
    assert 1 <= len(server.given_back) <= 3
    assert server.open_now == 0


# ── What breaks ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(10)
def test_a_broken_connection_goes_on_at_the_byte_where_it_broke() -> None:
    server = Server(body_of(100), breaks=[10, 30])
    run(server, Bucket(), upload_of(server))
    assert [first for first, _ in server.asked] == [0, 10, 40]


def test_a_source_that_gives_nothing_any_more_fails_after_a_few_connections_and_keeps_the_parts() -> None:
    server, bucket = Server(body_of(250), breaks=[SEGMENT, 80, 30, *[0] * 50]), Bucket()
    upload = upload_of(server)
    with pytest.raises(ConnectionLost):
        run(server, bucket, upload)
    assert list(upload.parts) == [1]
    assert len(server.asked) < 10


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_an_origin_in_trouble_is_asked_again_within_the_try(status: int) -> None:
    server, bucket, waited = Server(body_of(900), errors=[(status, None)] * 3), Bucket(), list[float]()
    assert run(server, bucket, upload_of(server), connections=2, sleep=waited.append)
    assert len(waited) == 3
    assert bucket.whole == server.body


def test_what_s3_refuses_ends_the_transfer() -> None:
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
    server, bucket, waited = Server(body_of(900), delay=0.03), Bucket(), list[float]()
    server.errors = [(503, 7.0), (429, 7.0), (503, 7.0)]
    server.before_error = threading.Barrier(3, timeout=10).wait
    assert run(server, bucket, upload_of(server), connections=3, sleep=waited.append)
    assert waited == [7.0]
    assert bucket.whole == server.body


def test_after_one_busy_answer_there_is_one_connection_fewer() -> None:
    server, bucket = Server(body_of(3000), delay=0.02), Bucket()
    server.errors = [(503, 7.0)]
    counts: list[int] = []
    server.on_sent = lambda first, _: counts.append(server.reading + 1) if first >= 1000 else None
    assert run(server, bucket, upload_of(server), connections=4)
    assert max(counts) == 3
    assert bucket.whole == server.body


def test_a_lone_connection_that_meets_a_busy_origin_waits_at_once() -> None:
    server, bucket, waited = Server(body_of(SEGMENT), breaks=[10], errors=[(503, 7.0)]), Bucket(), list[float]()
    assert run(server, bucket, upload_of(server), connections=8, sleep=waited.append)
    assert len(server.asked) == 1 + 1 + 1
    assert 7.0 in waited
    assert bucket.whole == server.body


@pytest.mark.parametrize("busy", [[300.0], [1.0] * 9, [None] * 9])
def test_an_origin_that_stays_busy_or_asks_for_long_is_left_to_the_message(busy: list[float | None]) -> None:
    server, waited = Server(body_of(300), errors=[(503, seconds) for seconds in busy]), list[float]()
    with pytest.raises(OriginBusy) as raised:
        run(server, Bucket(), upload_of(server), sleep=waited.append)
    assert raised.value.retry_after == busy[0]
    assert waited == {300.0: [], 1.0: [1.0] * 3, None: [2.0, 4.0, 8.0]}[busy[0]]


# ── A server that ignores ranges ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(40)
def test_with_a_server_that_knows_no_ranges_one_connection_goes_on_alone() -> None:
    server, bucket = Server(body_of(1000), ignores_ranges=[True], delay=0.005), Bucket()
    assert run(server, bucket, upload_of(server), connections=4)
    assert bucket.whole == server.body
    assert server.asked == [(0, SEGMENT)]
    assert (server.most_open, server.sent) == (1, 1000)


def test_where_ranges_are_ignored_later_on_one_connection_is_left() -> None:
    server, bucket = Server(body_of(3000), ignores_ranges=[False, False, True], delay=0.005), Bucket()
    late: list[int] = []
    server.on_sent = lambda first, _: late.append(server.open_now) if first >= 2000 else None
    assert run(server, bucket, upload_of(server), connections=4)
    assert bucket.whole == server.body
    assert set(late) == {1}
    assert len(server.asked) <= 1 + 2 * 4


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("connections", [1, 3])
def test_a_transfer_stops_between_parts_when_it_may_not_go_on(connections: int) -> None:
    server, bucket = Server(body_of(350)), Bucket()
    upload = upload_of(server)
    assert not run(server, bucket, upload, connections=connections, memory=1, may_go_on=lambda _: len(bucket.parts) < 2)
    assert sorted(bucket.parts) == [1, 2]
    assert run(server, bucket, upload, connections=connections)
    assert bucket.whole == server.body


@pytest.mark.parametrize("connections", [1, 4])
def test_a_part_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, connections: int) -> None:
    monkeypatch.setattr("services.downloader.transfer.reader._LOOK_BYTES", 10)
    server, bucket = Server(body_of(350)), Bucket()
    assert not run(
        server, bucket, upload_of(server), connections=connections, memory=1, may_go_on=lambda _: server.sent < 150
    )
    assert list(bucket.parts) == [1]
    assert server.sent <= 150 + 10 * connections, "it stops within the part"
    assert server.open_now == 0


@pytest.mark.timeout(20)
def test_a_worker_that_waits_learns_that_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is between another's handing its connection on and its saying that there is no more time."""
    put_back = PartsTransfer._put_back

    def slowly(self: PartsTransfer, reader: Reader) -> None:
        put_back(self, reader)
        time.sleep(0.05)

    monkeypatch.setattr(PartsTransfer, "_put_back", slowly)
    monkeypatch.setattr("services.downloader.transfer.reader._LOOK_BYTES", 10)
    # Of two halves of the only part that has room, the second is there at once.
    server = Server(body_of(300), before=lambda offset: time.sleep(0.05) if offset < PART // 2 else None)
    assert not run(server, Bucket(), upload_of(server), connections=2, memory=1, may_go_on=lambda _: server.sent < 80)


def test_whether_it_may_go_on_is_asked_with_the_time_of_the_slowest_part() -> None:
    asked: list[float] = []
    server = Server(body_of(300), delay=0.05)
    run(server, Bucket(), upload_of(server), memory=1, may_go_on=lambda s: asked.append(s) or True)  # type: ignore[func-returns-value]
    assert asked[0] == 0
    assert max(asked) >= 0.05


def test_what_the_asked_one_raises_ends_the_transfer() -> None:
    def overtaken(_: float) -> bool:
        raise PermissionError

    server = Server(body_of(300))
    with pytest.raises(PermissionError):
        run(server, Bucket(), upload_of(server), connections=3, may_go_on=overtaken)


def test_progress_is_told_the_upload_after_each_part() -> None:
    server = Server(body_of(250))
    seen: list[tuple[int, int]] = []
    run(server, Bucket(), upload_of(server, 1), progress=lambda u: seen.append((u.bytes_done, len(u.parts))))
    assert seen == [(200, 2), (250, 3)]


def test_an_origin_that_stays_in_trouble_is_given_up_with_its_status() -> None:
    server = Server(body_of(300), errors=[(502, None)] * 50)
    with pytest.raises(OriginFailed, match="502"):
        run(server, Bucket(), upload_of(server))
    assert len(server.asked) == 1 + 4


def test_a_version_of_another_length_is_refused() -> None:
    server = Server(body_of(250))
    upload = Upload(upload_id="u", key="k", version=Version(size=300, etag="e"), part_size=PART)
    with pytest.raises(OriginChanged):
        run(server, Bucket(), upload, connections=3)
