"""When a lane writes its progress."""

from botocore.exceptions import EndpointConnectionError

from services.downloader.progress import ProgressReport
from services.shared.library.records import GOPRO, SESSION, LaneProgress
from tests.unit.clocks import ManualClock


class Lane:
    """A report whose bytes and writes a test decides."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bytes = 0
        self.written: list[tuple[int, str]] = []
        self.error: Exception | None = None
        self.report = ProgressReport(lambda: LaneProgress(bytes=self.bytes), self._write, self.clock)

    def _write(self, now: LaneProgress) -> None:
        if self.error:
            raise self.error
        self.written.append((now.bytes, now.waits_for))

    def moves(self, *, to: int, after: float) -> None:
        self.clock.sleep(after)
        self.bytes = to
        self.report.look()


def test_progress_is_written_at_most_once_a_second() -> None:
    lane = Lane()
    for tenth in range(1, 36):
        lane.moves(to=tenth, after=0.1)

    assert [count for count, _ in lane.written] == [10, 20, 30]


def test_a_medium_that_takes_less_than_a_second_is_not_worth_a_write() -> None:
    lane = Lane()
    lane.moves(to=1, after=0.9)

    assert lane.written == []


def test_nothing_is_written_while_nothing_moves() -> None:
    lane = Lane()
    for _ in range(10):
        lane.moves(to=5, after=1.0)

    assert lane.written == [(5, "")]


def test_a_write_that_fails_is_harmless_and_the_next_one_comes_later() -> None:
    lane = Lane()
    lane.error = EndpointConnectionError(endpoint_url="https://dynamodb")
    lane.moves(to=1, after=1.0)
    lane.error = None
    lane.moves(to=2, after=30.9)
    assert lane.written == []
    lane.moves(to=3, after=0.1)
    assert lane.written == [(3, "")]


def test_a_wait_is_written_once_and_ends_with_the_next_bytes() -> None:
    lane = Lane()
    lane.moves(to=1, after=1.0)
    for what in (SESSION, SESSION, GOPRO):
        lane.report.wait_for(what)
    lane.moves(to=1, after=5.0)  # a look without new bytes still ends the wait

    assert lane.written == [(1, ""), (1, SESSION), (1, GOPRO), (1, "")]


def test_while_a_write_is_made_the_other_threads_go_on() -> None:
    lane = Lane()

    def write(now: LaneProgress) -> None:
        lane.clock.sleep(5)
        lane.bytes += 1
        lane.report.look()  # as another thread would: it must neither wait nor write
        lane.written.append((now.bytes, ""))

    lane._write = write  # type: ignore[method-assign]
    lane.report = ProgressReport(lambda: LaneProgress(bytes=lane.bytes), write, lane.clock)
    lane.moves(to=1, after=1.0)

    assert lane.written == [(1, "")]


def test_a_report_has_all_that_was_measured() -> None:
    clock, written = ManualClock(), list[LaneProgress]()
    now = LaneProgress(at=1, bytes=2, of_bytes=3, parts=4, of_parts=5, files=6, of_files=7)
    report = ProgressReport(lambda: now, written.append, clock)
    clock.sleep(1.0)
    report.look()
    report.wait_for(GOPRO)

    assert written == [now, LaneProgress(**{**vars(now), "waits_for": GOPRO})]


def test_after_a_write_the_lane_is_free_for_the_next_one_even_if_it_failed() -> None:
    lane = Lane()
    lane.error = RuntimeError("unexpected")
    lane.moves(to=1, after=1.0)
    lane.report.wait_for(SESSION)
    lane.error = None
    lane.report.wait_for(GOPRO)

    assert lane.written == [(1, GOPRO)]
