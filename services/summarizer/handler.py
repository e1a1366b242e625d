"""The summarizer's composition root."""

import warnings
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import boto3
from aws_lambda_powertools import Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.shared.bus import Bus
from services.shared.clock import Clock
from services.shared.inbox.inbox import Inbox
from services.shared.library.records import LibraryReader
from services.shared.logs import function_logger
from services.shared.metrics import Metric
from services.shared.settings import from_environment
from services.summarizer.announcing import Announcer
from services.summarizer.downloader_inbox import DownloaderInbox
from services.summarizer.library_page import LibraryPage
from services.summarizer.notification import Deployment
from services.summarizer.notification_topic import NotificationTopic
from services.summarizer.page.pages import Place
from services.summarizer.reactions import REACTIONS, Summarizer
from services.summarizer.reports_bucket import ReportsBucket
from services.summarizer.settings import Settings
from services.summarizer.syncs_table import SyncsTable

logger = function_logger()
tracer = Tracer(patch_modules=["botocore"])
metrics = Metrics()
# Most batches count nothing, which is not worth a warning.
warnings.filterwarnings("ignore", "No application metrics to publish")


def build(settings: Settings, session: boto3.Session, *, clock: Clock = Clock()) -> Inbox[Summarizer]:
    """Build the service on AWS's clients."""
    dynamodb, sqs = session.resource("dynamodb").meta.client, session.client("sqs")
    bus = Bus(session.client("events"), name=settings.event_bus_name, publisher="summarizer", clock=clock)
    zone = ZoneInfo(settings.schedule_time_zone)
    syncs = SyncsTable(dynamodb, settings.syncs_table, clock=clock)
    deployment = Deployment(
        bus=settings.event_bus_name,
        bucket=settings.media_bucket,
        topic_arn=settings.notification_topic_arn,
        is_local=settings.is_local,
    )
    place = Place(env=deployment.env, zone=zone, memory_mb=settings.downloader_memory_mb)
    reports = ReportsBucket(session.client("s3"), settings.media_bucket)
    library = LibraryReader(dynamodb, settings.library_table, clock=clock)
    announcer = Announcer(
        syncs=syncs,
        bus=bus,
        topic=NotificationTopic(session.client("sns"), settings.notification_topic_arn),
        reports=reports,
        deployment=deployment,
        place=place,
        clock=clock,
    )
    summarizer = Summarizer(
        syncs=syncs,
        announcer=announcer,
        page=LibraryPage(
            syncs=syncs,
            library=library,
            reports=reports,
            place=place,
            daily_hour=settings.schedule_hour if settings.schedule_enabled else None,
            clock=clock,
        ),
        library=library,
        downloader_inbox=DownloaderInbox(sqs, settings.downloader_inbox_url),
        deadline=timedelta(hours=settings.sync_deadline_hours),
        notify=settings.notify,
        clock=clock,
        count=count,
    )
    return Inbox(summarizer, REACTIONS, bus=bus, queue=sqs, settings=settings, clock=clock, schedule_zone=zone)


def count(metric: Metric, value: int) -> None:
    """Add to a metric of this invocation."""
    unit = MetricUnit.Bytes if metric.startswith("Bytes") else MetricUnit.Count
    metrics.add_metric(name=metric.value, unit=unit, value=value)


settings = from_environment(Settings)
metrics.set_default_dimensions(environment=settings.environment)
inbox = build(settings, boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of SQS messages."""
    return inbox.process(event, context)
