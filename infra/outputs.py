"""The outputs of the stack: the names that operators and the `cloud-sync` command need, and links to the console."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import aws_cdk as cdk

from infra.storage import REPORTS
from services.shared.console import DOMAIN, OTHER_DOMAINS

if TYPE_CHECKING:
    from infra.stack import CloudSync


def names_of_resources(stack: "CloudSync") -> None:
    """Output what an operator types and the `cloud-sync` command reads."""
    store, schedules = stack.store, stack.schedules
    values = {
        "EventBusName": stack.bus.event_bus_name,
        "EventLogGroupName": stack.journal.log_group.ref,
        "UndeliveredEventsUrl": stack.undelivered.queue_url,
        "ScheduleDeadLettersUrl": schedules.dead_letters.queue_url,
        "MediaBucketName": store.media.bucket_name,
        "LibraryTableName": store.library.table_name,
        "SyncsTableName": store.syncs.table_name,
        "AuthenticatorTableName": store.authenticator.table_name,
        "NotificationTopicArn": stack.notifications.topic_arn,
        "CredentialsSecretName": store.credentials_arn,  # its ARN, which every command accepts as a name
        "RefreshSecretName": store.refresh_arn,
        "SessionSecretName": store.session_arn,
        "GoProApiUrl": stack.settings.gopro_api_url,
        "DownloadHosts": ",".join(stack.settings.download_hosts),
        "ScheduleGroupName": schedules.group.schedule_group_name,
        "DailyScheduleName": schedules.daily.schedule_name,
        "CatchUpScheduleName": schedules.catch_up.schedule_name,
        "ReviewScheduleName": schedules.review.schedule_name,
    }
    for service in stack.services:
        values |= {
            f"{service.node.id}QueueUrl": service.inbox.queue_url,
            f"{service.node.id}QueueArn": service.inbox.queue_arn,
            f"{service.node.id}DeadLettersUrl": service.dead_letters.queue_url,
            f"{service.node.id}DeadLettersArn": service.dead_letters.queue_arn,
            f"{service.node.id}FunctionName": service.function.function_name,
            f"{service.node.id}LogGroupName": service.log_group.log_group_name,
        }
    if stack.webhooks.destinations:
        values["WebhookDestinations"] = ",".join(
            f"{name}={destination.api_destination_name}/{connection.connection_name}"
            for name, (destination, connection) in stack.webhooks.destinations.items()
        )
    for name, value in values.items():
        cdk.CfnOutput(stack, name, value=value)


def console_pages(stack: "CloudSync") -> Mapping[str, str]:
    """Return the URLs of the pages of the AWS console where an operator looks, by name."""
    region, bucket = stack.region, stack.store.media.bucket_name
    pages = {
        "Dashboard": f"cloudwatch/home?region={region}#dashboards/dashboard/{stack.stack_name}",
        "EventBus": f"events/home?region={region}#/eventbus/{stack.bus.event_bus_name}",
        "MediaBucket": f"s3/buckets/{bucket}?region={region}",
        "Reports": f"s3/buckets/{bucket}?region={region}&prefix={REPORTS}",
        "Schedules": f"scheduler/home?region={region}#schedules",
        "Credentials": f"secretsmanager/secret?region={region}&name={stack.store.credentials_arn}",
        "Alarms": f"cloudwatch/home?region={region}#alarmsV2:",
        "Queries": f"cloudwatch/home?region={region}#logsV2:logs-insights",
        "Traces": f"cloudwatch/home?region={region}#xray:service-map/map",
    }
    for service in stack.services:
        name = service.function.function_name
        pages[service.node.id] = f"lambda/home?region={region}#/functions/{name}?tab=monitoring"
    if not stack.settings.dashboard:
        del pages["Dashboard"]
    domain = _console_domain(stack)
    return {name: f"https://{region}.{domain}/{page}" for name, page in pages.items()}


def console_links(stack: "CloudSync", pages: Mapping[str, str]) -> None:
    """Output the URLs of pages of the AWS console."""
    for name, url in pages.items():
        cdk.CfnOutput(stack, f"{name}ConsoleUrl", value=url)


def _console_domain(stack: "CloudSync") -> str:
    """Return the console's domain in the partition of the stack, which is known only when it is deployed."""
    domain = DOMAIN
    for partition, other in OTHER_DOMAINS.items():
        construct_id = "".join(part.title() for part in ("in", *partition.split("-")))
        is_there = cdk.CfnCondition(stack, construct_id, expression=cdk.Fn.condition_equals(stack.partition, partition))
        domain = cdk.Token.as_string(cdk.Fn.condition_if(is_there.logical_id, other, domain))
    return domain
