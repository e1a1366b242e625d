"""The heartbeat: a message stays hidden while its work runs, and a worker that lost it is told so."""

import threading
import time
from collections.abc import Callable

import pytest
from aws_lambda_powertools import Logger

from services.shared.inbox import Fenced, Heartbeat
from tests.unit.inbox_fakes import Queue, message

Logger()  # the parent of those in the modules; in a function it is the handler's


class Quick(Heartbeat):
    """Beats so often that a test needn't wait for it."""

    INTERVAL_SECONDS = 0.01
    PATIENCE_SECONDS = 5.0


class Impatient(Quick):
    PATIENCE_SECONDS = 0.05


class Brief(Quick):
    PATIENCE_SECONDS = 0.3


def until(happened: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_the_message_is_hidden_for_two_minutes_before_anything_else() -> None:
    queue = Queue()
    with Heartbeat(message(queue)) as heartbeat:
        assert queue.hidden == [("m1", 120)]
        heartbeat.check()


def test_the_times_leave_room_to_stop_before_another_worker_may_begin() -> None:
    assert Heartbeat.INTERVAL_SECONDS * 3 < Heartbeat.PATIENCE_SECONDS < Heartbeat.HIDDEN_SECONDS


def test_with_every_beat_the_work_is_renewed_and_the_message_hidden_again() -> None:
    queue, beats = Queue(), []
    with Quick(message(queue), lambda: beats.append(len(queue.hidden))) as heartbeat:
        until(lambda: len(queue.hidden) >= 4)
        heartbeat.check()
    assert beats[:3] == [1, 2, 3]  # what belongs to the message first: a lease must not end before its message shows
    assert set(queue.hidden) == {("m1", 120)}


def test_it_stops_with_the_work() -> None:
    queue = Queue()
    with Quick(message(queue)):
        assert len(heartbeats()) == 1
    assert heartbeats() == []
    calls = queue.calls
    time.sleep(0.05)
    assert queue.calls == calls


def test_it_stops_when_the_work_fails() -> None:
    with pytest.raises(KeyError), Quick(message(Queue())):
        raise KeyError("x")
    assert heartbeats() == []


def test_it_stops_at_once_however_long_its_interval_is() -> None:
    began = time.monotonic()
    with Heartbeat(message(Queue())):
        pass
    assert time.monotonic() - began < 1


def test_a_beat_that_finds_the_work_taken_over_fences_the_worker() -> None:
    queue = Queue()

    def beat() -> None:
        raise Fenced("another worker has the lease")

    with Quick(message(queue), beat) as heartbeat:
        until(lambda: not heartbeats())
        with pytest.raises(Fenced, match="another worker"):
            heartbeat.check()
    assert queue.hidden == [("m1", 120)]  # a message that is another's is left alone


def test_a_beat_that_fails_is_tried_again() -> None:
    failures = [TimeoutError("later"), TimeoutError("later")]

    def beat() -> None:
        if failures:
            raise failures.pop()

    queue = Queue()
    with Quick(message(queue), beat) as heartbeat:
        until(lambda: len(queue.hidden) >= 3)
        heartbeat.check()
    assert not failures


@pytest.mark.parametrize("broken", ["beat", "visibility"])
def test_a_worker_that_could_not_renew_for_too_long_is_fenced(broken: str) -> None:
    queue = Queue()

    def beat() -> None:
        if broken == "beat":
            raise TimeoutError("later")

    with Impatient(message(queue), beat) as heartbeat:
        queue.broken = broken == "visibility"
        time.sleep(0.1)
        with pytest.raises(Fenced):
            heartbeat.check()


def test_what_was_lost_is_not_taken_back() -> None:
    queue = Queue()
    down = threading.Event()
    down.set()

    def beat() -> None:
        if down.is_set():
            raise TimeoutError("later")

    with Impatient(message(queue), beat) as heartbeat:
        until(lambda: not heartbeats())
        down.clear()
        with pytest.raises(Fenced):
            heartbeat.check()
    assert queue.hidden == [("m1", 120)]


def test_a_renewal_counts_from_before_its_calls_since_nobody_knows_when_it_took_effect() -> None:
    began, go_on = threading.Event(), threading.Event()

    def slow_beat() -> None:
        began.set()
        go_on.wait(5)

    queue = Queue()
    with Brief(message(queue), slow_beat) as heartbeat:
        assert began.wait(5)
        time.sleep(0.4)  # the call takes longer than patience lasts
        go_on.set()
        until(lambda: len(queue.hidden) >= 2)
        with pytest.raises(Fenced):
            heartbeat.check()


def test_a_message_that_can_not_be_hidden_for_a_shorter_time_is_worked_on_all_the_same() -> None:
    queue = Queue(broken=True)
    with Quick(message(queue)) as heartbeat:
        heartbeat.check()
        queue.broken = False
        until(lambda: queue.hidden)
        heartbeat.check()


def test_patience_begins_with_the_work_and_not_with_the_making_of_the_heartbeat() -> None:
    heartbeat = Brief(message(Queue()))
    time.sleep(0.4)
    with heartbeat:
        heartbeat.check()
