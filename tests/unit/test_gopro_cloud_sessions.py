"""The fake GoPro Cloud: tokens, headers and refusals."""

from __future__ import annotations

from dataclasses import replace
from email.utils import parsedate_to_datetime
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

import pytest
import requests

from tests.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, Medium
from tests.gopro_cloud.faults import Answer, Echo, Hangup
from tests.gopro_cloud.visitor import ACCEPT, Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret")}
PASSWORD = {**CLIENT, "grant_type": "password", "username": DEMO_CREDENTIALS["username"]}
PASSWORD["password"] = DEMO_CREDENTIALS["password"]
REFRESH = {**CLIENT, "grant_type": "refresh_token", "refresh_token": DEMO_CREDENTIALS["refresh_token"]}


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(Library(media=(Medium(media_id="6a9300000000000000000001"),))) as cloud:
        yield cloud


@pytest.fixture
def visitor(cloud: FakeGoProCloud) -> Visitor:
    return Visitor(cloud.url, cloud.tokens.paste(3600))


def test_the_password_grant_opens_a_session(cloud: FakeGoProCloud) -> None:
    answer = Visitor(cloud.url).post_token(**PASSWORD)
    body = answer.json()
    assert answer.status_code == 200
    assert len(body["access_token"]) > 500
    assert body["access_token"].count(".") == 4
    assert body["token_type"] == "bearer"
    assert body["expires_in"] == 86_400
    assert body["resource_owner_id"]
    assert Visitor(cloud.url, body["access_token"]).get("/media/user").json()["total_count"] == 1


def test_the_refresh_grant_opens_a_session_and_may_leave_the_owner_out(cloud: FakeGoProCloud) -> None:
    body = Visitor(cloud.url).post_token(**REFRESH).json()
    assert "resource_owner_id" not in body
    assert Visitor(cloud.url, body["access_token"]).get("/media/user").status_code == 200


def test_a_token_request_may_be_json(cloud: FakeGoProCloud) -> None:
    assert requests.post(f"{cloud.url}/v1/oauth2/token", json=PASSWORD, timeout=5).status_code == 200


def test_a_rotated_refresh_token_works_no_more_and_its_successor_does(cloud: FakeGoProCloud) -> None:
    first = Visitor(cloud.url).post_token(**REFRESH).json()
    again = Visitor(cloud.url).post_token(**REFRESH)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert Visitor(cloud.url).post_token(**{**REFRESH, "refresh_token": first["refresh_token"]}).status_code == 200


def test_without_rotation_the_refresh_token_stays(cloud: FakeGoProCloud) -> None:
    cloud.configure_account(rotation=False)
    for _ in range(2):
        body = Visitor(cloud.url).post_token(**REFRESH).json()
        assert body["refresh_token"] == DEMO_CREDENTIALS["refresh_token"]


def test_a_revoked_refresh_token_is_said_to_be_blacklisted(cloud: FakeGoProCloud) -> None:
    cloud.tokens.blacklist_refresh()
    answer = Visitor(cloud.url).post_token(**REFRESH)
    assert answer.status_code == 400
    assert "token_blacklisted" in answer.text


@pytest.mark.parametrize(
    ("wrong", "status", "error"),
    [
        ({**PASSWORD, "client_secret": "x"}, 401, "invalid_client"),
        ({**REFRESH, "client_id": "x"}, 401, "invalid_client"),
        ({**PASSWORD, "password": "x"}, 401, "invalid_grant"),
        ({**REFRESH, "refresh_token": "x"}, 400, "invalid_grant"),
        ({**CLIENT, "grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
    ],
)
def test_wrong_credentials_are_refused(cloud: FakeGoProCloud, wrong: dict[str, str], status: int, error: str) -> None:
    answer = Visitor(cloud.url).post_token(**wrong)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert cloud.tokens.version == 0


def test_a_two_factor_account_has_no_password_grant(cloud: FakeGoProCloud) -> None:
    cloud.configure_account(two_factor=True)
    assert Visitor(cloud.url).post_token(**PASSWORD).status_code == 401
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 200


def test_the_authorization_code_flow_is_blocked(cloud: FakeGoProCloud) -> None:
    answer = requests.get(f"{cloud.url}/v1/oauth2/authorize", timeout=5)
    assert answer.status_code == 403
    assert "Request blocked" in answer.text


@pytest.mark.parametrize("expires_in", [20, 3600, 86_400])
def test_a_token_dies_when_it_expires(cloud: FakeGoProCloud, expires_in: int) -> None:
    cloud.configure_account(expires_in=expires_in)
    body = Visitor(cloud.url).post_token(**PASSWORD).json()
    session = Visitor(cloud.url, body["access_token"])
    assert body["expires_in"] == expires_in
    assert session.get("/media/user").status_code == 200
    cloud.advance(expires_in + 1)
    assert session.get("/media/user").status_code == 401


def test_a_pasted_token_dies_at_its_moment(cloud: FakeGoProCloud) -> None:
    session = Visitor(cloud.url, cloud.tokens.paste(9 * 3600))
    cloud.advance(9 * 3600 - 60)
    assert session.get("/media/user").status_code == 200
    cloud.advance(61)
    assert session.get("/media/user").status_code == 401


def test_all_access_tokens_can_be_revoked_while_refresh_tokens_stay(cloud: FakeGoProCloud) -> None:
    tokens = Visitor(cloud.url).post_token(**PASSWORD).json()
    cloud.tokens.revoke_access()
    refused = Visitor(cloud.url, tokens["access_token"]).get("/media/search")
    assert refused.status_code == 401
    assert refused.json()["error"]
    assert Visitor(cloud.url).post_token(**{**REFRESH, "refresh_token": tokens["refresh_token"]}).status_code == 200


def test_a_token_is_accepted_as_the_browsers_cookie(cloud: FakeGoProCloud) -> None:
    cookie = SimpleCookie({"gp_access_token": cloud.tokens.paste(60)}).output(header="", attrs=[]).strip()
    headers = {"Accept": ACCEPT, "Cookie": cookie}
    assert requests.get(f"{cloud.url}/media/user", headers=headers, timeout=5).status_code == 200


def test_without_a_token_the_answer_is_401(cloud: FakeGoProCloud) -> None:
    assert Visitor(cloud.url).get("/media/user").status_code == 401
    assert Visitor(cloud.url, "nonsense").get("/media/user").status_code == 401


def test_the_vendors_header_is_required_before_anything_else(cloud: FakeGoProCloud) -> None:
    answer = requests.get(f"{cloud.url}/media/search", headers={"Accept": "application/json"}, timeout=5)
    assert (answer.status_code, answer.content) == (406, b"")


def test_the_vendors_type_for_searches_is_as_good_as_the_one_for_media(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    visitor.headers["Accept"] = ACCEPT.replace("media+json", "media.search+json")
    assert [visitor.get(path).status_code for path in ("/media/search", "/media/user")] == [200, 200]


def test_a_retired_vendor_version_is_gone(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    visitor.headers["Accept"] = ACCEPT.replace("2.0.0", "1.0.0")
    assert visitor.get("/media/search").status_code == 410


@pytest.mark.parametrize("status", [401, 403, 404, 406, 408, 410, 425, 429, 500, 502, 503])
def test_any_refusal_can_be_scripted_for_the_first_requests(
    cloud: FakeGoProCloud, visitor: Visitor, status: int
) -> None:
    cloud.arm(Answer(endpoint="user", status=status, times=2))
    statuses = [visitor.get("/media/user").status_code for _ in range(3)]
    assert statuses == [status, status, 200]


def test_a_refusal_can_be_the_firewalls_page(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.arm(Answer(status=403, html=True))
    answer = visitor.get("/media/search")
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "text/html"
    assert "Request blocked" in answer.text


def test_too_many_requests_come_with_seconds_a_date_or_nothing(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    limit = Answer(endpoint="search", status=429)
    cloud.arm(replace(limit, retry_after=7), replace(limit, retry_after=90, retry_after_as="date"), limit)
    seconds, date, nothing = (visitor.get("/media/search") for _ in range(3))
    assert {one.status_code for one in (seconds, date, nothing)} == {429}
    assert seconds.headers["Retry-After"] == "7"
    wait = parsedate_to_datetime(date.headers["Retry-After"]) - parsedate_to_datetime(date.headers["Date"])
    assert 88 <= wait.total_seconds() <= 91
    assert "Retry-After" not in nothing.headers


def test_the_token_endpoint_can_fail_too(cloud: FakeGoProCloud) -> None:
    cloud.arm(Answer(endpoint="token", status=503), Hangup(endpoint="oauth"))
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 503
    with pytest.raises(requests.ConnectionError):
        Visitor(cloud.url).post_token(**REFRESH)
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 200


def test_tokens_are_numbered_in_what_was_seen_and_never_written_down(cloud: FakeGoProCloud) -> None:
    tokens = [Visitor(cloud.url).post_token(**PASSWORD).json()["access_token"] for _ in range(2)]
    for token in tokens:
        Visitor(cloud.url, token).get("/media/user")
    assert [seen.token_version for seen in cloud.observations.requests("user")] == [1, 2]
    assert [seen.grant for seen in cloud.observations.requests("token")] == ["password", "password"]
    written = str(cloud.observations.to_json())
    assert not any(secret in written for secret in (*tokens, DEMO_CREDENTIALS["password"], CLIENT["client_secret"]))


@pytest.mark.parametrize("status", [200, 302, 400, 500])
def test_an_answer_can_echo_whatever_the_request_carried(cloud: FakeGoProCloud, visitor: Visitor, status: int) -> None:
    cloud.arm(Echo(endpoint="token", status=status), Echo(endpoint="user", status=status))
    token = visitor.headers["Authorization"].removeprefix("Bearer ")
    for answer, secret in (
        (
            Visitor(cloud.url).http.post(f"{cloud.url}/v1/oauth2/token", PASSWORD, allow_redirects=False),
            "fake-password",
        ),
        (visitor.get("/media/user"), token),
    ):
        assert answer.status_code == status
        assert secret in answer.json()["error_description"]
        assert secret in answer.headers["WWW-Authenticate"]
        assert (secret in answer.headers.get("Location", "")) == (status == 302)
    assert visitor.get("/media/user").status_code == 200
