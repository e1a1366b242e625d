"""The downloader's composition root."""

from collections.abc import Callable
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.downloader.download import Downloader
from services.downloader.lease import Library
from services.downloader.part_memory import part_memory_bytes
from services.downloader.settings import Settings
from services.downloader.transfer import S3_CONFIG, Bucket, Limits, Pace
from services.shared.bus import Bus
from services.shared.events import Event, MediaDiscovered, MediaDownloadPaused, SessionRejected
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.lane import Lane
from services.shared.gopro.session import read_session
from services.shared.inbox import Inbox, Message
from services.shared.settings import from_environment
from services.shared.slices import PAUSE_SECONDS

SOURCE = "cloud-sync.downloader"
logger = Logger()
tracer = Tracer(patch_modules=["botocore"])


def build(settings: Settings, session: boto3.Session) -> Inbox:
    secrets, queue = session.client("secretsmanager"), session.client("sqs")
    dynamodb = session.resource("dynamodb").meta.client
    bus = Bus(session.client("events"), name=settings.event_bus_name, source=SOURCE)
    hosts = AllowedHosts.parse(settings.download_hosts)
    gopro = GoProClient(settings.gopro_api_url, hosts=hosts)

    def lane(event: Event, message: Message, sleep: Callable[[float], None]) -> Lane:
        return Lane(
            gopro,
            current_session=lambda: read_session(secrets, settings.session_secret),
            reject=lambda version: bus.publish(
                [SessionRejected(sync_id=event.sync_id, session_version=version)], cause=event
            ),
            patience_seconds=min(settings.lane_wait_seconds, message.remaining_seconds() - 2 * PAUSE_SECONDS),
            sleep=sleep,
        )

    downloader = Downloader(
        gopro=gopro,
        hosts=hosts,
        library=Library(dynamodb, settings.library_table),
        bucket=Bucket(session.client("s3", config=S3_CONFIG), settings.media_bucket),
        lane=lane,
        limits=Limits(
            connections=settings.connections_per_file,
            memory_bytes=part_memory_bytes(settings.memory_megabytes),
        ),
        pace=Pace(bytes_per_second=settings.stall_bytes_per_second, seconds=settings.stall_seconds),
    )
    return Inbox(
        bus,
        queue,
        settings,
        reactions={MediaDiscovered: downloader.react, MediaDownloadPaused: downloader.react},
    )


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return inbox.process(event, context)
