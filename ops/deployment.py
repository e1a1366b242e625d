"""A deployed stack, on AWS or on the local stage: its outputs, and clients for its resources."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.errors import OperatorError
from services.authenticator.authenticator_table import AuthenticatorTable
from services.authenticator.health import Health
from services.shared.clock import Clock
from services.shared.library.records import LibraryReader
from services.summarizer.syncs_table import SyncsTable


@dataclass(frozen=True)
class Deployment:
    """Where a stack is deployed; `endpoint_url` is None on AWS."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    certificate: str | None = None  # path of the endpoint's self-signed certificate, where it has one
    options: str = ""  # name this stack on the command line; empty where a command finds it without any

    def command(self, line: str) -> str:
        """Return the command of `cloud-sync` for this stack, to be copied."""
        return command(line, self.options)

    def client(self, service: str) -> Any:
        """Return a boto3 client for the stack's account and region."""
        client: Any = self.session.client  # the stubs know each service by its literal name only
        return client(service, **self._connection)

    def table(self, output: str) -> Any:
        """Return the DynamoDB table that a stack output names."""
        return self.session.resource("dynamodb", **self._connection).Table(self.outputs[output])

    def library(self) -> LibraryReader:
        """Return a reader of the library table."""
        table = self.table("LibraryTableName")
        return LibraryReader(table.meta.client, table.name, clock=Clock())

    def syncs(self) -> SyncsTable:
        """Return the table of syncs, with their history."""
        table = self.table("SyncsTableName")
        return SyncsTable(table.meta.client, table.name, clock=Clock())

    def session_health(self) -> Health:
        """Return what is known of the lives of the sessions with GoPro."""
        table = self.table("AuthenticatorTableName")
        return AuthenticatorTable(table.meta.client, table.name, clock=Clock()).health()

    def inbox(self, service: str) -> str:
        """Return the URL of a service's inbox."""
        return self.outputs[f"{service.title()}QueueUrl"]

    def dead_letters(self, service: str) -> str:
        """Return the URL of a service's dead-letter queue."""
        return self.outputs[f"{service.title()}DeadLettersUrl"]

    @property
    def undelivered(self) -> str:
        """The URL of the queue of events that the bus could not deliver; empty before version 0.2.0."""
        return self.outputs.get("UndeliveredEventsUrl", "")

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by name. Raises `OperatorError` when the stack does not exist."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._stack.get("Outputs", [])}

    @property
    def account(self) -> str:
        """The account that the stack is in. Raises `OperatorError` when the stack does not exist."""
        return str(self._stack["StackId"]).split(":")[4]

    @cached_property
    def _stack(self) -> Mapping[str, Any]:
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ValidationError":
                raise
            raise OperatorError(f"There is no stack {self.stack_name} {self.place}.") from error
        described: Mapping[str, Any] = stack
        return described

    @property
    def place(self) -> str:
        """Where the stack is, in words that follow its name."""
        if self.endpoint_url:
            return f"on the local stage at {self.endpoint_url}"
        # A shell may still export this from a local stage, and boto3 then uses it instead of AWS.
        elsewhere = os.environ.get("AWS_ENDPOINT_URL")
        return f"in {self.session.region_name}" + (f" at AWS_ENDPOINT_URL, {elsewhere}" if elsewhere else "")

    @property
    def _connection(self) -> dict[str, Any]:
        # A proxy cannot reach this machine's loopback interface.
        config = Config(proxies={}) if self.endpoint_url else None
        return {"endpoint_url": self.endpoint_url, "config": config, "verify": self.certificate}


def on_aws(env: str) -> Deployment:
    """Return the stack of an environment in the account and region of this shell's AWS configuration."""
    # boto3 reads only AWS_DEFAULT_REGION; the AWS command line and the other SDKs prefer AWS_REGION.
    session = boto3.Session(region_name=os.environ.get("AWS_REGION") or None)
    if session.region_name is None:
        raise OperatorError("Which AWS region? Set AWS_REGION, or a profile with AWS_PROFILE.")
    return Deployment(session, f"cloud-sync-{env}", options=f"--env {env}")


def at_endpoint(
    endpoint_url: str, region: str, env: str, certificate: str | None = None, *, options: str = ""
) -> Deployment:
    """Return the stack of an environment on a local stage."""
    session = boto3.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator accepts any
        region_name=region,
    )
    return Deployment(session, f"cloud-sync-{env}", endpoint_url, certificate, options)


def command(line: str, options: str = "") -> str:
    """Return a command of `cloud-sync` with these options, to be copied."""
    return " ".join(filter(None, [".venv/bin/cloud-sync", line, options]))
