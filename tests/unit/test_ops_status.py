"""What `cloud-sync status` shows."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops.deployment import Deployment
from ops.status import status

TABLES = {"LibraryTableName": (("media_id", "S"), ("item", "N")), "SyncsTableName": (("sync_id", "S"), ("record", "S"))}


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with mock_aws():
        deployed = Deployment(boto3.Session("test", "test", region_name="eu-central-1"), "cloud-sync-dev")
        outputs = {output: output for output in TABLES}
        for service in ("Authenticator", "Lister", "Downloader", "Summarizer"):
            for output in (f"{service}QueueUrl", f"{service}DeadLettersUrl"):
                outputs[output] = deployed.client("sqs").create_queue(QueueName=output)["QueueUrl"]
        for name, keys in TABLES.items():
            deployed.client("dynamodb").create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[
                    {"AttributeName": key, "KeyType": role}
                    for (key, _), role in zip(keys, ("HASH", "RANGE"), strict=True)
                ],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind} for key, kind in keys],
            )
        deployed.__dict__["outputs"] = outputs  # as if they had been asked for already
        yield deployed


def put_sync(deployment: Deployment, **more: Any) -> None:
    table = deployment.table("SyncsTableName")
    table.put_item(Item={"sync_id": "s", "record": "sync", "state": "CLOSED", "outcome": "completed", **more})


@pytest.mark.parametrize(("notified", "lines"), [(True, 0), (False, 1)])
def test_a_closed_sync_that_nobody_was_told_of_is_shown_as_such(
    deployment: Deployment, notified: bool, lines: int
) -> None:
    put_sync(deployment, announcement={"number": 0, "notified": notified})

    shown = list(status(deployment))

    assert any(line.startswith("sync s completed") for line in shown)
    assert sum("notification has not gone out" in line for line in shown) == lines


def test_before_the_first_sync_there_are_queues_to_show(deployment: Deployment) -> None:
    deployment.client("sqs").send_message(QueueUrl=deployment.outputs["ListerDeadLettersUrl"], MessageBody="x")

    assert [line.split() for line in status(deployment)][1:] == [
        ["authenticator", "0", "0", "0", "0"],
        ["lister", "0", "0", "0", "1"],
        ["downloader", "0", "0", "0", "0"],
        ["summarizer", "0", "0", "0", "0"],
        ["unsettled", "syncs:", "0"],
    ]
