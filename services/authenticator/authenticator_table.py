"""The authenticator's table: which syncs have begun, who may renew the session, and the session numbers.

    {id: "sync#<hash>", status, data, …}      what came of a sync's beginning
    {id: "refresh-lease", owner, lease_until}
    {id: "session-version", latest}
    {id: "password-grant", tried_at}
    {id: "secret-version#<ARN>", version_id}  the version of a secret that was written last
    {id: "session-health", …}                 the fields of `Health`

Times are Unix seconds (`in_progress_expiration`: milliseconds). The code compares them itself, because DynamoDB's
time-to-live may delete an item days late.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from services.authenticator.health import Health
from services.shared.clock import Clock
from services.shared.errors import TransientError, reason_of
from services.shared.gopro.client import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from services.shared.inbox.message import Message

logger = Logger(child=True)

_LEASE, _VERSION, _PASSWORD = "refresh-lease", "session-version", "password-grant"
_NOTED = "secret-version#"
HEALTH_KEY = {"id": "session-health"}
REMEMBERED_SECONDS = 400 * 24 * 3600
PASSWORD_PAUSE_SECONDS = 60


class LeaseTaken(TransientError):
    """Another worker renews the session, or tried the password just now."""


class StillInProgress(TransientError):
    """Another worker is beginning this sync, and this worker has no time left to wait for it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a sync's beginning."""

    session_version: int = 0
    failed_because: str = ""


class AuthenticatorTable:
    """The items of the table. Each is changed by one conditional write.

    `client` is the client of a DynamoDB resource, so that it takes and returns plain values.
    """

    POLL_SECONDS = 1.0
    # No renewal begins with less time than this left. An answer from GoPro that came after the worker's end would be
    # lost, and with it the only refresh token that still works.
    RENEWAL_SECONDS = sum(TIMEOUT_SECONDS) + 5.0
    WAITING_SECONDS = 5.0  # no wait for another worker's outcome with less time than this left
    MARGIN_SECONDS = 15.0  # by which a lease outlives its worker

    def __init__(self, client: "DynamoDBClient", table: str, *, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    # A sync begins once, however often it is asked for: by the schedule and its catch-up, or by one event delivered
    # twice. The item has the layout of Powertools' idempotency, which wrote it in version 0.1.0.

    def begin_sync(self, sync_id: str, message: "Message") -> Outcome | None:
        """Claim the beginning of a sync for this message. Returns None if this message now holds the claim.

        If the sync has begun before, returns that outcome. While another message holds the claim, waits for its
        outcome. A killed worker's claim expires when that worker's time would have ended. Raises `StillInProgress` when
        too little of this worker's time is left to wait.
        """
        while not self._claim(sync_id, message):
            answer = self._client.get_item(TableName=self._table, Key=sync_key(sync_id), ConsistentRead=True)
            item: Mapping[str, Any] = answer.get("Item", {})
            if item.get("status") == "COMPLETED":
                return Outcome(**json.loads(item["data"]))
            if message.remaining_seconds() < self.WAITING_SECONDS:
                raise StillInProgress("another worker is beginning this sync")
            self._clock.sleep(self.POLL_SECONDS)
        return None

    def _claim(self, sync_id: str, message: "Message") -> bool:
        now = self._clock.now().timestamp()
        try:
            self._client.put_item(
                TableName=self._table,
                Item={
                    **sync_key(sync_id),
                    "status": "INPROGRESS",
                    "in_progress_expiration": int((now + message.remaining_seconds()) * 1000),
                    "expiration": int(now) + REMEMBERED_SECONDS,
                },
                ConditionExpression=(
                    "attribute_not_exists(id) OR expiration < :now "
                    "OR (#status = :in_progress AND (in_progress_expiration < :now_ms OR resumed_by = :message))"
                ),
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues={
                    ":now": int(now),
                    ":now_ms": int(now * 1000),
                    ":in_progress": "INPROGRESS",
                    ":message": message.id,
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def keep_claim(self, sync_id: str, message: "Message") -> None:
        """Let the next try of the same message, and nobody else, take up the claim at once."""
        self._client.update_item(
            TableName=self._table,
            Key=sync_key(sync_id),
            UpdateExpression="SET resumed_by = :message",
            ConditionExpression="#status = :in_progress",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":message": message.id, ":in_progress": "INPROGRESS"},
        )

    def remember(self, sync_id: str, outcome: Outcome) -> None:
        """Keep what came of a sync's beginning, a failure too, for 400 days."""
        self._client.update_item(
            TableName=self._table,
            Key=sync_key(sync_id),
            UpdateExpression="SET #data = :data, #status = :completed, expiration = :expiration",
            ExpressionAttributeNames={"#status": "status", "#data": "data"},
            ExpressionAttributeValues={
                ":data": json.dumps(asdict(outcome)),
                ":completed": "COMPLETED",
                ":expiration": int(self._clock.now().timestamp()) + REMEMBERED_SECONDS,
            },
        )

    @contextmanager
    def refresh_lease(self, remaining_seconds: Callable[[], float]) -> Iterator[None]:
        """Hold the lease that allows renewing the session. Only one worker at a time has it.

        Waits for its turn; raises `LeaseTaken` when too little of the worker's time is left. The lease ends with the
        worker's own time at the latest, so that a killed one blocks nobody.
        """
        owner = str(uuid.uuid4())
        while True:
            left = remaining_seconds()
            if left < self.RENEWAL_SECONDS:
                raise LeaseTaken("too little time is left to renew the session")
            if self._take(owner, left + self.MARGIN_SECONDS):
                break
            self._clock.sleep(self.POLL_SECONDS)
        try:
            yield
        finally:
            self._release(owner)

    def next_session_version(self, above: int) -> int:
        """Return a number that no session had before, larger than `above` even if the table was lost or restored."""
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

    def note_secret_version(self, secret: str, version_id: str) -> None:
        """Note which version of a secret was written last. The caller holds the lease."""
        item = {"id": f"{_NOTED}{secret}", "version_id": version_id}
        self._client.put_item(TableName=self._table, Item=item)

    def secret_version(self, secret: str) -> str:
        """Return the version of a secret that was written last; empty if none was noted yet."""
        key = {"id": f"{_NOTED}{secret}"}
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})
        return str(item.get("version_id", ""))

    def claim_password(self) -> None:
        """Mark a login by password, which GoPro may block when it is tried often.

        Raises `LeaseTaken`, with the seconds to wait, when the last one is less than a minute ago.
        """
        now = int(self._clock.now().timestamp())
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
            raise LeaseTaken("a login by password is tried at most once a minute", retry_after=max(1, wait)) from None

    def health(self) -> Health:
        """Return what is known of the session's life."""
        answer = self._client.get_item(TableName=self._table, Key=HEALTH_KEY, ConsistentRead=True)
        item: Mapping[str, Any] = answer.get("Item", {})
        numbers = {"version": int(item.get("version", 0)), "lives": tuple(map(int, item.get("lives", ())))}
        return Health(**{name: value for name, value in item.items() if name != "id"} | numbers)

    def keep_health(self, health: Health, *, before: Health) -> None:
        """Replace what was known `before`, unless another worker has: then what that worker knows stays."""
        if health == before:
            return
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**HEALTH_KEY, **asdict(health), "lives": list(health.lives)},
                ConditionExpression=(
                    "attribute_not_exists(id) OR (version = :version AND last_accepted = :accepted "
                    "AND first_refused = :refused AND warned_on = :warned)"
                ),
                ExpressionAttributeValues={
                    ":version": before.version,
                    ":accepted": before.last_accepted,
                    ":refused": before.first_refused,
                    ":warned": before.warned_on,
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            logger.info("session_health_changed_meanwhile")

    def _take(self, owner: str, seconds: float) -> bool:
        now = self._clock.now().timestamp()
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
            logger.warning("refresh_lease_not_released", why=reason_of(error))  # it ends by itself


def sync_key(sync_id: str) -> dict[str, str]:
    """Return the key of the item that says what came of a sync's beginning."""
    return {"id": f"sync#{hashlib.md5(json.dumps(sync_id).encode(), usedforsecurity=False).hexdigest()}"}
