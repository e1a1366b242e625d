"""The measurement of a night without news: its table, and its goal."""

from dataclasses import replace

from tools.load.idle import MOST_GOPRO_REQUESTS, MOST_READS, Count, IdleNight, missed, text


def night(*, requests: int = 3, reads: int = 20) -> IdleNight:
    counts: dict[Count, int] = {"GoPro requests": requests, "invocations": 4, "items read": reads}
    return IdleNight(media=1_000_000, walk="newest", counts=counts, seconds=2.0, peak=87 << 20)


def test_a_night_misses_the_goal_by_a_request_or_a_read_too_many() -> None:
    assert missed([night(requests=MOST_GOPRO_REQUESTS, reads=MOST_READS)]) == []
    for bad in (night(requests=MOST_GOPRO_REQUESTS + 1), night(reads=MOST_READS + 1)):
        assert missed([bad]) == [bad]
        assert missed([replace(bad, walk="full")]) == [], "the goal is for walks through the newest media"


def test_the_table_has_a_row_for_each_night() -> None:
    assert text([night()]).splitlines()[2:] == ["| 1,000,000 | newest | 3 | 4 | 20 | 1.0 | 87 |"]
