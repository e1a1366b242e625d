"""Following a sync in the tables."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from ops import watch as watching
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.status import status
from ops.watch import last_sync, look, watch

KEYS = {"LibraryTableName": ("media_id", "item", "N"), "SyncsTableName": ("sync_id", "record", "S")}


@pytest.fixture
def deployment() -> Iterator[Deployment]:
    with mock_aws():
        deployed = Deployment(boto3.Session("test", "test", region_name="eu-central-1"), "cloud-sync-dev")
        outputs = {}
        for name, (partition, sort, sort_type) in KEYS.items():
            deployed.client("dynamodb").create_table(
                TableName=name,
                KeySchema=[
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": partition, "AttributeType": "S"},
                    {"AttributeName": sort, "AttributeType": sort_type},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
            outputs[name] = name
        for service in ("Authenticator", "Lister", "Downloader", "Summarizer"):
            for kind in ("QueueUrl", "DeadLettersUrl"):
                queue = deployed.client("sqs").create_queue(QueueName=f"{service}{kind}")
                outputs[f"{service}{kind}"] = queue["QueueUrl"]
        deployed.__dict__["outputs"] = outputs  # as if they had been asked for already
        yield deployed


def put_sync(deployment: Deployment, sync_id: str, **fields: Any) -> None:
    sync = {"sync_id": sync_id, "record": "sync", "state": "OPEN", **fields}
    deployment.table("SyncsTableName").put_item(Item=sync)


def put_medium(deployment: Deployment, sync_id: str, media_id: str, state: str) -> None:
    medium = {"sync_id": sync_id, "record": f"medium#{media_id}", "state": state}
    deployment.table("SyncsTableName").put_item(Item=medium)


def test_a_view_joins_what_the_tables_know(deployment: Deployment) -> None:
    put_sync(deployment, "s", expected=3)
    for media_id, state in (("done", "DOWNLOADED"), ("now", "DISCOVERED"), ("abandoned", "DISCOVERED")):
        put_medium(deployment, "s", media_id, state)
    library = deployment.table("LibraryTableName")
    library.put_item(Item={"media_id": "now", "item": 0, "status": "DOWNLOADING", "lease_until": 99999999999})
    library.put_item(Item={"media_id": "abandoned", "item": 0, "status": "DOWNLOADING", "lease_until": 1})

    view = look(deployment, "s")

    assert view.sync is not None
    assert (view.sync["expected"], set(view.media), set(view.working)) == (3, {"done", "now", "abandoned"}, {"now"})


def test_watching_ends_with_the_close(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    put_sync(deployment, "s", state="CLOSED", outcome="completed", closed_because="complete", summary={"downloaded": 0})

    assert watch(deployment, "s").outcome == "completed"
    assert capsys.readouterr().out.endswith("sync s completed (complete): 0 stored, 0 failed\n")


def test_watching_gives_up_when_it_was_told_to(deployment: Deployment) -> None:
    put_sync(deployment, "s")

    with pytest.raises(OperatorError, match=r"Still open after 0 s\. Go on with: .venv/bin/cloud-sync watch s"):
        watch(deployment, "s", timeout=0)


def test_a_sync_that_nobody_has_heard_of_is_not_waited_for_forever(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_UNKNOWN_SECONDS", 0)

    with pytest.raises(OperatorError, match="heard of a sync typo"):
        watch(deployment, "typo")


def test_a_sync_that_nobody_has_heard_of_is_not_called_open(deployment: Deployment) -> None:
    with pytest.raises(OperatorError, match="heard of a sync typo"):
        watch(deployment, "typo", timeout=0)


def test_the_last_sync_is_the_open_one(deployment: Deployment) -> None:
    put_sync(deployment, "closed", state="CLOSED", requested_at="2026-11-23T05:00:00Z")
    put_sync(deployment, "told", state="CLOSED", requested_at="2026-11-23T06:00:00Z")
    put_sync(deployment, "open", requested_at="2026-11-23T01:00:00Z")
    for unsettled in ("open", "told"):
        deployment.table("SyncsTableName").put_item(Item={"sync_id": "#unsettled", "record": unsettled})

    assert last_sync(deployment) == "open"


def test_the_last_sync_among_closed_ones_is_the_one_asked_for_last(deployment: Deployment) -> None:
    put_sync(deployment, "a", state="CLOSED", requested_at="2026-11-23T05:00:00Z")
    put_sync(deployment, "b", state="CLOSED", requested_at="2026-11-22T05:00:00Z")
    put_medium(deployment, "b", "m", "FAILED")

    assert last_sync(deployment) == "a"


def test_without_any_sync_it_says_how_to_begin(deployment: Deployment) -> None:
    with pytest.raises(OperatorError, match="cloud-sync trigger"):
        last_sync(deployment)


def test_the_status_shows_what_waits_where(deployment: Deployment) -> None:
    put_sync(deployment, "s", expected=4, downloaded=1)
    deployment.client("sqs").send_message(QueueUrl=deployment.outputs["ListerDeadLettersUrl"], MessageBody="x")

    lines = list(status(deployment))

    assert lines[2].split() == ["lister", "0", "0", "0", "1"]
    assert lines[-2:] == ["unsettled syncs: 0", "sync s: 1 of 4 stored; 0 bytes"]


def test_the_status_before_the_first_sync_is_no_error(deployment: Deployment) -> None:
    assert list(status(deployment))[-1] == "unsettled syncs: 0"
