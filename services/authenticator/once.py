"""A sync is begun once, however often it is asked for: by schedule and catch-up, or by one event delivered twice."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import IdempotencyAlreadyInProgressError
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REMEMBERED_SECONDS = 400 * 24 * 3600


class StillInProgress(TransientError):
    """Another worker is beginning this sync, and the time to wait for it was over first."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a sync's beginning."""

    session_version: int = 0
    failed_because: str = ""


class _Deadline(LambdaContext):
    """Tells Powertools how long this worker can be at work, so that a killed one's mark ends with it."""

    def __init__(self, remaining_seconds: Callable[[], float]) -> None:
        super().__init__()
        self.get_remaining_time_in_millis = (  # type: ignore[method-assign]  # a static method in Powertools
            lambda: int(remaining_seconds() * 1000)
        )


class Once:
    """Remembers what came of each sync, failures too, for 400 days."""

    POLL_SECONDS = 1.0
    RESERVE_SECONDS = 5.0

    def __init__(self, client: "DynamoDBClient", table: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """`client` is a plain client, not that of a resource: Powertools writes typed values."""
        self._store = DynamoDBPersistenceLayer(table_name=table, boto3_client=client)
        self._sleep = sleep

    def begin(
        self, sync_id: str, work: Callable[[], Outcome], remaining_seconds: Callable[[], float]
    ) -> tuple[Outcome, bool]:
        """The outcome of `work`, and whether it was done now rather than before.

        When `work` raises nothing is remembered. Raises `StillInProgress` instead of waiting past the worker's time.
        """
        done_now = False
        config = IdempotencyConfig(expires_after_seconds=REMEMBERED_SECONDS)
        config.register_lambda_context(_Deadline(remaining_seconds))

        def work_once(*, sync_id: str) -> dict[str, Any]:  # noqa: ARG001  # what Powertools keys on
            nonlocal done_now
            done_now = True
            return asdict(work())

        once = idempotent_function(
            work_once, data_keyword_argument="sync_id", persistence_store=self._store, config=config, key_prefix="sync"
        )
        while True:
            try:
                return Outcome(**once(sync_id=sync_id)), done_now
            except IdempotencyAlreadyInProgressError as error:
                if remaining_seconds() < self.RESERVE_SECONDS:
                    raise StillInProgress("another worker is beginning this sync") from error
                self._sleep(self.POLL_SECONDS)
