"""The authenticator's composition root."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import boto3
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.authenticator.authentication import Authenticator
from services.authenticator.ledger import Ledger
from services.authenticator.once import Once
from services.authenticator.session import Sessions
from services.authenticator.settings import Settings
from services.authenticator.vault import Vault
from services.shared.bus import Bus, utc_now
from services.shared.events import SessionRejected, SyncRequested
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.inbox import Inbox
from services.shared.settings import from_environment

SOURCE = "cloud-sync.authenticator"

logger = Logger()
tracer = Tracer(patch_modules=["botocore"])


def build(
    settings: Settings,
    session: boto3.Session,
    *,
    now: Callable[[], datetime] = utc_now,
    sleep: Callable[[float], None] = time.sleep,
) -> Inbox:
    table = settings.authenticator_table
    vault = Vault(
        session.client("secretsmanager"),
        credentials_secret=settings.credentials_secret,
        refresh_secret=settings.refresh_secret,
        session_secret=settings.session_secret,
        sleep=sleep,
    )
    gopro = GoProClient(settings.gopro_api_url, hosts=AllowedHosts.parse(settings.download_hosts))
    ledger = Ledger(session.resource("dynamodb").meta.client, table, now=now, sleep=sleep)
    bus = Bus(session.client("events"), name=settings.event_bus_name, source=SOURCE, now=now)
    authenticator = Authenticator(
        sessions=Sessions(gopro=gopro, vault=vault, ledger=ledger, now=now),
        once=Once(session.client("dynamodb"), table, sleep=sleep),
        bus=bus,
        now=now,
    )
    return Inbox(
        bus,
        session.client("sqs"),
        settings,
        reactions={SyncRequested: authenticator.begin, SessionRejected: authenticator.replace},
        schedule_zone=ZoneInfo(settings.schedule_time_zone),
    )


inbox = build(from_environment(Settings), boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    return inbox.process(event, context)
