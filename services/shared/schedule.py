"""When the daily sync is due."""

from datetime import UTC, datetime, time, timedelta, tzinfo


def next_daily(hour: int, zone: tzinfo, now: datetime) -> datetime:
    """Return the next time, in UTC, at which it is this full hour in this zone."""
    today = now.astimezone(zone).date()
    occurrences = (datetime.combine(today + timedelta(days=days), time(hour), zone).astimezone(UTC) for days in (0, 1))
    return next(one for one in occurrences if one > now)
