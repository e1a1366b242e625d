"""The rate at which bytes arrive, as somebody sees who looks now and then."""

import pytest

from ops.rates import Rate, Rates

MB = 1_000_000


def noted(*counts: tuple[float, int]) -> Rate:
    rate = Rate()
    for at, count in counts:
        rate.note(count, at=at, seen=at)
    return rate


def test_before_two_changes_nothing_is_known() -> None:
    assert noted().per_second(1.0) is None
    assert noted((1.0, MB), (2.0, MB)).per_second(2.0) is None
    assert noted((1.0, MB), (1.5, 2 * MB)).per_second(1.5) is None
    assert noted((1.0, MB), (2.0, 2 * MB)).per_second(2.0) == MB


def test_the_rate_is_measured_from_change_to_change_and_not_to_the_last_look() -> None:
    rate = noted((0.0, 0), (1.0, 5 * MB), (2.0, 10 * MB))
    rate.note(10 * MB, at=3.9, seen=3.9)

    assert rate.per_second(3.9) == 5 * MB


def test_only_the_last_seconds_count() -> None:
    rate = noted(*((float(second), second * MB) for second in range(11)))
    for second in range(11, 31):
        rate.note(10 * MB + (second - 10) * 3 * MB, at=float(second), seen=float(second))

    assert rate.per_second(30.0) == 3 * MB


def test_what_came_before_the_window_is_forgotten_unless_the_rate_needs_it() -> None:
    assert noted((0.0, 0), (1.0, 8 * MB), (6.0, 9 * MB), (10.9, 10 * MB)).per_second(10.9) == 10 * MB / 10.9
    assert noted((0.0, 0), (1.0, 8 * MB), (6.0, 9 * MB), (11.0, 10 * MB)).per_second(11.0) == 2 * MB / 10


def test_after_a_long_silence_the_rate_begins_anew() -> None:
    before = (0.0, 0), (1.0, 8 * MB)
    assert noted(*before, (10.9, 9 * MB)).per_second(10.9) == 9 * MB / 10.9
    assert noted(*before, (11.0, 9 * MB)).per_second(11.0) is None
    assert noted(*before, (11.0, 9 * MB), (12.0, 10 * MB)).per_second(12.0) == MB


@pytest.mark.parametrize(("now", "expected"), [(5.9, 1.0), (6.0, 2 / 6), (11.9, 2 / 11.9), (12.0, 0.0)])
def test_a_rate_sinks_after_a_silence_and_ends_at_nothing(now: float, expected: float) -> None:
    rate = noted((0.0, 0), (1.0, MB), (2.0, 2 * MB))

    assert rate.per_second(now) == pytest.approx(expected * MB)
    assert rate.silence(now) == now - 2.0


def test_before_the_first_bytes_there_is_no_silence() -> None:
    assert noted().silence(100.0) == 0.0


def test_a_smaller_count_begins_anew() -> None:
    rate = noted((0.0, 50 * MB), (1.0, 60 * MB), (2.0, 5 * MB))
    assert rate.per_second(2.0) is None
    rate.note(8 * MB, at=4.0, seen=4.0)
    assert rate.per_second(4.0) == 1.5 * MB


def test_a_lane_is_measured_by_its_workers_clock_and_its_silence_by_ours() -> None:
    rate = Rate()
    rate.note(0, at=1000.0, seen=1.0)
    rate.note(4 * MB, at=1002.0, seen=4.0)

    assert rate.per_second(4.0) == 2 * MB
    assert rate.silence(6.5) == 2.5


def test_all_media_together_have_the_sum_of_their_rates_and_each_its_own() -> None:
    rates = Rates()
    for second in range(4):
        rates.note({"a": second * MB, "b": second * 2 * MB, "c": 7}, {"a": second, "b": second}, now=100.0 + second)

    assert rates.total.per_second(103.0) == 3 * MB
    assert (rates.of("a").per_second(103.0), rates.of("b").per_second(103.0)) == (MB, 2 * MB)
    assert rates.of("c").per_second(103.0) is None
    assert rates.of("nobody").per_second(103.0) is None


def test_a_medium_that_is_gone_for_a_moment_takes_no_bytes_back() -> None:
    rates = Rates()
    rates.note({"a": MB, "b": 0}, {"a": 0.0}, now=0.0)
    rates.note({"a": 4 * MB, "b": MB}, {"a": 1.0}, now=1.0)
    rates.note({"b": 2 * MB}, {}, now=2.0)
    assert rates.total.per_second(2.0) == 2.5 * MB
    assert rates.of("a").per_second(2.0) is None
    rates.note({"a": 3 * MB, "b": 3 * MB}, {}, now=3.0)  # its file began again
    assert rates.total.per_second(3.0) == 2 * MB


def test_the_time_before_the_first_byte_does_not_count() -> None:
    rates = Rates()
    for now, count in ((0.0, 0), (8.0, 0), (9.0, MB), (10.0, 3 * MB)):
        rates.note({"a": count}, {}, now=now)

    assert rates.total.per_second(10.0) == 2 * MB
