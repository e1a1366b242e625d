"""What the summarizer does: tallies the facts of each sync, closes the sync once, and announces the close.

The review repairs whatever is lost elsewhere: a fact, a message, or the work of a function killed between two steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.shared.clock import Clock, iso
from services.shared.errors import TransientError
from services.shared.events import (
    AuthenticationFailed,
    ClosedBecause,
    Event,
    LibraryListed,
    LibraryListingFailed,
    MediaDiscovered,
    MediaDownloaded,
    MediaDownloadFailed,
    MediaDownloadSkipped,
    SessionAuthenticated,
    SessionEnding,
    SessionRejected,
    SyncCancelRequested,
    SyncRequested,
    SyncReviewDue,
)
from services.shared.inbox.reaction import BatchReaction
from services.shared.logs import where, why
from services.shared.metrics import Metric
from services.summarizer.closing import amend, close, closing_event, is_past, why_to_close
from services.summarizer.history import details
from services.summarizer.measures import outcome, progress
from services.summarizer.news import News, Notify, judge, of_late_results, of_summary
from services.summarizer.records import ClosedSync, Conflict, Medium, Quiet, Sync
from services.summarizer.review import missed_results, quiet_since
from services.summarizer.tally import media_ids, tally

if TYPE_CHECKING:
    from services.shared.library.records import LibraryReader
    from services.summarizer.announcing import Announcer
    from services.summarizer.downloader_inbox import DownloaderInbox
    from services.summarizer.library_page import LibraryPage
    from services.summarizer.syncs_table import SyncsTable

logger = Logger(child=True)


class ReviewIncomplete(TransientError):
    """The review of some syncs failed; the others are done. The next try reviews all of them again."""


class Summarizer:
    """Takes a sync from its first fact to its last announcement.

    Every step reads the table again. So a step can be repeated, and two summarizers can work at the same time.
    """

    def __init__(
        self,
        *,
        syncs: "SyncsTable",
        announcer: "Announcer",
        page: "LibraryPage",
        library: "LibraryReader",
        downloader_inbox: "DownloaderInbox",
        deadline: timedelta,
        notify: Notify,
        clock: Clock,
        count: Callable[[Metric, int], None],
    ) -> None:
        """`count` takes a metric and its value: a number of media or syncs, or bytes where the name says so."""
        self._syncs = syncs
        self._announcer = announcer
        self._page = page
        self._library = library
        self._downloader_inbox = downloader_inbox
        self._deadline = deadline
        self._notify = notify
        self._clock = clock
        self._count = count

    def take_facts(self, facts: Sequence[Event]) -> None:
        """Tally facts of one sync. Close the sync if it is over. If it was closed before, announce late results.

        Only the first amendment is announced here. Later ones are left to the review, which gathers the results.
        """
        sync = self._tally(facts)
        if sync.is_open and why_to_close(sync) is None:
            return
        cause = facts[-1]
        self._close(sync.sync_id, why_to_close, cause=cause)
        amended = self._amend(sync.sync_id, cause=cause, only_the_first=True)
        if amended:
            self._announcer.notify([amended], cause=cause)
        if self._is_done(sync.sync_id):
            self._page.write()
            self._settle(sync.sync_id)

    def review(self, reviews: Sequence[SyncReviewDue]) -> None:
        """Review every unsettled sync. Raises `ReviewIncomplete` at the end if the review of any sync failed."""
        due = max(reviews, key=lambda review: review.occurred_at)
        failed: list[str] = []
        amended: list[ClosedSync] = []
        reviewed: list[str] = []
        unsettled = self._syncs.unsettled()
        if unsettled:
            self._count(Metric.OPEN_SYNCS, len(unsettled))
        for sync_id in unsettled:
            try:
                self._close_if_over(sync_id, due)
                claimed = self._amend(sync_id, cause=due, only_the_first=False)
            except Exception as error:  # noqa: BLE001  # one sync's failure must not affect the others
                logger.warning("sync_review_failed", sync_id=sync_id, why=why(error), at=where(error))
                failed.append(sync_id)
            else:
                amended += [claimed] if claimed else []
                reviewed.append(sync_id)
        if amended:
            self._announcer.notify(amended, cause=due)
        done = [sync_id for sync_id in reviewed if self._is_done(sync_id)]
        if done:
            self._page.write()
        else:
            self._page.write_if_stale()
        for sync_id in done:
            self._settle(sync_id)
        if failed:
            raise ReviewIncomplete(f"the review failed for {', '.join(failed)}")

    def warn(self, warnings: Sequence[SessionEnding]) -> None:
        """Notify people that the next sync will probably have no session. A batch may hold the event more than once."""
        self._announcer.warn(warnings[-1])
        self._page.warn(warnings[-1])

    def _tally(self, facts: Sequence[Event]) -> Sync:
        """Tally one or more facts of one sync. Returns the sync after them."""
        size = self._syncs.MEDIA_PER_WRITE
        return [self._tally_part(facts[start : start + size]) for start in range(0, len(facts), size)][-1]

    def _tally_part(self, facts: Sequence[Event]) -> Sync:
        sync_id, about = facts[0].sync_id, media_ids(facts)

        def step() -> Sync:
            found = self._syncs.read(sync_id)
            sync = found or Sync(sync_id=sync_id)
            if found is None and all(isinstance(fact, SyncCancelRequested) for fact in facts):
                logger.warning("unknown_sync_not_cancelled")
                return sync
            media = self._syncs.media(sync_id, about) if found else {}
            tallied = tally(sync, media, facts, now=self._clock.now())
            if tallied is None:
                return sync
            self._syncs.write(found, tallied.sync, tallied.media)
            self._count_all(progress(sync, tallied.sync))
            return tallied.sync

        return self._syncs.insist(step)

    def _count_all(self, values: Mapping[Metric, int]) -> None:
        for metric, value in values.items():
            self._count(metric, value)

    def _close(self, sync_id: str, why_now: Callable[[Sync], ClosedBecause | None], *, cause: Event) -> None:
        """Close an open sync if `why_now` returns a reason. Announce the close of a closed sync if that is not done."""

        def step() -> Sync | None:
            sync = self._syncs.read(sync_id)
            because = why_now(sync) if sync and sync.is_open else None
            if sync is None or because is None:
                return sync
            media = self._syncs.all_media(sync_id)
            closed = close(sync, media, because, now=self._clock.now(), deadline=self._deadline)
            closed = self._write_announced(sync, closed, of_summary(closing_event(closed)), media)
            logger.info("sync_closed", sync_id=sync_id, because=because, outcome=closed.outcome)
            self._count_all(outcome(closed))
            return closed

        sync = self._syncs.insist(step)
        if isinstance(sync, ClosedSync) and sync.announcement.number == 0 and not sync.is_announced:
            claimed = self._announcer.publish(sync, cause=cause)
            if claimed:
                self._announcer.notify([claimed], cause=cause)

    def _amend(self, sync_id: str, *, cause: Event, only_the_first: bool) -> ClosedSync | None:
        """Publish the amendment that is due for a closed sync. Returns the sync for `notify`; None if none is due."""

        def step() -> ClosedSync | None:
            sync = self._syncs.read(sync_id)
            if not isinstance(sync, ClosedSync):
                return None
            if not sync.is_announced:
                return sync
            if not sync.has_late_results or (only_the_first and sync.announcement.number > 0):
                return None
            media = self._syncs.all_media(sync_id)
            amended = amend(sync, media)
            named = {*amended.announcement.recovered, *amended.announcement.failed}
            news = of_late_results(medium for medium in media if medium.media_id in named)
            return self._write_announced(sync, amended, news, media)

        sync = self._syncs.insist(step)
        if sync is None or sync.announcement.number == 0:
            return None
        return self._announcer.publish(sync, cause=cause)

    def _write_announced(self, before: Sync, after: ClosedSync, news: News, media: Sequence[Medium]) -> ClosedSync:
        """Write a sync with a new announcement, and whether operators are notified of it. Returns what was written.

        Decided here and not when it is sent: every repetition then has the same answer.
        """
        told = self._syncs.told()
        verdict = judge(news, told, notify=self._notify, now=self._clock.now())
        announcement = replace(after.announcement, silence=verdict.silence, told_since=verdict.since)
        written = replace(after, announcement=announcement)
        new = verdict.told if verdict.told != told else None
        self._syncs.write(before, written, details=details(written, media), told=new)
        return written

    def _is_done(self, sync_id: str) -> bool:
        """Return whether a sync is on the review's list though everything is announced.

        Then the library's page is due. A function that is killed while it writes the page leaves the sync on the list,
        and the next try writes the page.
        """
        sync = self._syncs.read(sync_id)
        return sync is not None and sync.unsettled and _is_all_announced(sync)

    def _settle(self, sync_id: str) -> None:
        """Take a closed sync off the review's list once everything is announced."""

        def step() -> None:
            sync = self._syncs.read(sync_id)
            if sync and sync.unsettled and _is_all_announced(sync):
                self._syncs.write(sync, replace(sync, version=sync.version + 1, unsettled=False))

        self._syncs.insist(step)

    def _close_if_over(self, sync_id: str, due: SyncReviewDue) -> None:
        """Tally the results that the library table has. Then close the sync if it is complete, late or stalled."""
        sync = self._syncs.read(sync_id)
        stalled_at = self._look_for_movement(sync, due) if sync and sync.is_open else None

        def why_now(sync: Sync) -> ClosedBecause | None:
            return self._why_over(sync) or ("stalled" if sync.version == stalled_at else None)

        self._close(sync_id, why_now, cause=due)

    def _why_over(self, sync: Sync) -> ClosedBecause | None:
        return why_to_close(sync) or ("deadline" if is_past(sync, self._deadline, self._clock.now()) else None)

    def _look_for_movement(self, sync: Sync, due: SyncReviewDue) -> int | None:
        """Return the version of an open sync if it has stalled, else None.

        A sync has stalled if nothing moves now, and nothing has moved since an earlier review. Tallies missed results
        first.
        """
        outstanding = [medium for medium in self._syncs.all_media(sync.sync_id) if medium.state == "DISCOVERED"]
        records = self._library.media([medium.media_id for medium in outstanding]) if outstanding else {}
        missed = missed_results(sync.sync_id, outstanding, records)
        if missed:
            logger.info("missed_results_found", sync_id=sync.sync_id, media=len(missed))
            sync = self._tally(missed)
        if not sync.is_open or self._why_over(sync) or sync.expected is None:
            return None
        now = self._clock.now()
        moving = any(record.is_leased(now) for record in records.values()) or not self._downloader_inbox.is_empty()
        # A review may be delivered twice. Only a later one shows that time has passed.
        reviewed_at = due.occurred_at or iso(now)
        quiet = quiet_since(sync, moving=moving, reviewed_at=reviewed_at)
        if quiet != sync.quiet:
            self._note(sync, quiet)
            return None
        return sync.version if quiet and quiet.reviewed_at < reviewed_at else None

    def _note(self, sync: Sync, quiet: Quiet | None) -> None:
        try:
            self._syncs.write(sync, replace(sync, version=sync.version + 1, quiet=quiet))
        except Conflict:
            logger.info("fact_during_quiet_review", sync_id=sync.sync_id)


def _is_all_announced(sync: Sync) -> bool:
    return isinstance(sync, ClosedSync) and sync.is_announced and not sync.has_late_results


FACTS = BatchReaction(do=Summarizer.take_facts, key=lambda fact: fact.sync_id)
WARNING = BatchReaction(do=Summarizer.warn, key=lambda warning: warning.event_id)
REVIEW = BatchReaction(do=Summarizer.review, key=lambda _: "every review")

# In this order, the facts of a batch are tallied before its review.
REACTIONS: Mapping[type[Event], BatchReaction] = {
    SyncRequested: FACTS,
    SessionAuthenticated: FACTS,
    SessionRejected: FACTS,
    AuthenticationFailed: FACTS,
    MediaDiscovered: FACTS,
    LibraryListed: FACTS,
    LibraryListingFailed: FACTS,
    MediaDownloaded: FACTS,
    MediaDownloadFailed: FACTS,
    MediaDownloadSkipped: FACTS,
    SyncCancelRequested: FACTS,
    SessionEnding: WARNING,
    SyncReviewDue: REVIEW,
}
