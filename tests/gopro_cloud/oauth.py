"""Sessions: the OAuth token endpoint, and tokens as a browser would hold them."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.gopro_cloud.clock import Clock

DEMO_CREDENTIALS = {
    "client_id": "fake-client-id",
    "client_secret": "fake-client-secret",
    "username": "someone@example.com",
    "password": "fake-password",
    "refresh_token": "fake-refresh-token",
}
"""The account that the fake knows at first. None of it is, or looks like, anybody's."""

SCOPE = "root root:channels public me upload media_library_beta live"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whom the token endpoint knows, and how it treats them; `expires_in` is an access token's life in seconds."""

    client_id: str = DEMO_CREDENTIALS["client_id"]
    client_secret: str = DEMO_CREDENTIALS["client_secret"]
    username: str = DEMO_CREDENTIALS["username"]
    password: str = DEMO_CREDENTIALS["password"]
    refresh_token: str = DEMO_CREDENTIALS["refresh_token"]
    two_factor: bool = False
    rotation: bool = True
    expires_in: int = 86_400
    owner_id_after_refresh: bool = False


@dataclass
class _Access:
    version: int
    expires_at: float
    revoked: bool = False


@dataclass
class _Refresh:
    state: str = "good"  # or rotated, blacklisted


@dataclass(frozen=True)
class Grant:
    """What the token endpoint answers."""

    status: int
    body: dict[str, Any]
    token_version: int | None = None


class TokenOffice:
    """Issues and judges tokens for one account."""

    def __init__(self, clock: Clock, account: Account) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.reset(account)

    def reset(self, account: Account) -> None:
        """Start over: no session, and only the account's first refresh token is good."""
        with self._lock:
            self.account = account
            self._version = 0
            self._access: dict[str, _Access] = {}
            self._refresh = {account.refresh_token: _Refresh()}

    def change(self, account: Account) -> None:
        """Another password, lifetime and so on, while the tokens that are out stay good."""
        with self._lock:
            self.account = account
            self._refresh.setdefault(account.refresh_token, _Refresh())

    def grant(self, form: dict[str, str]) -> Grant:
        """Answer a token request."""
        with self._lock:
            account = self.account
            known = form.get("client_id") == account.client_id and form.get("client_secret") == account.client_secret
            if not known:
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
        return self._issue(secrets.token_urlsafe(48), with_owner=True)

    def _by_refresh_token(self, presented: str) -> Grant:
        token = self._refresh.get(presented)
        if token is None or token.state == "rotated":
            return _refused(400, "invalid_grant", "The provided refresh token is invalid or expired.")
        if token.state == "blacklisted":
            return _refused(400, "invalid_grant", "token_blacklisted: the refresh token was revoked.")
        following = presented
        if self.account.rotation:
            token.state = "rotated"
            following = secrets.token_urlsafe(48)
        return self._issue(following, with_owner=self.account.owner_id_after_refresh)

    def _issue(self, refresh_token: str, *, with_owner: bool) -> Grant:
        self._refresh.setdefault(refresh_token, _Refresh())
        access = self._new_access(self.account.expires_in)
        body: dict[str, Any] = {
            "access_token": access,
            "token_type": "bearer",
            "expires_in": self.account.expires_in,
            "refresh_token": refresh_token,
            "scope": SCOPE,
        }
        if with_owner:
            body["resource_owner_id"] = "0f3c2e9a-0000-4000-8000-00000000c10d"
        return Grant(200, body, self._version)

    def _new_access(self, lifetime: float) -> str:
        self._version += 1
        token = _encrypted_looking_token()
        self._access[token] = _Access(self._version, self._clock.now() + lifetime)
        return token

    def paste(self, lifetime: float) -> str:
        """A browser's token: good for `lifetime` seconds, and no refresh token behind it."""
        with self._lock:
            return self._new_access(lifetime)

    def accept(self, token: str) -> None:
        """Make a given token a good browser's token for a day."""
        with self._lock:
            self._version += 1
            self._access[token] = _Access(self._version, self._clock.now() + 86_400)

    def judge(self, token: str) -> tuple[int | None, bool]:
        """The version of a token that was ever issued, and whether it is good now."""
        with self._lock:
            access = self._access.get(token)
            if access is None:
                return None, False
            return access.version, not access.revoked and access.expires_at > self._clock.now()

    def revoke_access(self) -> None:
        """Every access token is dead from now on; refresh tokens still work."""
        with self._lock:
            for access in self._access.values():
                access.revoked = True

    def blacklist_refresh(self) -> None:
        """Every refresh token is dead from now on, and refused as `token_blacklisted`."""
        with self._lock:
            for token in self._refresh.values():
                token.state = "blacklisted"

    @property
    def version(self) -> int:
        """How many access tokens were issued; the newest one's version."""
        with self._lock:
            return self._version

    @property
    def issued(self) -> dict[str, list[str]]:
        """Every `access_token` and `refresh_token` that was issued or is known, dead ones too."""
        with self._lock:
            return {"access_token": list(self._access), "refresh_token": list(self._refresh)}

    def to_json(self) -> dict[str, Any]:
        with self._lock:
            return {
                "issued": self._version,
                "good": sum(not a.revoked and a.expires_at > self._clock.now() for a in self._access.values()),
                "refresh_tokens": [token.state for token in self._refresh.values()],
                "account": asdict(self.account),
            }


def _refused(status: int, error: str, description: str) -> Grant:
    return Grant(status, {"error": error, "error_description": description})


def _encrypted_looking_token() -> str:
    """Five dot-separated segments, as an encrypted JSON Web Token has."""
    header = json.dumps({"alg": "RSA-OAEP", "enc": "A128CBC-HS256", "kid": "fake"}).encode()
    segments = (header, *(secrets.token_bytes(length) for length in (256, 16, 480, 16)))
    return ".".join(base64.urlsafe_b64encode(segment).rstrip(b"=").decode() for segment in segments)
