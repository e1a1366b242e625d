"""The credentials secret, which the user fills."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from services.authenticator.failures import AGAIN, NeedsOperator

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# Each command has a line of its own, so that it can be copied.
RENEW = (
    f"Store a session or an OAuth client with one of the commands below, {AGAIN}.\n"
    "  cloud-sync credentials login\n"
    "  cloud-sync credentials set"
)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The values with which Cloud Sync signs in to GoPro. `repr` shows none of them."""

    client_id: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)  # pasted from a browser; nothing can renew it

    @property
    def client(self) -> bool:
        """Whether there is a client id and secret."""
        return bool(self.client_id and self.client_secret)

    @property
    def login(self) -> bool:
        """Whether a login by password is possible."""
        return bool(self.client and self.username and self.password)

    @property
    def pasted(self) -> bool:
        """Whether a pasted token is the only way to sign in."""
        return not (self.login or (self.client and self.refresh_token))

    @property
    def fingerprint(self) -> str:
        """A hash of all values. It changes when the user changes any of them."""
        content = json.dumps(msgspec.to_builtins(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def restore(secret: str) -> str:
    """Return the remedy for a secret that is marked for deletion, which can be neither read nor written."""
    return (
        f"Cancel the deletion with the command below, {AGAIN}.\n"
        f"  aws secretsmanager restore-secret --secret-id {secret}"
    )


def read_credentials(client: "SecretsManagerClient", secret: str) -> Credentials:
    """Read the credentials. Raises `NeedsOperator`, which names the secret, when they cannot be used."""
    try:
        content = client.get_secret_value(SecretId=secret).get("SecretString", "")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "ResourceNotFoundException":
            raise NeedsOperator(f"the credentials secret {secret} does not exist or is empty", remedy=RENEW) from None
        if code == "InvalidRequestException":  # what Secrets Manager answers for such a secret
            raise NeedsOperator(
                f"the credentials secret {secret} is marked for deletion", remedy=restore(secret)
            ) from None
        raise
    return _parse(content, secret)


def _parse(content: str, secret: str) -> Credentials:
    def unusable(why: str) -> NeedsOperator:
        return NeedsOperator(f"the credentials secret {secret} {why}", remedy=RENEW)

    # Raised without a cause: a parser's error would quote the secret.
    try:
        given = json.loads(content)
    except ValueError:
        raise unusable("does not hold JSON") from None
    if not isinstance(given, dict):
        raise unusable("does not hold a JSON object")
    values = {key: value.strip() if isinstance(value, str) else value for key, value in given.items() if value}
    if not values:
        raise unusable("is still empty")
    try:
        credentials = msgspec.convert(values, Credentials)
    except msgspec.ValidationError:
        raise unusable("holds a value that is not text") from None
    if not all(_printable(value) for value in msgspec.to_builtins(credentials).values()):
        raise unusable("holds a value with a line break or another character that cannot be sent")
    if credentials.pasted and not credentials.access_token:
        raise unusable("is incomplete: it does not have all the keys of any one form")
    if credentials.pasted and not _is_token(credentials.access_token):
        raise unusable("holds an access_token that is not a token: paste only the value of the cookie gp_access_token")
    return credentials


def _printable(value: str) -> bool:
    return value.isprintable()


def _is_token(value: str) -> bool:
    return value.isascii() and not any(mark.isspace() for mark in value)
