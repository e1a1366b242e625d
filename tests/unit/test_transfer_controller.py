"""How many connections are found, against origins that are modelled in virtual time."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from services.downloader.transfer.connections import Controller

STEP = 0.025  # seconds between two notes of a connection
MB = 1_000_000


@dataclass
class Link:
    """An origin and the way to it. `rate`: bytes per second in all, by the connections and the time."""

    rate: Callable[[int, float], float]
    controller: Controller
    latency: float = 0.05
    now: float = 1000.0
    flowing: list[float] = field(default_factory=list)  # since when each connection brings bytes
    counts: list[int] = field(default_factory=list)

    def run(self, seconds: float) -> "Link":
        ends = self.now + seconds
        while self.now < ends:
            del self.flowing[self.controller.count :]
            self.flowing += [self.now + self.latency] * (self.controller.count - len(self.flowing))
            self.now += STEP
            brings = sum(since < self.now for since in self.flowing)
            for _ in range(brings):
                size = round(STEP * self.rate(brings, self.now - 1000.0) / brings)
                self.controller.note(self.now, size, in_use=len(self.flowing), flowing=brings)
            self.counts.append(self.controller.count)
        return self

    @property
    def usual(self) -> float:
        """The mean count of the second half."""
        half = self.counts[len(self.counts) // 2 :]
        return sum(half) / len(half)


def link(rate: Callable[[int, float], float], *, most: int = 8, latency: float = 0.05) -> Link:
    return Link(rate, Controller(most), latency=latency)


def each(rate: float, together: float = float("inf")) -> Callable[[int, float], float]:
    return lambda count, _: min(count * rate, together)


@pytest.mark.parametrize("rate", [0.02 * MB, 6.25 * MB, 40 * MB])
def test_an_origin_that_limits_each_connection_gets_all_that_may_be_used(rate: float) -> None:
    found = link(each(rate)).run(60)
    assert found.counts[0] == 2
    assert found.usual == 8


def test_all_are_used_soon_where_a_connection_brings_what_a_cdn_usually_gives() -> None:
    assert link(each(6.25 * MB)).run(0.2).counts[-1] == 8


@pytest.mark.parametrize(("together", "expected"), [(0.1 * MB, 2), (12 * MB, 2), (600 * MB, 2)])
def test_few_connections_are_used_where_they_share_a_limit(together: float, expected: int) -> None:
    alone = together / 2 if together > 100 * MB else 6 * MB
    found = link(each(alone, together)).run(300)
    assert found.usual == pytest.approx(expected, abs=0.5)


def test_never_more_are_used_than_may_be() -> None:
    for most in (1, 2, 3, 5):
        assert max(link(each(6 * MB), most=most).run(20).counts) == most


def test_a_fast_origin_is_tried_with_few_more_at_first() -> None:
    assert max(link(each(300 * MB, 550 * MB)).run(1.0).counts) == 4


def test_connections_that_get_faster_slowly_are_waited_for() -> None:
    def rate(count: int, elapsed: float) -> float:
        # TCP's slow start: the connections beyond two begin with nothing after 0.1 s, and are fast after half a second.
        full = 2 * 6 * MB
        return full + (count - 2) * 6 * MB * min(1.0, max(0.05, (elapsed - 0.1) * 2))

    assert link(rate).run(2.0).counts[-1] == 8


def test_an_origin_that_becomes_faster_later_gets_more() -> None:
    found = link(lambda count, elapsed: count * 6 * MB if elapsed > 20 else 12 * MB).run(20)
    assert found.usual == pytest.approx(2, abs=0.5)
    assert found.run(60).counts[-1] == 8


def test_tries_that_fail_become_rare() -> None:
    found = link(each(10 * MB, 20 * MB)).run(600)
    tries = sum(before < after for before, after in zip(found.counts, found.counts[1:], strict=False))
    assert 5 <= tries <= 20


def test_a_busy_origin_gets_one_fewer_and_more_only_after_a_while() -> None:
    found = link(each(6 * MB)).run(1)
    assert found.controller.give_way(found.now, 8)
    assert set(found.run(9).counts[-100:]) == {7}
    assert found.run(3).counts[-1] == 8


def test_those_in_use_count_when_one_gives_way() -> None:
    controller = Controller(8)
    assert controller.give_way(0.0, 5)
    assert controller.count == 1, "no more than two were allowed"
    assert not controller.give_way(0.0, 5)
    assert controller.count == 1
    lone = Controller(8)
    assert not lone.give_way(0.0, 1)
    assert lone.count == 1


# ── Exactly when ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Meter:
    """Tells a controller of measurements whose rates are given, each over all of the measurement so far."""

    def __init__(self, most: int = 8) -> None:
        self.controller = Controller(most)
        self.now = 64.0
        self.begin()

    def begin(self) -> None:
        """Begin a measurement."""
        self._seconds, self._bytes = 0.0, 0
        self.note(0)

    def note(self, size: int, *, flowing: int | None = None) -> int:
        count = self.controller.count
        self.controller.note(self.now, size, in_use=count, flowing=count if flowing is None else flowing)
        return self.controller.count

    def look(self, rate: float, seconds: float = 0.0625) -> int:
        """Let the measurement last so much longer, so that its rate in all is this one. Returns the new count."""
        self.now += seconds
        self._seconds += seconds
        size = round(rate * self._seconds) - self._bytes
        self._bytes += size
        before = self.controller.count
        if self.note(size) != before:
            self._seconds, self._bytes = 0.0, 0
        return self.controller.count

    def base(self, rate: float, seconds: float = 0.0625) -> int:
        """Measure the rate of the present count by itself."""
        self._seconds, self._bytes = 0.0, 0
        return self.look(rate, seconds)

    def fail(self) -> "Meter":
        """Try more connections, which bring nothing more."""
        if self.base(40 * MB) > 2:
            self.begin()
            while self.controller.count > 2:
                self.look(40 * MB)
        return self


@pytest.mark.parametrize(
    ("seconds", "size", "judged"), [(0.05, 2**17, True), (0.049, 2**20, False), (0.05, 2**17 - 1, False)]
)
def test_a_rate_counts_after_a_twentieth_of_a_second_and_64_kib_a_connection(
    seconds: float, size: int, judged: bool
) -> None:
    controller = Controller(8)
    controller.note(0.0, 10**9, in_use=2, flowing=0)
    controller.note(seconds, size, in_use=2, flowing=0)
    assert (controller.count == 8) is judged


def test_fewer_bytes_count_after_two_seconds() -> None:
    meter = Meter()
    for _ in range(3):
        assert meter.look(1000, 0.5) == 2
    assert meter.look(1000, 0.5) == 8


def test_no_rate_is_measured_while_nothing_is_in_use() -> None:
    controller = Controller(8)
    for now in range(10):
        controller.note(float(now), 10**6, in_use=0, flowing=0)
    assert controller.count == 2


def test_small_files_that_leave_connections_unused_are_measured_as_if_they_did_not() -> None:
    controller = Controller(8)
    controller.note(0.0, 0, in_use=1, flowing=1)
    controller.note(0.0625, 2 * MB, in_use=1, flowing=1)
    assert controller.count == 4, "64 MB/s of two connections, if both were in use"


@pytest.mark.parametrize(("rate", "tried"), [(50 * MB, 8), (50 * MB + 16, 4)])
def test_all_are_tried_at_once_unless_a_connection_is_fast(rate: float, tried: int) -> None:
    assert Meter().look(rate) == tried


def test_more_connections_are_measured_once_all_of_them_bring_bytes() -> None:
    meter = Meter()
    assert meter.look(60 * MB) == 4
    meter.now += 0.125
    meter.note(0, flowing=3)
    meter.now += 0.25
    assert meter.note(100 * MB, flowing=4) == 4, "now it begins"
    assert meter.look(120 * MB) == 8


def test_more_connections_are_measured_after_half_a_second_at_the_latest() -> None:
    meter = Meter()
    assert meter.look(60 * MB) == 4
    meter.now += 0.5
    meter.note(100 * MB, flowing=3)
    assert meter.look(120 * MB) == 8


@pytest.mark.parametrize(
    ("before", "rates", "counts"),
    [
        (60 * MB, [90 * MB], [8]),
        (60 * MB, [90 * MB - 16, 90 * MB - 16], [4, 3]),
        (60 * MB, [60 * MB, 60 * MB], [4, 2]),
        (60 * MB, [30 * MB, 30 * MB], [4, 2]),
        (60 * MB, [80 * MB, 84 * MB], [4, 3]),
        (60 * MB, [80 * MB, 84 * MB + 160, 84 * MB + 160], [4, 4, 3]),
        (60 * MB, [80 * MB, 85 * MB, 91 * MB], [4, 4, 8]),
        (40 * MB, [64 * MB], [8]),
        (40 * MB, [63 * MB] * 6, [8] * 5 + [3]),
        (40 * MB, [40 * MB] * 6, [8] * 5 + [2]),
        (50 * MB, [75 * MB] * 6, [8] * 5 + [3]),
    ],
)
def test_connections_are_kept_for_what_they_bring(before: float, rates: list[float], counts: list[int]) -> None:
    meter = Meter()
    meter.look(before)
    meter.begin()
    assert [meter.look(rate) for rate in rates] == counts


def test_the_most_are_kept_without_another_try() -> None:
    meter = Meter()
    meter.look(40 * MB)
    meter.begin()
    meter.look(160 * MB)
    assert [meter.look(rate * MB) for rate in (1, 1, 1, 1, 1, 1, 1, 1)] == [8] * 8
    assert meter.controller.give_way(meter.now, 8)
    assert meter.controller.count == 7


def test_after_a_failure_one_more_is_tried_two_seconds_later_and_each_success_doubles_the_step() -> None:
    meter = Meter(most=16).fail()
    meter.now += 0.5
    meter.begin()
    assert [meter.base(40 * MB, 0.5) for _ in range(3)] == [2, 2, 3]
    for rate, count in ((60, 5), (100, 9), (180, 16)):
        meter.begin()
        assert meter.look(rate * MB, 0.5) == count


def test_a_rate_counts_after_longer_where_one_connection_more_is_tried() -> None:
    meter = Meter().fail()
    meter.now += 2.0
    meter.begin()
    assert meter.look(40 * MB, 0.390625) == 2
    assert meter.look(40 * MB, 0.015625) == 3


@pytest.mark.parametrize(("failures", "seconds"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60)])
def test_each_failure_doubles_the_time_to_the_next_try_up_to_a_minute(failures: int, seconds: float) -> None:
    meter = Meter().fail()
    for _ in range(failures - 1):
        meter.now += 60
        meter.begin()
        assert meter.base(40 * MB, 0.5) == 3
        meter.begin()
        while meter.controller.count > 2:
            meter.look(40 * MB, 0.5)
    meter.now += seconds - 1
    meter.begin()
    assert [meter.base(40 * MB, 0.5) for _ in range(2)] == [2, 3]


def test_a_success_shortens_the_time_to_the_next_try_again() -> None:
    meter = Meter(most=4).fail()
    meter.now += 2
    meter.begin()
    assert meter.base(40 * MB, 0.5) == 3
    meter.begin()
    assert meter.look(60 * MB, 0.5) == 4
    meter.begin()
    while meter.controller.count > 3:
        meter.look(60 * MB)
    meter.now += 1
    meter.begin()
    assert [meter.base(60 * MB, 0.5) for _ in range(2)] == [3, 4]


def test_one_that_gave_way_is_tried_again_after_ten_seconds() -> None:
    meter = Meter()
    meter.controller.give_way(meter.now, 2)
    meter.now += 9
    meter.begin()
    assert [meter.base(5 * MB, 0.5) for _ in range(2)] == [1, 2]
