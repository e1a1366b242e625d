"""What `cloud-sync status` shows."""

import json
import re
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ops import command
from ops.deployment import Deployment
from ops.progress import View
from ops.status import Queues, StackStatus, next_run, status, to_do
from services.authenticator.health import Health
from services.summarizer.history import PastSync


def put_sync(deployment: Deployment, **fields: Any) -> None:
    sync = {"sync_id": "s", "record": "sync", "state": "CLOSED", "outcome": "completed", **fields}
    deployment.table("SyncsTableName").put_item(Item=sync)


@pytest.mark.parametrize(("notified", "lines"), [(True, 0), (False, 1)])
def test_a_closed_sync_without_a_sent_notification_is_shown_as_such(
    deployment: Deployment, notified: bool, lines: int
) -> None:
    closed_at = "2026-11-23T01:42:17Z"
    put_sync(
        deployment,
        announcement={"number": 0, "notified": notified},
        requested_at="2026-11-23T01:00:03Z",
        summary={"closed_at": closed_at},
    )

    shown = list(status(deployment).lines())

    assert f"  requested at 2026-11-23T01:00:03Z, closed at {closed_at}" in shown

    assert any(line.startswith("sync s completed") for line in shown)
    assert sum("notification has not been sent" in line for line in shown) == lines


def test_an_open_sync_is_shown_with_its_progress(deployment: Deployment) -> None:
    put_sync(deployment, state="OPEN", expected=4, downloaded=1)

    assert list(status(deployment).lines())[-4:-2] == ["unsettled syncs: 0", "sync s: 1 of 4 stored; 0 bytes"]


def test_an_older_unsettled_sync_is_shown_before_the_last_one(deployment: Deployment) -> None:
    put_sync(deployment, sync_id="old", state="OPEN", requested_at="2026-11-22T01:00:00Z")
    put_sync(deployment, sync_id="new", requested_at="2026-11-23T01:00:00Z", announcement={"notified": True})
    deployment.table("SyncsTableName").put_item(Item={"sync_id": "#unsettled", "record": "old"})

    lines = [line.partition(" (")[0] for line in list(status(deployment).lines())[-6:-1]]

    assert lines[::2] == [
        "unsettled syncs: 1",
        "  requested at 2026-11-22T01:00:00Z",
        "  requested at 2026-11-23T01:00:00Z",
    ]
    assert lines[1::2] == ["sync old: 0 stored, waiting for a session with GoPro; 0 bytes", "sync new completed"]


def test_before_the_first_sync_the_queues_are_shown(deployment: Deployment) -> None:
    deployment.client("sqs").send_message(QueueUrl=deployment.outputs["ListerDeadLettersUrl"], MessageBody="x")

    *lines, to_do = status(deployment).lines()

    assert [line.split() for line in lines] == [
        ["waiting", "in", "work", "delayed", "dead", "letters"],
        ["authenticator", "0", "0", "0", "0"],
        ["lister", "0", "0", "0", "1"],
        ["downloader", "0", "0", "0", "0"],
        ["summarizer", "0", "0", "0", "0"],
        ["unsettled", "syncs:", "0"],
    ]
    assert to_do == (
        "to do: see why messages failed: .venv/bin/cloud-sync failures, fix the cause, then "
        ".venv/bin/cloud-sync redrive --service lister"
    )


@pytest.mark.parametrize(
    ("state", "shown"),
    [("ENABLED", r"next daily sync: \d{4}-\d\d-\d\d 02:00 Europe/Berlin"), ("DISABLED", "next daily sync: none, .*")],
)
def test_the_next_daily_sync_is_shown(deployment: Deployment, state: str, shown: str) -> None:
    deployment.outputs.update(ScheduleGroupName="default", DailyScheduleName="daily")
    deployment.client("scheduler").create_schedule(
        Name="daily",
        ScheduleExpression="cron(0 2 * * ? *)",
        ScheduleExpressionTimezone="Europe/Berlin",
        State=state,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={"Arn": "arn:aws:events:eu-central-1:123456789012:event-bus/b", "RoleArn": "arn:aws:iam::1:role/r"},
    )

    assert re.fullmatch(shown, list(status(deployment).lines())[-2])


PAST = PastSync(
    sync_id="s",
    requested_at="2026-11-27T02:00:00Z",
    closed_at="2026-11-27T02:12:03Z",
    trigger="scheduled",
    outcome="completed",
    closed_because="complete",
    was_listed=True,
    discovered=12,
    downloaded=12,
    bytes=4_300_000_000,
)
PARTIAL = replace(PAST, requested_at="2026-11-26T02:00:00Z", outcome="partial", downloaded=11, failed=1)
FAILED = replace(PAST, requested_at="2026-11-25T02:00:00Z", outcome="failed", reason="no session\x1b[2J", downloaded=0)
OPEN = View(sync={"sync_id": "o", "state": "OPEN"})
CLOSED = View(sync={"sync_id": "c", "state": "CLOSED", "announcement": {"notified": True}})
DEAD = Queues(service="lister", waiting=0, in_work=0, delayed=0, dead_letters=2)
NONE = replace(DEAD, service="downloader", dead_letters=0)


def standing_of(deployment: Deployment, **known: Any) -> StackStatus:
    nothing: dict[str, Any] = {"queues": (), "undelivered": 0, "session": Health(), "unsettled": 0, "syncs": ()}
    return StackStatus(deployment=deployment, **{**nothing, "recent": (), "next_sync": "tomorrow", **known})


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, ""),
        ({"recent": (PAST, FAILED), "syncs": (CLOSED,), "queues": (NONE,)}, ""),
        ({"recent": (PARTIAL,)}, ""),  # the next sync tries it again
        (
            {"recent": (FAILED,), "syncs": (CLOSED,)},
            "the last sync failed (no session?[2J); once the cause is fixed: .venv/bin/cloud-sync trigger --wait",
        ),
        (
            {"recent": (replace(FAILED, reason=""),)},
            "the last sync failed; once the cause is fixed: .venv/bin/cloud-sync trigger --wait",
        ),
        ({"recent": (FAILED,), "syncs": (OPEN, CLOSED)}, ""),  # the next one is under way
        (
            {"next_sync": "none, its schedule is disabled", "recent": (FAILED,)},
            "enable the daily schedule: no sync begins by itself",
        ),
        (
            {"syncs": (View(sync={"sync_id": "c", "state": "CLOSED"}),), "next_sync": "none, its schedule is disabled"},
            "look whether the notification topic still exists: a closed sync could not be announced",
        ),
        (
            {"queues": (NONE, DEAD), "syncs": (View(sync={"sync_id": "c", "state": "CLOSED"}),)},
            (
                "see why messages failed: .venv/bin/cloud-sync failures, fix the cause, "
                "then .venv/bin/cloud-sync redrive --service lister"
            ),
        ),
        (
            {"undelivered": 1},
            "see why messages failed: .venv/bin/cloud-sync failures, fix the cause, then redrive them",
        ),
        (
            {"session": Health(first_refused="2026-11-27T01:00:00Z"), "queues": (DEAD,)},
            "GoPro refuses the session; sign in again: .venv/bin/cloud-sync credentials login",
        ),
    ],
)
def test_the_one_thing_to_do_is_the_most_urgent(deployment: Deployment, known: dict[str, Any], said: str) -> None:
    assert to_do(standing_of(deployment, **known)) == said


def test_the_last_syncs_are_a_table_that_fits_80_columns(deployment: Deployment) -> None:
    lines = list(standing_of(deployment, recent=(PAST, PARTIAL, FAILED)).lines())

    assert lines[1:5] == [
        "last syncs, UTC                   new  stored  missing      bytes           took",
        "2026-11-27 02:00  all well         12      12        0    4.30 GB     12 min 3 s",
        "2026-11-26 02:00  incomplete       12      11        1    4.30 GB            1 d",
        "2026-11-25 02:00  FAILED           12       0        0    4.30 GB            2 d",
    ]
    assert max(map(len, lines)) <= 80


def test_the_status_is_also_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], deployment: Deployment
) -> None:
    put_sync(deployment, state="OPEN", expected=4, downloaded=1)
    monkeypatch.setattr(command, "_deployment", lambda _: deployment)

    assert command.main(["status", "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    assert printed["queues"][0] == {
        "service": "authenticator", "waiting": 0, "in_work": 0, "delayed": 0, "dead_letters": 0
    }  # fmt: skip
    assert (printed["syncs"][0]["sync_id"], printed["syncs"][0]["expected"]) == ("s", 4)
    assert (printed["dead_letters"], printed["recent"], printed["to_do"]) == (0, [], None)


@pytest.mark.parametrize(("hour", "due"), [(1, "2026-11-23T02:15"), (2, "2026-11-23T02:15"), (3, "2026-11-24T02:15")])
def test_a_daily_schedule_is_due_today_or_tomorrow(hour: int, due: str) -> None:
    now = datetime(2026, 11, 23, hour, 14, tzinfo=ZoneInfo("Europe/Berlin"))

    assert next_run("cron(15 2 * * ? *)", now) == datetime.fromisoformat(due).replace(tzinfo=now.tzinfo)
    assert next_run("rate(1 hour)", now) is None
