"""The review: every quarter of an hour, a look at each sync that is open, or closed with something left to tell.

It is what makes the rest safe to lose: a fact, a message, a function killed between two steps.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from services.shared.bus import iso
from services.shared.events import Event, MediaDownloaded, MediaDownloadFailed, SyncReviewDue
from services.shared.library import DOWNLOADING, FAILED, STORED
from services.summarizer.announcing import Announcer
from services.summarizer.closing import is_past, why_to_close
from services.summarizer.summarizer import Summarizer
from services.summarizer.sync import ClosedBecause, Medium, Quiet, Sync
from services.summarizer.syncs import Conflict, SyncsTable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

logger = Logger(child=True)

# By media ids, the records of the library table: see `services.shared.library.medium_records`.
Library = Callable[[Collection[str]], Mapping[str, Mapping[str, Any]]]


class ReviewIncomplete(Exception):
    """Some syncs could not be looked after; the others were. The review is to be done again."""


class Review:
    """`inbox_is_empty`: whether the downloader's inbox holds nothing, be it visible, in flight or delayed."""

    def __init__(
        self,
        *,
        syncs: SyncsTable,
        summarizer: Summarizer,
        announcer: Announcer,
        library: Library,
        inbox_is_empty: Callable[[], bool],
        deadline: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._syncs = syncs
        self._summarizer = summarizer
        self._announcer = announcer
        self._library = library
        self._inbox_is_empty = inbox_is_empty
        self._deadline = deadline
        self._now = now

    def __call__(self, due: SyncReviewDue) -> None:
        """Looks after every unsettled sync. Raises `ReviewIncomplete` at the end if that failed for some."""
        failed: list[str] = []
        amended: list[Sync] = []
        looked_after: list[str] = []
        for sync_id in self._syncs.unsettled():
            try:
                self._close_if_over(sync_id, due)
                claimed = self._summarizer.amend(sync_id, cause=due, only_the_first=False)
            except Exception:
                logger.exception("A sync could not be looked after", sync_id=sync_id)
                failed.append(sync_id)
            else:
                amended += [claimed] if claimed else []
                looked_after.append(sync_id)
        if amended:
            self._announcer.notify(amended)
        for sync_id in looked_after:
            self._summarizer.finish(sync_id)
        if failed:
            raise ReviewIncomplete(", ".join(failed))

    def _close_if_over(self, sync_id: str, due: SyncReviewDue) -> None:
        """Learns what the library table knows, closes the sync if it is over, and tells a close that is untold."""
        sync = self._syncs.read(sync_id)
        stalled_at = self._look_for_movement(sync, due) if sync and sync.is_open else None

        def why(sync: Sync) -> ClosedBecause | None:
            because = self._why_to_close(sync)
            return because or ("stalled" if sync.version == stalled_at else None)

        self._summarizer.close_and_tell(sync_id, why, cause=due)

    def _why_to_close(self, sync: Sync) -> ClosedBecause | None:
        return why_to_close(sync) or ("deadline" if is_past(sync, self._deadline, self._now()) else None)

    def _look_for_movement(self, sync: Sync, due: SyncReviewDue) -> int | None:
        """The version at which an open sync has stalled: nothing moves now, nor did at the review before this."""
        outstanding = [medium for medium in self._syncs.all_media(sync.sync_id) if medium.state == "DISCOVERED"]
        records = self._library([medium.media_id for medium in outstanding]) if outstanding else {}
        facts = known_results(sync.sync_id, outstanding, records)
        if facts:
            logger.info("The library table knows results that were not told", sync_id=sync.sync_id, media=len(facts))
            sync = self._summarizer.take(facts)
        if not sync.is_open or self._why_to_close(sync) or sync.expected is None:
            return None
        leased = any(has_live_lease(record, self._now()) for record in records.values())
        if leased or not self._inbox_is_empty():
            self._note(sync, None)
            return None
        # A review may be delivered twice. Only another, later one says that time has passed.
        reviewed_at = due.occurred_at or iso(self._now())
        if sync.quiet and sync.quiet.version == sync.version:
            return sync.version if reviewed_at > sync.quiet.reviewed_at else None
        self._note(sync, Quiet(version=sync.version + 1, reviewed_at=reviewed_at))
        return None

    def _note(self, sync: Sync, quiet: Quiet | None) -> None:
        if sync.quiet == quiet:
            return
        try:
            self._syncs.write(sync, replace(sync, version=sync.version + 1, quiet=quiet))
        except Conflict:
            logger.info("A fact came while nothing seemed to move", sync_id=sync.sync_id)


def known_results(sync_id: str, outstanding: Iterable[Medium], records: Mapping[str, Mapping[str, Any]]) -> list[Event]:
    """The facts that the library table's records imply for media of a sync of which no result was told.

    A failure counts only as that of the sync which had it: another sync's leaves this one its own tries.
    """
    facts: list[Event] = []
    for medium in outstanding:
        record = records.get(medium.media_id, {})
        status, own = record.get("status"), record.get("sync_id") == sync_id
        if status == STORED and int(record.get("item_count", 1)) >= medium.item_count:
            facts.append(
                MediaDownloaded(
                    sync_id=sync_id,
                    media_id=medium.media_id,
                    epoch=int(record.get("epoch", 0)),
                    files_total=int(record.get("files_total", 0)),
                    bytes=int(record.get("bytes_total", 0)),
                    already_stored=not own,
                )
            )
        elif status == FAILED and own:
            facts.append(
                MediaDownloadFailed(
                    sync_id=sync_id,
                    media_id=medium.media_id,
                    epoch=int(record.get("epoch", 0)),
                    reason=str(record.get("reason", "")),
                )
            )
    return facts


def has_live_lease(record: Mapping[str, Any], now: datetime) -> bool:
    """Whether a worker has this medium in hand, as far as the library table tells."""
    return record.get("status") == DOWNLOADING and int(record.get("lease_until", 0)) > now.timestamp()


def is_empty(client: "SQSClient", queue_url: str) -> bool:
    """Whether a queue holds no message: none visible, none in flight, none delayed."""
    counts = client.get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=[
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ],
    )["Attributes"]
    return all(int(count) == 0 for count in counts.values())
