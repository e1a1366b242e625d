"""Announcing a close or an amendment: its report, its event on the bus, its notification, and the event of that.

Event and notification go out at least once. Their content is frozen beforehand, their ids are derived from what
happened, and each step is marked when it is done. So after a crash, at most one step is repeated, with the same
content.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.shared.clock import Clock
from services.shared.events import Event, SessionEnding, SyncAmended
from services.shared.logs import where, why
from services.summarizer.closing import announced_event, closing_event
from services.summarizer.news import judge, of_session
from services.summarizer.notification import (
    Deployment,
    Notification,
    amendment_notification,
    closing_notification,
    session_notification,
)
from services.summarizer.page.pages import Place, sync_page
from services.summarizer.records import ClosedSync, Conflict
from services.summarizer.report import report

if TYPE_CHECKING:
    from services.shared.bus import Bus
    from services.summarizer.notification_topic import NotificationTopic
    from services.summarizer.reports_bucket import ReportsBucket
    from services.summarizer.syncs_table import SyncsTable

logger = Logger(child=True)

CLAIM_SECONDS = 60


class Announcer:
    """Sends the announcements of closed syncs, each by one sender at a time."""

    def __init__(
        self,
        *,
        syncs: "SyncsTable",
        bus: "Bus",
        topic: "NotificationTopic",
        reports: "ReportsBucket",
        deployment: Deployment,
        place: Place,
        clock: Clock,
    ) -> None:
        """`place`: what the pages have to know of the deployment."""
        self._syncs = syncs
        self._bus = bus
        self._topic = topic
        self._reports = reports
        self._deployment = deployment
        self._place = place
        self._clock = clock

    def publish(self, sync: ClosedSync, *, cause: Event) -> ClosedSync | None:
        """Claim a sync's announcement and put its event on the bus. Returns the claimed sync, for `notify`.

        None when all of it has gone out already, or another sender claims it.
        """
        now = int(self._clock.now().timestamp())
        until = now + CLAIM_SECONDS
        if not self._syncs.claim(sync, now=now, until=until):
            return None
        claimed = replace(sync, announcement=replace(sync.announcement, claimed_until=until))
        if not sync.announcement.event_sent:
            with self._released_on_failure([claimed]):
                self._report(sync)
                self._bus.publish([announced_event(sync)], cause=cause)
                self._syncs.mark_event_sent(sync)
        return claimed

    def _report(self, sync: ClosedSync) -> None:
        media = self._syncs.all_media(sync.sync_id)
        self._reports.store(sync.sync_id, report(sync, media))
        try:
            page = sync_page(sync, media, self._place)
        except Exception as error:  # noqa: BLE001  # a close must be announced even if its page cannot be drawn
            logger.error("page_not_drawn", sync_id=sync.sync_id, why=why(error), at=where(error))
        else:
            self._reports.store_page(sync.sync_id, page)

    def notify(self, claimed: Sequence[ClosedSync], *, cause: Event) -> None:
        """Send one notification: of a close, or of amendments to one or more syncs. Leaves out those kept silent."""
        loud = [sync for sync in claimed if not sync.announcement.silence]
        if loud:
            with self._released_on_failure(claimed):
                self._send(self._notification(loud), cause)
        for sync in claimed:
            self._syncs.mark_notified(sync)
            announcement = sync.announcement
            event = "notification_withheld" if announcement.silence else "notification_sent"
            logger.info(event, sync_id=sync.sync_id, number=announcement.number, why=announcement.silence)

    def warn(self, event: SessionEnding) -> None:
        """Notify people that the next sync will have no session, unless they were told so a moment ago."""
        told = self._syncs.told()
        verdict = judge(of_session(event), told, notify="all", now=self._clock.now())
        if verdict.silence:
            logger.info("notification_withheld", sync_id=event.sync_id, why=verdict.silence)
            return
        self._send(session_notification(event, self._deployment, self._place.zone), event)
        # Another notification may have gone out meanwhile. Then the next one of this cause is not kept silent.
        with suppress(Conflict):
            self._syncs.tell(verdict.told)

    def _send(self, notification: Notification, cause: Event) -> None:
        self._topic.publish(notification)
        self._bus.publish([notification.event], cause=cause)

    def _notification(self, claimed: Sequence[ClosedSync]) -> Notification:
        amendments = []
        for sync in claimed:
            event = announced_event(sync)
            if not isinstance(event, SyncAmended):
                since = sync.announcement.told_since
                return closing_notification(closing_event(sync), self._deployment, told_since=since)
            named = self._syncs.media(sync.sync_id, {*event.recovered, *event.failed})
            amendments.append((event, named))
        return amendment_notification(amendments, self._deployment)

    @contextmanager
    def _released_on_failure(self, claimed: Sequence[ClosedSync]) -> Iterator[None]:
        """Let the next sender begin at once when this one fails."""
        try:
            yield
        except Exception:
            for sync in claimed:
                self._release(sync)
            raise

    def _release(self, claimed: ClosedSync) -> None:
        try:
            self._syncs.release(claimed, until=claimed.announcement.claimed_until)
        except Exception as error:  # noqa: BLE001  # the claim ends by itself, and the first failure is the one to raise
            logger.warning("claim_not_released", sync_id=claimed.sync_id, why=why(error))
