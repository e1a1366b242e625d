"""The lister's composition root."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.lister.archive import Archive
from services.lister.listing import Listing
from services.lister.settings import Settings
from services.shared.bus import Bus, utc_now
from services.shared.events import LibraryListingPaused, SessionAuthenticated
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.session import read_session
from services.shared.inbox import Inbox
from services.shared.library import medium_records
from services.shared.settings import from_environment

SOURCE = "cloud-sync.lister"

logger = Logger()
tracer = Tracer(patch_modules=["botocore"])


def build(
    settings: Settings,
    session: boto3.Session,
    *,
    now: Callable[[], datetime] = utc_now,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Inbox:
    secrets, dynamodb = session.client("secretsmanager"), session.resource("dynamodb").meta.client
    bus = Bus(session.client("events"), name=settings.event_bus_name, source=SOURCE, now=now)
    listing = Listing(
        gopro=GoProClient(settings.gopro_api_url, hosts=AllowedHosts.parse(settings.download_hosts)),
        current_session=lambda: read_session(secrets, settings.session_secret),
        records=lambda media_ids: medium_records(dynamodb, settings.library_table, media_ids),
        archive=Archive(session.client("s3"), settings.media_bucket, sleep=sleep),
        bus=bus,
        max_media=settings.max_media_per_sync,
        max_bytes=settings.max_gigabytes_per_sync * 1e9,
        pages_per_slice=settings.pages_per_slice,
        lane_wait_seconds=settings.lane_wait_seconds,
        now=now,
        monotonic=monotonic,
        sleep=sleep,
    )
    return Inbox(
        bus,
        session.client("sqs"),
        settings,
        reactions={SessionAuthenticated: listing.react, LibraryListingPaused: listing.react},
    )


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return inbox.process(event, context)
