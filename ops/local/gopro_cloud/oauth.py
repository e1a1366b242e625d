"""Sessions: the OAuth token endpoint, and tokens as a browser would hold them."""

import base64
import json
import secrets
import threading
from dataclasses import dataclass
from typing import Any

import msgspec

from ops.local.gopro_cloud.listing import USER_ID
from ops.local.gopro_cloud.signing import Clock

DEMO_CREDENTIALS = {
    "client_id": "fake-client-id",
    "client_secret": "fake-client-secret",
    "username": "someone@example.com",
    "password": "fake-password",
    "refresh_token": "fake-refresh-token",
}
"""The account that the fake knows at first. It is nobody's, and doesn't look like anybody's."""

SCOPE = "root root:channels public me upload media_library_beta live"


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one account that the token endpoint knows; an access token lives for `expires_in` seconds."""

    client_id: str = DEMO_CREDENTIALS["client_id"]
    client_secret: str = DEMO_CREDENTIALS["client_secret"]
    username: str = DEMO_CREDENTIALS["username"]
    password: str = DEMO_CREDENTIALS["password"]
    refresh_token: str = DEMO_CREDENTIALS["refresh_token"]
    two_factor: bool = False  # the password grant is refused, and the login page asks for the code
    code: str = "246810"  # the second factor
    rotation: bool = True  # each refresh token works once
    expires_in: int = 86_400
    browser_seconds: int = 9 * 3600  # that a browser's session lives


@dataclass
class _AccessToken:
    version: int
    expires_at: float
    revoked: bool = False


@dataclass(frozen=True)
class Grant:
    """The token endpoint's answer."""

    status: int
    body: dict[str, Any]
    token_version: int | None = None


class TokenOffice:
    """Issues and judges the tokens of one account."""

    def __init__(self, clock: Clock, account: Account) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.reset(account)

    def reset(self, account: Account) -> None:
        """Start over: there is no session, and only the account's first refresh token is good."""
        with self._lock:
            self.account = account
            self._access: dict[str, _AccessToken] = {}
            self._refresh = {account.refresh_token: "good"}  # or rotated, or blacklisted

    def configure(self, **changes: Any) -> None:
        """Change fields of the account, as `expires_in=20`; issued tokens stay good. ValueError names a wrong field."""
        try:
            account = msgspec.convert({**msgspec.structs.asdict(self.account), **changes}, Account)
        except msgspec.ValidationError as error:
            raise ValueError(f"account: {error}") from error
        with self._lock:
            self.account = account
            self._refresh.setdefault(account.refresh_token, "good")

    def grant(self, form: dict[str, str]) -> Grant:
        """Answer a token request."""
        with self._lock:
            client = (self.account.client_id, self.account.client_secret)
            if (form.get("client_id"), form.get("client_secret")) != client:
                return _refused(401, "invalid_client", "Client authentication failed due to unknown client.")
            match form.get("grant_type"):
                case "password":
                    return self._by_password(form.get("username"), form.get("password"))
                case "refresh_token":
                    return self._by_refresh_token(form.get("refresh_token", ""))
            return _refused(400, "unsupported_grant_type", "The grant type is not supported.")

    def _by_password(self, username: str | None, password: str | None) -> Grant:
        if (username, password) != (self.account.username, self.account.password):
            return _refused(401, "invalid_grant", "The provided username or password is invalid.")
        if self.account.two_factor:
            return _refused(401, "invalid_grant", "Two-factor authentication is required.")
        return self._issue(secrets.token_urlsafe(48), resource_owner_id=USER_ID)

    def _by_refresh_token(self, presented: str) -> Grant:
        state = self._refresh.get(presented)
        if state == "blacklisted":
            return _refused(400, "invalid_grant", "token_blacklisted: the refresh token was revoked.")
        if state != "good":
            return _refused(400, "invalid_grant", "The provided refresh token is invalid or expired.")
        if not self.account.rotation:
            return self._issue(presented)
        self._refresh[presented] = "rotated"
        return self._issue(secrets.token_urlsafe(48))

    def _issue(self, refresh_token: str, **more: str) -> Grant:
        self._refresh[refresh_token] = "good"
        body = {
            "access_token": self._new_access_token(self.account.expires_in),
            "token_type": "bearer",
            "expires_in": self.account.expires_in,
            "refresh_token": refresh_token,
            "scope": SCOPE,
            **more,
        }
        return Grant(200, body, token_version=len(self._access))

    def _new_access_token(self, lifetime: float) -> str:
        # Five segments, as an encrypted JSON Web Token has.
        header = json.dumps({"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "kid": "fake"}).encode()
        segments = (header, *(secrets.token_bytes(length) for length in (256, 16, 480, 16)))
        token = ".".join(base64.urlsafe_b64encode(segment).rstrip(b"=").decode() for segment in segments)
        self._access[token] = _AccessToken(len(self._access) + 1, self._clock.now() + lifetime)
        return token

    def paste(self, lifetime: float) -> str:
        """Return a browser's token: good for `lifetime` seconds, and with no refresh token behind it."""
        with self._lock:
            return self._new_access_token(lifetime)

    def judge(self, token: str) -> tuple[int | None, bool]:
        """Return a token's version (None: never issued), and whether it is good now."""
        with self._lock:
            access = self._access.get(token)
            if access is None:
                return None, False
            return access.version, not access.revoked and access.expires_at > self._clock.now()

    def revoke_access(self) -> None:
        """Revoke all access tokens; refresh tokens still work."""
        with self._lock:
            for access in self._access.values():
                access.revoked = True

    def blacklist_refresh(self) -> None:
        """Revoke all refresh tokens, which are then refused as `token_blacklisted`."""
        with self._lock:
            self._refresh = dict.fromkeys(self._refresh, "blacklisted")

    @property
    def issued(self) -> dict[str, list[str]]:
        """Every `access_token` and `refresh_token` that was issued or is known, dead ones too."""
        with self._lock:
            return {"access_token": list(self._access), "refresh_token": list(self._refresh)}


def _refused(status: int, error: str, description: str) -> Grant:
    return Grant(status, {"error": error, "error_description": description})
