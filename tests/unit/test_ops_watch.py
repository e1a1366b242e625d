"""Following a sync in the tables."""

import json
from typing import Any
from unittest.mock import Mock

import pytest

from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.progress import View, changes, standing
from ops.watch import last_sync, look, watch
from services.authenticator.authenticator_table import sync_key
from services.shared.clock import Clock
from services.summarizer.records import ClosedSync
from services.summarizer.syncs_table import SyncsTable


def put(deployment: Deployment, sync_id: str, record: str = "sync", **fields: Any) -> None:
    item = {"sync_id": sync_id, "record": record, **fields}
    deployment.table("SyncsTableName").put_item(Item=item)


def test_a_view_joins_both_tables(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN", expected=3)
    for media_id, state in (("done", "DOWNLOADED"), ("now", "DISCOVERED"), ("abandoned", "DISCOVERED")):
        put(deployment, "s", f"medium#{media_id}", state=state)
    library = deployment.table("LibraryTableName")
    library.put_item(Item={"media_id": "now", "item": 0, "status": "DOWNLOADING", "lease_until": 99999999999})
    library.put_item(Item={"media_id": "abandoned", "item": 0, "status": "DOWNLOADING", "lease_until": 1})

    view = look(deployment, "s")

    assert view.sync is not None
    assert (view.sync["expected"], set(view.media), set(view.working)) == (3, {"done", "now", "abandoned"}, {"now"})


def test_watching_ends_when_the_sync_closes(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    put(deployment, "s", state="CLOSED", outcome="completed", closed_because="complete", summary={"downloaded": 0})

    assert watch(deployment, "s").outcome == "completed"
    assert capsys.readouterr().out.endswith("sync s completed (complete): 0 stored, 0 failed\n")


def test_watching_ends_at_its_timeout(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN")

    with pytest.raises(OperatorError, match=r"Still open after 0 s\. To resume: .venv/bin/cloud-sync watch s$"):
        watch(deployment, "s", timeout=0)


@pytest.mark.parametrize("limit", ["timeout", "grace"])
def test_watching_an_unknown_sync_ends_soon_and_says_that_it_is_unknown(deployment: Deployment, limit: str) -> None:
    with pytest.raises(OperatorError, match="There is no sync typo"):
        watch(deployment, "typo", grace=0 if limit == "grace" else 60, timeout=0 if limit == "timeout" else None)


def redriven(deployment: Deployment, **fields: Any) -> None:
    """A sync of five media that closed with four failures, three of which were stored after its close."""
    summary = {"downloaded": 1, "failed": 4}
    counts = {"expected": 5, "discovered": 5, "downloaded": 4, "failed": 1, "late": 9, "summary": summary, **fields}
    put(deployment, "s", state="CLOSED", outcome="partial", closed_because="complete", **counts)
    put(deployment, "s", "medium#m", state="FAILED", reason="gone")


def test_after_a_redrive_the_end_is_what_came_of_it(deployment: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    redriven(deployment)

    assert watch(deployment, "s").outcome == "partial"
    printed = capsys.readouterr().out
    assert printed.endswith(
        "s completed with failures (complete): 4 stored, 1 failed; when it closed: 1 stored, 4 failed\n"
    )


def test_a_sync_whose_media_were_all_stored_after_its_close_is_completed(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    redriven(deployment, downloaded=5, failed=0)

    assert watch(deployment, "s").outcome == "completed"
    assert "sync s completed (complete): 5 stored, 0 failed; when" in capsys.readouterr().out


def test_a_redriven_medium_that_is_being_downloaded_keeps_its_closed_sync_watched(deployment: Deployment) -> None:
    redriven(deployment)
    lease = {"status": "DOWNLOADING", "lease_until": 99999999999, "sync_id": "s"}
    deployment.table("LibraryTableName").put_item(Item={"media_id": "m", "item": 0, **lease})

    with pytest.raises(OperatorError, match="Still open"):
        watch(deployment, "s", timeout=0)


def test_a_medium_that_another_sync_is_downloading_is_waited_for(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN", expected=1)
    put(deployment, "s", "medium#m", state="DISCOVERED", filename="GX01.MP4")
    lease = {"status": "DOWNLOADING", "lease_until": 99999999999, "sync_id": "other"}
    deployment.table("LibraryTableName").put_item(Item={"media_id": "m", "item": 0, **lease})

    view = look(deployment, "s")

    assert (set(view.working), set(view.elsewhere)) == (set(), {"m"})
    assert list(changes(View(), view))[-1] == "  waiting      GX01.MP4 (m): another sync is downloading it"
    assert standing(view) == "0 of 1 stored, 1 waiting for another sync; 0 bytes"


@pytest.mark.parametrize(
    ("status", "shown"), [("INPROGRESS", "waiting for a session with GoPro"), ("COMPLETED", "listing the library")]
)
def test_a_sync_that_has_no_session_yet_is_said_to_wait_for_it(deployment: Deployment, status: str, shown: str) -> None:
    put(deployment, "s", state="OPEN")
    deployment.table("AuthenticatorTableName").put_item(Item={**sync_key("s"), "status": status})

    assert standing(look(deployment, "s")) == f"0 stored, {shown}; 0 bytes"


def test_a_sync_in_which_nothing_moves_is_shown_as_such(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN", expected=1)
    clock = Mock(**{"monotonic.side_effect": [0, 1, 131]})
    shown: list[str] = []

    terminal = Mock(redraws=False, show=lambda view, quiet: shown.append(standing(view) + quiet))
    with pytest.raises(OperatorError, match="Still open after 131 s"):
        watch(deployment, "s", timeout=100, terminal=terminal, clock=clock)

    assert shown == ["0 of 1 stored; 0 bytes", "0 of 1 stored; 0 bytes; nothing new for 2 min"]


def test_the_last_sync_is_the_one_requested_last_whatever_is_unsettled(deployment: Deployment) -> None:
    put(deployment, "newest", state="CLOSED", requested_at="2026-11-23T06:00:00Z")
    put(deployment, "open", state="OPEN", requested_at="2026-11-23T01:00:00Z")
    put(deployment, "open", "medium#m", state="FAILED")
    put(deployment, "#unsettled", "open")

    assert last_sync(deployment) == "newest"


SUMMARY = {"closed_at": "2026-11-24T08:00:00Z", "trigger": "scheduled", "reason": ""}


def closed_since_there_is_a_history(deployment: Deployment, sync_id: str, requested_at: str) -> None:
    table = deployment.table("SyncsTableName")
    sync = ClosedSync(
        sync_id=sync_id,
        requested_at=requested_at,
        closed_because="complete",
        outcome="completed",
        summary=SUMMARY,
        unsettled=False,
    )
    SyncsTable(table.meta.client, table.name, clock=Clock()).write(None, sync)


def test_the_last_sync_is_found_in_the_history_without_a_scan(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sync_id, day in (("a", 23), ("b", 24), ("c", 22)):
        closed_since_there_is_a_history(deployment, sync_id, f"2026-11-{day}T06:00:00Z")
    monkeypatch.setattr("ops.watch._all_syncs", None)
    assert last_sync(deployment) == "b"
    assert [past.sync_id for past in deployment.syncs().recent(2)] == ["b", "a"]
    put(deployment, "open", state="OPEN", requested_at="2026-11-24T07:00:00Z")
    put(deployment, "#unsettled", "open")
    assert last_sync(deployment) == "open"


def test_a_sync_that_an_earlier_version_closed_may_be_the_last_one_until_another_closes(deployment: Deployment) -> None:
    table = deployment.table("SyncsTableName")
    put(
        deployment,
        "scheduled-2026-11-22",
        state="CLOSED",
        requested_at="2026-11-22T01:00:00Z",
        closed_because="complete",
        outcome="completed",
        summary=SUMMARY,
    )
    put(deployment, "manual", state="CLOSED", requested_at="2026-11-22T06:00:00Z")
    SyncsTable(table.meta.client, table.name, clock=Clock()).import_into_history(["scheduled-2026-11-22"])
    assert last_sync(deployment) == "manual"
    closed_since_there_is_a_history(deployment, "next", "2026-11-23T01:00:00Z")
    assert last_sync(deployment) == "next"


def test_before_the_first_sync_the_command_that_starts_one_is_named(deployment: Deployment) -> None:
    with pytest.raises(OperatorError, match="cloud-sync trigger"):
        last_sync(deployment)


def test_the_result_of_a_sync_is_also_json_with_the_progress_apart(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    redriven(deployment)
    monkeypatch.setattr(command, "_deployment", lambda _: deployment)

    assert command.main(["watch", "s", "--json"]) == 1

    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["sync_id"], found["outcome"], found["expected"], found["downloaded"]) == ("s", "partial", 5, 4)
    assert found["media"] == [
        {
            "media_id": "m", "filename": None, "state": "FAILED", "bytes": None, "seconds": None,
            "files_total": None, "already_stored": None, "reason": "gone",
        }
    ]  # fmt: skip
    assert "sync s" in printed.err


def test_between_two_looks_at_all_tables_a_live_screen_shows_the_lanes(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN", expected=2)
    put(deployment, "s", "medium#m", state="DISCOVERED")
    put(deployment, "s", "medium#n", state="DISCOVERED")
    library = deployment.table("LibraryTableName")
    lane = {"media_id": "m", "item": 0, "status": "DOWNLOADING", "lease_until": 99999999999, "sync_id": "s"}
    for other in ("m", "n"):
        library.put_item(Item={**lane, "media_id": other, "progress": {"bytes": 1}})
    shown: list[dict[str, int]] = []
    seconds = [0.0]

    def show(view: View, _: str) -> None:
        shown.append(dict(view.arrived))
        if len(shown) == 2:
            library.put_item(Item={**lane, "progress": {"bytes": 7}})
        if len(shown) == 3:
            library.put_item(Item={**lane, "status": "STORED", "bytes_total": 9, "lease_until": 1})

    def sleep(given: float) -> None:
        seconds[0] += given

    clock = Mock(monotonic=lambda: seconds[0], sleep=sleep)
    with pytest.raises(OperatorError, match="Still open after 3 s"):
        watch(deployment, "s", timeout=3, terminal=Mock(redraws=True, show=show), clock=clock)

    assert shown == [{"m": 1, "n": 1}, {"m": 1, "n": 1}, {"m": 7, "n": 1}, {"m": 9, "n": 1}]


def test_a_medium_that_is_stored_and_not_counted_yet_has_arrived(deployment: Deployment) -> None:
    put(deployment, "s", state="OPEN", expected=2)
    put(deployment, "s", "medium#m", state="DISCOVERED", size=8)
    put(deployment, "s", "medium#other", state="DISCOVERED", size=8)
    library = deployment.table("LibraryTableName")
    stored = {"item": 0, "status": "STORED", "bytes_total": 9}
    library.put_item(Item={**stored, "media_id": "m", "sync_id": "s"})
    library.put_item(Item={**stored, "media_id": "other", "sync_id": "before"})

    view = look(deployment, "s")

    assert view.arrived == {"m": 9}
    assert view.sizes == {"m": 9, "other": 8}
