"""Whether people are warned of a night without a session: early enough, and not too often."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from services.authenticator.health import KEPT_LIVES, Health, Outlook, outlook
from services.shared.schedule import next_daily

ZONE = ZoneInfo("Europe/Berlin")
SINCE = datetime(2026, 3, 2, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NONE = Health()


def begun(since: datetime = SINCE, *, version: int = 1, renews_itself: bool = False, before: Health = NONE) -> Health:
    return before.accepted(version=version, since=since.isoformat(), renews_itself=renews_itself, now=since)


def seen(health: Health, at: datetime) -> Health:
    return health.accepted(version=health.version, since=health.since, renews_itself=health.renews_itself, now=at)


def test_a_session_that_renews_itself_needs_no_warning() -> None:
    health = begun(renews_itself=True)
    assert outlook(health, now=SINCE + 20 * HOUR, next_sync=SINCE + 26 * HOUR) is None
    assert seen(health, SINCE + HOUR).refused(SINCE + 2 * HOUR).lives == ()


def test_without_a_session_there_is_nothing_to_watch() -> None:
    assert outlook(Health(), now=SINCE, next_sync=SINCE + HOUR) is None
    assert Health().refused(SINCE) == Health()


def test_a_fresh_session_is_trusted_for_most_of_the_usual_life() -> None:
    health = begun()
    assert outlook(health, now=SINCE, next_sync=SINCE + 6 * HOUR) is None
    end = SINCE + 6.75 * HOUR
    for night in (end, SINCE + 7 * HOUR):
        assert outlook(health, now=SINCE, next_sync=night) == Outlook(next_sync=night, ends_about=end)


def test_a_session_that_has_outlived_its_expectation_may_end_at_any_time() -> None:
    now = SINCE + 20 * HOUR
    assert outlook(seen(begun(), now), now=now, next_sync=now + HOUR) == Outlook(next_sync=now + HOUR, ends_about=now)


def test_a_refused_session_is_dead_and_its_life_is_remembered_once() -> None:
    dead = seen(begun(), SINCE + 30 * HOUR).refused(SINCE + 31 * HOUR)
    assert dead.lives == (30 * 3600,)
    assert dead.refused(SINCE + 40 * HOUR) == dead
    assert outlook(dead, now=SINCE, next_sync=SINCE + HOUR) == Outlook(next_sync=SINCE + HOUR, ends_about=None)


def test_the_shortest_of_the_last_lives_is_what_is_expected() -> None:
    health = Health()
    for number, hours in enumerate((2, *[48] * KEPT_LIVES), start=1):
        health = seen(begun(version=number, before=health), SINCE + hours * HOUR).refused(SINCE + hours * HOUR)
    assert health.lives == (48 * 3600,) * KEPT_LIVES  # the two hours are forgotten
    fresh = begun(version=99, before=health)
    assert fresh.expected_end == SINCE + 36 * HOUR
    assert fresh.first_refused == ""


def test_a_session_that_never_was_accepted_again_says_nothing_of_others() -> None:
    assert begun().refused(SINCE + HOUR).lives == ()
    a_second_later = SINCE + timedelta(seconds=1)
    assert seen(begun(), a_second_later).refused(SINCE + HOUR).lives == (1,)


def test_a_new_session_keeps_what_is_known_of_the_earlier_ones_and_of_warnings() -> None:
    before = replace(begun(), lives=(3600,), warned_on="2026-03-02", first_refused=SINCE.isoformat())
    after = begun(SINCE + HOUR, version=2, renews_itself=True, before=before)
    since = (SINCE + HOUR).isoformat()
    assert (after.lives, after.warned_on, after.first_refused, after.renews_itself) == ((3600,), "2026-03-02", "", True)
    again = after.accepted(version=2, since=since, renews_itself=False, now=SINCE + 2 * HOUR)
    assert not again.renews_itself


def test_the_age_is_that_of_the_session() -> None:
    assert begun().age(SINCE + HOUR) == HOUR
    assert Health().age(SINCE) == timedelta()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-27T00:59:00+00:00", "2026-11-27T02:00:00+01:00"),
        ("2026-11-27T01:00:00+00:00", "2026-11-28T02:00:00+01:00"),
        ("2026-10-24T18:00:00+00:00", "2026-10-25T02:00:00+02:00"),  # the night with two 02:00
        ("2026-03-28T18:00:00+00:00", "2026-03-29T02:00:00+01:00"),  # the night without one: the catch-up's
    ],
)
def test_the_next_sync_is_at_the_local_hour(now: str, expected: str) -> None:
    due = next_daily(2, ZONE, datetime.fromisoformat(now))
    assert due == datetime.fromisoformat(expected)
    assert due.tzinfo is UTC


def test_the_day_of_the_next_sync_is_that_of_its_zone() -> None:
    it_is_21_00 = datetime(2026, 11, 28, 5, tzinfo=UTC)
    assert next_daily(22, ZoneInfo("America/Los_Angeles"), it_is_21_00) == it_is_21_00 + HOUR


def lives_as_reported(random: Random) -> timedelta:
    """Return a life as the sources have it: about nine hours, or some days."""
    return timedelta(hours=random.choice([random.uniform(7.5, 10.5), random.uniform(20, 80)]))


@pytest.mark.parametrize("seed", range(200))
def test_in_30_nights_each_one_without_a_session_was_announced_and_nobody_is_told_twice_a_day(seed: int) -> None:
    random = Random(seed)
    start = datetime(2026, 3, 10, 12, 0, tzinfo=ZONE)
    health, version, dies = begun(start), 1, start + lives_as_reported(random)
    warnings: list[datetime] = []
    failed: list[datetime] = []
    for day in range(30):
        evening = (start + timedelta(days=day)).replace(hour=20)
        health = seen(health, evening) if evening < dies else health.refused(evening)
        night = next_daily(2, ZONE, evening)
        if outlook(health, now=evening, next_sync=night) and health.warned_on != str(evening.date()):
            warnings.append(evening)
            health = replace(health, warned_on=str(evening.date()))
            if random.random() < 0.6:  # the person acts on it, sooner or later
                renewed = evening + timedelta(minutes=random.uniform(1, 350))
                health, version = begun(renewed, version=version + 1, before=health), version + 1
                dies = renewed + lives_as_reported(random)
        if night < dies:
            health = seen(health, night)
        else:
            failed.append(night)
            health = health.refused(night)
    assert len({warning.date() for warning in warnings}) == len(warnings)
    for night in failed:
        assert any(night - warning < timedelta(hours=24) for warning in warnings), f"nobody was told of {night}"
