"""Numbers and times as the pages show them."""

from datetime import datetime, tzinfo

from services.summarizer.texts import size, some

UNKNOWN = "unknown"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def read(moment: str) -> datetime | None:
    """Return a time from a record; None if the record has none."""
    return datetime.fromisoformat(moment) if moment else None


def clock(moment: datetime | None, zone: tzinfo, *, seconds: bool = False) -> str:
    """Return the time of day in a zone, such as 02:05."""
    if moment is None:
        return UNKNOWN
    return f"{moment.astimezone(zone):%H:%M:%S}" if seconds else f"{moment.astimezone(zone):%H:%M}"


def date(moment: datetime | None, zone: tzinfo) -> str:
    """Return the date in a zone, such as 23 November 2026."""
    if moment is None:
        return UNKNOWN
    local = moment.astimezone(zone)
    return f"{local.day} {local:%B %Y}"


def weekday(moment: datetime, zone: tzinfo) -> str:
    """Return the date in a zone with its day of the week, such as Monday, 23 November 2026."""
    return f"{moment.astimezone(zone):%A}, {date(moment, zone)}"


def stamp(moment: datetime | None, zone: tzinfo) -> str:
    """Return date and time in a zone, in the short form of a table, such as 2026-11-23 02:05."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" if moment else UNKNOWN


def lasting(seconds: float) -> str:
    """Return a duration in its two largest units, such as 3 min 20 s."""
    if seconds < 10:  # noqa: PLR2004  # below, tenths are worth reading
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min" + (f" {whole % _MINUTE} s" if whole % _MINUTE else "")
    minutes = round(seconds / _MINUTE)
    if minutes < _DAY // _MINUTE:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d" + (f" {hours % 24} h" if hours % 24 else "")


def rate(count: float, seconds: float) -> str:
    """Return bytes per second with a unit that fits; unknown if no time has passed."""
    return f"{size(round(count / seconds))}/s" if seconds > 0 else UNKNOWN


def some_media(count: int) -> str:
    """Return a number of media."""
    return some(count, "medium", "media")
