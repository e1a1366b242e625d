"""Calls to GoPro that wait for a new session and for the end of an outage, but not for ever."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger

from ops.local.gopro_cloud import FakeGoProCloud, Library, Medium
from ops.local.gopro_cloud.faults import Answer
from services.shared.bus import Bus, PublishFailed
from services.shared.clock import iso
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Event, Filters, MediaDiscovered, SessionAuthenticated, SessionRejected
from services.shared.gopro.client import (
    AccountRefused,
    ApiRetired,
    Blocked,
    CallRefused,
    GoProClient,
    RateLimited,
    SessionRefused,
    SourceGone,
    Unavailable,
    UnexpectedAnswer,
)
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.patient import NoSession, PatientClient, Session
from services.shared.inbox.heartbeat import Budget, SliceOver
from tests.unit.clocks import ManualClock
from tests.unit.inbox_fakes import Published

Logger()  # the parent of the modules' loggers; in a function it is the handler's

MEDIA_ID = "6a9300000000000000000001"
EVENT = MediaDiscovered(sync_id="sync-1", media_id=MEDIA_ID)
BEGUN_AT = "2026-11-23T01:00:00Z"
FINE = "fine"
REFUSED, DOWN = SessionRefused("401", words="401: token_dead"), Unavailable("503")
UNPAID = AccountRefused("403: subscription_required")


def _give(answer: object) -> object:
    if isinstance(answer, Exception):
        raise answer
    return answer


class Worker:
    """A worker with a message, its lane, the session secret, and a GoPro that gives the answers of a test.

    Session 1 has the token "token 1". `renewal`: the seconds after which the authenticator replaces a rejected session.
    """

    def __init__(
        self,
        event: Event = EVENT,
        *,
        renewal: float | None = None,
        patience: float = 300.0,
        function: float = 1e6,
        client: GoProClient | None = None,
    ) -> None:
        self.clock, self.bus = ManualClock(), Published()
        self.session: Session | None = self.new_session(1)
        self.tokens: list[str] = []  # of the calls
        self.probes: list[str] = []  # tokens of the calls to the account
        self.probe: Callable[[], object] = lambda: FINE
        self.searched: list[str] = []  # tokens of the calls to the listing
        self.search_probe: Callable[[], object] = lambda: FINE
        self._renewal = renewal
        self._script: list[object] = [FINE]
        self._takes = 0.0
        end = self.clock.monotonic() + function
        message: Any = SimpleNamespace(remaining_seconds=lambda: end - self.clock.monotonic())
        heartbeat = SimpleNamespace(check=lambda: None)
        self.lane = PatientClient(
            client or cast("GoProClient", self),
            read_session=self._read_session,
            bus=cast("Bus", self.bus),
            patience_seconds=patience,
            clock=self.clock,
        ).for_message(event, message, Budget(message.remaining_seconds, heartbeat, self.clock))
        self._began = self.clock.monotonic()
        self._renews_at: float | None = None

    @property
    def seconds(self) -> float:
        return self.clock.monotonic() - self._began

    @property
    def rejected(self) -> list[int]:
        """The versions of the sessions that the authenticator was asked to replace."""
        return [event.session_version for event in self.bus.events if isinstance(event, SessionRejected)]

    def new_session(self, version: int) -> Session:
        now = self.clock.now()
        end = iso(now + timedelta(days=1))
        return Session(access_token=f"token {version}", version=version, obtained_at=iso(now), expires_at=end)

    def call(self, *answers: object, takes: float = 0.0) -> str:
        """Make a call that gets these answers in turn, the last one for ever. Returns its token."""
        self._script, self._takes = list(answers), takes
        return str(self.lane.download_listing(MEDIA_ID)["token"])

    def download_listing(self, token: str, _media_id: str) -> dict[str, str]:
        self.tokens.append(token)
        self.clock.advance(self._takes)
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        _give(answer() if callable(answer) else answer)
        return {"token": token}

    def user(self, token: str) -> object:
        self.probes.append(token)
        return _give(self.probe())

    def search(self, token: str, *, page: int, filters: Filters, page_size: int) -> object:
        assert (page, filters, page_size) == (1, Filters(), 1)
        self.searched.append(token)
        return _give(self.search_probe())

    def until(self, end: float, error: Exception) -> Callable[[], object]:
        """Return what gives the error until so many seconds have passed."""
        return lambda: error if self.seconds < end else FINE

    def refused_until(self, version: int) -> Callable[[], object]:
        """Return what refuses all sessions before this one."""
        return lambda: FINE if self.session and self.session.version >= version else REFUSED

    def _read_session(self) -> Session | None:
        session = self.session
        if session and session.version in self.rejected and self._renewal is not None:
            if self._renews_at is None:
                self._renews_at = self.seconds + self._renewal
            elif self.seconds >= self._renews_at:
                self.session, self._renews_at = self.new_session(session.version + 1), None
        return self.session


# ── Sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_made_with_the_current_session_and_nothing_else_happens() -> None:
    worker = Worker()
    assert worker.call(FINE) == "token 1"
    assert (worker.clock.slept, worker.rejected, worker.probes) == ([], [], [])


def test_a_refused_session_is_reported_and_not_used_again_while_a_worker_waits_for_the_next() -> None:
    worker = Worker(renewal=5)
    worker.probe = worker.refused_until(2)
    assert worker.call(REFUSED, FINE) == "token 2"
    assert worker.call(FINE) == "token 2"
    assert worker.clock.slept == [2, 2, 2]
    assert worker.tokens == ["token 1", "token 2", "token 2"]
    assert worker.bus.events == [SessionRejected(sync_id="sync-1", session_version=1)]
    assert worker.bus.causes == [EVENT]


def test_every_refused_session_is_reported_once() -> None:
    worker = Worker(renewal=1)
    worker.probe = worker.refused_until(4)
    assert worker.call(REFUSED, REFUSED, REFUSED, FINE) == "token 4"
    assert worker.rejected == [1, 2, 3]


def test_with_a_dead_session_a_call_fails_at_once() -> None:
    worker = Worker()
    worker.session = Session(access_token="t", version=1, obtained_at=BEGUN_AT, dead_because="token revoked")
    with pytest.raises(NoSession, match="token revoked"):
        worker.call(FINE)
    with pytest.raises(NoSession, match="token revoked"):
        worker.lane.user()
    assert (worker.clock.slept, worker.rejected, worker.tokens, worker.probes) == ([], [], [], [])


@pytest.mark.parametrize(
    "shown", [None, Session(access_token="old", version=0, obtained_at=BEGUN_AT, dead_because="token revoked")]
)
def test_a_session_that_secrets_manager_does_not_show_yet_is_waited_for(shown: Session | None) -> None:
    worker = Worker(SessionAuthenticated(sync_id="sync-1", session_version=1, requested_at=BEGUN_AT))
    session, worker.session = worker.session, shown

    def show() -> None:
        if worker.seconds >= 6:
            worker.session = session

    worker.clock.while_asleep = show
    with pytest.raises(NoSession, match="no session with GoPro yet"):
        worker.lane.user()
    assert not worker.lane.session_can_end_at_any_time()
    assert worker.call(FINE) == "token 1"
    assert (worker.clock.slept, worker.rejected) == ([2, 2, 2], [])


def test_a_session_that_is_never_shown_ends_the_wait_with_the_workers_patience() -> None:
    worker = Worker()
    worker.session = None
    with pytest.raises(NoSession, match="no session with GoPro yet"):
        worker.call(FINE)
    assert (worker.tokens, worker.rejected) == ([], [])


def test_a_session_that_dies_while_a_worker_waits_ends_the_wait() -> None:
    worker = Worker()

    def die() -> None:
        if worker.seconds >= 6 and worker.session:
            worker.session = replace(worker.session, dead_because="token revoked")

    worker.clock.while_asleep = die
    worker.probe = lambda: REFUSED
    with pytest.raises(NoSession, match="token revoked"):
        worker.call(REFUSED)
    assert worker.seconds == 6


def test_a_session_about_to_expire_is_reported_once_and_used_as_long_as_it_works() -> None:
    worker = Worker()
    worker.clock.advance(86_400 - 600)
    assert [worker.call(FINE) for _ in range(3)] == ["token 1"] * 3
    assert worker.rejected == [1]
    assert worker.clock.slept == []


def test_a_refusal_that_could_not_be_published_is_published_the_next_time() -> None:
    worker = Worker(renewal=1)
    worker.probe = worker.refused_until(2)
    worker.bus.errors = [PublishFailed("EventBridge refused")]
    with pytest.raises(PublishFailed):
        worker.call(REFUSED)
    assert worker.call(REFUSED, FINE) == "token 2"
    assert worker.rejected == [1]


# ── Refusals of one call ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("refusal", [REFUSED, UNPAID])
def test_a_refusal_that_other_calls_do_not_share_is_that_of_the_one_call(refusal: SessionRefused) -> None:
    worker = Worker()
    with pytest.raises(CallRefused, match=f"while it answers other requests .{refusal.words}.$"):
        worker.call(refusal)
    assert (worker.clock.slept, worker.rejected) == ([], [])
    assert (worker.probes, worker.searched) == (["token 1"], ["token 1"])
    assert worker.call(FINE) == "token 1"


def test_a_session_that_the_listing_alone_refuses_is_replaced() -> None:
    worker = Worker(renewal=1)
    worker.search_probe = worker.refused_until(2)
    assert worker.call(REFUSED, FINE) == "token 2"
    assert worker.rejected == [1]


@pytest.mark.parametrize("search", [DOWN, UnexpectedAnswer("a list")])
def test_a_listing_that_fails_says_nothing_of_the_session(search: Exception) -> None:
    worker = Worker()
    worker.search_probe = lambda: search
    with pytest.raises(CallRefused):
        worker.call(REFUSED)


@pytest.mark.parametrize("refusal", [REFUSED, UNPAID, DOWN])
def test_an_account_that_is_refused_fails_every_call_at_once(refusal: Exception) -> None:
    worker = Worker()
    worker.probe = lambda: UNPAID
    with pytest.raises(AccountRefused, match="subscription_required"):
        worker.call(refusal)
    assert (worker.clock.slept, worker.rejected) == ([], [])


def test_an_account_that_the_listing_alone_refuses_is_refused() -> None:
    worker = Worker()
    worker.search_probe = lambda: UNPAID
    with pytest.raises(AccountRefused):
        worker.call(UNPAID)


@pytest.mark.parametrize("down", [DOWN, RateLimited("429"), Blocked("403")])
def test_an_outage_tells_nothing_of_what_is_refused(down: TransientError) -> None:
    worker = Worker(renewal=1)
    worker.probe = lambda: down
    assert worker.call(REFUSED, FINE) == "token 2"
    with pytest.raises(type(down)):
        worker.call(UNPAID)


# ── Outages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(15)
def test_a_worker_waits_for_the_end_of_an_outage_with_growing_pauses() -> None:
    worker = Worker()
    worker.probe = worker.until(100, DOWN)
    assert worker.call(worker.until(100, DOWN)) == "token 1"
    assert worker.clock.slept == [2, 4, 8, 16, 30, 30, 30]
    assert worker.rejected == []


@pytest.mark.parametrize("probed", [FINE, ApiRetired("410"), UnexpectedAnswer("a list"), SourceGone("404")])
def test_an_error_of_one_medium_is_no_outage_and_raised_at_once(probed: object) -> None:
    worker = Worker()
    worker.probe = lambda: probed
    with pytest.raises(Unavailable, match="this medium"):
        worker.call(Unavailable("500 at this medium"))
    assert worker.probes == ["token 1"]
    assert worker.clock.slept == []


@pytest.mark.parametrize("error", [DOWN, RateLimited("429"), Blocked("403")])
def test_an_account_that_is_unavailable_too_means_an_outage(error: Exception) -> None:
    worker = Worker()
    worker.probe = worker.until(5, error)
    assert worker.call(DOWN, DOWN, FINE) == "token 1"
    assert worker.clock.slept == [2, 4]


def test_a_dead_session_that_gopro_answers_with_500_is_reported() -> None:
    worker = Worker(renewal=4)
    worker.probe = lambda: REFUSED
    assert worker.call(DOWN, FINE) == "token 2"
    assert worker.rejected == [1]


@pytest.mark.scenario(14)
@pytest.mark.parametrize(
    ("errors", "pauses"),
    [
        ([RateLimited("429")] * 3, [2, 4, 8]),
        ([Blocked("403")] * 3, [2, 4, 8]),
        ([RateLimited("429", retry_after=45), RateLimited("429", retry_after=1), Blocked("403")], [45, 4, 8]),
    ],
)
def test_a_worker_waits_as_long_as_gopro_asks_for_or_else_with_growing_pauses(
    errors: list[TransientError], pauses: list[float]
) -> None:
    worker = Worker()
    assert worker.call(*errors, FINE) == "token 1"
    assert worker.clock.slept == pauses
    assert worker.probes == []


@pytest.mark.scenario(14)
def test_a_wait_longer_than_the_patience_is_left_to_the_queue() -> None:
    worker = Worker(patience=60)
    with pytest.raises(RateLimited) as caught:
        worker.call(RateLimited("429", retry_after=61))
    assert caught.value.retry_after == 61
    assert worker.clock.slept == []


@pytest.mark.parametrize("patience", [300.0, 10.0, 0.0])
@pytest.mark.parametrize("error", [DOWN, RateLimited("429"), Blocked("403"), REFUSED])
def test_no_worker_waits_longer_than_its_patience(patience: float, error: TransientError) -> None:
    worker = Worker(patience=patience)
    worker.probe = lambda: DOWN
    with pytest.raises(type(error)):
        worker.call(error)
    assert patience - 30 <= worker.seconds <= patience


@pytest.mark.parametrize(("function", "patience"), [(400, 280), (150, 30), (100, 0)])
def test_patience_leaves_the_function_time_for_a_pause(function: float, patience: float) -> None:
    worker = Worker(patience=300, function=function)
    worker.probe = lambda: REFUSED
    with pytest.raises(SessionRefused, match=r"refused the session \(401: token_dead\), and no new one came in time"):
        worker.call(REFUSED)
    assert worker.rejected == [1]
    assert patience - 2 <= worker.seconds <= patience


def test_a_wait_into_the_end_of_the_function_ends_the_slice() -> None:
    worker = Worker(patience=300, function=900)
    worker.clock.advance(700)
    with pytest.raises(SliceOver):
        worker.call(RateLimited("429", retry_after=200))
    assert worker.clock.slept == []


def test_calls_that_hang_until_they_fail_use_up_patience_as_well() -> None:
    worker = Worker(patience=300)

    def hanging_probe() -> object:
        worker.clock.advance(60)
        return Unavailable("no answer")

    worker.probe = hanging_probe
    with pytest.raises(Unavailable):
        worker.call(Unavailable("no answer"), takes=60)
    assert worker.seconds <= 300 + 120  # and not two minutes for each wait


def test_a_call_that_succeeds_uses_up_no_patience_however_long_it_takes() -> None:
    worker = Worker(patience=10)
    for _ in range(5):
        assert worker.call(FINE, takes=100) == "token 1"
    assert worker.call(RateLimited("429"), FINE) == "token 1"


def test_all_calls_for_a_message_share_one_patience() -> None:
    worker = Worker(patience=10)
    worker.call(RateLimited("429"), RateLimited("429"), FINE)  # 2 + 4 seconds
    with pytest.raises(RateLimited):
        worker.call(RateLimited("429"))
    assert worker.clock.slept == [2, 4, 2]


@pytest.mark.parametrize(
    "error", [SourceGone("404"), ApiRetired("410"), UnexpectedAnswer("a list"), KeyError("x"), PermanentError("no")]
)
def test_an_error_that_waiting_cannot_cure_is_raised_at_once(error: Exception) -> None:
    worker = Worker()
    with pytest.raises(type(error)):
        worker.call(error)
    assert (worker.clock.slept, worker.probes, worker.rejected) == ([], [], [])


def test_the_account_is_asked_for_without_waiting() -> None:
    worker = Worker()
    worker.probe = lambda: RateLimited("429")
    with pytest.raises(RateLimited):
        worker.lane.user()
    assert (worker.clock.slept, worker.probes) == ([], ["token 1"])


# ── By real HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(5)
def test_an_expired_session_and_an_outage_are_waited_for_and_a_broken_medium_is_not() -> None:
    with FakeGoProCloud(Library(media=(Medium(media_id=MEDIA_ID),))) as cloud:
        client = GoProClient(cloud.url, hosts=AllowedHosts(["127.0.0.1"]), clock=ManualClock())
        worker = Worker(client=client)

        def renew() -> None:
            worker.session = Session(
                access_token=cloud.tokens.paste(3600), version=len(worker.rejected) + 1, obtained_at=BEGUN_AT
            )

        renew()
        worker.lane.download_listing(MEDIA_ID)
        cloud.advance(4000)
        worker.clock.while_asleep = renew
        assert worker.lane.download_listing(MEDIA_ID)["_embedded"]["variations"]
        assert worker.rejected == [1]

        worker.clock.slept.clear()
        cloud.arm(Answer(endpoint="api", status=503, times=6))
        assert worker.lane.download_listing(MEDIA_ID)
        assert worker.clock.slept == [2, 4, 8]

        cloud.arm(Answer(endpoint="download", media_id=MEDIA_ID, status=500, times=None))
        with pytest.raises(Unavailable):
            worker.lane.download_listing(MEDIA_ID)
        assert worker.lane.search(page=1, filters=Filters()).total_items == 1
        assert worker.clock.slept == [2, 4, 8]
