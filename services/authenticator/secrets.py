"""The three secrets: the user's credentials, which are only read, and two that only the authenticator writes.

Secrets Manager is eventually consistent: for a while after a write, a read may return the previous version. A previous
refresh token is dead, and marking a previous session as dead would overwrite the new one. So the version of each write
is noted in the authenticator's table, which is read consistently.
"""

import json
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from services.authenticator.authenticator_table import AuthenticatorTable
from services.authenticator.credentials import Credentials, read_credentials
from services.authenticator.settings import Settings
from services.shared.clock import Clock
from services.shared.gopro.patient import Session, session_in
from services.shared.retry import retry

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import GetSecretValueResponseTypeDef

logger = Logger(child=True)

_CURRENT = "AWSCURRENT"  # the stage of the version that was written last, whoever wrote it


class Secrets:
    """Reads and writes the three secrets. Nothing is cached, since another worker may just have written."""

    def __init__(
        self, client: "SecretsManagerClient", settings: Settings, *, table: AuthenticatorTable, clock: Clock
    ) -> None:
        self._client = client
        self._table = table
        self._credentials_secret = settings.credentials_secret
        self._refresh_secret = settings.refresh_secret
        self._session_secret = settings.session_secret
        self._clock = clock

    def credentials(self) -> Credentials:
        """Return the user's credentials. Raises `NeedsOperator` when they cannot be used."""
        return read_credentials(self._client, self._credentials_secret)

    def session(self) -> Session | None:
        """Return the current session; None before the first.

        Returns None also for unreadable content, so that the caller overwrites it.
        """
        try:
            return session_in(self._read(self._session_secret))
        except ValueError:
            logger.warning("session_secret_unreadable")
            return None

    def keep_session(self, session: Session) -> None:
        """Make this the current session."""
        self._write(self._session_secret, msgspec.json.encode(session).decode())

    def refresh_token(self, credentials: Credentials) -> str:
        """Return the newest refresh token of these credentials; empty if there is none.

        GoPro replaces the token at every use, so the user's own token works only once.
        """
        try:
            kept = json.loads(self._read(self._refresh_secret))
            if kept and kept["credentials"] == credentials.fingerprint:
                return str(kept["refresh_token"])
        except (ValueError, KeyError, TypeError):
            logger.warning("refresh_secret_unreadable")
        return credentials.refresh_token

    def keep_refresh_token(self, token: str, credentials: Credentials) -> None:
        """Make this the newest refresh token of these credentials."""
        self._write(self._refresh_secret, json.dumps({"refresh_token": token, "credentials": credentials.fingerprint}))

    def _write(self, secret: str, content: str) -> None:
        """Write a version and note it. Tries longer than boto3 does, because the previous content may be dead."""

        def write() -> None:
            version = self._client.put_secret_value(SecretId=secret, SecretString=content)["VersionId"]
            # Without the note, what was just written may not be found again for some seconds.
            self._table.note_secret_version(secret, version)

        retry(write, on=(BotoCoreError, ClientError), clock=self._clock, tries=5, first_pause=1.0)

    def _read(self, secret: str) -> str:
        """Return the newest content: the noted version, or what somebody else has written since."""
        latest = self._client.get_secret_value(SecretId=secret)
        noted = self._table.secret_version(secret)
        if noted in ("", latest["VersionId"]):
            return latest.get("SecretString", "")
        try:
            kept = retry(
                lambda: self._version(secret, noted), on=_NotYetThere, clock=self._clock, tries=4, first_pause=1.0
            )
        except _NotYetThere:
            # Probably somebody has deleted the secret and created it again.
            logger.warning("secret_version_gone", version_id=noted)
            return latest.get("SecretString", "")
        return (kept if _CURRENT in kept["VersionStages"] else latest).get("SecretString", "")

    def _version(self, secret: str, version_id: str) -> "GetSecretValueResponseTypeDef":
        try:
            return self._client.get_secret_value(SecretId=secret, VersionId=version_id)
        except ClientError as error:
            if error.response["Error"].get("Code") == "ResourceNotFoundException":
                raise _NotYetThere from error
            raise


class _NotYetThere(Exception):
    """Secrets Manager doesn't know the version."""
