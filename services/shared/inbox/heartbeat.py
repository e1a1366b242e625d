"""A long reaction: its heartbeat keeps the message hidden, and its budget says when to pause.

Long work is done in slices: when the function's time is nearly over it pauses, and an event resumes it.
"""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from services.shared.clock import Clock
from services.shared.errors import Fenced
from services.shared.inbox.message import Message
from services.shared.logs import why

logger = Logger(child=True)

PAUSE_SECONDS = 60.0  # a slice ends when less than this is left
RESERVE_SECONDS = 20.0  # for what follows the last step of a slice
MAX_HOPS = 200  # pauses of one piece of work
MAX_IDLE_SLICES = 3  # slices in a row without progress


class Heartbeat:
    """Hides the message for a short time, and renews that until the work is done.

    The queue's own visibility has to be as long as the function's timeout. With the shorter one, the message of a
    killed function is back soon. `beat` is called with every renewal. After `PATIENCE_SECONDS` without a successful
    renewal, or once `beat` has raised `Fenced`, `check` raises `Fenced`: another worker may have begun.
    """

    HIDDEN_SECONDS = 120
    INTERVAL_SECONDS = 30.0
    PATIENCE_SECONDS = 100.0

    def __init__(self, message: Message, clock: Clock, beat: Callable[[], None] = lambda: None) -> None:
        self._message = message
        self._clock = clock
        self._beat = beat
        self._stop = threading.Event()
        self._fenced: Fenced | None = None
        self._renewed = clock.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")

    def check(self) -> None:
        """Raise `Fenced` when the work no longer belongs to this worker."""
        if self._fenced is None and self._clock.monotonic() - self._renewed > self.PATIENCE_SECONDS:
            self._fenced = Fenced("the lease could not be renewed in time")
        if self._fenced:
            raise self._fenced

    def __enter__(self) -> Self:
        self._renewed = self._clock.monotonic()
        try:
            self._message.hide(self.HIDDEN_SECONDS)
        except (BotoCoreError, ClientError) as error:
            # It stays hidden for the queue's own visibility, which is no shorter than the function's timeout.
            logger.warning("visibility_unchanged", message_id=self._message.id, why=why(error))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            # The renewed time counts from before the calls: a slow call may have taken effect at its beginning.
            began = self._clock.monotonic()
            try:
                self.check()  # a lost lease must not be renewed
                self._beat()
                self._message.hide(self.HIDDEN_SECONDS)
            except Fenced as fenced:
                self._fenced = fenced
                return
            except Exception as error:  # noqa: BLE001  # no error may end the thread: the patience decides
                logger.warning("heartbeat_failed", why=why(error))
            else:
                self._renewed = began


class SliceOver(Exception):
    """The slice's time is over, or would be before the end of a wait."""


class Checkable(Protocol):
    """What knows whether the work still belongs to this worker."""

    def check(self) -> None:
        """Raise `Fenced` when it does not."""


class Budget:
    """The time and the lease that a worker has left for one message."""

    def __init__(self, remaining_seconds: Callable[[], float], heartbeat: Checkable, clock: Clock) -> None:
        self.remaining_seconds = remaining_seconds
        self._heartbeat = heartbeat
        self._clock = clock

    def check(self) -> None:
        """Raise `Fenced` when another worker has taken the work over."""
        self._heartbeat.check()

    def has_time(self, seconds: float = PAUSE_SECONDS) -> bool:
        """Return whether more than this is left, and never less than a pause needs. Raises `Fenced` as `check` does."""
        self.check()
        return self.remaining_seconds() > max(PAUSE_SECONDS, seconds)

    def begin_step(self, slowest: float = 0.0) -> None:
        """Raise `SliceOver` if less is left than twice the time of the slowest step so far, plus a reserve.

        Raises `Fenced` as `check` does.
        """
        if not self.has_time(2 * slowest + RESERVE_SECONDS):
            raise SliceOver

    def sleep(self, seconds: float) -> None:
        """Wait, or raise `SliceOver` when the wait would leave less than a pause needs."""
        if self.remaining_seconds() - seconds < PAUSE_SECONDS:
            raise SliceOver
        self._clock.sleep(seconds)
