"""Calls from a worker that may wait: for a new session, for the end of an outage, and never for ever."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aws_lambda_powertools import Logger

from services.shared.bus import PublishFailed, iso
from services.shared.errors import PermanentError, TransientError
from services.shared.events import Filters
from services.shared.gopro.client import (
    ApiRetired,
    Blocked,
    GoProClient,
    RateLimited,
    SessionRefused,
    SourceGone,
    Unavailable,
)
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.lane import Lane
from services.shared.gopro.media import UnexpectedAnswer
from services.shared.gopro.session import NoSession, Session
from tests.gopro_cloud import FakeGoProCloud, Library, Medium
from tests.gopro_cloud.faults import Answer

Logger()  # the parent of those in the modules; in a function it is the handler's

BEGIN = datetime(2026, 11, 23, 1, 0, 0, tzinfo=UTC)
FINE = "fine"


class World:
    """A clock, the session secret, GoPro, and the authenticator that replaces sessions `renewal` seconds later."""

    def __init__(self, *, renewal: float | None = None, patience: float = 300.0) -> None:
        self.seconds = 0.0
        self.session: Session | None = self.new_session(1)
        self.reported: list[int] = []
        self.naps: list[float] = []
        self.probes: list[str] = []
        self.probe: Callable[[], object] = lambda: FINE
        self.reads = 0
        self._renewal = renewal
        self._renewed_at: float | None = None
        self.lane = Lane(
            cast("GoProClient", self),
            current_session=self._current_session,
            reject=self._reject,
            patience_seconds=patience,
            now=lambda: BEGIN + timedelta(seconds=self.seconds),
            monotonic=lambda: self.seconds,
            sleep=self._sleep,
        )

    def new_session(self, version: int, lifetime: float = 86_400) -> Session:
        now = BEGIN + timedelta(seconds=self.seconds)
        expires_at = iso(now + timedelta(seconds=lifetime))
        return Session(access_token=f"token {version}", version=version, obtained_at=iso(now), expires_at=expires_at)

    def user(self, token: str) -> object:
        """GoPro's cheapest call."""
        self.probes.append(token)
        return self.probe()

    def _current_session(self) -> Session | None:
        self.reads += 1
        if self._renewed_at is not None and self.seconds >= self._renewed_at and self.session:
            self.session, self._renewed_at = self.new_session(self.session.version + 1), None
        return self.session

    def _reject(self, version: int) -> None:
        self.reported.append(version)
        if self._renewal is not None:
            self._renewed_at = self.seconds + self._renewal

    def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.seconds += seconds

    def call(self, *answers: object, takes: float = 0.0) -> str:
        """Makes a call that is answered by these one after the other, the last one for ever; returns its token."""
        script = list(answers)

        def request(token: str) -> str:
            self.seconds += takes
            answer = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(answer, Exception):
                raise answer
            return token

        return self.lane.call(request)


def until(end: float, world: World, error: Exception) -> Callable[[], object]:
    """A probe that fails until `end`."""

    def probe() -> object:
        if world.seconds < end:
            raise error
        return FINE

    return probe


# ── Sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_made_with_the_current_session_and_nothing_else_happens() -> None:
    world = World()
    assert world.call(FINE) == "token 1"
    assert (world.naps, world.reported, world.probes, world.reads) == ([], [], [], 1)


def test_a_worker_waits_through_a_refresh_and_goes_on_with_the_new_session() -> None:
    world = World(renewal=5)
    assert world.call(SessionRefused("401"), FINE) == "token 2"
    assert world.naps == [2, 2, 2]  # it looks at the secret again and again, and calls nobody meanwhile
    assert world.reported == [1]


def test_no_call_is_made_with_a_session_that_is_known_to_be_refused() -> None:
    world = World(renewal=20)
    tokens: list[str] = []

    def request(token: str) -> str:
        tokens.append(token)
        if token == "token 1":
            raise SessionRefused("401")
        return token

    assert world.lane.call(request) == "token 2"
    assert world.lane.call(request) == "token 2"
    assert tokens == ["token 1", "token 2", "token 2"]


def test_every_session_that_is_refused_is_told_of_once() -> None:
    world = World(renewal=1)
    refused = SessionRefused("401")
    assert world.call(refused, refused, refused, FINE) == "token 4"
    assert world.reported == [1, 2, 3]


def test_a_session_that_never_comes_is_waited_for_no_longer_than_patience_lasts() -> None:
    world = World(patience=60)
    with pytest.raises(SessionRefused, match="no new one came in time"):
        world.call(SessionRefused("401"))
    assert 58 <= world.seconds <= 60
    assert world.reported == [1]


def test_a_session_that_is_dead_fails_at_once_and_says_why() -> None:
    world = World()
    world.session = Session(
        access_token="t", version=1, obtained_at=iso(BEGIN), dead_because="the refresh token was revoked"
    )
    with pytest.raises(NoSession, match="the refresh token was revoked"):
        world.call(FINE)
    assert (world.naps, world.reported, world.probes) == ([], [], [])


def test_a_session_that_turns_out_dead_while_one_waits_ends_the_wait() -> None:
    world = World()

    def sleep_of_death(seconds: float) -> None:
        world.seconds += seconds
        if world.seconds >= 6:
            world.session = Session(access_token="t", version=1, obtained_at=iso(BEGIN), dead_because="revoked")

    world.lane._sleep = sleep_of_death
    with pytest.raises(NoSession, match="revoked"):
        world.call(SessionRefused("401"))
    assert world.seconds == 6


def test_where_there_is_no_session_at_all_nobody_waits() -> None:
    world = World()
    world.session = None
    with pytest.raises(NoSession):
        world.call(FINE)
    assert world.naps == []


def test_a_session_about_to_end_is_told_of_once_and_used_as_long_as_it_is_good() -> None:
    world = World()
    world.seconds = 86_400 - 600
    assert [world.call(FINE) for _ in range(3)] == ["token 1"] * 3
    assert world.reported == [1]
    assert world.naps == []


def test_a_refusal_that_could_not_be_told_is_told_the_next_time() -> None:
    world = World(renewal=1)
    tell, failures = world.lane._reject, [PublishFailed("EventBridge refused")]

    def reject(version: int) -> None:
        if failures:
            raise failures.pop()
        tell(version)

    world.lane._reject = reject
    with pytest.raises(PublishFailed):
        world.call(SessionRefused("401"))
    assert world.call(SessionRefused("401"), FINE) == "token 2"
    assert world.reported == [1]


# ── Outages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.scenario(15)
def test_an_outage_is_waited_for_with_longer_and_longer_pauses() -> None:
    world = World()
    down = Unavailable("503")
    world.probe = until(100, world, down)

    def request(token: str) -> str:
        if world.seconds < 100:
            raise down
        return token

    assert world.lane.call(request) == "token 1"
    assert world.naps == [2, 4, 8, 16, 30, 30, 30]
    assert world.reported == []


def test_one_medium_that_gopro_can_not_give_is_no_outage_and_fails_at_once() -> None:
    world = World()
    with pytest.raises(Unavailable, match="this medium"):
        world.call(Unavailable("500 at this medium"))
    assert world.probes == ["token 1"]
    assert world.naps == []


@pytest.mark.parametrize("error", [ApiRetired("410"), UnexpectedAnswer("a list"), SourceGone("404")])
def test_a_probe_that_fails_in_its_own_way_does_not_hide_what_failed(error: Exception) -> None:
    world = World()
    world.probe = until(1e9, world, error)
    with pytest.raises(Unavailable, match="this medium"):
        world.call(Unavailable("500 at this medium"))


@pytest.mark.parametrize("error", [Unavailable("503"), RateLimited("429"), Blocked("403")])
def test_whatever_keeps_gopro_from_answering_the_probe_is_an_outage(error: Exception) -> None:
    world = World()
    world.probe = until(5, world, error)
    assert world.call(Unavailable("500"), Unavailable("500"), FINE) == "token 1"
    assert world.naps == [2, 4]


def test_a_dead_session_that_is_answered_with_500_is_found_out_by_the_probe() -> None:
    world = World(renewal=4)
    world.probe = until(1e9, world, SessionRefused("401"))

    def request(token: str) -> str:
        if token == "token 1":
            raise Unavailable("500")
        return token

    assert world.lane.call(request) == "token 2"
    assert world.reported == [1]


@pytest.mark.parametrize("error", [RateLimited("429"), Blocked("403")])
def test_too_many_calls_and_a_firewall_are_waited_out(error: TransientError) -> None:
    world = World()
    assert world.call(error, error, error, FINE) == "token 1"
    assert world.naps == [2, 4, 8]
    assert world.probes == []


@pytest.mark.scenario(14)
def test_gopro_gets_the_time_that_it_asks_for() -> None:
    world = World()
    asked = (RateLimited("429", retry_after=45), Unavailable("503", retry_after=1), RateLimited("429", retry_after=90))
    world.probe = until(100, world, Unavailable("503"))
    assert world.call(*asked, FINE) == "token 1"
    assert world.naps == [45, 4, 90]


@pytest.mark.scenario(14)
def test_more_time_than_there_is_patience_for_is_left_to_the_queue() -> None:
    world = World(patience=60)
    with pytest.raises(RateLimited) as caught:
        world.call(RateLimited("429", retry_after=61))
    assert caught.value.retry_after == 61
    assert world.naps == []


@pytest.mark.parametrize("patience", [300.0, 10.0, 0.0, -50.0])
@pytest.mark.parametrize("error", [Unavailable("503"), RateLimited("429"), Blocked("403"), SessionRefused("401")])
def test_nobody_waits_longer_than_patience_lasts(patience: float, error: TransientError) -> None:
    world = World(patience=patience)
    world.probe = until(1e9, world, Unavailable("503"))
    with pytest.raises(type(error)):
        world.call(error)
    assert world.seconds <= max(0, patience)
    assert world.seconds >= patience - 30


def test_calls_that_hang_until_they_fail_use_up_patience_as_well() -> None:
    world = World(patience=300)

    def hanging_probe() -> object:
        world.seconds += 60
        raise Unavailable("no answer")

    world.probe = hanging_probe
    with pytest.raises(Unavailable):
        world.call(Unavailable("no answer"), takes=60)
    assert world.seconds <= 300 + 120  # and not as many times two minutes as there are waits


def test_a_call_that_succeeds_uses_up_no_patience_however_long_it_takes() -> None:
    world = World(patience=10)
    for _ in range(5):
        assert world.call(FINE, takes=100) == "token 1"
    assert world.call(RateLimited("429"), FINE) == "token 1"


def test_patience_is_one_for_all_calls_of_a_message() -> None:
    world = World(patience=10)
    world.call(RateLimited("429"), RateLimited("429"), FINE)  # 2 + 4 seconds
    with pytest.raises(RateLimited):
        world.call(RateLimited("429"))
    assert world.naps == [2, 4, 2]


@pytest.mark.parametrize(
    "error", [SourceGone("404"), ApiRetired("410"), UnexpectedAnswer("a list"), KeyError("x"), PermanentError("no")]
)
def test_what_waiting_does_not_mend_is_raised_at_once(error: Exception) -> None:
    world = World()
    with pytest.raises(type(error)):
        world.call(error)
    assert (world.naps, world.probes, world.reported) == ([], [], [])


# ── By real HTTP ─────────────────────────────────────────────────────────────────────────────────────────────────────

MEDIA_ID = "6a9300000000000000000001"


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(Library(media=(Medium(media_id=MEDIA_ID),))) as cloud:
        yield cloud


class Worker:
    """A lane to the fake cloud, whose sleeping is the cloud's passing of time."""

    def __init__(self, cloud: FakeGoProCloud) -> None:
        self._cloud = cloud
        self.naps: list[float] = []
        self.reported: list[int] = []
        self.session = Session(access_token=cloud.tokens.paste(3600), version=1, obtained_at=iso(BEGIN))
        self.client = GoProClient(cloud.url, hosts=AllowedHosts(["127.0.0.1"]), sleep=lambda _: None)
        self.lane = Lane(
            self.client,
            current_session=lambda: self.session,
            reject=self._reject,
            patience_seconds=300,
            sleep=self._sleep,
        )

    def _reject(self, version: int) -> None:
        self.reported.append(version)
        fresh = self._cloud.tokens.paste(3600)
        self.session = Session(access_token=fresh, version=version + 1, obtained_at=iso(BEGIN))

    def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)

    def listing(self) -> Any:
        return self.lane.call(lambda token: self.client.download_listing(token, MEDIA_ID))


@pytest.mark.scenario(5)
def test_a_session_that_ends_in_the_middle_of_the_work_is_replaced_once(cloud: FakeGoProCloud) -> None:
    worker = Worker(cloud)
    worker.listing()
    cloud.advance(4000)
    assert worker.listing()["_embedded"]["variations"]
    assert worker.reported == [1]


def test_an_outage_of_the_whole_api_is_waited_out_and_a_broken_medium_is_not(cloud: FakeGoProCloud) -> None:
    worker = Worker(cloud)
    cloud.arm(Answer(endpoint="api", status=503, times=6))
    assert worker.listing()
    assert worker.naps == [2, 4, 8]
    cloud.arm(Answer(endpoint="download", media_id=MEDIA_ID, status=500, times=None))
    with pytest.raises(Unavailable):
        worker.listing()
    assert worker.naps == [2, 4, 8]
    page = worker.lane.call(lambda token: worker.client.search(token, page=1, filters=Filters()))
    assert page.total_items == 1
