"""A first deployment that fails: it leaves nothing behind, and the next one succeeds."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.deployment import Deployment, at_endpoint
from ops.errors import OperatorError
from ops.local import deploy as deploying
from ops.local.emulator import REGION, start_emulator
from ops.local.processes import end
from ops.local.toolchain import DeployTools, EmulatorTools

STACK = "cloud-sync-prod"


@dataclass
class Account:
    """An account of the embedded AWS, to which nothing was deployed yet."""

    folder: Path
    mark: str
    endpoint_url: str

    @property
    def deployment(self) -> Deployment:
        return at_endpoint(self.endpoint_url, REGION, "prod")

    def deploy(self, *, bootstrap: bool = False, **settings: str) -> None:
        deploying.deploy(
            DeployTools.find(),
            self.folder,
            endpoint_url=self.endpoint_url,
            certificate=None,
            mark=self.mark,
            context={"env": "prod", "wheels": "host", **settings},
            bootstrap=bootstrap,
            say=print,
        )

    def stores(self) -> dict[str, list[str]]:
        """Return all tables, secrets and buckets but that of `cdk bootstrap`."""
        client = self.deployment.client
        buckets = [one["Name"] for one in client("s3").list_buckets()["Buckets"]]
        return {
            "tables": client("dynamodb").list_tables()["TableNames"],
            "secrets": [one["Name"] for one in client("secretsmanager").list_secrets()["SecretList"]],
            "buckets": [name for name in buckets if not name.startswith("cdk-")],
        }

    def made(self) -> set[str]:
        """Return the types of the resources that the first deployment had made before it failed."""
        pages = (
            self.deployment.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=STACK)
        )
        events = [event for page in pages for event in page["StackEvents"]]
        return {event["ResourceType"] for event in events if event["ResourceStatus"] == "CREATE_COMPLETE"}


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    mark = uuid.uuid4().hex
    process, endpoint_url = start_emulator(EmulatorTools.find(), tmp_path, mark)
    yield Account(tmp_path, mark, endpoint_url)
    end([process], mark)


def with_a_last_resource_that_fails(tools: DeployTools, name: str, *others: Any, run: Any = deploying._run) -> None:
    """Run a step of a deployment. Before the last, add to the template what can't be created after all else was."""
    if name == "deploy":
        _, _, folder, *_ = others
        template = folder / "cdk.out" / f"{STACK}.template.json"
        content = json.loads(template.read_text())
        last = {
            "Type": "AWS::Events::EventBus",
            "Properties": {"Name": STACK},
            "DependsOn": [*content["Resources"]],
        }
        content["Resources"]["Last"] = last
        template.write_text(json.dumps(content))
    run(tools, name, *others)


def test_a_first_deployment_that_failed_is_repeated_without_more_ado(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploying, "_run", with_a_last_resource_that_fails)
    with pytest.raises(OperatorError, match="EventBus already exists"):
        account.deploy(bootstrap=True)
    monkeypatch.undo()

    assert account.made() >= {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"}
    assert account.stores() == {"tables": [], "secrets": [], "buckets": []}

    account.deploy(schedule_hour="3")  # another template, since the CDK command uploads each only once

    assert account.deployment.outputs["EventBusName"] == STACK
    assert {kind: len(names) for kind, names in account.stores().items()} == {"tables": 3, "secrets": 3, "buckets": 1}
