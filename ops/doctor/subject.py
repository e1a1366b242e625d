"""The stack that is examined: what its template wants, and how to ask AWS and how to tell an operator about it."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from ops.deployment import Deployment

_HASH = re.compile(r"[0-9A-F]{8}$")  # at the end of CDK's logical ids
_GONE = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NotFound",
    "NotFoundException",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource of the stack. `wanted`: its properties in the deployed template."""

    logical_id: str
    physical_id: str
    wanted: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name that the template gives it, such as `DownloaderFunction`."""
        return name_of(self.logical_id)

    @property
    def short_name(self) -> str:
        """What AWS's services call it. CloudFormation calls some by their ARN, or after the bus that they belong to."""
        return re.split(r"[|/]", self.physical_id)[-1]


@dataclass(frozen=True)
class Subject:
    """The stack to examine. `now` is this machine's clock, in UTC."""

    deployment: Deployment
    now: Callable[[], datetime]

    def client(self, service: str) -> Any:
        """Return a boto3 client for the stack's account and region."""
        return self.deployment.client(service)

    @property
    def env(self) -> str:
        """The environment of the stack, `dev` or `prod`."""
        return self.deployment.stack_name.rpartition("-")[2]

    @cached_property
    def template(self) -> Mapping[str, Any]:
        """The template that was deployed last."""
        body = self.client("cloudformation").get_template(StackName=self.deployment.stack_name)["TemplateBody"]
        read: Mapping[str, Any] = json.loads(body) if isinstance(body, str) else body
        return read

    def resources(self, kind: str) -> Sequence[Resource]:
        """Return the stack's resources of a type such as `AWS::SQS::Queue`."""
        return [
            Resource(logical_id=name, physical_id=self._physical.get(name, ""), wanted=one.get("Properties", {}))
            for name, one in self.template["Resources"].items()
            if one["Type"] == kind
        ]

    @cached_property
    def _physical(self) -> Mapping[str, str]:
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        found = pages.paginate(StackName=self.deployment.stack_name)
        summaries = [one for page in found for one in page["StackResourceSummaries"]]
        return {one["LogicalResourceId"]: one.get("PhysicalResourceId", "") for one in summaries}

    def ours(self, line: str) -> str:
        """Return a command of `cloud-sync` for this stack, to be copied."""
        return self.deployment.command(line)

    def aws(self, line: str) -> str:
        """Return a command of the AWS CLI for this stack, to be copied."""
        local = self.deployment.endpoint_url
        return f"aws --endpoint-url {local} {line}" if local else f"aws {line}"

    @property
    def restore(self) -> str:
        """The command that makes the stack again what its template says."""
        if self.deployment.endpoint_url:  # its CloudFormation can't revert a drift
            return f"{self.ours('local down')} && {self.ours('local up')}"
        return f".venv/bin/cdk deploy -c env={self.env} --revert-drift"


def name_of(logical_id: str) -> str:
    """Return a logical id without the hash with which CDK ends it."""
    return _HASH.sub("", logical_id)


def unless_gone(call: Callable[..., Any], **request: Any) -> Any:
    """Return the answer to a request, or None if what it asks for does not exist."""
    try:
        return call(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] in _GONE:
            return None
        raise
