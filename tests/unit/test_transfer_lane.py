"""Several files at once over one pool: together they use no more than the lane has, and none keeps another waiting."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, cast

import pytest

from services.downloader.transfer import ConnectionPool, Limits, Origin, OriginSlow, Pace, Upload, open_source
from tests.unit.transfer_fakes import Bucket, Meeting, Pool, Server, SocketServer, body_of

PART = 100


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.downloader.transfer.parts.SMALLEST_SEGMENT", 20)
    monkeypatch.setattr("services.downloader.transfer.parts._LOOK_BYTES", 10)


def origin_of(pool: Pool) -> Origin:
    return Origin("https://origin/file", lambda: "https://origin/file", connections=pool)


def copy(pool: Pool) -> bytes:
    """Copy the server's file, and return what was stored."""
    bucket = Bucket()
    with open_source(origin_of(pool), sleep=lambda _: None) as source:
        upload = Upload(upload_id="u", key="k", version=source.version, part_size=PART)
        source.copy(cast("Any", bucket), upload, limits=Limits(connections=8, memory_bytes=8 * PART))
    return bucket.whole


def copies(pool: Pool, count: int, *, threads: int) -> list[bytes]:
    with ThreadPoolExecutor(threads) as executor:
        return [one.result() for one in [executor.submit(copy, pool) for _ in range(count)]]


def test_files_at_once_use_no_more_connections_than_the_lane_has() -> None:
    server = Server(body_of(350), before=Meeting(3))
    pool = Pool(server, connections=3)
    assert copies(pool, 12, threads=6) == [server.body] * 12
    assert server.most_open == 3
    assert pool.in_use == 0


def test_a_file_that_waits_for_its_first_connection_gets_one_of_a_file_with_several() -> None:
    all_are_used = threading.Event()

    def note(_: int) -> None:
        time.sleep(0.001)
        if pool.in_use == 3:
            all_are_used.set()

    pool = Pool(Server(body_of(20_000), before=note), connections=3)
    with ThreadPoolExecutor(1) as executor:
        large = executor.submit(copy, pool)
        assert all_are_used.wait(60)
        with open_source(origin_of(pool)):
            assert not large.done()
        assert large.result() == body_of(20_000)


class Limited:
    """A server's answer, which brings so many bytes per second over all connections together or over each of them."""

    def __init__(self, size: int, rate: float, *, together: bool) -> None:
        self.body = body_of(size)
        self._rate, self._together = rate, together
        self._sending = threading.Lock()

    def __call__(self, connection: socket.socket, request: bytes) -> bool:
        first, last = map(int, re.findall(rb"bytes=(\d+)-(\d+)", request)[0])
        body = self.body[first : last + 1]
        said = f"Content-Range: bytes {first}-{first + len(body) - 1}/{len(self.body)}\r\nContent-Length: {len(body)}"
        connection.sendall(f"HTTP/1.1 206 OK\r\n{said}\r\n\r\n".encode())
        for at in range(0, len(body), 2_000):
            piece = body[at : at + 2_000]
            with self._sending if self._together else nullcontext():
                time.sleep(len(piece) / self._rate)
            connection.sendall(piece)
        return True


def copied(answer: Limited, pace: Pace, *, begin: int) -> bytes:
    """Copy a file over at most eight connections; as many as `begin` are allowed from the start."""
    server, bucket = SocketServer(answer), Bucket()
    try:
        with ConnectionPool(pace, connections=8, begin=begin) as pool:
            origin = Origin(server.url, lambda: server.url, connections=pool)
            with open_source(origin, sleep=lambda _: None) as source:
                upload = Upload(upload_id="u", key="k", version=source.version, part_size=100_000)
                source.copy(cast("Any", bucket), upload, limits=Limits(connections=8, memory_bytes=2_000_000))
    finally:
        server.close()
    return bucket.whole


@pytest.mark.timeout(120)
@pytest.mark.parametrize("begin", [2, 8])
def test_a_file_is_stored_though_its_connections_share_what_is_hardly_enough_for_one(
    monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    monkeypatch.setattr("services.downloader.transfer.parts.SMALLEST_SEGMENT", 20_000)
    answer = Limited(400_000, 200_000, together=True)
    assert copied(answer, Pace(kilobytes_per_second=80, seconds=0.3), begin=begin) == answer.body


@pytest.mark.timeout(120)
def test_an_origin_that_stays_slow_fails_the_copy_and_the_error_says_how_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.downloader.transfer.parts.SMALLEST_SEGMENT", 20_000)
    with pytest.raises(OriginSlow, match=r"the origin is slow: \d+(\.\d+)? kB/s"):
        copied(Limited(400_000, 20_000, together=False), Pace(kilobytes_per_second=80, seconds=0.2), begin=8)


def test_the_check_is_made_while_a_file_waits_for_a_connection() -> None:
    class TimeIsOver(Exception):
        pass

    def check() -> None:
        raise TimeIsOver

    pool = Pool(Server(b""), connections=1)
    pool.take()
    with pytest.raises(TimeIsOver):
        pool.take(check)
    assert not pool.is_short


def test_files_at_once_share_the_memory_of_the_lane() -> None:
    reserved: list[int] = []

    class Watched(Pool):
        def reserve(self, size: int, *, first: bool) -> bool:
            given = super().reserve(size, first=first)
            reserved.append(self._reserved)
            return given

    server = Server(body_of(350))
    pool = Watched(server, connections=8, memory_bytes=3 * PART)
    assert copies(pool, 8, threads=8) == [server.body] * 8
    assert max(reserved) == 3 * PART
    assert pool.reserve(3 * PART, first=True), "all of it is free again"


def test_a_part_that_is_larger_than_the_memory_gets_it_alone() -> None:
    pool = ConnectionPool(memory_bytes=100)
    assert pool.reserve(1000, first=True)
    assert not pool.reserve(1, first=True)
    assert pool.is_hungry
    pool.release(1000)
    assert not pool.reserve(1, first=False), "another file waits for its first part"
    assert pool.reserve(1, first=True)
