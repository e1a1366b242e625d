"""A batch of messages: the facts of each sync are taken together, and a sync's trouble stays its own."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.events import (
    AuthenticationFailed,
    Event,
    LibraryListed,
    LibraryListingFailed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    SyncRequested,
    SyncReviewDue,
)
from services.shared.inbox import Inbox, Message, Reaction
from services.summarizer.summarizer import Summarizer

logger = Logger(child=True)


class FactsInbox:
    """The summarizer's inbox."""

    def __init__(self, inbox: Inbox, summarizer: Summarizer, review: Callable[[SyncReviewDue], None]) -> None:
        self._inbox = inbox
        self._summarizer = summarizer
        self._review = review

    def process(self, batch: Mapping[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
        """Reacts to the records of a batch."""
        return self._inbox.process_together(batch, context, self.react)

    def react(self, events: Sequence[Event]) -> Mapping[str, Exception]:
        """Takes the facts, sync by sync, then reviews if a review is due. Returns, by sync id, what failed."""
        facts: dict[str, list[Event]] = defaultdict(list)
        reviews: list[SyncReviewDue] = []
        for event in events:
            if isinstance(event, SyncReviewDue):
                reviews.append(event)
            else:
                facts[event.sync_id].append(event)
        failed: dict[str, Exception] = {}
        for sync_id, of_one in facts.items():
            try:
                self._summarizer.settle(self._summarizer.take(of_one), cause=of_one[-1])
            except Exception as error:
                logger.exception("The facts of a sync come again", sync_id=sync_id)
                failed[sync_id] = error
        if reviews:
            latest = max(reviews, key=lambda due: due.occurred_at)
            try:
                self._review(latest)
            except Exception as error:
                logger.exception("The review comes again")
                failed[latest.sync_id] = error
        return failed


def _never_alone(event: Event, message: Message) -> Iterable[Event]:
    raise AssertionError(f"{type(event).__name__} of {message.receives} receives: batches are taken whole")


REACTIONS: Mapping[type[Event], Reaction] = dict.fromkeys(
    (
        SyncRequested,
        SyncReviewDue,
        AuthenticationFailed,
        MediaDiscovered,
        LibraryListed,
        LibraryListingFailed,
        MediaDownloaded,
        MediaDownloadFailed,
    ),
    _never_alone,
)
