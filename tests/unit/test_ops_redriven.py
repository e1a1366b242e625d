"""What comes of redriven dead letters."""

import json
from typing import Any

import pytest

from ops import command
from ops.dead_letters import redrive
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.redriven import Redriven
from tests.unit.clocks import ManualClock


def body(media_id: str) -> str:
    detail = {"metadata": {"sync_id": "s1"}, "data": {"media_id": media_id} if media_id else {}}
    return json.dumps({"detail-type": "MediaDiscovered" if media_id else "SessionAuthenticated", "detail": detail})


class Service:
    """A service whose dead letters are redriven, and what it does with them, one look after another."""

    def __init__(self, deployment: Deployment, *media_ids: str, name: str = "downloader") -> None:
        self.deployment, self.name = deployment, name
        self.clock = ManualClock()
        self.clock.while_asleep = self._work
        self.work: list[Any] = []
        self.sqs = deployment.client("sqs")
        for media_id in media_ids:
            self.park(media_id)

    def _work(self) -> None:
        if self.work:
            self.work.pop(0)()

    def park(self, media_id: str) -> None:
        self.sqs.send_message(QueueUrl=self.deployment.dead_letters(self.name), MessageBody=body(media_id))

    def record(self, media_id: str, **fields: Any) -> None:
        self.deployment.table("LibraryTableName").put_item(Item={"media_id": media_id, "item": 0, **fields})

    def empty_inbox(self) -> None:
        self.sqs.purge_queue(QueueUrl=self.deployment.inbox(self.name))

    def results(self, timeout: float | None = None) -> list[tuple[str, bool, str]]:
        redriven = Redriven(self.deployment, self.name, clock=self.clock)
        sent = redrive(self.deployment, self.name, before_sending=redriven.remember)
        found = redriven.results(sent, timeout=timeout)
        return [(one.letter.media_id, one.succeeded, one.text) for one in found]


def test_a_medium_is_followed_until_it_is_stored_or_fails_again(deployment: Deployment) -> None:
    service = Service(deployment, "m1", "m2", "m3")
    for media_id in ("m1", "m2", "m3"):
        service.record(media_id, status="FAILED", failed_at="2026-11-23T01:00:00Z", reason="the origin ended early")
    service.work = [
        lambda: service.record("m2", status="STORED"),
        lambda: service.record("m1", status="FAILED", failed_at="2026-11-23T02:00:01Z", reason="GoPro has trouble"),
        lambda: service.park("m3"),
    ]

    assert service.results() == [
        ("m2", True, "stored"),
        ("m1", False, "GoPro has trouble"),
        ("m3", False, "the origin ended early"),
    ]


def test_a_stored_medium_has_succeeded_once_its_sync_knows_it(deployment: Deployment) -> None:
    def tally(state: str) -> None:
        item = {"sync_id": "s1", "record": "medium#m1", "state": state}
        deployment.table("SyncsTableName").put_item(Item=item)

    service = Service(deployment, "m1")
    tally("FAILED")
    service.work = [lambda: service.record("m1", status="STORED"), lambda: None, lambda: tally("DOWNLOADED")]

    assert service.results() == [("m1", True, "stored")]
    assert len(service.clock.slept) == 3


def test_a_message_without_a_medium_is_done_when_its_inbox_stays_empty(deployment: Deployment) -> None:
    service = Service(deployment, "", name="lister")
    service.work = [lambda: None, service.empty_inbox]

    assert service.results() == [("", True, "done")]
    assert sum(service.clock.slept) > 60


def test_a_medium_of_which_nothing_is_heard_failed_again_but_not_while_a_worker_has_it(deployment: Deployment) -> None:
    service = Service(deployment, "m1")
    service.record("m1", status="DOWNLOADING", lease_until=int(service.clock.now().timestamp()) + 100)
    service.work = [service.empty_inbox]

    ((media_id, succeeded, text),) = service.results()

    assert (media_id, succeeded) == ("m1", False)
    assert text.startswith("nothing came of it")
    assert sum(service.clock.slept) > 150


def test_following_ends_at_its_timeout(deployment: Deployment) -> None:
    with pytest.raises(OperatorError, match=r"After 12 s 1 of 1 have no result\."):
        Service(deployment, "m1").results(timeout=10)


def test_the_command_says_what_came_of_it_and_fails_when_one_failed_again(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service = Service(deployment, "m1", "m2")
    service.record("m2", status="STORED")
    service.work = [
        lambda: service.record("m1", status="FAILED", failed_at="2026-11-23T02:00:01Z", reason="no \x1banswer")
    ]
    monkeypatch.setattr(command, "_deployment", lambda _, **__: deployment)
    monkeypatch.setattr(command, "Clock", lambda: service.clock)

    assert command.main(["redrive", "--wait"]) == 1

    printed = capsys.readouterr()
    assert printed.out.endswith("  succeeded  m2: stored\n  failed again  m1: no ?answer\n")
    assert printed.err.endswith(
        "1 message succeeded, 1 failed again\ncloud-sync: to see its sync: .venv/bin/cloud-sync watch s1\n"
    )
