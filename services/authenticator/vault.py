"""The authenticator's secrets: it alone reads the credentials, and it alone writes the other two."""

import json
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import Logger

from services.authenticator.credentials import Credentials, read_credentials
from services.shared.gopro.session import Session, read_session

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = Logger(child=True)


class Vault:
    """Always reads afresh: another worker may just have written."""

    def __init__(
        self, client: "SecretsManagerClient", *, credentials_secret: str, refresh_secret: str, session_secret: str
    ) -> None:
        self._client = client
        self.credentials_secret = credentials_secret
        self._refresh_secret = refresh_secret
        self._session_secret = session_secret

    def credentials(self) -> Credentials:
        """Raises `NeedsOperator` when the user's secret can't be used."""
        return read_credentials(self._client, self.credentials_secret)

    def session(self) -> Session | None:
        """The current session; None before the first. One that can't be read will be written anew."""
        try:
            return read_session(self._client, self._session_secret)
        except ValueError:
            logger.warning("The session secret can't be read; it will be written anew")
            return None

    def keep_session(self, session: Session) -> None:
        self._write(self._session_secret, msgspec.json.encode(session).decode())

    def refresh_token(self, credentials: Credentials) -> str:
        """The newest refresh token that goes back to these credentials; empty when there is none.

        GoPro changes it with every use, so the one that the user gave is good only the first time.
        """
        try:
            kept = json.loads(self._client.get_secret_value(SecretId=self._refresh_secret)["SecretString"])
            if kept and kept["credentials"] == credentials.fingerprint:
                return str(kept["refresh_token"])
        except (ValueError, KeyError, TypeError):
            logger.warning("The refresh secret can't be read; it will be written anew")
        return credentials.refresh_token

    def keep_refresh_token(self, token: str, credentials: Credentials) -> None:
        content = {"refresh_token": token, "credentials": credentials.fingerprint}
        self._write(self._refresh_secret, json.dumps(content))

    def _write(self, secret: str, content: str) -> None:
        self._client.put_secret_value(SecretId=secret, SecretString=content)
