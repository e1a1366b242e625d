"""A deployed stack, on AWS or on the local stage: its outputs, and clients for what is in it."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.errors import OperatorError


@dataclass(frozen=True)
class Deployment:
    """Where a stack is; `endpoint_url` is None on AWS."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    certificate: str | None = None  # a file that vouches for the endpoint, where no authority does

    def client(self, service: str) -> Any:
        """A boto3 client of the stack's account and region. (Any: one method for clients of ten types.)"""
        config = Config(proxies={}) if self.endpoint_url else None  # a proxy could not reach this machine's loopback
        client: Any = self.session.client  # the stubs know each service by its literal name only
        return client(service, endpoint_url=self.endpoint_url, config=config, verify=self.certificate)

    def table(self, output: str) -> Any:
        """The DynamoDB table that an output of the stack names."""
        config = Config(proxies={}) if self.endpoint_url else None
        dynamodb = self.session.resource(
            "dynamodb", endpoint_url=self.endpoint_url, config=config, verify=self.certificate
        )
        return dynamodb.Table(self.outputs[output])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name. Raises `OperatorError` when there is no such stack."""
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise OperatorError(f"There is no stack {self.stack_name} {self.place}.") from error
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    @property
    def place(self) -> str:
        """Where it is, in words that follow a noun."""
        if self.endpoint_url:
            return f"on the local stage at {self.endpoint_url}"
        # boto3 goes there instead of to AWS: a shell may still have it from a local stage.
        elsewhere = os.environ.get("AWS_ENDPOINT_URL")
        return f"in {self.session.region_name}" + (f" at AWS_ENDPOINT_URL, {elsewhere}" if elsewhere else "")


def on_aws(env: str) -> Deployment:
    """The stack of an environment in the account and region that the AWS configuration of this shell names."""
    # boto3 itself knows only AWS_DEFAULT_REGION; the AWS command line and the other SDKs prefer AWS_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    if session.region_name is None:
        raise OperatorError("Which AWS region? Set AWS_REGION, or a profile with AWS_PROFILE.")
    return Deployment(session, f"cloud-sync-{env}")


def at_endpoint(endpoint_url: str, region: str, env: str, certificate: str | None = None) -> Deployment:
    """The stack of an environment on a local stage."""
    session = boto3.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  # the emulator's, of everybody
        region_name=region,
    )
    return Deployment(session, f"cloud-sync-{env}", endpoint_url, certificate)
