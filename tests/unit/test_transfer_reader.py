"""One connection that goes on where it broke: as few requests as will do, and no bytes but the wanted ones."""

from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.downloader.transfer import ConnectionLost, OriginBroken, OriginBusy, OriginChanged, Version
from services.downloader.transfer.origin import OriginFailed
from services.downloader.transfer.reader import Reader
from tests.unit.transfer_fakes import Server, body_of


def reader_of(server: Server, version: Version | None = None, *, waited: list[float] | None = None) -> Reader:
    waits = [] if waited is None else waited
    return Reader(server.origin(), version, may_go_on=lambda: True, sleep=waits.append)


def read(reader: Reader, first: int, end: int) -> bytes:
    buffer = bytearray(end - first)
    assert reader.fill(memoryview(buffer), at=first)
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


def test_what_follows_on_the_bytes_that_began_the_file_is_asked_for_once() -> None:
    server = Server(body_of(500))
    with closing(reader_of(server)) as reader:
        assert reader.begin(100) == Version(size=500, etag="e")
        assert read(reader, 0, 300) == server.body[:300]
    assert server.asked == [(0, 100), (100, 300)]


def test_a_file_that_is_shorter_than_what_begins_it_takes_one_request() -> None:
    server = Server(body_of(80))
    with closing(reader_of(server)) as reader:
        assert reader.begin(100).size == 80
        assert read(reader, 0, 80) == server.body
    assert server.asked == [(0, 100)]


@pytest.mark.parametrize("ignored", [False, True], ids=["416", "200"])
def test_an_empty_file_has_a_version(ignored: bool) -> None:
    with closing(reader_of(Server(b"", ignores_ranges=[ignored]))) as reader:
        assert reader.begin(100) == Version(size=0, etag="e")
        assert read(reader, 0, 0) == b""


def test_a_range_beyond_the_end_of_a_file_that_has_bytes_is_another_version() -> None:
    with closing(reader_of(Server(body_of(100)))) as reader, pytest.raises(OriginChanged):
        read(reader, 100, 120)


def test_the_version_of_the_first_answer_is_insisted_on() -> None:
    server = Server(body_of(500))
    with closing(reader_of(server)) as reader:
        reader.begin(100)
        server.etag = "another"
        assert read(reader, 0, 100) == server.body[:100]
        with pytest.raises(OriginChanged):
            read(reader, 100, 200)


@pytest.mark.parametrize("status", [500, 502, 504, 0])
def test_trouble_at_the_very_first_request_is_waited_out_a_little_longer_each_time(status: int) -> None:
    server, waited = Server(body_of(100), errors=[(status, None)] * 3, spared=0), list[float]()
    with closing(reader_of(server, waited=waited)) as reader:
        assert reader.begin(100).size == 100
    assert len(server.asked) == 4
    for n, seconds in enumerate(waited, start=1):
        assert 0.1 * 2**n <= seconds <= 0.3 * 2**n


def test_the_waits_are_not_the_same_for_all_so_that_not_all_come_back_at_once() -> None:
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
def test_four_failures_in_a_row_are_the_end_and_told_by_their_status(
    begun: bool, status: int, expected: type[Exception], said: str
) -> None:
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


def test_connections_that_are_too_slow_are_in_a_row_though_they_bring_some_bytes() -> None:
    server = Server(body_of(300), breaks=[10] * 50, stalls=True)
    with closing(reader_of(server)) as reader, pytest.raises(ConnectionLost):
        read(reader, 0, 300)
    assert [first for first, _ in server.asked] == [0, 10, 20, 30]


@pytest.mark.parametrize(("status", "expected"), [(429, OriginBusy), (503, OriginBusy), (418, OriginBroken)])
def test_what_asks_for_fewer_requests_or_is_no_trouble_that_passes_is_not_asked_again(
    status: int, expected: type[OriginBroken]
) -> None:
    server = Server(body_of(300), errors=[(status, 9.0 if expected is OriginBusy else None)], spared=0)
    with closing(reader_of(server)) as reader, pytest.raises(expected) as raised:
        reader.begin(100)
    assert raised.value.retry_after == (9.0 if expected is OriginBusy else None)
    assert len(server.asked) == 1


# ── A server that ignores ranges ─────────────────────────────────────────────────────────────────────────────────────


def test_where_ranges_are_ignored_reading_on_takes_no_further_request() -> None:
    server = Server(body_of(600), ignores_ranges=[True])
    with closing(reader_of(server)) as reader:
        assert read(reader, 200, 250) == server.body[200:250]
        assert reader.ranges_ignored
        assert read(reader, 500, 600) == server.body[500:]
    assert len(server.asked) == 1
    assert server.sent == 600


def test_while_bytes_are_passed_over_it_is_looked_at_whether_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.downloader.transfer.reader._LOOK_BYTES", 10)
    server = Server(body_of(600), ignores_ranges=[True])
    with closing(Reader(server.origin(), may_go_on=lambda: server.sent < 100, sleep=lambda _: None)) as reader:
        assert not reader.fill(memoryview(bytearray(50)), at=500)
    assert server.sent == 100


def test_a_server_that_never_comes_further_than_what_is_known_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.downloader.transfer.reader._LOOK_BYTES", 10)
    server = Server(body_of(600), ignores_ranges=[True], breaks=[205] * 100)
    with closing(reader_of(server)) as reader, pytest.raises(ConnectionLost):
        read(reader, 0, 300)
    assert len(server.asked) < 10
