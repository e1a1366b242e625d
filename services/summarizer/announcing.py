"""Telling the world: the event on the bus, and the notification to people.

Both go out at least once. What they say is frozen before, their ids are derived, and each step is marked when it is
done, so a crash between two steps repeats at most one of them, word for word.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger

from services.shared.bus import Bus
from services.shared.events import Event, SyncAmended
from services.summarizer.closing import announced_event, closing_event
from services.summarizer.report import (
    Notification,
    Whereabouts,
    amendment_notification,
    closing_notification,
    full_report,
    report_key,
)
from services.summarizer.sync import Announcement, Sync
from services.summarizer.syncs import SyncsTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

logger = Logger(child=True)

CLAIM_SECONDS = 60


class Announcer:
    """Sends what closed syncs have to tell. `notify` and `store_report` (key, JSON) raise when they fail."""

    def __init__(
        self,
        *,
        syncs: SyncsTable,
        bus: Bus,
        notify: Callable[[Notification], None],
        store_report: Callable[[str, bytes], None],
        where: Whereabouts,
        now: Callable[[], datetime],
    ) -> None:
        self._syncs = syncs
        self._bus = bus
        self._send = notify
        self._store_report = store_report
        self._where = where
        self._now = now

    def publish(self, sync: Sync, *, cause: Event) -> Sync | None:
        """Takes a sync's announcement in hand and puts its event on the bus. What it returns is for `notify`.

        None when all is told already, or another sender has it in hand.
        """
        now = int(self._now().timestamp())
        until = now + CLAIM_SECONDS
        if not self._syncs.claim(sync, now=now, until=until):
            return None
        claimed = replace(sync, announcement=replace(_announcement(sync), claimed_until=until))
        if _announcement(sync).event_sent:
            return claimed
        try:
            report = full_report(closing_event(sync), sync, self._syncs.all_media(sync.sync_id))
            self._store_report(report_key(sync.sync_id), report)
            self._bus.publish([announced_event(sync)], cause=cause)
            self._syncs.mark_event_sent(sync)
        except Exception:
            self._release(claimed)
            raise
        return claimed

    def notify(self, claimed: Sequence[Sync]) -> None:
        """Sends one notification: of a close, or of one or more amendments, all of which `publish` has returned."""
        try:
            self._send(self._notification(claimed))
        except Exception:
            for sync in claimed:
                self._release(sync)
            raise
        for sync in claimed:
            self._syncs.mark_notified(sync)
            logger.info("Told", sync_id=sync.sync_id, number=_announcement(sync).number)

    def _notification(self, claimed: Sequence[Sync]) -> Notification:
        amendments = []
        for sync in claimed:
            event = announced_event(sync)
            if not isinstance(event, SyncAmended):
                return closing_notification(closing_event(sync), self._where)
            named = self._syncs.media(sync.sync_id, {*event.recovered, *event.failed})
            amendments.append((event, named))
        return amendment_notification(amendments, self._where)

    def _release(self, claimed: Sync) -> None:
        try:
            self._syncs.release(claimed, until=_announcement(claimed).claimed_until)
        except Exception:
            logger.warning("A claim could not be given back; it ends by itself", exc_info=True)


def sns_topic(client: "SNSClient", topic_arn: str) -> Callable[[Notification], None]:
    """Publishes notifications to a topic, with attributes to filter by; summary id and number tell repetitions."""

    def notify(notification: Notification) -> None:
        attributes = {
            "severity": notification.severity,
            "sync_id": notification.sync_id,
            "summary_id": notification.summary_id,
            "number": notification.number,
            "event": notification.event,
        }
        client.publish(
            TopicArn=topic_arn,
            Subject=notification.subject,
            Message=notification.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )

    return notify


def reports_in(client: "S3Client", bucket: str) -> Callable[[str, bytes], None]:
    """Writes reports into the media bucket."""

    def store(key: str, report: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=report, ContentType="application/json; charset=utf-8")

    return store


def _announcement(sync: Sync) -> Announcement:
    assert sync.announcement is not None  # noqa: S101  # a closed sync has one
    return sync.announcement
