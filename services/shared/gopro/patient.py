"""The session with GoPro, and calls that wait for a new session or for the end of an outage.

A refused session or an outage is not the fault of one message. So the worker keeps its message and waits, instead of
failing one message after another.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aws_lambda_powertools import Logger

from services.shared.errors import PermanentError, TransientError
from services.shared.events import Event, Filters, SessionRejected
from services.shared.gopro.client import (
    PAGE_SIZE,
    AccountRefused,
    Blocked,
    CallRefused,
    GoProClient,
    NotServed,
    Order,
    Page,
    RateLimited,
    SessionRefused,
    Unavailable,
    UnexpectedAnswer,
)
from services.shared.inbox.heartbeat import PAUSE_SECONDS
from services.shared.library.records import GOPRO, SESSION

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from services.shared.bus import Bus
    from services.shared.clock import Clock
    from services.shared.inbox.heartbeat import Budget
    from services.shared.inbox.message import Message

logger = Logger(child=True)

POLL_SECONDS = 2.0  # between two reads of the session secret
FIRST_PAUSE_SECONDS = 2.0  # in an outage; doubles
LONGEST_PAUSE_SECONDS = 30.0
# How long before its end a session is renewed. A short session is renewed in its last third.
RENEW_AHEAD = timedelta(minutes=20)

_T = TypeVar("_T")


class NoSession(TransientError):
    """There is no usable session."""


class NotShown(NoSession):
    """The session secret does not show the session yet: Secrets Manager is eventually consistent."""


class UnreadableSession(NoSession, ValueError):
    """The session secret does not hold a session. The authenticator overwrites it."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session with GoPro. Its `repr` does not show the token."""

    access_token: str = field(repr=False)
    version: int  # rises with every new session
    obtained_at: str  # UTC, ISO 8601
    expires_at: str | None = None  # None if unknown: a pasted token does not show its expiry
    credentials: str = field(default="", repr=False)  # fingerprint of the credentials that it came from
    dead_because: str = ""  # why no session can be obtained until an operator acts; empty while it lives

    def ends_soon(self, now: datetime) -> bool:
        """Return whether it is time to renew the session; False if its end is unknown."""
        if self.expires_at is None:
            return False
        end, begin = datetime.fromisoformat(self.expires_at), datetime.fromisoformat(self.obtained_at)
        return now.astimezone(UTC) >= end - min(RENEW_AHEAD, (end - begin) / 3)


def read_session(client: "SecretsManagerClient", secret: str) -> Session | None:
    """Read the current session from Secrets Manager; None before the first. Raises `UnreadableSession`."""
    return session_in(client.get_secret_value(SecretId=secret).get("SecretString", ""))


def session_in(content: str) -> Session | None:
    """Return the session that the secret's content holds; None before the first. Raises `UnreadableSession`."""
    try:
        kept = json.loads(content)
        return msgspec.convert(kept, Session) if kept else None
    except ValueError as error:
        # Not attached as a cause: the error's text does not hold the secret, but the error itself does.
        problem = str(error)
    raise UnreadableSession(f"the session secret does not hold a session: {problem}")


@dataclass(frozen=True)
class PatientClient:
    """Makes the lister's and the downloader's calls to GoPro's API. Gives each message its own lane."""

    client: GoProClient
    _: KW_ONLY
    read_session: Callable[[], Session | None]
    bus: "Bus"
    patience_seconds: float  # the longest that all calls for one message may wait together
    clock: "Clock"

    def for_message(self, event: Event, message: "Message", budget: "Budget") -> "Lane":
        """Return the lane of this message.

        Its calls wait no longer than the function's time allows, and leave enough time for a pause.
        """
        patience = min(self.patience_seconds, message.remaining_seconds() - 2 * PAUSE_SECONDS)
        return Lane(self, event, patience, budget.sleep)


class Lane:
    """The calls to GoPro for one message, and how long they may still wait.

    A call raises:

    - errors that concern only this call, such as `CallRefused` or `NotServed`
    - `NoSession` or `AccountRefused` when an operator has to act first
    - `SliceOver` when the function's time is nearly over
    - the error that it waits for, once patience has run out
    """

    def __init__(
        self, gopro: PatientClient, event: Event, patience_seconds: float, sleep: Callable[[float], None]
    ) -> None:
        self._gopro = gopro
        self._client = gopro.client
        self._clock = gopro.clock
        self._event = event
        self._patience = patience_seconds
        self._sleep = sleep
        self._expected = getattr(event, "session_version", 0)  # the session version when the event was published
        self._refused = 0  # the newest version that GoPro refused
        self._words = ""  # GoPro's words for that refusal
        self._reported = 0  # the newest version that the authenticator was asked to replace
        self.on_wait: Callable[[str], None] = lambda _: None  # called with what the lane waits for: SESSION or GOPRO

    def search(self, *, page: int, filters: Filters, page_size: int = PAGE_SIZE, order: Order = "created_at") -> Page:
        """Return one page of the library, newest first by `order`. Pages count from 1."""
        return self._call(
            lambda token: self._client.search(token, page=page, filters=filters, page_size=page_size, order=order)
        )

    def download_listing(self, media_id: str) -> Mapping[str, Any]:
        """Return all files of a medium, with freshly signed URLs. The URLs must not be stored.

        Raises `SourceGone` when GoPro no longer has the medium.
        """
        return self._call(lambda token: self._client.download_listing(token, media_id))

    def session_can_end_at_any_time(self) -> bool:
        """Return whether the session's end is unknown, as for a pasted token. Never waits; False without a session."""
        with suppress(NoSession):
            return self._session().expires_at is None
        return False

    def user(self) -> Mapping[str, Any]:
        """Return the account, with `total_count`, its number of media. Never waits, since it is only a cross-check."""
        return self._client.user(self._session().access_token)

    def _call(self, request: Callable[[str], _T]) -> _T:
        pause = FIRST_PAUSE_SECONDS
        while True:
            session = self._shown_session()
            if session.version <= self._refused:
                words = f" ({self._words})" if self._words else ""
                refused = SessionRefused(f"GoPro refused the session{words}, and no new one came in time")
                self._wait(POLL_SECONDS, refused)
                continue
            if session.ends_soon(self._clock.now()):
                self._ask_for_another(session)
            began = self._clock.monotonic()
            try:
                return request(session.access_token)
            except (SessionRefused, AccountRefused) as error:
                self._check_refusal(session, error)
                continue
            except (RateLimited, Blocked) as error:
                trouble: TransientError = error
            except Unavailable as error:
                if not self._is_outage(session):
                    raise NotServed(str(error), retry_after=error.retry_after) from error
                trouble = error
            # The time of the failed call counts too: it may have waited a minute for its answer.
            self._patience -= self._clock.monotonic() - began
            self._wait(max(trouble.retry_after or 0, pause), trouble)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _shown_session(self) -> Session:
        while True:
            try:
                return self._session()
            except NotShown as error:
                self._wait(POLL_SECONDS, error)

    def _session(self) -> Session:
        session = self._gopro.read_session()
        if session is None or session.version < self._expected:
            raise NotShown("there is no session with GoPro yet")
        if session.dead_because:
            raise NoSession(session.dead_because)
        return session

    def _check_refusal(self, session: Session, error: SessionRefused | AccountRefused) -> None:
        """Find out by other calls whether GoPro refuses the session, the account, or only this call.

        Reports a refused session, to be replaced. Raises `AccountRefused` or `CallRefused` otherwise. Both endpoints
        are asked, because the listing alone may refuse a session.
        """
        try:
            self._client.user(session.access_token)
            with suppress(Unavailable, UnexpectedAnswer):
                self._client.search(session.access_token, page=1, filters=Filters(), page_size=1)
        except SessionRefused as refused:
            self._refuse(session, refused)
        except (RateLimited, Blocked, Unavailable):
            if isinstance(error, AccountRefused):
                raise
            self._refuse(session, error)
        else:
            raise CallRefused(error.words)

    def _refuse(self, session: Session, error: SessionRefused) -> None:
        self._words = error.words
        self._ask_for_another(session)
        self._refused = session.version  # only after the report: nobody would replace a session that was not reported

    def _ask_for_another(self, session: Session) -> None:
        if session.version > self._reported:
            logger.info("session_rejected", session_version=session.version)
            rejected = SessionRejected(sync_id=self._event.sync_id, session_version=session.version)
            self._gopro.bus.publish([rejected], cause=self._event)
            self._reported = session.version

    def _wait(self, seconds: float, error: TransientError) -> None:
        """Wait, or raise `error` when patience would run out first."""
        if seconds > self._patience:
            raise error
        logger.info("waiting_for_gopro", seconds=seconds, why=str(error))
        self.on_wait(SESSION if isinstance(error, NotShown | SessionRefused) else GOPRO)
        self._sleep(seconds)
        self._patience -= seconds

    def _is_outage(self, session: Session) -> bool:
        """Return whether GoPro as a whole fails, or the session, rather than this one call.

        GoPro may also answer 500 to a dead session. Reports such a session, to be replaced. Raises `AccountRefused`.
        """
        try:
            self._client.user(session.access_token)
        except SessionRefused as refused:
            self._refuse(session, refused)
            return True
        except TransientError:
            return True
        except AccountRefused:
            raise
        except PermanentError:
            return False
        return False
