"""What happens to one sync: its facts are tallied, it is closed when it is over, and that is told."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger

from services.shared.events import Event
from services.summarizer.announcing import Announcer
from services.summarizer.closing import amend, close, why_to_close
from services.summarizer.sync import ClosedBecause, Sync
from services.summarizer.syncs import MEDIA_PER_WRITE, SyncsTable
from services.summarizer.tally import media_ids, tally

logger = Logger(child=True)


class Summarizer:
    """What happens to a sync, step by step. Every step reads afresh, so it can be repeated, and raced."""

    def __init__(
        self,
        *,
        syncs: SyncsTable,
        announcer: Announcer,
        deadline: timedelta,
        now: Callable[[], datetime],
        count: Callable[[str, int], None],
    ) -> None:
        """`count` takes the name and value of a metric: a number of media or syncs, or bytes where the name says so."""
        self._syncs = syncs
        self._announcer = announcer
        self._deadline = deadline
        self._now = now
        self._count = count

    def take(self, facts: Sequence[Event]) -> Sync:
        """Tallies facts of one sync, at least one. Returns the sync as it is then."""
        parts = [facts[start : start + MEDIA_PER_WRITE] for start in range(0, len(facts), MEDIA_PER_WRITE)]
        return [self._take(part) for part in parts][-1]

    def settle(self, sync: Sync, *, cause: Event) -> None:
        """Closes a sync if its facts say that it is over, and tells what it has to tell.

        Of what came after the close only the first is told here; the rest is the review's.
        """
        if sync.is_open and why_to_close(sync) is None:
            return
        self.close_and_tell(sync.sync_id, why_to_close, cause=cause)
        amended = self.amend(sync.sync_id, cause=cause, only_the_first=True)
        if amended:
            self._announcer.notify([amended])
        self.finish(sync.sync_id)

    def close_and_tell(self, sync_id: str, why: Callable[[Sync], ClosedBecause | None], *, cause: Event) -> None:
        """Closes an open sync if `why` gives a reason, and tells that it closed, unless that is told."""

        def step() -> Sync | None:
            sync = self._syncs.read(sync_id)
            because = why(sync) if sync and sync.is_open else None
            if sync is None or because is None:
                return sync
            media = self._syncs.all_media(sync_id)
            closed = close(sync, media, because, now=self._now(), deadline=self._deadline)
            self._syncs.write(sync, closed)
            logger.info("Closed", sync_id=sync_id, because=because, outcome=closed.outcome)
            self._count("SyncFailed" if closed.outcome == "failed" else "SyncCompleted", 1)
            return closed

        sync = self._syncs.insist(step)
        if sync and sync.announcement and sync.announcement.number == 0 and not sync.is_told:
            claimed = self._announcer.publish(sync, cause=cause)
            if claimed:
                self._announcer.notify([claimed])

    def amend(self, sync_id: str, *, cause: Event, only_the_first: bool) -> Sync | None:
        """Publishes a closed sync's amendment, if one is to be told. What it returns is still to be notified of."""

        def step() -> Sync | None:
            sync = self._syncs.read(sync_id)
            if sync is None or not sync.announcement:
                return None
            if not sync.is_told:
                return sync
            if not sync.has_more_to_tell or (only_the_first and sync.announcement.number > 0):
                return None
            amended = amend(sync, self._syncs.all_media(sync_id))
            self._syncs.write(sync, amended)
            return amended

        sync = self._syncs.insist(step)
        if sync is None or not sync.announcement or sync.announcement.number == 0:
            return None
        return self._announcer.publish(sync, cause=cause)

    def finish(self, sync_id: str) -> None:
        """Takes a closed sync off the review's list, once all is told."""

        def step() -> None:
            sync = self._syncs.read(sync_id)
            if sync and sync.unsettled and sync.is_told and not sync.has_more_to_tell:
                self._syncs.write(sync, replace(sync, version=sync.version + 1, unsettled=False))

        self._syncs.insist(step)

    def _take(self, facts: Sequence[Event]) -> Sync:
        about = media_ids(facts)

        def step() -> Sync:
            sync = self._syncs.read(facts[0].sync_id)
            media = self._syncs.media(facts[0].sync_id, about) if sync else {}
            tallied = tally(sync, media, facts, now=self._now())
            if tallied is None:
                assert sync is not None  # noqa: S101  # the first fact of a sync always changes something
                return sync
            self._syncs.write(sync, tallied.sync, tallied.media)
            self._count_progress(sync, tallied.sync)
            return tallied.sync

        return self._syncs.insist(step)

    def _count_progress(self, before: Sync | None, after: Sync) -> None:
        old = before or Sync(sync_id=after.sync_id)
        for name, change in (
            ("MediaDownloaded", after.downloaded - old.downloaded),
            ("MediaFailed", after.failed - old.failed),
            ("BytesStored", after.bytes - old.bytes),
        ):
            if change > 0:
                self._count(name, change)
