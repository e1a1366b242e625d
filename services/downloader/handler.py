"""The downloader's composition root."""

from functools import partial
from typing import Any

import boto3
from aws_lambda_powertools import Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.downloader.download import Originals
from services.downloader.library_table import LibraryTable
from services.downloader.reactions import REACTIONS, Downloader
from services.downloader.settings import Settings, part_memory_bytes
from services.downloader.transfer import S3_CONFIG, Bucket, ConnectionPool, Limits, Pace
from services.shared.bus import Bus
from services.shared.cancellations import Cancellations
from services.shared.clock import Clock
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.patient import PatientClient, read_session
from services.shared.inbox.inbox import Inbox
from services.shared.logs import function_logger
from services.shared.settings import from_environment

logger = function_logger()
tracer = Tracer(patch_modules=["botocore"])


def build(settings: Settings, session: boto3.Session, *, clock: Clock = Clock()) -> Inbox[Downloader]:
    """Build the service on AWS's clients."""
    hosts = AllowedHosts.parse(settings.download_hosts)
    bus = Bus(session.client("events"), name=settings.event_bus_name, publisher="downloader", clock=clock)
    gopro = PatientClient(
        GoProClient(settings.gopro_api_url, hosts=hosts, clock=clock),
        read_session=partial(read_session, session.client("secretsmanager"), settings.session_secret),
        bus=bus,
        patience_seconds=settings.lane_wait_seconds,
        clock=clock,
    )
    memory_bytes = part_memory_bytes(settings.downloader_memory_mb)
    originals = Originals(
        Bucket(session.client("s3", config=S3_CONFIG), settings.media_bucket),
        hosts=hosts,
        limits=Limits(connections=settings.connections_per_file, memory_bytes=memory_bytes),
        clock=clock,
    )
    pace = Pace(kilobytes_per_second=settings.stall_kilobytes_per_second, seconds=settings.stall_seconds)
    dynamodb = session.resource("dynamodb").meta.client
    downloader = Downloader(
        library=LibraryTable(dynamodb, settings.library_table, clock=clock),
        cancelled=Cancellations(dynamodb, settings.syncs_table),
        gopro=gopro,
        originals=originals,
        connect=lambda: ConnectionPool(pace, connections=settings.connections_per_file, memory_bytes=memory_bytes),
        clock=clock,
    )
    return Inbox(downloader, REACTIONS, bus=bus, queue=session.client("sqs"), settings=settings, clock=clock)


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of SQS messages."""
    return inbox.process(event, context)
