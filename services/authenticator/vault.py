"""The authenticator's secrets: it alone reads the credentials, and it alone writes the other two."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from services.authenticator.credentials import Credentials, read_credentials
from services.shared.errors import reason_of
from services.shared.gopro.session import Session, read_session

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = Logger(child=True)

_PAUSES_SECONDS = (1, 2, 4, 8)  # beside those of the client's own tries


class Vault:
    """Always reads afresh: another worker may just have written."""

    def __init__(
        self,
        client: "SecretsManagerClient",
        *,
        credentials_secret: str,
        refresh_secret: str,
        session_secret: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self.credentials_secret = credentials_secret
        self._refresh_secret = refresh_secret
        self._session_secret = session_secret
        self._sleep = sleep

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
        """Insists on it: the token that this one replaces may be worthless by now, and there is no other."""
        content = json.dumps({"refresh_token": token, "credentials": credentials.fingerprint})
        for pause in _PAUSES_SECONDS:
            try:
                self._write(self._refresh_secret, content)
            except (BotoCoreError, ClientError) as error:
                logger.warning("The new refresh token could not be stored; it is tried again", why=reason_of(error))
                self._sleep(pause)
            else:
                return
        self._write(self._refresh_secret, content)

    def _write(self, secret: str, content: str) -> None:
        self._client.put_secret_value(SecretId=secret, SecretString=content)
