"""A clock that tests set."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from services.shared.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable


class ManualClock(Clock):
    """Stands still until it is advanced or somebody sleeps by it, and remembers every sleep in seconds."""

    def __init__(self, moment: datetime = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)) -> None:
        self.moment = moment
        self.slept: list[float] = []
        self.while_asleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        self.while_asleep()

    def jitter(self) -> float:
        return 0.5

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
