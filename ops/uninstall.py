"""Deletes a stack: what goes, what stays and what that costs, and the settings with which a new stack takes it back."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from infra.webhook_forms import secret_name
from ops import prices
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.progress import size
from ops.queues import messages_in

POLL_SECONDS = 5.0
# AWS takes up to 20 minutes to delete the network interfaces of functions in a VPC, and tries more than once.
_PATIENCE_SECONDS = 3600.0
_KEPT = {"Retain", "RetainExceptOnCreate"}
_NEVER_DELETED = {"AWS::S3::Bucket", "AWS::DynamoDB::Table"}

OUTPUTS: Mapping[str, str] = {
    "media_bucket": "MediaBucketName",
    "library_table": "LibraryTableName",
    "syncs_table": "SyncsTableName",
    "authenticator_table": "AuthenticatorTableName",
    "credentials_secret": "CredentialsSecretName",
    "refresh_secret": "RefreshSecretName",
    "kms_key": "KmsKeyArn",
}
"""The settings with which a new stack takes back what an earlier one has left, and the output that has each value."""

_SECRETS = ("credentials_secret", "refresh_secret")
# Of the refresh token's secret, of which stacks before 0.2.0 have no output.
_REFRESH = ("AWS::SecretsManager::Secret", "StorageRefresh")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What is in a bucket: all versions of all objects, since each is paid for."""

    objects: int = 0
    bytes: int = 0
    former: int = 0  # bytes of versions that were written over or deleted


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """A stack that is to be deleted."""

    stack_name: str
    place: str
    protected: bool
    goes: tuple[str, ...]  # types of the resources that are deleted
    log_groups: tuple[str, ...]  # that stay
    settings: Mapping[str, str]  # which take back what stays
    stored: Stored
    tables: Mapping[str, int] = field(default_factory=dict)  # bytes, by the table's name
    waiting: int = 0  # messages in inboxes and dead letters
    webhooks: str = ""  # the secret with their addresses, which a new stack of this name finds again


@dataclass(frozen=True, kw_only=True)
class _Stack:
    """A stack as CloudFormation has it: its id, its resources by logical id, and which of them stay."""

    stack_id: str
    protected: bool
    physical: Mapping[str, str]
    kinds: Mapping[str, str]
    kept: frozenset[str]


def look(deployment: Deployment) -> Leaving:
    """Return what a deletion of the stack would do. Changes nothing.

    Raises `OperatorError` when the deletion would take a bucket or a table along.
    """
    stack = _stack(deployment)
    refuse_loss(stack.kinds, stack.kept)
    settings = dict(_settings(deployment, stack))
    tables = {
        name: deployment.client("dynamodb").describe_table(TableName=name)["Table"].get("TableSizeBytes", 0)
        for setting, name in settings.items()
        if setting.endswith("_table")
    }
    return Leaving(
        stack_name=deployment.stack_name,
        place=f"{deployment.place}, account {deployment.account}",
        protected=stack.protected,
        goes=tuple(kind for name, kind in stack.kinds.items() if name not in stack.kept),
        log_groups=tuple(
            stack.physical[name]
            for name, kind in stack.kinds.items()
            if kind == "AWS::Logs::LogGroup" and name in stack.kept
        ),
        settings=settings,
        stored=_stored(deployment, settings["media_bucket"]),
        tables=tables,
        waiting=_waiting(deployment),
        webhooks=_webhooks(deployment),
    )


def refuse_loss(kinds: Mapping[str, str], kept: Iterable[str]) -> None:
    """Raise `OperatorError` if a stack's template doesn't keep each of its buckets and tables."""
    if lost := sorted(name for name, kind in kinds.items() if kind in _NEVER_DELETED and name not in set(kept)):
        raise OperatorError(
            f"Nothing was changed: the template of the stack would delete {', '.join(lost)}. Deploy this version first."
        )


def said(leaving: Leaving) -> Iterator[str]:
    """Yield, line by line, what goes, what stays, and what that costs."""
    yield f"{leaving.stack_name} {leaving.place}"
    yield ""
    yield "What goes:"
    for kind, count in sorted(Counter(leaving.goes).items()):
        yield f"  {count:3} {kind.removeprefix('AWS::').replace('::', ' ')}"
    yield "  The session with GoPro, the log of the bus, dashboards, alarms and webhooks go with them."
    if leaving.waiting:
        yield (
            f"  {leaving.waiting} messages wait in inboxes and dead letters. They go, too; "
            "the first sync of a new stack finds again what they were about."
        )
    yield ""
    yield f"What stays, and what that costs, at {prices.PRICES_OF}:"
    for name, usd, what in costs(leaving):
        yield f"  {f'${usd:.2f}':>9} a month  {name}: {what}"
    for name in leaving.log_groups:
        yield f"{'':20}  {name}: a log, whose lines go when their retention ends"
    yield f"  {f'${sum(usd for _, usd, _ in costs(leaving)):.2f}':>9} a month in all, until you delete it yourself"


def costs(leaving: Leaving) -> list[tuple[str, float, str]]:
    """Return name, USD a month and contents of all that stays and costs something."""
    stored = leaving.stored
    former = f", {size(stored.former)} of them former versions" if stored.former else ""
    found = [
        (
            leaving.settings["media_bucket"],
            stored.bytes / 1e9 * prices.S3_GB_MONTH.usd,
            f"{stored.objects:,} objects, {size(stored.bytes)}{former}",
        )
    ]
    a_gigabyte = prices.TABLE_GB_MONTH.usd + prices.TABLE_BACKUP_GB_MONTH.usd
    found += [(name, used / 1e9 * a_gigabyte, f"a table, {size(used)}") for name, used in leaving.tables.items()]
    found += [
        (leaving.settings[name], prices.SECRET_MONTH.usd, "a secret") for name in _SECRETS if name in leaving.settings
    ]
    if leaving.webhooks:
        found.append((leaving.webhooks, prices.SECRET_MONTH.usd, "a secret, with the addresses of webhooks"))
    if key := leaving.settings.get("kms_key"):
        found.append((key, prices.KEY_MONTH.usd, "the key without which none of it can be read"))
    return found


def lines_of_settings(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a cloud-sync.toml with which a new stack takes back what stays."""
    for name, value in settings.items():
        yield f'{name} = "{value}"'


def uninstall(
    deployment: Deployment,
    *,
    unprotect: bool,
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> None:
    """Delete the stack, and return once it is gone.

    `unprotect`: turn off its termination protection first. Raises `OperatorError` when a resource can't be deleted.
    """
    stack, cloudformation = _stack(deployment), deployment.client("cloudformation")
    if stack.protected:
        refuse_protected(deployment.stack_name, unprotect=unprotect)
        cloudformation.update_termination_protection(StackName=deployment.stack_name, EnableTerminationProtection=False)
        say("the stack is no longer protected; its tables still are")
    cloudformation.delete_stack(StackName=deployment.stack_name)
    ends, left_before = now() + _PATIENCE_SECONDS, len(stack.kinds)
    while True:
        # By its id: a stack that is gone no longer has its name.
        (described,) = cloudformation.describe_stacks(StackName=stack.stack_id)["Stacks"]
        if described["StackStatus"] == "DELETE_COMPLETE":
            return
        if described["StackStatus"] == "DELETE_FAILED":
            raise OperatorError(_failure(deployment, stack.stack_id, described))
        if now() > ends:
            raise OperatorError(f"{deployment.stack_name} is still being deleted. Look again with the same command.")
        left = sum(
            one["ResourceStatus"] not in {"DELETE_COMPLETE", "DELETE_SKIPPED"}
            for one in _resources(deployment, stack.stack_id)
        )
        if left != left_before:
            say(f"  {left} resources are left")
            left_before = left
        wait(POLL_SECONDS)


def refuse_protected(stack_name: str, *, unprotect: bool) -> None:
    """Raise `OperatorError` unless the operator has said that the protection shall go."""
    if not unprotect:
        raise OperatorError(
            f"Nothing was changed: {stack_name} is protected from deletion. Add --unprotect if it is meant."
        )


def _failure(deployment: Deployment, stack_id: str, described: Mapping[str, Any]) -> str:
    failed = [
        f"  {one['LogicalResourceId']}: {one.get('ResourceStatusReason', '')}"
        for one in _resources(deployment, stack_id)
        if one["ResourceStatus"] == "DELETE_FAILED"
    ]
    reason = described.get("StackStatusReason", "")
    return "\n".join(
        [f"The stack could not be deleted: {reason}", *failed, "Fix the cause, and give the same command."]
    )


def _stack(deployment: Deployment) -> _Stack:
    cloudformation = deployment.client("cloudformation")
    deployment.outputs  # noqa: B018 - raises if there is no such stack
    (described,) = cloudformation.describe_stacks(StackName=deployment.stack_name)["Stacks"]
    template = cloudformation.get_template(StackName=deployment.stack_name, TemplateStage="Processed")["TemplateBody"]
    # After a deletion that has failed, those that are gone are listed, too.
    resources = [
        one for one in _resources(deployment, described["StackId"]) if one["ResourceStatus"] != "DELETE_COMPLETE"
    ]
    return _Stack(
        stack_id=described["StackId"],
        protected=bool(described.get("EnableTerminationProtection")),
        physical={one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in resources},
        kinds={one["LogicalResourceId"]: one["ResourceType"] for one in resources},
        kept=frozenset(
            name for name, resource in template["Resources"].items() if resource.get("DeletionPolicy") in _KEPT
        ),
    )


def _resources(deployment: Deployment, stack_id: str) -> Iterator[Mapping[str, Any]]:
    pages = deployment.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack_id)
    for page in pages:
        yield from page["StackResourceSummaries"]


def _settings(deployment: Deployment, stack: _Stack) -> Iterator[tuple[str, str]]:
    for setting, output in OUTPUTS.items():
        value = deployment.outputs.get(output, "")
        if not value and setting == "refresh_secret":
            kind, beginning = _REFRESH
            found = (name for name, its in stack.kinds.items() if its == kind and name.startswith(beginning))
            secret = stack.physical[next(found)]
            value = deployment.client("secretsmanager").describe_secret(SecretId=secret)["ARN"]
        if value:
            yield setting, value


def _stored(deployment: Deployment, bucket: str) -> Stored:
    objects = current = former = 0
    pages = deployment.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    for page in pages:
        for version in page.get("Versions", []):
            if version["IsLatest"]:
                objects, current = objects + 1, current + version["Size"]
            else:
                former += version["Size"]
    return Stored(objects=objects, bytes=current + former, former=former)


def _webhooks(deployment: Deployment) -> str:
    secrets, name = deployment.client("secretsmanager"), secret_name(deployment.stack_name)
    try:
        secrets.describe_secret(SecretId=name)
    except secrets.exceptions.ResourceNotFoundException:
        return ""
    return name


def _waiting(deployment: Deployment) -> int:
    sqs, counted = deployment.client("sqs"), 0
    for output, url in deployment.outputs.items():
        if output.endswith(("QueueUrl", "DeadLettersUrl", "EventsUrl")):
            try:
                counted += sum(messages_in(sqs, url).values())
            except ClientError as error:
                # A deletion that has failed before has taken the queue along.
                if error.response["Error"]["Code"] not in {
                    "AWS.SimpleQueueService.NonExistentQueue",
                    "QueueDoesNotExist",
                }:
                    raise
    return counted
