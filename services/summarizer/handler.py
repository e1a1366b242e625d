"""The summarizer's composition root."""

import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.bus import Bus, utc_now
from services.shared.inbox import Inbox
from services.shared.library import medium_records
from services.shared.settings import from_environment
from services.summarizer.announcing import Announcer, reports_in, sns_topic
from services.summarizer.batch import REACTIONS, FactsInbox
from services.summarizer.report import Whereabouts
from services.summarizer.review import Review, is_empty
from services.summarizer.settings import Settings
from services.summarizer.summarizer import Summarizer
from services.summarizer.syncs import SyncsTable

SOURCE = "cloud-sync.summarizer"

logger = Logger()
tracer = Tracer(patch_modules=["botocore"])
metrics = Metrics()
# Most batches count nothing, and that is no reason for a line in the log.
warnings.filterwarnings("ignore", "No application metrics to publish")


def build(settings: Settings, session: boto3.Session, *, now: Callable[[], datetime] = utc_now) -> FactsInbox:
    dynamodb, queues = session.resource("dynamodb").meta.client, session.client("sqs")
    bus = Bus(session.client("events"), name=settings.event_bus_name, source=SOURCE, now=now)
    syncs = SyncsTable(dynamodb, settings.syncs_table)
    deadline = timedelta(hours=settings.sync_deadline_hours)
    announcer = Announcer(
        syncs=syncs,
        bus=bus,
        notify=sns_topic(session.client("sns"), settings.notification_topic_arn),
        store_report=reports_in(session.client("s3"), settings.media_bucket),
        where=Whereabouts(
            bucket=settings.media_bucket,
            dead_letters_url=settings.downloader_dead_letters_url,
            bus=settings.event_bus_name,
        ),
        now=now,
    )
    summarizer = Summarizer(syncs=syncs, announcer=announcer, deadline=deadline, now=now, count=count)
    review = Review(
        syncs=syncs,
        summarizer=summarizer,
        announcer=announcer,
        library=lambda media_ids: medium_records(dynamodb, settings.library_table, media_ids),
        inbox_is_empty=lambda: is_empty(queues, settings.downloader_inbox_url),
        deadline=deadline,
        now=now,
    )
    inbox = Inbox(
        bus,
        queues,
        settings,
        reactions=REACTIONS,
        schedule_zone=ZoneInfo(settings.schedule_time_zone),
    )
    return FactsInbox(inbox, summarizer, review)


def count(name: str, value: int) -> None:
    metrics.add_metric(name=name, unit=MetricUnit.Bytes if name.startswith("Bytes") else MetricUnit.Count, value=value)


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return inbox.process(event, context)
