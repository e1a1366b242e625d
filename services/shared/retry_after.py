"""The `Retry-After` header of HTTP (RFC 9110, 10.2.3)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Seconds that a `Retry-After` header asks for, which may give them or a date (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    with suppress(ValueError, OverflowError):
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:  # of its three forms of a date, the one that doesn't say GMT means it
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now()).total_seconds())
    return None
