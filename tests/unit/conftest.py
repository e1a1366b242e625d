"""A deployed stack on moto for the tests of the `cloud-sync` command: its queues and tables, empty."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from ops import dead_letters
from ops.deployment import Deployment
from services.shared.events import SERVICES

TABLES = {
    "LibraryTableName": {"media_id": "S", "item": "N"},
    "SyncsTableName": {"sync_id": "S", "record": "S"},
    "AuthenticatorTableName": {"id": "S"},
}


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setattr(dead_letters, "_WAIT_SECONDS", 0)
    with mock_aws():
        deployed = Deployment(boto3.Session("test", "test", region_name="eu-central-1"), "cloud-sync-dev")
        outputs = {}
        for queue in (f"{service.title()}{kind}" for service in SERVICES for kind in ("QueueUrl", "DeadLettersUrl")):
            outputs[queue] = deployed.client("sqs").create_queue(QueueName=queue)["QueueUrl"]
        undelivered = deployed.client("sqs").create_queue(QueueName="UndeliveredEvents")
        outputs["UndeliveredEventsUrl"] = undelivered["QueueUrl"]
        for table, keys in TABLES.items():
            deployed.client("dynamodb").create_table(
                TableName=table,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=False)],
                AttributeDefinitions=[{"AttributeName": k, "AttributeType": t} for k, t in keys.items()],
            )
            outputs[table] = table
        deployed.__dict__["outputs"] = outputs  # the cached property
        yield deployed
