"""The authenticator's composition root."""

import warnings
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import boto3
from aws_lambda_powertools import Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.typing import LambdaContext

from services.authenticator.authenticator_table import AuthenticatorTable
from services.authenticator.reactions import REACTIONS, Authenticator
from services.authenticator.secrets import Secrets
from services.authenticator.sessions import Sessions
from services.authenticator.settings import Settings
from services.shared.bus import Bus
from services.shared.clock import Clock
from services.shared.gopro.client import GoProClient
from services.shared.gopro.hosts import AllowedHosts
from services.shared.inbox.inbox import Inbox
from services.shared.logs import function_logger
from services.shared.metrics import Metric
from services.shared.schedule import next_daily
from services.shared.settings import from_environment

logger = function_logger()
tracer = Tracer(patch_modules=["botocore"])
metrics = Metrics()
# Most invocations measure nothing, which is not worth a warning.
warnings.filterwarnings("ignore", "No application metrics to publish")


def build(settings: Settings, session: boto3.Session, *, clock: Clock = Clock()) -> Inbox[Authenticator]:
    """Build the service on AWS's clients."""
    gopro = GoProClient(settings.gopro_api_url, hosts=AllowedHosts.parse(settings.download_hosts), clock=clock)
    table = AuthenticatorTable(session.resource("dynamodb").meta.client, settings.authenticator_table, clock=clock)
    secrets = Secrets(session.client("secretsmanager"), settings, table=table, clock=clock)
    sessions = Sessions(gopro=gopro, secrets=secrets, table=table, clock=clock)
    zone = ZoneInfo(settings.schedule_time_zone)
    return Inbox(
        Authenticator(
            sessions=sessions,
            table=table,
            next_sync=partial(next_daily, settings.schedule_hour, zone),
            zone=zone,
            clock=clock,
            measure=measure,
        ),
        REACTIONS,
        bus=Bus(session.client("events"), name=settings.event_bus_name, publisher="authenticator", clock=clock),
        queue=session.client("sqs"),
        settings=settings,
        clock=clock,
        schedule_zone=zone,
    )


def measure(metric: Metric, value: float) -> None:
    """Add a metric of this invocation."""
    metrics.add_metric(name=metric.value, unit=MetricUnit.NoUnit, value=value)


settings = from_environment(Settings)
metrics.set_default_dimensions(environment=settings.environment)
inbox = build(settings, boto3.Session())


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of SQS messages."""
    return inbox.process(event, context)
