"""The authenticator's table, beside what remembers the syncs: whose turn it is, which session is next."""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from services.shared.bus import utc_now
from services.shared.errors import TransientError, reason_of
from services.shared.gopro.client import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = Logger(child=True)

_LEASE, _VERSION, _PASSWORD = "refresh-lease", "session-version", "password-grant"
PASSWORD_PAUSE_SECONDS = 60


class Busy(TransientError):
    """Another worker is at it."""


class Ledger:
    """Single items, each changed by one conditional write. Times are unix seconds, compared, never left to the TTL."""

    POLL_SECONDS = 1.0
    # Nobody begins with less than this left: an answer of GoPro's that came after the worker's end would be lost,
    # and with it the one refresh token that is still good.
    RESERVE_SECONDS = sum(TIMEOUT_SECONDS) + 5.0
    MARGIN_SECONDS = 15.0  # by which a lease outlives its worker

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`client` is the client of a DynamoDB resource (`resource.meta.client`)."""
        self._client = client
        self._table = table
        self._now = now
        self._sleep = sleep

    @contextmanager
    def refresh_lease(self, remaining_seconds: Callable[[], float]) -> Iterator[None]:
        """One worker at a time is in here. Waits for its turn; raises `Busy` when the worker's time won't do.

        The lease ends with the worker's own time at the latest, so that a killed one holds nobody up.
        """
        owner = str(uuid.uuid4())
        while True:
            left = remaining_seconds()
            if left < self.RESERVE_SECONDS:
                raise Busy("too little time is left to renew the session")
            if self._take(owner, left + self.MARGIN_SECONDS):
                break
            self._sleep(self.POLL_SECONDS)
        try:
            yield
        finally:
            self._release(owner)

    def next_session_version(self, above: int) -> int:
        """A number that no session had before, larger than `above` even if the table was lost, or is an older copy."""
        try:
            return self._write_version("latest + :one", "latest >= :above", {":one": 1, ":above": above})
        except self._client.exceptions.ConditionalCheckFailedException:
            behind = "attribute_not_exists(latest) OR latest < :next"
            return self._write_version(":next", behind, {":next": above + 1})

    def _write_version(self, version: str, condition: str, values: Mapping[str, int]) -> int:
        answer = self._client.update_item(
            TableName=self._table,
            Key={"id": _VERSION},
            UpdateExpression=f"SET latest = {version}",
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
            ReturnValues="UPDATED_NEW",
        )
        return int(str(answer["Attributes"]["latest"]))

    def claim_password(self) -> None:
        """Marks a login by password, which GoPro may block when it is tried often.

        Raises `Busy` with the seconds to wait when the last one is less than a minute ago.
        """
        now = int(self._now().timestamp())
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"id": _PASSWORD, "tried_at": now},
                ConditionExpression="attribute_not_exists(id) OR tried_at <= :before",
                ExpressionAttributeValues={":before": now - PASSWORD_PAUSE_SECONDS},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            item = self._client.get_item(TableName=self._table, Key={"id": _PASSWORD}, ConsistentRead=True)["Item"]
            wait = int(str(item["tried_at"])) + PASSWORD_PAUSE_SECONDS - now
            raise Busy("a login by password is tried at most once a minute", retry_after=max(1, wait)) from None

    def _take(self, owner: str, seconds: float) -> bool:
        now = self._now().timestamp()
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"id": _LEASE, "owner": owner, "lease_until": int(now + seconds)},
                ConditionExpression="attribute_not_exists(id) OR lease_until < :now",
                ExpressionAttributeValues={":now": int(now)},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def _release(self, owner: str) -> None:
        try:
            self._client.delete_item(
                TableName=self._table,
                Key={"id": _LEASE},
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": owner},
            )
        except ClientError as error:
            logger.warning("The lease was not given back; it ends by itself", why=reason_of(error))
