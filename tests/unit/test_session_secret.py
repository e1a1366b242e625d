"""The session secret: read afresh, told apart from nothing at all, and never shown."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.bus import iso
from services.shared.errors import TransientError
from services.shared.gopro.session import NoSession, Session, UnreadableSession, read_session

NOW = datetime(2026, 11, 23, 1, 0, 0, tzinfo=UTC)
SESSION = Session(access_token="canary.token", version=3, obtained_at=iso(NOW), expires_at="2026-11-24T01:00:00Z")


class Secrets:
    """Secrets Manager, as far as one secret goes."""

    def __init__(self, content: str | bytes) -> None:
        self.content = content
        self.reads = 0

    def get_secret_value(self, **request: str) -> dict[str, Any]:
        assert request == {"SecretId": "arn:session"}
        self.reads += 1
        return {"SecretString" if isinstance(self.content, str) else "SecretBinary": self.content}


def read(content: str | bytes) -> Session | None:
    return read_session(cast("Any", Secrets(content)), "arn:session")


def test_what_the_authenticator_wrote_is_read() -> None:
    assert read(msgspec.json.encode(SESSION).decode()) == SESSION


def test_a_pasted_token_has_no_end() -> None:
    session = read('{"access_token": "t", "version": 1, "obtained_at": "2026-11-23T01:00:00Z", "new_field": 5}')
    assert session == Session(access_token="t", version=1, obtained_at="2026-11-23T01:00:00Z")


@pytest.mark.parametrize("content", ["{}", "null", " {} "])
def test_before_the_first_session_there_is_none(content: str) -> None:
    assert read(content) is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"access_token": "canary"}', "version"),
        ('{"access_token": "canary", "version": "canary", "obtained_at": "x"}', "version"),
        ('{"access_token": ["canary"], "version": 1, "obtained_at": "x"}', "access_token"),
        ("canary", "JSON|Expecting"),
        ("", "Expecting"),
        ('"canary"', "object"),
        (b"canary", "Expecting"),
    ],
)
def test_what_is_no_session_is_told_without_what_it_holds(content: str | bytes, says: str) -> None:
    with pytest.raises(UnreadableSession, match=says) as caught:
        read(content)
    error: BaseException | None = caught.value
    assert isinstance(error, NoSession)
    assert isinstance(error, TransientError)  # the authenticator writes it anew
    while error:
        assert "canary" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.scenario(53)
def test_it_is_read_afresh_every_time() -> None:
    secrets = Secrets("{}")
    for _ in range(3):
        read_session(cast("Any", secrets), "arn:session")
    assert secrets.reads == 3


def test_a_token_is_not_shown_by_accident() -> None:
    session = Session(access_token="canary", version=1, obtained_at=iso(NOW), credentials="canary")
    assert "canary" not in f"{session} {session!r} {[session]}"


def session_of(lifetime: timedelta) -> Session:
    return Session(access_token="t", version=1, obtained_at=iso(NOW), expires_at=iso(NOW + lifetime))


@pytest.mark.parametrize(
    ("lifetime", "ahead"),
    [
        (timedelta(hours=24), timedelta(minutes=20)),
        (timedelta(hours=1), timedelta(minutes=20)),
        (timedelta(minutes=30), timedelta(minutes=10)),
        (timedelta(seconds=30), timedelta(seconds=10)),
    ],
)
def test_a_session_is_renewed_twenty_minutes_ahead_and_a_short_one_in_its_last_third(
    lifetime: timedelta, ahead: timedelta
) -> None:
    session, end = session_of(lifetime), NOW + lifetime
    assert not session.ends_soon(end - ahead - timedelta(seconds=1))
    assert session.ends_soon(end - ahead)
    assert session.ends_soon(end + timedelta(days=1))


@given(st.integers(3, 10**7))
def test_no_session_is_to_be_renewed_as_soon_as_it_began(seconds: int) -> None:
    assert not session_of(timedelta(seconds=seconds)).ends_soon(NOW)


def test_nobody_knows_when_a_pasted_token_ends() -> None:
    session = Session(access_token="t", version=1, obtained_at=iso(NOW))
    assert not session.ends_soon(NOW + timedelta(days=365))


def test_the_form_of_the_secret_is_the_contract_with_those_that_read_it() -> None:
    assert set(json.loads(msgspec.json.encode(SESSION))) == {
        "access_token", "version", "obtained_at", "expires_at", "credentials", "dead_because",
    }  # fmt: skip
