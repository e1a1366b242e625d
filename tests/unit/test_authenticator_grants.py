"""What GoPro's OAuth answers mean."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.authenticator.credentials import RENEW, Credentials
from services.authenticator.grants import Granted, GrantRefused, Refusal, explained, read_grant
from services.shared.errors import PermanentError, TransientError
from services.shared.gopro.client import ApiRetired, Blocked, UnexpectedAnswer


def answer(**fields: object) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize("lifetime", [3600, 86400, "3600"])
def test_a_grant_is_read_with_its_lifetime(lifetime: object) -> None:
    granted = read_grant(200, answer(access_token="a", refresh_token="r", expires_in=lifetime, token_type="bearer"))
    assert (granted.access_token, granted.refresh_token, granted.lifetime) == ("a", "r", int(str(lifetime)))


@pytest.mark.parametrize("lifetime", [None, 0, -1, "soon", True])
def test_a_lifetime_that_makes_no_sense_is_unknown(lifetime: object) -> None:
    assert read_grant(200, answer(access_token="a", expires_in=lifetime)) == Granted(access_token="a")


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", answer(access_token=""), answer(access_token=7)])
def test_a_grant_without_an_access_token_means_another_api(body: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        read_grant(200, body)


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (401, answer(error="invalid_client", error_description="unknown client"), Refusal.CLIENT),
        (400, answer(error="invalid_grant"), Refusal.GRANT),
        (400, answer(error="invalid_grant", error_description="token_blacklisted"), Refusal.BLACKLISTED),
        (401, answer(error="token_blacklisted"), Refusal.BLACKLISTED),
        (401, answer(error="invalid_grant", error_description="Two-factor login required"), Refusal.TWO_FACTOR),
        (401, answer(error="otp_required"), Refusal.TWO_FACTOR),
        (401, "", Refusal.GRANT),
        (403, answer(error="whatever"), Refusal.GRANT),
        (400, answer(error="unsupported_grant_type"), Refusal.REQUEST),
        (400, answer(error=["a", "list"]), Refusal.REQUEST),
    ],
)
def test_a_refusal_is_told_apart_by_its_error_and_status(status: int, body: str, refusal: Refusal) -> None:
    with pytest.raises(GrantRefused) as refused:
        read_grant(status, body)
    assert refused.value.refusal is refusal


def test_the_firewall_s_page_is_no_refusal() -> None:
    with pytest.raises(Blocked):
        read_grant(403, "<html>Request blocked</html>")


@pytest.mark.parametrize(
    ("status", "error"), [(406, ApiRetired), (410, ApiRetired), (404, UnexpectedAnswer), (302, UnexpectedAnswer)]
)
def test_an_endpoint_that_moved_or_went_is_permanent(status: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_grant(status, "")


@given(
    status=st.sampled_from([200, 302, 400, 401, 403, 404, 406, 410, 418]),
    code=st.text(alphabet="ABCDEFGHIJ", min_size=8, max_size=12),
    description=st.text(alphabet="KLMNOPQRST", min_size=8, max_size=12),
)
def test_no_answer_is_ever_repeated(status: int, code: str, description: str) -> None:
    with pytest.raises((PermanentError, TransientError)) as raised:
        read_grant(status, answer(error=code, error_description=description))
    assert code not in str(raised.value)
    assert description not in str(raised.value)


@given(status=st.integers(200, 499), body=st.text())
def test_no_answer_raises_anything_but_the_two_kinds_of_failure(status: int, body: str) -> None:
    with pytest.raises((PermanentError, TransientError)):
        read_grant(status, body)


@pytest.mark.parametrize("refusal", Refusal)
@pytest.mark.parametrize("by", ["password", "refresh token"])
def test_every_refusal_says_what_to_do(refusal: Refusal, by: str) -> None:
    told = explained(GrantRefused(refusal, status=400, code="x"), by=by)
    assert RENEW in told.remedy
    assert by in str(told)


def test_credentials_and_grants_show_nothing_of_themselves() -> None:
    secret = "canary"
    credentials = Credentials(
        **dict.fromkeys(("client_id", "client_secret", "refresh_token", "username", "password"), secret)
    )
    granted = Granted(access_token=secret, refresh_token=secret)
    assert secret not in f"{credentials!r} {granted!r} {credentials.fingerprint}"
