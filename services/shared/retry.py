"""Trying again: within one invocation with back-off, and when an HTTP server says when."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from services.shared.clock import Clock

_T = TypeVar("_T")


def retry(
    attempt: Callable[[], _T],
    *,
    on: type[Exception] | tuple[type[Exception], ...],
    clock: Clock,
    tries: int,
    first_pause: float,
    longest_pause: float = math.inf,
) -> _T:
    """Return what `attempt` returns, calling it again after each error of the type `on`.

    The pauses, in seconds, double from the first to the longest; each is spread by half its length either way, so that
    workers that collided once do not collide again. Raises the last error when all tries are used up.
    """
    for number in range(tries - 1):
        try:
            return attempt()
        except on:
            clock.sleep(min(longest_pause, first_pause * 2**number) * (0.5 + clock.jitter()))
    return attempt()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, given as seconds or a date (RFC 9110, 10.2.3).

    None without the header, or when it cannot be read.
    """
    with suppress(InvalidHeader, KeyError, OverflowError, ValueError):
        return Retry().parse_retry_after(headers["Retry-After"])
    return None
