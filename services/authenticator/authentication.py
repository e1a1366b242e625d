"""What the authenticator does about each event."""

from collections.abc import Callable, Sequence
from datetime import datetime

from aws_lambda_powertools import Logger

from services.authenticator.failures import failure
from services.authenticator.once import Once, Outcome, StillInProgress
from services.authenticator.request import accepted_filters
from services.authenticator.session import Sessions
from services.shared.bus import Bus, iso, utc_now
from services.shared.errors import PermanentError
from services.shared.events import AuthenticationFailed, Event, SessionAuthenticated, SessionRejected, SyncRequested
from services.shared.inbox import GaveUp, Message

logger = Logger(child=True)


class Authenticator:
    """Begins syncs with a session, and replaces sessions that were rejected."""

    def __init__(self, *, sessions: Sessions, once: Once, bus: Bus, now: Callable[[], datetime] = utc_now) -> None:
        self._sessions = sessions
        self._once = once
        self._bus = bus
        self._now = now

    def begin(self, event: SyncRequested, message: Message) -> Sequence[Event]:
        """Publishes SessionAuthenticated or AuthenticationFailed, once for a sync.

        It publishes by itself rather than by what it returns, since a sync's outcome may be remembered only after
        it was told.
        """
        ended_by: Exception | None = None
        told = False

        def work() -> Outcome:
            nonlocal ended_by, told
            try:
                outcome: SessionAuthenticated | AuthenticationFailed = self._authenticated(event, message)
            except Exception as error:
                if not message.gives_up(error):
                    raise
                ended_by = error
                outcome = failure(event.sync_id, error)
                logger.error("No session for this sync", reason=outcome.reason, remedy=outcome.remedy)
            self._bus.publish([outcome], cause=event)
            told = True
            if isinstance(outcome, AuthenticationFailed):
                return Outcome(failed_because=outcome.reason)
            return Outcome(session_version=outcome.session_version)

        try:
            outcome, done_now = self._once.begin(event.sync_id, work, message.remaining_seconds)
        except StillInProgress:
            # The other worker tells what comes of it; a failure fact beside its success would be false.
            raise
        except Exception as error:
            if not message.last or told:  # a failure fact beside a session that was told would be false
                raise
            raise GaveUp([failure(event.sync_id, ended_by or error)], dead_letter=True) from error
        if not done_now:
            self._explain_repetition(outcome)
        elif ended_by and not isinstance(ended_by, PermanentError):
            raise GaveUp([], dead_letter=True) from ended_by
        return []

    def replace(self, event: SessionRejected, message: Message) -> Sequence[Event]:
        """Renews the session. That is told by the session secret alone: an event would begin the sync again."""
        try:
            self._sessions.replace(event.session_version, message.remaining_seconds)
        except Exception as error:
            if not message.gives_up(error):
                raise
            fact = failure(event.sync_id, error, session_version=event.session_version)
            logger.error("The session can't be replaced", reason=fact.reason, remedy=fact.remedy)
            raise GaveUp([fact], dead_letter=not isinstance(error, PermanentError)) from error
        return []

    def _authenticated(self, event: SyncRequested, message: Message) -> SessionAuthenticated:
        filters = accepted_filters(event)
        session = self._sessions.obtain(message.remaining_seconds)
        return SessionAuthenticated(
            sync_id=event.sync_id,
            provider=event.provider,
            filters=filters,
            requested_at=event.occurred_at or iso(self._now()),
            session_version=session.version,
            expires_at=session.expires_at,
        )

    def _explain_repetition(self, outcome: Outcome) -> None:
        if outcome.failed_because:
            logger.warning(
                "This sync failed before, and its outcome stands: mend the cause and send a new SyncRequested",
                reason=outcome.failed_because,
            )
        else:
            logger.info("This sync has begun already", session_version=outcome.session_version)
