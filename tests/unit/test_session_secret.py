"""The session secret: read anew each time, and never shown."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.clock import iso
from services.shared.gopro.patient import NoSession, Session, UnreadableSession, read_session

NOW = datetime(2026, 11, 23, 1, 0, 0, tzinfo=UTC)
SESSION = Session(access_token="canary.token", version=3, obtained_at=iso(NOW), expires_at="2026-11-24T01:00:00Z")


class Secrets:
    """Secrets Manager with one secret, which has these contents in turn."""

    def __init__(self, *contents: str | bytes) -> None:
        self._contents = list(contents)

    def get_secret_value(self, **request: str) -> dict[str, Any]:
        assert request == {"SecretId": "arn:session"}
        content = self._contents.pop(0)
        return {"SecretString" if isinstance(content, str) else "SecretBinary": content}


def read(content: str | bytes) -> Session | None:
    client: Any = Secrets(content)
    return read_session(client, "arn:session")


def session_of(lifetime: timedelta) -> Session:
    return Session(access_token="t", version=1, obtained_at=iso(NOW), expires_at=iso(NOW + lifetime))


def test_the_form_of_the_secret_is_the_contract_with_its_readers() -> None:
    content = msgspec.json.encode(SESSION)
    assert set(json.loads(content)) == {
        "access_token", "version", "obtained_at", "expires_at", "credentials", "dead_because",
    }  # fmt: skip
    assert read(content.decode()) == SESSION


@pytest.mark.scenario(53)
def test_a_session_is_read_anew_each_time() -> None:
    client: Any = Secrets("{}", msgspec.json.encode(SESSION).decode())
    assert [read_session(client, "arn:session") for _ in range(2)] == [None, SESSION]


def test_a_pasted_token_has_no_known_end() -> None:
    session = read('{"access_token": "t", "version": 1, "obtained_at": "2026-11-23T01:00:00Z", "new_field": 5}')
    assert session == Session(access_token="t", version=1, obtained_at="2026-11-23T01:00:00Z")
    assert session
    assert not session.ends_soon(NOW + timedelta(days=365))


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
def test_an_unreadable_session_is_reported_without_its_content(content: str | bytes, says: str) -> None:
    with pytest.raises(UnreadableSession, match=says) as caught:
        read(content)
    error: BaseException | None = caught.value
    assert isinstance(error, NoSession)
    while error:
        assert "canary" not in str(error) + repr(error)
        error = error.__cause__ or error.__context__


def test_the_text_of_a_session_does_not_show_its_token() -> None:
    session = Session(access_token="canary", version=1, obtained_at=iso(NOW), credentials="canary")
    assert "canary" not in f"{session} {session!r} {[session]}"


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
def test_no_session_is_renewed_as_soon_as_it_begins(seconds: int) -> None:
    assert not session_of(timedelta(seconds=seconds)).ends_soon(NOW)
