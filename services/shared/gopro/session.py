"""The session secret: the access token that authenticator writes, and lister and downloader read."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# A session is renewed ahead of its end: this long before, or at the last third of a short one.
RENEW_AHEAD = timedelta(minutes=20)


class NoSession(TransientError):
    """There is no session that could be used."""


class UnreadableSession(NoSession, ValueError):
    """The session secret holds something else. The authenticator writes it anew."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session with GoPro. Its token is never shown by `repr`."""

    access_token: str = field(repr=False)
    version: int  # rises with every new session
    obtained_at: str  # UTC, ISO 8601
    expires_at: str | None = None  # None where it can't be known: a pasted token tells nobody its end
    credentials: str = field(default="", repr=False)  # fingerprint of the credentials that it came from
    dead_because: str = ""  # set once it is known that no session can be had until an operator acts

    def ends_soon(self, now: datetime) -> bool:
        """Whether it is time to renew it. False where its end isn't known."""
        if self.expires_at is None:
            return False
        end, begin = datetime.fromisoformat(self.expires_at), datetime.fromisoformat(self.obtained_at)
        return now.astimezone(UTC) >= end - min(RENEW_AHEAD, (end - begin) / 3)


def read_session(client: "SecretsManagerClient", secret: str) -> Session | None:
    """The current session, read afresh; None before the first. Raises `UnreadableSession`."""
    content = client.get_secret_value(SecretId=secret).get("SecretString", "")
    try:
        kept = json.loads(content)
        return msgspec.convert(kept, Session) if kept else None
    except ValueError as error:
        # Neither of the two texts holds what was read, but the first error itself does.
        problem = str(error)
    raise UnreadableSession(f"the session secret holds no session: {problem}")
