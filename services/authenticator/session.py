"""Which session with GoPro is the current one, and when a new one takes its place."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from services.authenticator.credentials import Credentials, fill
from services.authenticator.failures import NeedsOperator
from services.authenticator.grants import Granted, GrantRefused, explained, password_form, read_grant, refresh_form
from services.authenticator.ledger import Ledger
from services.authenticator.vault import Vault
from services.shared.bus import iso, utc_now
from services.shared.errors import PermanentError, TransientError
from services.shared.gopro.client import GoProClient, SessionRefused
from services.shared.gopro.session import Session

logger = Logger(child=True)

# A session so young is not replaced again because it was rejected: something else is wrong then, and renewing it
# over and over would be a storm of logins.
YOUNG = timedelta(seconds=600)


class TooYoung(TransientError):
    """The session was rejected too soon after it began."""


class Sessions:
    """There is one current session for all syncs. Only the holder of the lease writes the secrets."""

    def __init__(
        self, *, gopro: GoProClient, vault: Vault, ledger: Ledger, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._gopro = gopro
        self._vault = vault
        self._ledger = ledger
        self._now = now

    def obtain(self, remaining_seconds: Callable[[], float]) -> Session:
        """A session that GoPro accepts: the current one where it still does, or else a new one.

        A session that is known dead is tried to be replaced here even with unchanged credentials, since what was
        wrong may have been mended at GoPro. Raises `NeedsOperator` or another `PermanentError` when no session can
        be had, and `TransientError` when another try may have one.
        """
        credentials = self._vault.credentials()
        current = self._vault.session()
        if current and self._fits(current, credentials) and self._accepted(current.access_token):
            return current
        with self._ledger.refresh_lease(remaining_seconds):
            latest = self._vault.session()
            renewed_meanwhile = latest and latest.version > (current.version if current else 0)
            if latest and renewed_meanwhile and self._fits(latest, credentials):
                return latest
            try:
                return self._renew(credentials, latest)
            except PermanentError as error:
                # A session that came from other credentials may well be alive.
                if latest and latest.credentials == credentials.fingerprint:
                    self._mark_dead(latest, error, credentials.fingerprint)
                raise

    def replace(self, version: int, remaining_seconds: Callable[[], float]) -> None:
        """Sees to it that there is a newer session than the rejected one of this version.

        Raises as `obtain` does; `NeedsOperator`, without asking GoPro again, when it is known that none can be had.
        """
        current = self._vault.session()
        if current and version < current.version:
            return
        with self._ledger.refresh_lease(remaining_seconds):
            current = self._vault.session()
            if current and version < current.version:
                return
            fingerprint = ""
            try:
                credentials = self._vault.credentials()
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
            and not session.ends_soon(self._now())
        )

    def _accepted(self, token: str) -> bool:
        try:
            self._gopro.user(token)
        except SessionRefused:
            return False
        return True

    def _check_worth_renewing(self, current: Session, credentials: Credentials) -> None:
        """For a rejected session whose credentials are the same as ever."""
        if current.dead_because:
            raise NeedsOperator(current.dead_because, remedy=fill(self._vault.credentials_secret))
        wait = self._young_for(current)
        # Nobody logs in for a pasted token, and when it has died that should be known at once.
        if wait > 0 and not (credentials.pasted and not self._accepted(current.access_token)):
            raise TooYoung("a session was rejected soon after it began", retry_after=wait)

    def _young_for(self, session: Session) -> float:
        """Seconds until the session may be replaced; not positive when it may be now."""
        begin = datetime.fromisoformat(session.obtained_at)
        young = YOUNG
        if session.expires_at:
            young = min(young, (datetime.fromisoformat(session.expires_at) - begin) / 2)
        return (begin + young - self._now()).total_seconds()

    def _renew(self, credentials: Credentials, current: Session | None) -> Session:
        """A new session, in the session secret, and accepted by GoPro."""
        granted = self._pasted(credentials) if credentials.pasted else self._granted(credentials)
        obtained_at = self._now()
        session = Session(
            access_token=granted.access_token,
            version=self._ledger.next_session_version(current.version if current else 0),
            obtained_at=iso(obtained_at),
            expires_at=iso(obtained_at + timedelta(seconds=granted.lifetime)) if granted.lifetime else None,
            credentials=credentials.fingerprint,
        )
        try:
            self._gopro.user(session.access_token)
        except SessionRefused as refused:
            if credentials.pasted:
                raise self._pasted_token_died() from refused
            raise
        except TransientError:
            # It need not be asked for again once GoPro answers: logins are few.
            self._vault.keep_session(session)
            raise
        self._vault.keep_session(session)
        logger.info("A new session", session_version=session.version, expires_at=session.expires_at)
        return session

    def _pasted(self, credentials: Credentials) -> Granted:
        logger.warning(
            "The session is a pasted token: it dies within hours or days, and nothing can renew it. "
            "Configure client id and secret with a refresh token to run unattended"
        )
        return Granted(access_token=credentials.access_token)

    def _granted(self, credentials: Credentials) -> Granted:
        """By refresh token where there is one, or else, and when that is dead, by password."""
        used = self._vault.refresh_token(credentials)
        granted = (self._by_refresh_token(credentials, used) if used else None) or self._by_password(credentials)
        if granted.refresh_token and granted.refresh_token != used:
            # Before anything else can fail: the token that was used may be worthless by now.
            self._vault.keep_refresh_token(granted.refresh_token, credentials)
        return granted

    def _by_refresh_token(self, credentials: Credentials, token: str) -> Granted | None:
        """None when the token is dead and the password is left to try."""
        try:
            return self._ask(refresh_form(credentials, token))
        except GrantRefused as refused:
            if not (refused.another_grant_may_do and credentials.login):
                raise explained(
                    refused, credentials_secret=self._vault.credentials_secret, by="refresh token"
                ) from None
            logger.warning("The refresh token is dead; the password is tried", why=str(refused))
            return None

    def _by_password(self, credentials: Credentials) -> Granted:
        self._ledger.claim_password()
        try:
            return self._ask(password_form(credentials))
        except GrantRefused as refused:
            raise explained(refused, credentials_secret=self._vault.credentials_secret, by="password") from None

    def _ask(self, form: Mapping[str, str]) -> Granted:
        answer = self._gopro.token(form)
        return read_grant(answer.status_code, answer.text)

    def _pasted_token_died(self) -> NeedsOperator:
        return NeedsOperator(
            "the pasted token has died: paste a new one, or configure client id and secret, "
            "so that sessions renew themselves",
            remedy=fill(self._vault.credentials_secret),
        )

    def _mark_dead(self, session: Session, error: PermanentError, fingerprint: str) -> None:
        """Lets everybody know that it is of no use to call GoPro with this session."""
        dead = replace(session, dead_because=str(error), credentials=fingerprint)
        if dead != session:
            self._vault.keep_session(dead)
