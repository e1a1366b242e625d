"""Dead letters: listed without harm, and sent back whole."""

import json
from datetime import datetime

import pytest

from ops import command
from ops.dead_letters import failures, reasons, redrive
from ops.deployment import Deployment


def about(media_id: str | None = "m1") -> str:
    """A `MediaDiscovered`, or a lister's message without a medium."""
    data = {"media_id": media_id, "filename": "Größe.MP4"} if media_id else {}
    detail = {"metadata": {"sync_id": "s1"}, "data": data}
    return json.dumps({"id": "e1", "detail-type": "MediaDiscovered", "detail": detail}, indent=3)


def request(**detail: object) -> str:
    event = {"id": "e2", "detail-type": "SyncRequested", "time": "2026-11-23T01:00:00Z"}
    return json.dumps({**event, "detail": {"provider": "gopro", **detail}})


def park(deployment: Deployment, *bodies: str, service: str = "downloader") -> None:
    for body in bodies:
        deployment.client("sqs").send_message(QueueUrl=deployment.dead_letters(service), MessageBody=body)


def park_media(deployment: Deployment, count: int) -> None:
    park(deployment, *(about(f"m{number}") for number in range(1, count + 1)))


def inbox(deployment: Deployment) -> list[str]:
    answer = deployment.client("sqs").receive_message(QueueUrl=deployment.inbox("downloader"), MaxNumberOfMessages=10)
    return [message["Body"] for message in answer.get("Messages", [])]


def test_a_dead_letter_names_its_event_sync_and_medium(deployment: Deployment) -> None:
    park(deployment, about("m1"))

    (letter,) = failures(deployment)

    assert (letter.service, letter.event) == ("downloader", "MediaDiscovered")
    assert (letter.media_id, letter.sync_id, letter.receives) == ("m1", "s1", 1)


@pytest.mark.parametrize("body", ["not JSON", "[]", '"text"', '{"detail": 5}', '{"detail": {"data": []}}'])
def test_a_message_that_is_not_an_event_is_listed_too(deployment: Deployment, body: str) -> None:
    park(deployment, body, service="lister")

    (letter,) = failures(deployment)

    assert (letter.service, letter.body, letter.media_id) == ("lister", body, "")


@pytest.mark.parametrize(
    ("body", "sync_id"),
    [
        (request(), "e2"),
        (request(sync_id="mine"), "mine"),
        (request(provider=5), "e2"),
        (request(scheduled_time="2026-11-23T01:00:00Z"), ""),  # the schedule's time zone is not known here
    ],
)
def test_a_request_is_listed_with_the_sync_that_it_requested(deployment: Deployment, body: str, sync_id: str) -> None:
    park(deployment, body, service="authenticator")

    (letter,) = failures(deployment)

    assert (letter.event, letter.sync_id) == ("SyncRequested", sync_id)


def test_the_reason_of_a_dead_letter_is_read_from_the_tables(deployment: Deployment) -> None:
    library, syncs = deployment.table("LibraryTableName"), deployment.table("SyncsTableName")
    library.put_item(Item={"media_id": "m1", "item": 0, "reason": "the origin kept ending early"})
    syncs.put_item(Item={"sync_id": "s1", "record": "sync", "listing_problem": "GoPro has trouble"})
    syncs.put_item(Item={"sync_id": "e2", "record": "sync", "session_problem": "the token died"})
    park_media(deployment, 2)
    park(deployment, about(None), service="lister")
    park(deployment, request(), service="authenticator")
    park(deployment, "not JSON", service="summarizer")

    letters = failures(deployment)
    found = reasons(deployment, letters)

    assert {(one.service, one.media_id): found.get(one.message_id) for one in letters} == {
        ("downloader", "m1"): "the origin kept ending early",
        ("downloader", "m2"): None,
        ("lister", ""): "GoPro has trouble",
        ("authenticator", ""): "the token died",
        ("summarizer", ""): None,
    }


def test_listing_leaves_every_message_in_place_and_visible(deployment: Deployment) -> None:
    park_media(deployment, 25)

    assert [len(failures(deployment)) for _ in range(2)] == [25, 25]


def test_a_redrive_sends_the_body_untouched_and_deletes_the_dead_letter(deployment: Deployment) -> None:
    park(deployment, about("m1"))

    assert [letter.media_id for letter in redrive(deployment, "downloader")] == ["m1"]

    assert inbox(deployment) == [about("m1")]
    assert failures(deployment) == []


def test_only_the_requested_medium_is_sent_and_the_others_stay_visible(deployment: Deployment) -> None:
    park_media(deployment, 3)

    redrive(deployment, "downloader", media_id="m2")

    assert inbox(deployment) == [about("m2")]
    assert {letter.media_id for letter in failures(deployment)} == {"m1", "m3"}


def test_a_redrive_sends_no_more_than_its_limit(deployment: Deployment) -> None:
    park_media(deployment, 12)

    assert len(redrive(deployment, "downloader", limit=11)) == 11
    assert len(failures(deployment)) == 1


@pytest.mark.timeout(20)
def test_a_message_that_fails_again_at_once_is_sent_only_once(deployment: Deployment) -> None:
    park_media(deployment, 12)
    deployment.outputs["DownloaderQueueUrl"] = deployment.outputs["DownloaderDeadLettersUrl"]

    assert len(redrive(deployment, "downloader")) == 12


def leave_undelivered(deployment: Deployment, body: str, service: str = "downloader") -> None:
    """Leave an event as EventBridge does: with attributes that name the target and the reason."""
    said = {
        "TARGET_ARN": f"arn:aws:sqs:eu-central-1:123456789012:{service.title()}QueueUrl",
        "ERROR_CODE": "NO_PERMISSIONS",
    }
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
    deployment.client("sqs").send_message(
        QueueUrl=deployment.undelivered, MessageBody=body, MessageAttributes=attributes
    )


def test_an_event_that_the_bus_could_not_deliver_is_listed_with_its_service_and_the_reason(
    deployment: Deployment,
) -> None:
    leave_undelivered(deployment, about("m1"))
    leave_undelivered(deployment, request(), service="authenticator")

    letters = failures(deployment, ["downloader"])

    assert [(one.service, one.media_id) for one in letters] == [("downloader", "m1")]
    assert set(reasons(deployment, letters).values()) == {"the bus could not deliver it: NO_PERMISSIONS"}


def test_a_redrive_delivers_the_undelivered_events_of_its_service_alone(deployment: Deployment) -> None:
    park(deployment, about("m1"))
    leave_undelivered(deployment, about("m2"))
    leave_undelivered(deployment, request(), service="authenticator")

    assert {letter.media_id for letter in redrive(deployment, "downloader")} == {"m1", "m2"}

    assert sorted(inbox(deployment)) == [about("m1"), about("m2")]
    assert [letter.service for letter in failures(deployment)] == ["authenticator"]


def test_a_stack_without_a_queue_for_undelivered_events_is_read_too(deployment: Deployment) -> None:
    del deployment.outputs["UndeliveredEventsUrl"]
    park(deployment, about("m1"))

    assert [letter.media_id for letter in redrive(deployment, "downloader")] == ["m1"]
    assert failures(deployment) == []


def test_a_message_that_could_not_be_sent_stays_a_dead_letter(deployment: Deployment) -> None:
    park(deployment, about("m1"))
    deployment.client("sqs").delete_queue(QueueUrl=deployment.inbox("downloader"))

    with pytest.raises(deployment.client("sqs").exceptions.QueueDoesNotExist):
        redrive(deployment, "downloader")

    assert [letter.media_id for letter in failures(deployment)] == ["m1"]


def test_dead_letters_are_also_json(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    park(deployment, about("m1"))
    deployment.table("LibraryTableName").put_item(Item={"media_id": "m1", "item": 0, "reason": "gone \x1b"})
    monkeypatch.setattr(command, "_deployment", lambda _: deployment)

    assert command.main(["failures", "--json"]) == 0

    (letter,) = json.loads(capsys.readouterr().out)
    assert (letter["service"], letter["event"], letter["media_id"]) == ("downloader", "MediaDiscovered", "m1")
    assert (letter["sync_id"], letter["receives"], letter["why"]) == ("s1", 1, "gone \x1b")
    datetime.fromisoformat(letter["since"])
