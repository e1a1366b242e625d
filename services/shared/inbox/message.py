"""One receive of one SQS message, and how long it waits for the next one."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from services.shared.logs import why

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from mypy_boto3_sqs import SQSClient

logger = Logger(child=True)


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """The waits between the tries of a message, in seconds: base, twice that, four times that … up to the cap."""

    base: float
    cap: float
    max_receives: int  # the queue's own limit: the receive after which a message becomes a dead letter

    def delay(self, receives: int, retry_after: float | None = None) -> int:
        """Return the whole seconds to wait after the n-th receive. A longer `retry_after` wins, up to the cap."""
        planned = self.base * 2.0 ** (receives - 1)
        return math.ceil(min(self.cap, max(planned, retry_after or 0)))


class Message:
    """One receive of one message."""

    def __init__(
        self,
        *,
        queue: "SQSClient",
        inbox_url: str,
        record: "SQSRecord",
        backoff: Backoff,
        now: datetime,
        remaining_seconds: Callable[[], float],
    ) -> None:
        """`remaining_seconds`: until the function's time is over."""
        self._queue = queue
        self._inbox_url = inbox_url
        self._handle = record.receipt_handle
        self._backoff = backoff
        self.id = record.message_id
        self.receives = int(record.attributes.approximate_receive_count)
        # Seconds from when the message was sent until this receive. Two machines' clocks may disagree a little.
        self.waited = max(0.0, round(now.timestamp() - int(record.attributes.sent_timestamp) / 1000, 3))
        self.remaining_seconds = remaining_seconds

    @property
    def is_last(self) -> bool:
        """Whether SQS makes the message a dead letter if this receive fails."""
        return self.receives >= self._backoff.max_receives

    def hide(self, seconds: float) -> None:
        """Hide the message from all receivers for so long from now, unless this receive acknowledges it."""
        self._queue.change_message_visibility(
            QueueUrl=self._inbox_url, ReceiptHandle=self._handle, VisibilityTimeout=int(seconds)
        )

    def wait_for_next_try(self, error: BaseException) -> None:
        """Hide the message for its backoff. Where that fails, it stays hidden for as long as it already is."""
        self._try_to_hide(self._backoff.delay(self.receives, getattr(error, "retry_after", None)))

    def show(self) -> None:
        """Let SQS deliver the message again at once, or make it a dead letter if this is its last receive."""
        self._try_to_hide(0)

    def _try_to_hide(self, seconds: float) -> None:
        # The outcome of this receive is decided, and trouble with the visibility may not change it.
        try:
            self.hide(seconds)
        except (BotoCoreError, ClientError) as error:
            logger.warning("visibility_unchanged", message_id=self.id, why=why(error))
