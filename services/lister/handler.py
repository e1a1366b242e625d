"""The lister's composition root."""

from functools import partial
from typing import Any

import boto3
from aws_lambda_powertools import Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.lister.listings_bucket import ListingsBucket
from services.lister.reactions import REACTIONS, Lister
from services.lister.settings import Settings
from services.shared.bus import Bus
from services.shared.cancellations import Cancellations
from services.shared.clock import Clock
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.gopro.patient import PatientClient, read_session
from services.shared.inbox.inbox import Inbox
from services.shared.library.records import LibraryReader
from services.shared.logs import function_logger
from services.shared.settings import from_environment

logger = function_logger()
tracer = Tracer(patch_modules=["botocore"])


def build(settings: Settings, session: boto3.Session, *, clock: Clock = Clock()) -> Inbox[Lister]:
    """Build the service on AWS's clients."""
    bus = Bus(session.client("events"), name=settings.event_bus_name, publisher="lister", clock=clock)
    gopro = PatientClient(
        GoProClient(settings.gopro_api_url, hosts=AllowedHosts.parse(settings.download_hosts), clock=clock),
        read_session=partial(read_session, session.client("secretsmanager"), settings.session_secret),
        bus=bus,
        patience_seconds=settings.lane_wait_seconds,
        clock=clock,
    )
    dynamodb = session.resource("dynamodb").meta.client
    lister = Lister(
        gopro=gopro,
        listings=ListingsBucket(session.client("s3"), settings.media_bucket, clock=clock),
        library=LibraryReader(dynamodb, settings.library_table, clock=clock),
        cancelled=Cancellations(dynamodb, settings.syncs_table),
        bus=bus,
        settings=settings,
        clock=clock,
    )
    return Inbox(lister, REACTIONS, bus=bus, queue=session.client("sqs"), settings=settings, clock=clock)


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of SQS messages."""
    return inbox.process(event, context)
