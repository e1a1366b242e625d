"""The credentials secret, which its user fills."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import ClientError

from services.authenticator.failures import AGAIN, NeedsOperator

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_FORMS = (
    '{"client_id": "…", "client_secret": "…", "refresh_token": "…"} '
    'or {"client_id": "…", "client_secret": "…", "username": "…", "password": "…"} or {"access_token": "…"}'
)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a session can be had with. `repr` shows nothing of it."""

    client_id: str = field(default="", repr=False)
    client_secret: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)  # pasted from a browser: a stop-gap, nothing can renew it

    @property
    def client(self) -> bool:
        return bool(self.client_id and self.client_secret)

    @property
    def login(self) -> bool:
        return bool(self.client and self.username and self.password)

    @property
    def pasted(self) -> bool:
        """Whether the pasted token is all there is."""
        return not (self.login or (self.client and self.refresh_token))

    @property
    def fingerprint(self) -> str:
        """Tells whether the user has changed anything, without saying what it is."""
        content = json.dumps(msgspec.to_builtins(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


def fill(secret: str) -> str:
    """What the operator does to put credentials in place. The command has a line of its own, to be copied whole."""
    return (
        f"Write {_FORMS} to credentials.json, put that into the secret with the command below, {AGAIN}.\n"
        f"  aws secretsmanager put-secret-value --secret-id {secret} --secret-string file://credentials.json"
    )


def restore(secret: str) -> str:
    """What the operator does about a secret that is to be deleted: until then it can be neither read nor written."""
    return (
        f"Take the deletion back with the command below, {AGAIN}.\n"
        f"  aws secretsmanager restore-secret --secret-id {secret}"
    )


def read_credentials(client: "SecretsManagerClient", secret: str) -> Credentials:
    """Raises `NeedsOperator`, naming the secret, when it holds nothing that could be used."""
    try:
        content = client.get_secret_value(SecretId=secret).get("SecretString", "")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code == "ResourceNotFoundException":
            raise NeedsOperator(
                f"the credentials secret {secret} does not exist or is empty", remedy=fill(secret)
            ) from None
        if code == "InvalidRequestException":  # the one state in which Secrets Manager doesn't let a secret be read
            raise NeedsOperator(
                f"the credentials secret {secret} is marked for deletion", remedy=restore(secret)
            ) from None
        raise
    return _parse(content, secret)


def _parse(content: str, secret: str) -> Credentials:
    def unusable(why: str) -> NeedsOperator:
        return NeedsOperator(f"the credentials secret {secret} {why}", remedy=fill(secret))

    # Errors are raised without their causes: a parser's error holds the text that it was given.
    try:
        given = json.loads(content)
    except ValueError:
        raise unusable("does not hold JSON") from None
    if not isinstance(given, dict):
        raise unusable("does not hold a JSON object")
    values = {key: value.strip() if isinstance(value, str) else value for key, value in given.items() if value}
    if not values:
        raise unusable("has not been filled yet")
    try:
        credentials = msgspec.convert(values, Credentials)
    except msgspec.ValidationError:
        raise unusable("holds a value that is not text") from None
    if not all(_printable(value) for value in msgspec.to_builtins(credentials).values()):
        raise unusable("holds a value with a line break or another character that cannot be sent")
    if credentials.pasted and not credentials.access_token:
        raise unusable("lacks what a session needs: only some of the keys are there")
    if credentials.pasted and not _is_token(credentials.access_token):
        raise unusable("holds an access_token that is none: paste the value of the cookie gp_access_token only")
    return credentials


def _printable(value: str) -> bool:
    return value.isprintable()


def _is_token(value: str) -> bool:
    return value.isascii() and not any(mark.isspace() for mark in value)
