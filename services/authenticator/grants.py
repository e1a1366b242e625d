"""The requests to GoPro's OAuth endpoint, and the meaning of its answers.

The free text of an answer is searched for known words and never passed on: it may repeat what was sent.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from services.authenticator.credentials import RENEW, Credentials
from services.authenticator.failures import AGAIN, NeedsOperator
from services.shared.errors import PermanentError
from services.shared.gopro.client import ApiRetired, Blocked, UnexpectedAnswer, whole_number

_SCOPE = "root root:channels public me upload media_library_beta live"
_TWO_FACTOR = re.compile(r"two[\s_-]?factor|one[\s_-]?time|(?<![a-z])(2fa|mfa|otp)(?![a-z])", re.IGNORECASE)
# The error codes of RFC 6749 (5.2) and RFC 6750. No other value of `error` is ever shown.
_KNOWN_CODES = frozenset(
    {
        "access_denied",
        "insufficient_scope",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_scope",
        "invalid_token",
        "token_blacklisted",
        "unauthorized_client",
        "unsupported_grant_type",
    }
)


class Refusal(Enum):
    """Why the endpoint granted no session."""

    CLIENT = "the client id and secret are not known to GoPro"
    TWO_FACTOR = "the account asks for a second factor, which an unattended login cannot give"
    BLACKLISTED = "it was revoked"
    GRANT = "it is not valid, or no longer valid"
    REQUEST = "the request was not understood"


class GrantRefused(PermanentError):
    """The endpoint refused a grant."""

    def __init__(self, refusal: Refusal, *, status: int, code: str) -> None:
        super().__init__(f"GoPro granted no session ({status}, {code}): {refusal.value}")
        self.refusal = refusal

    @property
    def another_grant_may_do(self) -> bool:
        """Whether a grant of the other kind may succeed."""
        return self.refusal in (Refusal.GRANT, Refusal.BLACKLISTED)


@dataclass(frozen=True, kw_only=True)
class Granted:
    """A new session as GoPro granted it."""

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)  # empty when none came: the old one stays valid
    lifetime: int | None = None  # seconds


def refresh_form(credentials: Credentials, refresh_token: str) -> Mapping[str, str]:
    """Return the form that asks for a session by refresh token."""
    return {**_client(credentials), "grant_type": "refresh_token", "refresh_token": refresh_token}


def password_form(credentials: Credentials) -> Mapping[str, str]:
    """Return the form that asks for a session by password."""
    return {
        **_client(credentials),
        "grant_type": "password",
        "scope": _SCOPE,
        "username": credentials.username,
        "password": credentials.password,
    }


def read_grant(status: int, body: str) -> Granted:
    """Return what the endpoint granted.

    Raises `GrantRefused`, `Blocked` (the firewall's HTML page), `ApiRetired` or `UnexpectedAnswer`. The client has
    already dealt with answers that may pass (429, 5xx).
    """
    answer = _object(body)
    if status == HTTPStatus.OK:
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise UnexpectedAnswer("GoPro granted a session without an access token: its API has changed")
        refresh = answer.get("refresh_token")
        lifetime = whole_number(answer.get("expires_in"))
        return Granted(
            access_token=token,
            refresh_token=refresh if isinstance(refresh, str) else "",
            lifetime=lifetime if lifetime and lifetime > 0 else None,
        )
    if status in (406, 410):
        raise ApiRetired(f"GoPro no longer serves this version of its API ({status} at the token endpoint)")
    if status == HTTPStatus.FORBIDDEN and not answer:
        raise Blocked("GoPro's firewall blocked the request for a session (403)")
    if status not in (400, 401, 403):
        raise UnexpectedAnswer(f"GoPro's token endpoint answered with {status}: its API has changed")
    code = answer.get("error")
    shown = code if isinstance(code, str) and code in _KNOWN_CODES else "no known error code"
    raise GrantRefused(_refusal(status, shown, body), status=status, code=shown)


def explained(refused: GrantRefused, *, by: str) -> NeedsOperator:
    """Explain the refusal to the operator. `by`: what was tried, such as "refresh token"."""
    remedy = RENEW
    match refused.refusal:
        case Refusal.CLIENT:
            remedy = f"Check client_id and client_secret. {remedy}"
        case Refusal.TWO_FACTOR:
            remedy = f"Use a refresh_token in place of username and password. {remedy}"
        case Refusal.GRANT | Refusal.BLACKLISTED if by == "password":
            remedy = f"Check that username and password still log in at gopro.com. {remedy}"
        case Refusal.GRANT | Refusal.BLACKLISTED:
            remedy = f"Get a new refresh_token, or add username and password. {remedy}"
        case Refusal.REQUEST:
            remedy = f"Update Cloud Sync, or check the credentials, {AGAIN}. {remedy}"
    return NeedsOperator(f"{refused}; tried with the {by}", remedy=remedy)


def _refusal(status: int, code: str, body: str) -> Refusal:
    if code in ("invalid_client", "unauthorized_client"):
        return Refusal.CLIENT
    if "token_blacklisted" in body:
        return Refusal.BLACKLISTED
    if _TWO_FACTOR.search(body):
        return Refusal.TWO_FACTOR
    if code in ("invalid_grant", "access_denied", "invalid_token") or status in (401, 403):
        return Refusal.GRANT
    return Refusal.REQUEST


def _client(credentials: Credentials) -> Mapping[str, str]:
    return {"client_id": credentials.client_id, "client_secret": credentials.client_secret}


def _object(body: str) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
