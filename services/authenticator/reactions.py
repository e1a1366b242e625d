"""What the authenticator does: begins a sync with a session, replaces a rejected session, warns before one ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.authenticator.authenticator_table import Outcome, StillInProgress
from services.authenticator.failures import failure
from services.authenticator.health import outlook
from services.authenticator.request import accepted_filters
from services.shared.clock import Clock, iso
from services.shared.envelope import scheduled_sync_id
from services.shared.errors import PermanentError, reason_of
from services.shared.events import (
    AuthenticationFailed,
    Event,
    SessionAuthenticated,
    SessionEnding,
    SessionProbeDue,
    SessionRejected,
    SyncRequested,
)
from services.shared.inbox.reaction import Reaction, nothing
from services.shared.metrics import Metric

if TYPE_CHECKING:
    from services.authenticator.authenticator_table import AuthenticatorTable
    from services.authenticator.sessions import Sessions
    from services.shared.inbox.message import Message

logger = Logger(child=True)


class Authenticator:
    """Begins syncs, each once, and replaces rejected sessions."""

    def __init__(
        self,
        *,
        sessions: "Sessions",
        table: "AuthenticatorTable",
        next_sync: "Callable[[datetime], datetime]",
        zone: tzinfo,
        clock: Clock,
        measure: "Callable[[Metric, float], None]",
    ) -> None:
        """`next_sync` returns the time of the next scheduled sync. `measure` takes a metric and its value."""
        self._sessions = sessions
        self._table = table
        self._next_sync = next_sync
        self._zone = zone
        self._clock = clock
        self._measure = measure

    def begin(self, event: SyncRequested, message: "Message") -> Sequence[Event]:
        """Obtain a session for a sync.

        Returns nothing for a sync that has begun, or failed to begin, before. Raises as `Sessions.obtain` does, and
        `RequestRefused` when the request has a mistake.
        """
        earlier = self._table.begin_sync(event.sync_id, message)
        if earlier is not None:
            if earlier.failed_because:
                advice = "fix the cause and send a new SyncRequested"
                logger.warning("sync_failed_before", reason=earlier.failed_because, advice=advice)
            else:
                logger.info("sync_begun_before", session_version=earlier.session_version)
            return []
        try:
            filters = accepted_filters(event)
            session = self._sessions.obtain(message.remaining_seconds)
        except Exception:
            self._table.keep_claim(event.sync_id, message)
            raise
        return [
            SessionAuthenticated(
                sync_id=event.sync_id,
                provider=event.provider,
                filters=filters,
                requested_at=event.occurred_at or iso(self._clock.now()),
                session_version=session.version,
                expires_at=session.expires_at,
            )
        ]

    def not_begun(self, event: SyncRequested, _message: "Message", error: Exception) -> Sequence[Event]:
        """Report that the sync has no session, unless another worker may still obtain one."""
        return [] if isinstance(error, StillInProgress) else [failure(event.sync_id, error)]

    def remember(self, event: SyncRequested, published: Sequence[Event]) -> None:
        """Record the published outcome, so that the sync never begins again."""
        for outcome in published:
            if isinstance(outcome, SessionAuthenticated):
                self._table.remember(event.sync_id, Outcome(session_version=outcome.session_version))
            if isinstance(outcome, AuthenticationFailed):
                self._table.remember(event.sync_id, Outcome(failed_because=outcome.reason))
                self._note_warning()

    def probe(self, _event: SessionProbeDue, message: "Message") -> Sequence[Event]:
        """Warn, once a day, that the next sync will probably have no session.

        Raises `TransientError` when another try may find out whether it will.
        """
        reason = ""
        try:
            if not self._sessions.probe(message.remaining_seconds):
                return []
        except PermanentError as error:
            reason = reason_of(error)
        now = self._clock.now()
        health = self._table.health()
        self._measure(Metric.SESSION_AGE_HOURS, health.age(now).total_seconds() / 3600)
        found = outlook(health, now=now, next_sync=self._next_sync(now), dead=bool(reason))
        if found is None or health.warned_on == self._today():
            return []
        return [
            SessionEnding(
                sync_id=scheduled_sync_id(found.next_sync, self._zone),
                warned_on=self._today(),
                since=health.since,
                ends_about=iso(found.ends_about) if found.ends_about else None,
                next_sync_at=iso(found.next_sync),
                reason=reason,
            )
        ]

    def warned(self, _event: SessionProbeDue, published: Sequence[Event]) -> None:
        """Record that people were warned today."""
        if published:
            self._note_warning()

    def _note_warning(self) -> None:
        health = self._table.health()
        self._table.keep_health(replace(health, warned_on=self._today()), before=health)

    def _today(self) -> str:
        return self._clock.now().astimezone(self._zone).date().isoformat()

    def replace(self, event: SessionRejected, message: "Message") -> Sequence[Event]:
        """Renew the session. Raises as `Sessions.replace` does.

        Publishes nothing: a SessionAuthenticated would make the lister list the library again.
        """
        self._sessions.replace(event.session_version, message.remaining_seconds)
        return []

    def not_replaced(self, event: SessionRejected, _message: "Message", error: Exception) -> Sequence[Event]:
        """Report that the rejected session could not be replaced."""
        return [failure(event.sync_id, error, session_version=event.session_version)]


REACTIONS: Mapping[type[Event], Reaction] = {
    SyncRequested: Reaction(do=Authenticator.begin, on_end=Authenticator.not_begun, after=Authenticator.remember),
    SessionProbeDue: Reaction(do=Authenticator.probe, on_end=nothing, after=Authenticator.warned),
    SessionRejected: Reaction(do=Authenticator.replace, on_end=Authenticator.not_replaced),
}
