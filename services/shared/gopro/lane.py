"""Calling GoPro from a worker that may wait.

A session that ran out and an outage are nobody's fault: a worker waits for their end in its lane, with its message
in hand, instead of failing one message after the other.
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from aws_lambda_powertools import Logger

from services.shared.bus import utc_now
from services.shared.errors import PermanentError, TransientError
from services.shared.gopro.client import Blocked, GoProClient, RateLimited, SessionRefused, Unavailable
from services.shared.gopro.session import NoSession, Session

logger = Logger(child=True)

T = TypeVar("T")


class Lane:
    """Makes calls for one message. It gives up waiting after `patience_seconds` altogether, over all its calls."""

    POLL_SECONDS = 2.0  # between two looks at the session secret
    FIRST_PAUSE_SECONDS = 2.0  # in an outage; doubles
    LONGEST_PAUSE_SECONDS = 30.0

    def __init__(
        self,
        client: GoProClient,
        *,
        current_session: Callable[[], Session | None],
        reject: Callable[[int], None],
        patience_seconds: float,
        now: Callable[[], datetime] = utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`reject` tells the authenticator that the session of this version has to be replaced."""
        self._client = client
        self._current_session = current_session
        self._reject = reject
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._rejected = 0  # the newest version that GoPro refused
        self._reported = 0  # the newest version that the authenticator was told of
        self._patience = patience_seconds

    def call(self, request: Callable[[str], T]) -> T:
        """What `request`, called with an access token, returns.

        Raises what `request` raises where waiting doesn't help, or no longer: its own errors, an error of a single
        medium, `NoSession` when an operator has to act first.
        """
        pause = self.FIRST_PAUSE_SECONDS
        while True:
            session = self._current_session()
            if session is None:
                raise NoSession("there is no session yet")
            if session.dead_because:
                raise NoSession(session.dead_because)
            if session.version <= self._rejected:
                self._wait(self.POLL_SECONDS, SessionRefused("GoPro refused the session, and no new one came in time"))
                continue
            if session.ends_soon(self._now()):
                self._report(session)
            began = self._monotonic()
            try:
                return request(session.access_token)
            except SessionRefused:
                self._refused(session)
                continue
            except (RateLimited, Blocked) as error:
                trouble: TransientError = error
            except Unavailable as error:
                if not self._is_outage(session):
                    raise
                trouble = error
            # A call that got no answer has waited for one, perhaps for a minute.
            self._patience -= self._monotonic() - began
            self._wait(max(trouble.retry_after or 0, pause), trouble)
            pause = min(pause * 2, self.LONGEST_PAUSE_SECONDS)

    def _refused(self, session: Session) -> None:
        self._report(session)
        self._rejected = session.version  # only now: a version that nobody was told of is never replaced

    def _report(self, session: Session) -> None:
        if session.version > self._reported:
            logger.info("Asking for a new session", session_version=session.version)
            self._reject(session.version)
            self._reported = session.version

    def _wait(self, seconds: float, error: TransientError) -> None:
        """Waits, or raises `error` when that would be past the end of patience."""
        if seconds > self._patience:
            raise error
        logger.info("Waiting in the lane", seconds=seconds, why=str(error))
        self._sleep(seconds)
        self._patience -= seconds

    def _is_outage(self, session: Session) -> bool:
        """Whether GoPro as a whole has trouble, rather than this one call.

        Or the session, which is found out here too: to a dead one GoPro says 500 as well.
        """
        try:
            self._client.user(session.access_token)
        except SessionRefused:
            self._refused(session)
            return True
        except TransientError:
            return True
        except PermanentError:
            return False
        return False
