"""Time and chance, handed in wherever they are needed, so that tests and the simulator can decide them."""

import random
import time
from datetime import UTC, datetime


class Clock:
    """The system's own clock, sleep and random numbers."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow, for measuring how long something takes."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def jitter(self) -> float:
        """Return a random number from 0 up to 1."""
        return random.random()  # noqa: S311  # spreads retries, and protects nothing


def iso(moment: datetime) -> str:
    """Return the moment in UTC as ISO 8601 with seconds, the form that events and tables carry."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def precise(moment: datetime) -> str:
    """Return the moment in UTC as ISO 8601 with milliseconds, if it has any."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds")  # noqa: PLR2004  # microseconds in one of these
    return text.removesuffix("+00:00") + "Z"


def moment_in(text: str) -> datetime | None:
    """Return the time that a text from elsewhere names, in UTC; None if it names none, or one without a time zone."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
