"""A story out of a whole stack: the log of events, the services' logs, the tables, the inboxes and the dead letters."""

import json
from dataclasses import replace
from typing import Any

import pytest

from ops import command, watch
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.story import Story
from ops.telling import story_of
from services.shared.envelope import detail
from services.shared.events import (
    SERVICES,
    Event,
    LibraryListed,
    MediaDiscovered,
    MediaDownloadFailed,
    SyncCompleted,
    SyncRequested,
    SyncReviewDue,
)
from services.shared.inbox.inbox import SETTLED
from tests.unit.test_ops_journal import Logs, Scheduler

REQUEST = SyncRequested(sync_id="s")
FOUND = MediaDiscovered(sync_id="s", media_id="m1", causation_id=REQUEST.event_id)
LOST = MediaDiscovered(sync_id="s", media_id="m2", causation_id=REQUEST.event_id)
FAILED = MediaDownloadFailed(sync_id="s", media_id="m1", reason="gone", causation_id=FOUND.event_id)
LISTED = LibraryListed(
    sync_id="s", listed=2, stored=0, discovered=2, pending=0, deferred=0, causation_id=REQUEST.event_id
)
OTHER = MediaDiscovered(sync_id="other", media_id="m1")
DUE = SyncReviewDue(occurred_at="2026-11-25T02:15:00Z")
UNRELATED_DUE = SyncReviewDue(occurred_at="2026-11-25T02:30:00Z")
CLOSED = SyncCompleted(
    sync_id="s",
    summary_id="1",
    outcome="partial",
    closed_because="stalled",
    trigger="manual",
    requested_at="",
    closed_at="",
    causation_id=DUE.event_id,
)


def body(event: Event) -> str:
    source = "schedule" if isinstance(event, SyncReviewDue) else "lister"
    return json.dumps(
        {
            "id": f"published-{event.event_id}",
            "source": f"cloud-sync.{source}",
            "detail-type": type(event).__name__,
            "time": event.occurred_at or "2026-11-25T02:00:00Z",
            "detail": {} if isinstance(event, SyncReviewDue) else detail(event),
        }
    )


def settled(event: Event, outcome: str = "done") -> str:
    line = {
        "message": SETTLED,
        "timestamp": "2026-11-25T02:00:01Z",
        "event_id": event.event_id,
        "message_id": f"message of {event.event_id}",
        "receives": 1,
        "waited": 0.5,
        "outcome": outcome,
    }
    return json.dumps(line)


@pytest.fixture
def stack(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A stack in whose logs is a sync with two media. One of their events is in a dead letter alone."""
    logged = [REQUEST, FOUND, LISTED, FAILED, OTHER, DUE, UNRELATED_DUE, CLOSED]
    groups = {
        "events": [(float(number), body(event)) for number, event in enumerate(logged)],
        "downloader": [(2.0, settled(FOUND, "given_up"))],
        "summarizer": [(9.0, settled(DUE)), (9.0, settled(UNRELATED_DUE))],
    }
    fakes: dict[str, Any] = {"logs": Logs(groups), "scheduler": Scheduler("UTC")}
    plain = Deployment.client
    monkeypatch.setattr(Deployment, "client", lambda self, name: fakes.get(name) or plain(self, name))
    deployment.outputs.update({f"{service.title()}LogGroupName": service for service in SERVICES})
    deployment.outputs["EventLogGroupName"] = "events"
    deployment.client("sqs").send_message(QueueUrl=deployment.dead_letters("downloader"), MessageBody=body(LOST))
    deployment.client("sqs").send_message(QueueUrl=deployment.dead_letters("lister"), MessageBody="no event")
    return deployment


def ids(story: Story) -> list[str]:
    return [node.event.event_id for _, node in story.walk()]


def test_a_story_of_a_sync_has_its_events_those_that_led_to_them_and_those_of_dead_letters(stack: Deployment) -> None:
    story = story_of(stack, "s")
    expected = [REQUEST, FOUND, FAILED, LISTED, LOST, DUE, CLOSED]
    assert sorted(ids(story)) == sorted(event.event_id for event in expected)
    assert [root.event.type for root in story.roots] == ["SyncRequested", "SyncReviewDue"]
    nodes = {node.event.event_id: node for _, node in story.walk()}
    assert [one.outcome for one in nodes[FOUND.event_id].deliveries[0].receives] == ["given_up"]
    assert [one.outcome for one in nodes[DUE.event_id].deliveries[0].receives] == ["done"]
    (dead,) = nodes[LOST.event_id].deliveries
    assert dead.letter
    assert (dead.service, dead.receives) == ("downloader", ())
    assert nodes[LISTED.event_id].silent == ("summarizer",)
    assert (story.about, story.is_of_medium) == ("Sync s", False)


def test_a_story_says_how_things_are_now_and_what_the_log_lacks(stack: Deployment) -> None:
    assert story_of(stack, "s").now == ("the summarizer knows nothing of this sync",)
    stack.client("sqs").send_message(QueueUrl=stack.inbox("lister"), MessageBody="waits")
    table = stack.table("SyncsTableName")
    table.put_item(Item={"sync_id": "s", "record": "sync", "state": "OPEN", "expected": 9, "downloaded": 4})
    for number in range(1, 9):
        record = {"sync_id": "s", "record": f"medium#m{number}", "state": "DISCOVERED"}
        table.put_item(Item=record)
    story = story_of(stack, "s")
    assert story.now[0].startswith("sync s: 4 of 9 stored")
    assert story.now[1:] == ("the lister's inbox: 1 waiting (of all syncs)",)
    assert story.gaps == (
        "the table of syncs has 6 media whose MediaDiscovered is not in the log: m3, m4, m5, m6, m7, …",
    )


def test_events_whose_cause_the_log_has_lost_are_counted(stack: Deployment) -> None:
    lines = stack.client("logs").groups["events"]
    lines[:] = [(after, text) for after, text in lines if text != body(REQUEST)]
    assert story_of(stack, "s").gaps == ("3 events were caused by one that is not in the log",)


def test_a_story_of_a_medium_has_its_events_in_all_syncs_and_what_led_to_them(stack: Deployment) -> None:
    stack.table("LibraryTableName").put_item(
        Item={
            "media_id": "m1",
            "item": 0,
            "status": "FAILED",
            "epoch": 3,
            "sync_id": "other",
            "failed_at": "2026-11-25T02:00:03Z",
            "reason": "gone",
        }
    )
    story = story_of(stack, "m1")
    assert ids(story) == [event.event_id for event in (REQUEST, FOUND, FAILED, OTHER)]
    assert story.now == (
        "the library table: FAILED, taken 3 times, last by sync other",
        "failed at 2026-11-25T02:00:03Z: gone",
    )
    assert (story.about, story.is_of_medium, story.gaps) == ("Medium m1", True, ())
    patterns = {request.get("filterPattern", "") for request in stack.client("logs").asked}
    for sync_id in ("other", "s"):
        expected = f'{{ ($.message = "{SETTLED}") && ($.sync_id = "{sync_id}") && ($.media_id NOT EXISTS) }}'
        assert expected in patterns


def test_a_medium_that_only_a_dead_letter_knows_has_a_story(stack: Deployment) -> None:
    story = story_of(stack, "m2")
    assert ids(story) == [REQUEST.event_id, LOST.event_id]
    assert story.now == ("the library table doesn't know this medium",)


def test_an_event_that_the_bus_could_not_deliver_is_told_with_the_reason(stack: Deployment) -> None:
    said = {"TARGET_ARN": stack.inbox("summarizer"), "ERROR_CODE": "NO_PERMISSIONS"}
    attributes: Any = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
    queue = stack.undelivered
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=body(FAILED), MessageAttributes=attributes)
    failed = {node.event.event_id: node for _, node in story_of(stack, "s").walk()}[FAILED.event_id]
    (undelivered,) = failed.deliveries
    assert undelivered.letter
    assert (undelivered.service, undelivered.letter.why) == (
        "summarizer",
        "the bus could not deliver it: NO_PERMISSIONS",
    )


def test_what_nothing_knows_has_no_story(stack: Deployment) -> None:
    with pytest.raises(OperatorError, match="No event of a sync or medium unknown is known"):
        story_of(stack, "unknown")


def test_the_command_prints_a_tree_json_or_a_page(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: stack)
    assert command.main(["story", "s"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Sync s, begun at 2026-11-25T02:00:00Z\n├── SyncRequested")
    assert "\x1b" not in shown
    assert command.main(["story", "s", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["events"]) == 7
    page = tmp_path / "story.html"
    assert command.main(["story", "s", "--html", str(page)]) == 0
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert command.main(["story", "s", "--html", str(tmp_path / "none" / "story.html")]) == 2
    assert "can't be written" in capsys.readouterr().err


def test_without_an_id_the_command_tells_of_the_latest_sync(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: stack)
    monkeypatch.setattr(watch, "last_sync", lambda _: "s")
    assert command.main(["story"]) == 0
    assert capsys.readouterr().out.startswith("Sync s,")


def test_the_command_shows_the_last_events(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: stack)
    assert command.main(["events", "--last", "2", "--sync", "s"]) == 0
    kinds = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert kinds == ["MediaDownloadFailed", "SyncCompleted"]
    assert command.main(["events", "--type", "SyncCompleted", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["detail-type"] == "SyncCompleted"


def test_a_misspelt_type_of_an_event_is_refused_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["events", "--type", "MediaDownload"]) == 2
    assert "did you mean MediaDownloaded?" in capsys.readouterr().err
    assert command.main(["events", "--type", "x"]) == 2
    assert "SyncRequested, " in capsys.readouterr().err


def test_a_repeated_event_is_told_once(stack: Deployment) -> None:
    again = json.loads(body(replace(FOUND, hops=0)))
    stack.client("logs").groups["events"].append((20.0, json.dumps({**again, "id": "second"})))
    story = story_of(stack, "s")
    (found,) = [node for _, node in story.walk() if node.event.event_id == FOUND.event_id]
    assert found.event.times == 2
