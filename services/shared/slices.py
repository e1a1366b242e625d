"""Long work goes on in slices: when its function's time is nearly over it pauses, and an event takes it up again."""

from collections.abc import Callable

PAUSE_SECONDS = 60.0  # with less than this left, a slice ends
MAX_HOPS = 200  # pauses of one piece of work
MAX_IDLE_SLICES = 3  # in a row, without anything new


class SliceOver(Exception):
    """The slice of time is over, or would be before a wait is."""


def sleep_within(remaining_seconds: Callable[[], float], sleep: Callable[[float], None]) -> Callable[[float], None]:
    """A `sleep` that raises `SliceOver` rather than sleep into the end of the function."""

    def sleep_in_time(seconds: float) -> None:
        if remaining_seconds() - seconds < PAUSE_SECONDS:
            raise SliceOver
        sleep(seconds)

    return sleep_in_time
