"""The session with GoPro: whether the current one still works, and how a new one replaces it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from services.authenticator.authenticator_table import AuthenticatorTable
from services.authenticator.credentials import RENEW, Credentials
from services.authenticator.failures import NeedsOperator
from services.authenticator.grants import Granted, GrantRefused, explained, password_form, read_grant, refresh_form
from services.authenticator.secrets import Secrets
from services.shared.clock import Clock, iso
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.client import AccountRefused, GoProClient, SessionRefused, Unavailable, UnexpectedAnswer
from services.shared.gopro.patient import Session

logger = Logger(child=True)

# A rejected session younger than this is not replaced. Something else is wrong, and repeated renewals would cause a
# storm of logins.
YOUNG = timedelta(seconds=600)


class TooYoung(TransientError):
    """The session was rejected too soon after it began."""


class Sessions:
    """The one session that all syncs share. Only the holder of the lease writes the secrets."""

    def __init__(self, *, gopro: GoProClient, secrets: Secrets, table: AuthenticatorTable, clock: Clock) -> None:
        self._gopro = gopro
        self._secrets = secrets
        self._table = table
        self._clock = clock

    def obtain(self, remaining_seconds: Callable[[], float]) -> Session:
        """Return a session that GoPro accepts: the current one, or a new one if GoPro refuses the current one.

        Tries to replace even a dead session whose credentials are unchanged: the cause may be fixed at GoPro.
        Raises `NeedsOperator` or another `PermanentError` when Cloud Sync cannot sign in, and `TransientError` when
        another try may succeed.
        """
        credentials = self._secrets.credentials()
        current = self._secrets.session()
        if current and self._fits(current, credentials) and self._accepted(current.access_token):
            self._note_accepted(current, credentials)
            return current
        with self._table.refresh_lease(remaining_seconds):
            latest = self._secrets.session()
            renewed_meanwhile = latest and latest.version > (current.version if current else 0)
            if latest and renewed_meanwhile and self._fits(latest, credentials):
                return latest
            try:
                return self._renew(credentials, latest)
            except PermanentError as error:
                # A session from other credentials may still be alive.
                if latest and latest.credentials == credentials.fingerprint:
                    self._mark_dead(latest, error, credentials.fingerprint)
                raise

    def probe(self, remaining_seconds: Callable[[], float]) -> bool:
        """Obtain a session as the next sync will, and replace it if the listing refuses it.

        The listing is asked too because it may refuse an old token that the account endpoint still accepts. Returns
        False if there is no session to watch. Raises as `obtain` and `replace` do, and the listing's other errors.
        """
        if self._secrets.session() is None:
            return False
        session = self.obtain(remaining_seconds)
        try:
            self._gopro.search(session.access_token, page=1, filters=Filters(), page_size=1)
        except SessionRefused:
            self.replace(session.version, remaining_seconds)
        return True

    def replace(self, version: int, remaining_seconds: Callable[[], float]) -> None:
        """Replace the rejected session of this version, unless a newer one has replaced it already.

        Raises as `obtain` does. Also raises `TooYoung` for a session that has just begun, and `NeedsOperator`, without
        asking GoPro, for one that is known to be dead.
        """
        current = self._secrets.session()
        if current and version < current.version:
            return
        with self._table.refresh_lease(remaining_seconds):
            current = self._secrets.session()
            if current and version < current.version:
                return
            fingerprint = ""
            try:
                credentials = self._secrets.credentials()
                fingerprint = credentials.fingerprint
                if current and current.credentials == fingerprint:
                    self._check_worth_renewing(current, credentials)
                self._renew(credentials, current)
            except PermanentError as error:
                if current:
                    self._mark_dead(current, error, fingerprint)
                raise

    def _fits(self, session: Session, credentials: Credentials) -> bool:
        return (
            session.credentials == credentials.fingerprint
            and not session.dead_because
            and not session.ends_soon(self._clock.now())
        )

    def _accepted(self, token: str) -> bool:
        try:
            self._gopro.user(token)
        except SessionRefused:
            return False
        return True

    def _check_worth_renewing(self, current: Session, credentials: Credentials) -> None:
        """Raise `NeedsOperator` or `TooYoung` unless a session with unchanged credentials may be replaced now."""
        if current.dead_because:
            raise NeedsOperator(current.dead_because, remedy=RENEW)
        wait = self._young_for(current)
        # To try a pasted token again costs no login, and its death should be reported at once.
        if wait > 0 and not (credentials.pasted and not self._accepted(current.access_token)):
            raise TooYoung("a session was rejected soon after it began", retry_after=wait)

    def _young_for(self, session: Session) -> float:
        """Return the seconds until the session may be replaced; zero or less if it may be replaced now."""
        begin = datetime.fromisoformat(session.obtained_at)
        young = YOUNG
        if session.expires_at:
            young = min(young, (datetime.fromisoformat(session.expires_at) - begin) / 2)
        return (begin + young - self._clock.now()).total_seconds()

    def _renew(self, credentials: Credentials, current: Session | None) -> Session:
        """Return a new session, which GoPro accepts and which is stored in the session secret."""
        granted = self._pasted(credentials) if credentials.pasted else self._granted(credentials)
        obtained_at = self._clock.now()
        session = Session(
            access_token=granted.access_token,
            version=self._table.next_session_version(current.version if current else 0),
            obtained_at=iso(obtained_at),
            expires_at=iso(obtained_at + timedelta(seconds=granted.lifetime)) if granted.lifetime else None,
            credentials=credentials.fingerprint,
        )
        try:
            self._gopro.user(session.access_token)
            if credentials.pasted:  # the listing may refuse an old token that the account endpoint still accepts
                with suppress(Unavailable, UnexpectedAnswer):  # the lister reports what is wrong with the listing
                    self._gopro.search(session.access_token, page=1, filters=Filters(), page_size=1)
        except SessionRefused as refused:
            if credentials.pasted:
                raise self._pasted_token_died() from refused
            raise
        except (TransientError, AccountRefused):
            # Keep the session: once GoPro accepts it, no further login is needed.
            self._secrets.keep_session(session)
            raise
        self._secrets.keep_session(session)
        self._note_accepted(session, credentials)
        logger.info("session_renewed", session_version=session.version, expires_at=session.expires_at)
        return session

    def _pasted(self, credentials: Credentials) -> Granted:
        advice = "it expires within hours or days; with a refresh token, Cloud Sync can run unattended"
        logger.warning("pasted_token_used", advice=advice)
        return Granted(access_token=credentials.access_token)

    def _granted(self, credentials: Credentials) -> Granted:
        """Request a session by refresh token, or by password if there is no token or it is dead."""
        used = self._secrets.refresh_token(credentials)
        granted = (self._by_refresh_token(credentials, used) if used else None) or self._by_password(credentials)
        if granted.refresh_token and granted.refresh_token != used:
            # Stored before anything else can fail: GoPro may have revoked the token that was used.
            self._secrets.keep_refresh_token(granted.refresh_token, credentials)
        return granted

    def _by_refresh_token(self, credentials: Credentials, token: str) -> Granted | None:
        """Return None when GoPro refuses the token and there is a password to try."""
        try:
            return self._ask(refresh_form(credentials, token))
        except GrantRefused as refused:
            if not (refused.another_grant_may_do and credentials.login):
                raise explained(refused, by="refresh token") from None
            logger.warning("refresh_token_dead", why=str(refused))
            return None

    def _by_password(self, credentials: Credentials) -> Granted:
        self._table.claim_password()
        try:
            return self._ask(password_form(credentials))
        except GrantRefused as refused:
            raise explained(refused, by="password") from None

    def _ask(self, form: Mapping[str, str]) -> Granted:
        answer = self._gopro.token(form)
        return read_grant(answer.status_code, answer.text)

    def _pasted_token_died(self) -> NeedsOperator:
        return NeedsOperator(
            "the pasted token is dead: paste a new one, or configure a client id and secret, "
            "with which sessions renew themselves",
            remedy=RENEW,
        )

    def _note_accepted(self, session: Session, credentials: Credentials) -> None:
        before = self._table.health()
        known = before.accepted(
            version=session.version,
            since=session.obtained_at,
            renews_itself=not credentials.pasted,
            now=self._clock.now(),
        )
        self._table.keep_health(known, before=before)

    def _mark_dead(self, session: Session, error: PermanentError, fingerprint: str) -> None:
        """Mark the session as dead, so that no service calls GoPro with it again."""
        if isinstance(error, AccountRefused):
            return  # GoPro refuses the account, not the session
        dead = replace(session, dead_because=str(error), credentials=fingerprint)
        if dead != session:
            self._secrets.keep_session(dead)
        before = self._table.health()
        self._table.keep_health(before.refused(self._clock.now()), before=before)
