"""The downloader's composition root."""

from collections.abc import Callable
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.config import Config

from services.downloader.download import Downloader
from services.downloader.lease import Library
from services.downloader.settings import Settings
from services.downloader.upload import MediaBucket
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
# What the interpreter and its libraries take. Of the rest, half is for the parts in hand and half a margin.
_RUNTIME_BYTES = 300_000_000
# Completing a large upload can take S3 minutes. A part goes out with the checksum that S3 checks it by: to hash it once
# more, to sign it, would only cost time.
_S3 = Config(
    read_timeout=300,
    retries={"mode": "standard", "max_attempts": 6},
    max_pool_connections=64,
    s3={"payload_signing_enabled": False},
)

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
        connections=settings.connections_per_file,
        hosts=hosts,
        library=Library(dynamodb, settings.library_table),
        bucket=MediaBucket(session.client("s3", config=_S3), settings.media_bucket),
        lane=lane,
        part_memory_bytes=(settings.memory_megabytes * 1_000_000 - _RUNTIME_BYTES) // 2,
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
