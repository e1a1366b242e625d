"""The heartbeat: a message stays hidden while its work runs, and a worker that lost it is fenced."""

import threading
from collections.abc import Callable

import pytest
from aws_lambda_powertools import Logger

from services.shared.errors import Fenced
from services.shared.inbox.heartbeat import Heartbeat
from tests.unit.clocks import ManualClock
from tests.unit.inbox_fakes import Queue, message

Logger()  # the parent of the modules' loggers; in a function it is the handler's


class Beats:
    """What belongs to a message. A test lets each beat begin, and then waits for its end."""

    def __init__(self, *errors: Exception | None, during: Callable[[], object] = lambda: None) -> None:
        self.errors = list(errors)
        self.during = during
        self.count = 0

    def __call__(self) -> None:
        self.count += 1
        self.during()
        error = self.errors.pop(0) if self.errors else None
        if error:
            raise error


class Stage:
    """A heartbeat that beats when a test says so, on a clock that stands still."""

    def __init__(self, *errors: Exception | None) -> None:
        self.queue = Queue()
        self.clock = ManualClock()
        self.beats = Beats(*errors)
        self.heartbeat = Heartbeat(message(self.queue), self.clock, self.beats)
        self._due, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped = False
        self.heartbeat._stop = self  # type: ignore[assignment]  # stands in for the event that is waited for

    def wait(self, seconds: float) -> bool:
        """In the thread of the heartbeat: wait until the next beat is due. True when it has to stop."""
        assert seconds == Heartbeat.INTERVAL_SECONDS
        self._done.release()
        assert self._due.acquire(timeout=60)
        return self._stopped

    def set(self) -> None:
        self._stopped = True
        self._due.release()

    def beat(self) -> None:
        """Let one beat happen, all of it, half a minute after the last one."""
        assert self._done.acquire(timeout=60)
        self.clock.advance(Heartbeat.INTERVAL_SECONDS)
        self._due.release()
        if self.is_running():
            assert self._done.acquire(timeout=60)
            self._done.release()

    def is_running(self) -> bool:
        """Whether the thread is alive, once it has had all the time to end."""
        thread = self.heartbeat._thread
        while thread.is_alive():
            if self._done.acquire(timeout=0.01):
                self._done.release()
                return True
        return False


def test_the_message_is_hidden_for_two_minutes_before_anything_else() -> None:
    stage = Stage()
    with stage.heartbeat:
        assert stage.queue.hidden == [("m1", 120)]
        stage.heartbeat.check()


def test_the_times_leave_room_to_stop_before_another_worker_may_begin() -> None:
    assert Heartbeat.INTERVAL_SECONDS * 3 < Heartbeat.PATIENCE_SECONDS < Heartbeat.HIDDEN_SECONDS


def test_every_beat_renews_the_work_and_then_hides_the_message_again() -> None:
    stage = Stage()
    hidden: list[int] = []
    stage.beats.during = lambda: hidden.append(len(stage.queue.hidden))
    with stage.heartbeat:
        for _ in range(5):
            stage.beat()
        stage.heartbeat.check()
    # The work first: a lease that outlived its message's hiding would keep the next worker waiting.
    assert hidden == [1, 2, 3, 4, 5]
    assert stage.queue.hidden == [("m1", 120)] * 6


@pytest.mark.parametrize("error", [None, KeyError("x")])
def test_it_stops_with_the_work(error: Exception | None) -> None:
    heartbeat = Heartbeat(message(Queue()), ManualClock())
    try:
        with heartbeat:
            assert heartbeat._thread.is_alive()
            if error:
                raise error
    except KeyError:
        pass
    assert not heartbeat._thread.is_alive()


def test_a_beat_that_finds_the_work_taken_over_fences_the_worker() -> None:
    stage = Stage(Fenced("another worker holds the lease"))
    with stage.heartbeat:
        stage.beat()
        assert not stage.is_running()
        with pytest.raises(Fenced, match="another worker"):
            stage.heartbeat.check()
    assert stage.queue.hidden == [("m1", 120)]  # the other worker's message is left alone


def test_a_failed_beat_is_tried_again() -> None:
    stage = Stage(TimeoutError("later"), TimeoutError("later"))
    with stage.heartbeat:
        for _ in range(6):
            stage.beat()
            stage.heartbeat.check()
    assert stage.beats.count == 6
    assert len(stage.queue.hidden) == 5


@pytest.mark.parametrize("broken", ["beat", "visibility"])
def test_a_worker_that_cannot_renew_for_too_long_is_fenced_for_good(broken: str) -> None:
    stage = Stage(*[TimeoutError("later") if broken == "beat" else None] * 3)
    with stage.heartbeat:
        stage.queue.broken = broken == "visibility"
        for _ in range(3):
            stage.beat()
            stage.heartbeat.check()
        stage.queue.broken = False
        stage.beat()
        assert not stage.is_running()
        with pytest.raises(Fenced, match="not be renewed"):
            stage.heartbeat.check()
    assert stage.beats.count == 3  # a lost lease is not renewed
    assert stage.queue.hidden == [("m1", 120)]


def test_a_renewal_counts_from_before_its_calls() -> None:
    stage = Stage()
    stage.beats.during = lambda: stage.clock.advance(Heartbeat.PATIENCE_SECONDS + 1)  # a call that takes so long
    with stage.heartbeat:
        stage.beat()
        assert len(stage.queue.hidden) == 2
        with pytest.raises(Fenced):
            stage.heartbeat.check()


def test_a_message_that_cannot_be_hidden_is_worked_on_and_hidden_by_the_next_beat() -> None:
    stage = Stage()
    stage.queue.broken = True
    with stage.heartbeat:
        stage.heartbeat.check()
        stage.queue.broken = False
        stage.beat()
        stage.heartbeat.check()
    assert stage.queue.hidden == [("m1", 120)]


def test_the_patience_begins_with_the_work() -> None:
    stage = Stage()
    stage.clock.advance(Heartbeat.PATIENCE_SECONDS + 1)
    with stage.heartbeat:
        stage.heartbeat.check()
