"""Dead letters: seen without harm, and sent back whole."""

import json
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from ops import dead_letters
from ops.dead_letters import failures, reasons, redrive
from ops.deployment import Deployment

BODY = {
    "id": "e1",
    "detail-type": "MediaDiscovered",
    "detail": {"metadata": {"sync_id": "s1"}, "data": {"media_id": "m1", "filename": "Größe.MP4"}},
}


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setattr(dead_letters, "_WAIT_SECONDS", 0)
    with mock_aws():
        session = boto3.Session("test", "test", region_name="eu-central-1")
        deployed = Deployment(session, "cloud-sync-dev")
        sqs = deployed.client("sqs")
        outputs: dict[str, str] = {}
        for service in ("Authenticator", "Lister", "Downloader", "Summarizer"):
            for kind, output in (("inbox", "QueueUrl"), ("dead", "DeadLettersUrl")):
                url = sqs.create_queue(QueueName=f"{service}-{kind}")["QueueUrl"]
                outputs[f"{service}{output}"] = url
        for output, keys in (
            ("LibraryTableName", {"media_id": "S", "item": "N"}),
            ("SyncsTableName", {"sync_id": "S", "record": "S"}),
        ):
            outputs[output] = output
            deployed.client("dynamodb").create_table(
                TableName=output,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in zip(keys, ("HASH", "RANGE"), strict=True)],
                AttributeDefinitions=[{"AttributeName": k, "AttributeType": t} for k, t in keys.items()],
            )
        deployed.__dict__["outputs"] = outputs  # as if they had been asked for already
        yield deployed


def park(deployment: Deployment, body: str, service: str = "Downloader") -> None:
    deployment.client("sqs").send_message(QueueUrl=deployment.outputs[f"{service}DeadLettersUrl"], MessageBody=body)


def of(media_id: str) -> str:
    detail = {"metadata": {"sync_id": "s1"}, "data": {"media_id": media_id}}
    return json.dumps({**BODY, "detail": detail})


def inbox(deployment: Deployment) -> list[str]:
    answer = deployment.client("sqs").receive_message(
        QueueUrl=deployment.outputs["DownloaderQueueUrl"], MaxNumberOfMessages=10
    )
    return [message["Body"] for message in answer.get("Messages", [])]


def test_a_dead_letter_says_what_it_is_about(deployment: Deployment) -> None:
    park(deployment, json.dumps(BODY))

    (letter,) = failures(deployment)

    assert (letter.service, letter.event) == ("downloader", "MediaDiscovered")
    assert (letter.media_id, letter.sync_id, letter.receives) == ("m1", "s1", 1)


@pytest.mark.parametrize("body", ["not JSON", "[]", '"text"', '{"detail": 5}', '{"detail": {"data": []}}'])
def test_what_is_no_event_is_listed_all_the_same(deployment: Deployment, body: str) -> None:
    park(deployment, body, "Lister")

    (letter,) = failures(deployment)

    assert (letter.service, letter.body, letter.media_id) == ("lister", body, "")


def request(**more: object) -> str:
    event = {"id": "e2", "detail-type": "SyncRequested", "time": "2026-11-23T01:00:00Z"}
    return json.dumps({**event, "detail": {"provider": "gopro", **more}})


@pytest.mark.parametrize(
    ("body", "sync_id"),
    [
        (request(), "e2"),
        (request(sync_id="mine"), "mine"),
        (request(provider=5), "e2"),
        (request(scheduled_time="2026-11-23T01:00:00Z"), ""),  # its zone names it, and isn't known here
    ],
)
def test_a_request_is_listed_with_the_sync_that_it_asked_for(deployment: Deployment, body: str, sync_id: str) -> None:
    park(deployment, body, "Authenticator")

    (letter,) = failures(deployment)

    assert (letter.event, letter.sync_id) == ("SyncRequested", sync_id)


def test_why_a_message_is_dead_is_read_from_the_tables(deployment: Deployment) -> None:
    library, syncs = deployment.table("LibraryTableName"), deployment.table("SyncsTableName")
    library.put_item(Item={"media_id": "m1", "item": 0, "reason": "the origin kept ending early"})
    syncs.put_item(Item={"sync_id": "s1", "record": "sync", "listing_problem": "GoPro has trouble"})
    syncs.put_item(Item={"sync_id": "e2", "record": "sync", "session_problem": "the token died"})
    park(deployment, of("m1"))
    park(deployment, of("m2"))
    park(deployment, json.dumps({**BODY, "detail": {"metadata": {"sync_id": "s1"}, "data": {}}}), "Lister")
    park(deployment, request(), "Authenticator")
    park(deployment, "not JSON", "Summarizer")

    letters = failures(deployment)
    found = reasons(deployment, letters)

    assert {(one.service, one.media_id): found.get(one.message_id) for one in letters} == {
        ("downloader", "m1"): "the origin kept ending early",
        ("downloader", "m2"): None,
        ("lister", ""): "GoPro has trouble",
        ("authenticator", ""): "the token died",
        ("summarizer", ""): None,
    }


def test_looking_leaves_everything_where_it_is_and_visible(deployment: Deployment) -> None:
    for number in range(25):
        park(deployment, of(f"m{number}"))

    assert len(failures(deployment)) == 25
    assert len(failures(deployment)) == 25


def test_a_redrive_sends_the_body_untouched_and_deletes_the_dead_letter(deployment: Deployment) -> None:
    body = json.dumps(BODY, indent=3)
    park(deployment, body)

    sent = redrive(deployment, "downloader")

    assert [letter.media_id for letter in sent] == ["m1"]
    assert inbox(deployment) == [body]
    assert failures(deployment) == []


def test_only_the_wanted_medium_is_sent_and_the_others_stay_visible(deployment: Deployment) -> None:
    for media_id in ("m1", "m2", "m3"):
        park(deployment, of(media_id))

    redrive(deployment, "downloader", media_id="m2")

    assert inbox(deployment) == [of("m2")]
    assert {letter.media_id for letter in failures(deployment)} == {"m1", "m3"}


def test_the_limit_holds(deployment: Deployment) -> None:
    for number in range(12):
        park(deployment, of(f"m{number}"))

    assert len(redrive(deployment, "downloader", limit=11)) == 11
    assert len(failures(deployment)) == 1


@pytest.mark.timeout(20)
def test_what_is_back_at_once_is_not_sent_again_and_again(deployment: Deployment) -> None:
    for number in range(12):
        park(deployment, of(f"m{number}"))
    deployment.outputs["DownloaderQueueUrl"] = deployment.outputs["DownloaderDeadLettersUrl"]

    assert len(redrive(deployment, "downloader")) == 12


def test_what_could_not_be_sent_stays_a_dead_letter(deployment: Deployment) -> None:
    park(deployment, of("m1"))
    gone = deployment.outputs["DownloaderQueueUrl"]
    deployment.client("sqs").delete_queue(QueueUrl=gone)

    with pytest.raises(deployment.client("sqs").exceptions.QueueDoesNotExist):
        redrive(deployment, "downloader")

    assert [letter.media_id for letter in failures(deployment)] == ["m1"]
