"""One reader: it resumes where its connection broke, with few requests, and reads no bytes but the wanted ones."""

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.transfer import (
    ConnectionLost,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginFailed,
    Version,
)
from services.downloader.transfer.origin import Reader, _retry_after
from tests.unit.transfer_fakes import Server, body_of


def reader_of(server: Server, *, waited: list[float] | None = None) -> Reader:
    origin = server.origin()
    sleep = list[float]().append if waited is None else waited.append
    return Reader(origin, origin.connections.take(), sleep=sleep)


def read(reader: Reader, first: int, end: int) -> bytes:
    buffer = bytearray(end - first)
    at = first
    while at < end:
        at += reader.read(memoryview(buffer)[at - first :], at=at, end=end)
    return bytes(buffer)


@given(
    spans=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 200)), min_size=1, max_size=5),
    breaks=st.lists(st.integers(1, 150), max_size=3),
    ignores=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_any_spans_in_any_order_are_the_origins_bytes(
    spans: list[tuple[int, int]], breaks: list[int], ignores: list[bool]
) -> None:
    server = Server(body_of(600), breaks=list(breaks), ignores_ranges=list(ignores))
    with closing(reader_of(server)) as reader:
        for first, length in spans:
            assert read(reader, first, first + length) == server.body[first : first + length]
    assert server.open_now == 0


@pytest.mark.scenario(40)
def test_bytes_that_are_skipped_leave_the_buffer_as_it_is() -> None:
    # Another connection may be filling its end, since a segment was split.
    server, buffer = Server(body_of(500), ignores_ranges=[True]), bytearray(100)
    with closing(reader_of(server)) as reader:
        while not (count := reader.read(memoryview(buffer), at=300, end=400)):
            assert buffer == bytes(100)
    assert buffer[:count] == server.body[300 : 300 + count]


def test_the_bytes_after_the_first_ones_are_asked_for_once() -> None:
    server = Server(body_of(500))
    with closing(reader_of(server)) as reader:
        assert reader.begin(100) == Version(size=500, etag="e")
        assert read(reader, 0, 300) == server.body[:300]
    assert server.asked == [(0, 100), (100, 300)]


def test_a_file_that_is_shorter_than_the_first_request_takes_no_other() -> None:
    server = Server(body_of(80))
    with closing(reader_of(server)) as reader:
        assert reader.begin(100).size == 80
        assert read(reader, 0, 80) == server.body
    assert server.asked == [(0, 100)]


def test_a_range_beyond_the_end_of_a_file_means_another_version() -> None:
    with closing(reader_of(Server(body_of(100)))) as reader, pytest.raises(OriginChanged):
        read(reader, 100, 120)


def test_the_version_of_the_first_response_is_insisted_on() -> None:
    server = Server(body_of(500))
    with closing(reader_of(server)) as reader:
        reader.begin(100)
        server.etag = "another"
        assert read(reader, 0, 100) == server.body[:100]
        with pytest.raises(OriginChanged):
            read(reader, 100, 200)


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_the_first_request_is_repeated_after_growing_waits(status: int) -> None:
    server, waited = Server(body_of(100), errors=[(status, None)] * 3, spared=0), list[float]()
    with closing(reader_of(server, waited=waited)) as reader:
        assert reader.begin(100).size == 100
    assert len(server.asked) == 4
    for n, seconds in enumerate(waited, start=1):
        assert 0.1 * 2**n <= seconds <= 0.3 * 2**n


def test_waits_differ_so_that_readers_do_not_return_all_at_once() -> None:
    waits = set()
    for _ in range(5):
        waited = list[float]()
        with closing(reader_of(Server(body_of(100), errors=[(500, None)], spared=0), waited=waited)) as reader:
            reader.begin(100)
        waits.update(waited)
    assert len(waits) > 1


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("status", "expected", "said"),
    [(500, OriginFailed, "500"), (504, OriginFailed, "504"), (0, ConnectionLost, "no answer")],
)
def test_four_failures_in_a_row_are_the_end(begun: bool, status: int, expected: type[Exception], said: str) -> None:
    server = Server(body_of(300), errors=[(status, None)] * 50, spared=int(begun))
    with closing(reader_of(server)) as reader:
        if begun:
            reader.begin(100)
        with pytest.raises(expected, match=said):
            read(reader, 0, 300) if begun else reader.begin(100)
    assert len(server.asked) == begun + 4


def test_failures_with_bytes_between_them_are_not_in_a_row() -> None:
    server = Server(body_of(300), breaks=[10, 0, 0, 0, 10, 0, 0, 0])
    with closing(reader_of(server)) as reader:
        assert read(reader, 0, 300) == server.body


def test_slow_connections_count_as_failures_in_a_row_though_they_bring_some_bytes() -> None:
    server = Server(body_of(300), breaks=[10] * 50, stalls=True)
    with closing(reader_of(server)) as reader, pytest.raises(ConnectionLost):
        read(reader, 0, 300)
    assert [first for first, _ in server.asked] == [0, 10, 20, 30]


@pytest.mark.parametrize(("status", "expected"), [(429, OriginBusy), (503, OriginBusy), (418, OriginBroken)])
def test_a_busy_origin_and_an_unexpected_status_are_not_asked_again(status: int, expected: type[OriginBroken]) -> None:
    server = Server(body_of(300), errors=[(status, 9.0 if expected is OriginBusy else None)], spared=0)
    with closing(reader_of(server)) as reader, pytest.raises(expected) as raised:
        reader.begin(100)
    assert raised.value.retry_after == (9.0 if expected is OriginBusy else None)
    assert len(server.asked) == 1


@pytest.mark.parametrize("value", ["9" * 5000, "Fri, 31 Dec 10000 23:59:59 GMT", "soon", ""])
def test_an_absurd_wait_is_no_wait(value: str) -> None:
    body: Any = SimpleNamespace(headers={"Retry-After": value})
    assert _retry_after(body) is None


# ── A server that ignores ranges ─────────────────────────────────────────────────────────────────────────────────────


def test_a_server_without_ranges_is_asked_once() -> None:
    server = Server(body_of(600), ignores_ranges=[True])
    with closing(reader_of(server)) as reader:
        assert read(reader, 200, 250) == server.body[200:250]
        assert reader.ranges_ignored
        assert read(reader, 500, 600) == server.body[500:]
    assert len(server.asked) == 1
    assert server.sent == 600


def test_bytes_are_skipped_in_pieces_so_that_the_caller_can_look_at_the_time() -> None:
    server = Server(body_of(600), ignores_ranges=[True])
    with closing(reader_of(server)) as reader:
        assert reader.read(memoryview(bytearray(10)), at=500, end=550) == 0
        assert server.sent == 10


def test_a_server_that_never_sends_more_than_the_known_bytes_is_given_up() -> None:
    server = Server(body_of(600), ignores_ranges=[True], breaks=[205] * 100)
    with closing(reader_of(server)) as reader, pytest.raises(ConnectionLost):
        read(reader, 0, 300)
    assert len(server.asked) < 10
