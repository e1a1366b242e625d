"""The fake GoPro Cloud: tokens, headers and refusals."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import msgspec
import pytest
import requests

from ops.local.gopro_cloud import DEMO_CREDENTIALS, FakeGoProCloud, Library, Medium
from ops.local.gopro_cloud.faults import Answer, Echo, Hangup, SessionsEnd
from ops.local.gopro_cloud.visitor import ACCEPT, Visitor

CLIENT = {name: DEMO_CREDENTIALS[name] for name in ("client_id", "client_secret")}
PASSWORD = {"grant_type": "password", **{k: v for k, v in DEMO_CREDENTIALS.items() if k != "refresh_token"}}
REFRESH = {**CLIENT, "grant_type": "refresh_token", "refresh_token": DEMO_CREDENTIALS["refresh_token"]}


@pytest.fixture
def cloud() -> Iterator[FakeGoProCloud]:
    with FakeGoProCloud(Library(media=(Medium(media_id="6a9300000000000000000001"),))) as cloud:
        yield cloud


@pytest.fixture
def visitor(cloud: FakeGoProCloud) -> Visitor:
    return Visitor(cloud.url, cloud.tokens.paste(3600))


def user_status(cloud: FakeGoProCloud, token: str) -> int:
    return Visitor(cloud.url, token).get("/media/user").status_code


def test_the_password_grant_opens_a_session(cloud: FakeGoProCloud) -> None:
    answer = Visitor(cloud.url).post_token(**PASSWORD)
    body = answer.json()
    assert answer.status_code == 200
    assert len(body["access_token"]) > 500
    assert body["access_token"].count(".") == 4
    assert (body["token_type"], body["expires_in"]) == ("bearer", 86_400)
    assert body["resource_owner_id"]
    assert Visitor(cloud.url, body["access_token"]).get("/media/user").json()["total_count"] == 1


def test_a_refresh_token_works_once_unless_there_is_no_rotation(cloud: FakeGoProCloud) -> None:
    first = Visitor(cloud.url).post_token(**REFRESH).json()
    assert "resource_owner_id" not in first
    assert user_status(cloud, first["access_token"]) == 200
    again = Visitor(cloud.url).post_token(**REFRESH)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert Visitor(cloud.url).post_token(**{**REFRESH, "refresh_token": first["refresh_token"]}).status_code == 200


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


def test_a_two_factor_account_has_no_password_grant(cloud: FakeGoProCloud) -> None:
    cloud.configure_account(two_factor=True)
    assert Visitor(cloud.url).post_token(**PASSWORD).status_code == 401
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 200


def test_a_token_dies_when_it_expires(cloud: FakeGoProCloud) -> None:
    cloud.configure_account(expires_in=3600)
    body = Visitor(cloud.url).post_token(**PASSWORD).json()
    pasted = cloud.tokens.paste(9 * 3600)
    assert body["expires_in"] == 3600
    assert user_status(cloud, body["access_token"]) == 200
    cloud.advance(3601)
    assert user_status(cloud, body["access_token"]) == 401
    assert user_status(cloud, pasted) == 200
    cloud.advance(8 * 3600)
    assert user_status(cloud, pasted) == 401


def test_access_tokens_can_be_revoked_while_refresh_tokens_stay_good(cloud: FakeGoProCloud) -> None:
    tokens = Visitor(cloud.url).post_token(**PASSWORD).json()
    cloud.tokens.revoke_access()
    refused = Visitor(cloud.url, tokens["access_token"]).get("/media/search")
    assert (refused.status_code, refused.json()["error"]) == (401, "unauthorized")
    assert Visitor(cloud.url).post_token(**{**REFRESH, "refresh_token": tokens["refresh_token"]}).status_code == 200


def test_a_token_is_accepted_as_the_browsers_cookie(cloud: FakeGoProCloud) -> None:
    visitor = Visitor(cloud.url)
    visitor.headers["Cookie"] = f"other=1; gp_access_token={cloud.tokens.paste(60)}; more=2"
    assert visitor.get("/media/user").status_code == 200


def test_the_vendors_header_is_required_before_a_good_token(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    answer = requests.get(f"{cloud.url}/media/search", headers={"Accept": "application/json"}, timeout=60)
    assert (answer.status_code, answer.content) == (406, b"")
    for accept, status in (
        (ACCEPT.replace("media+json", "media.search+json"), 200),
        (ACCEPT.replace("2.0", "1.0"), 410),
    ):
        visitor.headers["Accept"] = accept
        assert visitor.get("/media/search").status_code == status
    assert Visitor(cloud.url).get("/media/user").status_code == user_status(cloud, "nonsense") == 401


@pytest.mark.parametrize("status", [401, 403, 404, 406, 408, 410, 425, 429, 500, 502, 503])
def test_any_refusal_can_be_scripted_for_the_first_requests(
    cloud: FakeGoProCloud, visitor: Visitor, status: int
) -> None:
    cloud.arm(Answer(endpoint="user", status=status, times=2))
    assert [visitor.get("/media/user").status_code for _ in range(3)] == [status, status, 200]
    cloud.arm(Answer(status=status, html=True))
    answer = visitor.get("/media/search")
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html")
    assert "Request blocked" in answer.text, "the firewall's page"


def test_too_many_requests_come_with_seconds_a_date_or_nothing(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    limit = Answer(endpoint="search", status=429)
    with_seconds = msgspec.structs.replace(limit, retry_after=7)
    with_date = msgspec.structs.replace(limit, retry_after=9000, retry_after_as="date")
    cloud.arm(with_seconds, with_date, limit)
    seconds, date, nothing = (visitor.get("/media/search") for _ in range(3))
    assert {one.status_code for one in (seconds, date, nothing)} == {429}
    assert seconds.headers["Retry-After"] == "7"
    wait = parsedate_to_datetime(date.headers["Retry-After"]) - parsedate_to_datetime(date.headers["Date"])
    assert 8900 <= wait.total_seconds() <= 9001
    assert "Retry-After" not in nothing.headers


def test_the_token_endpoint_can_fail_too(cloud: FakeGoProCloud) -> None:
    cloud.arm(Answer(endpoint="token", status=503), Hangup(endpoint="token"))
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 503
    with pytest.raises(requests.ConnectionError):
        Visitor(cloud.url).post_token(**REFRESH)
    assert Visitor(cloud.url).post_token(**REFRESH).status_code == 200


def test_tokens_are_numbered_in_the_observations_and_never_written_down(cloud: FakeGoProCloud) -> None:
    tokens = [Visitor(cloud.url).post_token(**PASSWORD).json()["access_token"] for _ in range(2)]
    for token in tokens:
        Visitor(cloud.url, token).get("/media/user")
    assert [seen.token_version for seen in cloud.observations.requests("user")] == [1, 2]
    assert [seen.grant for seen in cloud.observations.requests("token")] == ["password", "password"]
    written = str(cloud.observations.requests())
    assert not any(secret in written for secret in (*tokens, DEMO_CREDENTIALS["password"], CLIENT["client_secret"]))


@pytest.mark.parametrize("status", [200, 302, 400, 500])
def test_an_answer_can_echo_all_that_the_request_carried(cloud: FakeGoProCloud, visitor: Visitor, status: int) -> None:
    cloud.arm(Echo(endpoint="token", status=status), Echo(endpoint="user", status=status))
    token = visitor.headers["Authorization"].removeprefix("Bearer ")
    for answer, secret in (
        (Visitor(cloud.url).post_token(**PASSWORD), DEMO_CREDENTIALS["password"]),
        (visitor.get("/media/user"), token),
    ):
        assert answer.status_code == status
        assert secret in answer.json()["error_description"]
        assert secret in answer.headers["WWW-Authenticate"]
        assert (secret in answer.headers.get("Location", "")) == (status == 302)
    assert visitor.get("/media/user").status_code == 200


def test_sessions_can_end_at_a_planned_request(cloud: FakeGoProCloud, visitor: Visitor) -> None:
    cloud.arm(SessionsEnd(after=1))
    path = "/media/6a9300000000000000000001/download"
    assert [visitor.get(path).status_code for _ in range(3)] == [200, 401, 401]
