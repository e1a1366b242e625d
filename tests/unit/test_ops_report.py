"""`cloud-sync report`: the page of a sync, from the bucket or from the tables."""

from pathlib import Path
from typing import Any

import pytest

from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.report import latest, write_library_page, write_page
from services.shared.clock import Clock
from services.summarizer.records import ClosedSync, Sync
from services.summarizer.report import LIBRARY_PAGE_KEY, page_key
from services.summarizer.syncs_table import SyncsTable
from tests.pages import SYNC, sync_of


@pytest.fixture
def stack(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment with a bucket, and a summarizer that has settings."""
    s3, made = deployment.client("s3"), deployment.client
    s3.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    deployment.outputs.update(MediaBucketName="media", SummarizerFunctionName="summarizer")
    variables = {
        "DOWNLOADER_MEMORY_MB": "2048",
        "SCHEDULE_TIME_ZONE": "Europe/Berlin",
        "SCHEDULE_HOUR": "2",
        "SCHEDULE_ENABLED": "True",
    }

    class Function:
        def get_function_configuration(self, **named: str) -> dict[str, Any]:
            assert named == {"FunctionName": "summarizer"}
            return {"Environment": {"Variables": variables}}

    monkeypatch.setattr(Deployment, "client", lambda _, service: Function() if service == "lambda" else made(service))
    return deployment


def keep(stack: Deployment, sync: Sync) -> SyncsTable:
    table = stack.table("SyncsTableName")
    syncs = SyncsTable(table.meta.client, table.name, clock=Clock())
    syncs.write(None, sync)
    return syncs


def closed(stack: Deployment) -> ClosedSync:
    told = sync_of(12)
    assert isinstance(told.sync, ClosedSync)
    begun = Sync(sync_id=SYNC, version=told.sync.version - 1, requested_at=told.sync.requested_at)
    syncs = keep(stack, begun)
    syncs.write(begun, told.sync, list(told.media.values()))
    return told.sync


def test_the_page_in_the_bucket_is_written_as_it_is(stack: Deployment, tmp_path: Path) -> None:
    stack.client("s3").put_object(Bucket="media", Key=page_key(SYNC), Body=b"<!doctype html>the page")
    said: list[str] = []
    path = write_page(stack, SYNC, said.append, output=None)
    assert (path.name, path.read_bytes(), said) == (f"{SYNC}.html", b"<!doctype html>the page", [])
    assert path.is_absolute()
    own = tmp_path / "own.html"
    assert write_page(stack, SYNC, said.append, output=own) == own
    assert own.read_bytes() == path.read_bytes()


def test_without_one_the_page_is_drawn_from_the_tables(stack: Deployment) -> None:
    sync = closed(stack)
    said: list[str] = []
    page = write_page(stack, SYNC, said.append, output=None).read_text()
    assert said == ["the bucket has no page of this sync; this one is drawn from the tables"]
    assert "<h1>9 of 11 new media are stored: 2 failed.</h1>" in page
    assert "at 2,048 MB" in page  # the downloader's memory
    assert "02:00 to 02:05 CET" in page  # in the schedule's zone
    assert latest(stack) == sync.sync_id


def test_the_page_of_the_library_is_fetched_or_drawn_too(stack: Deployment, tmp_path: Path) -> None:
    sync = closed(stack)
    said: list[str] = []
    page = write_library_page(stack, said.append, output=None).read_text()
    assert said == ["the bucket has no page of the library; this one is drawn from the tables"]
    assert f"{sync.sync_id}</i>" in page
    assert ", 02:00</bdi>" in page  # the next sync, in the schedule's zone
    stack.client("s3").put_object(Bucket="media", Key=LIBRARY_PAGE_KEY, Body=b"<!doctype html>the library")
    path = write_library_page(stack, said.append, output=tmp_path / "own.html")
    assert (path.read_bytes(), len(said)) == (b"<!doctype html>the library", 1)


def test_an_open_and_an_unknown_sync_have_no_page(stack: Deployment) -> None:
    keep(stack, Sync(sync_id="open", version=1))
    with pytest.raises(OperatorError, match=r"has not closed, so it has no page yet.*watch open"):
        write_page(stack, "open", print, output=None)
    with pytest.raises(OperatorError, match="There is no sync typo"):
        write_page(stack, "typo", print, output=None)
    with pytest.raises(OperatorError, match="No sync has closed yet"):
        latest(stack)


def test_a_file_that_cannot_be_written_is_named(stack: Deployment, tmp_path: Path) -> None:
    closed(stack)
    with pytest.raises(OperatorError, match=r"could not be written to .*none.*: No such file"):
        write_page(stack, SYNC, print, output=tmp_path / "none" / "page.html")


@pytest.mark.parametrize(("opens", "status"), [(True, 0), (False, command.SOMETHING_WRONG)])
def test_the_command_prints_the_path_and_opens_the_page(
    stack: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    opens: bool,
    status: int,
) -> None:
    closed(stack)
    opened: list[str] = []

    def open_(url: str) -> bool:
        opened.append(url)
        return opens

    monkeypatch.setattr("webbrowser.open", open_)
    monkeypatch.setattr(command, "deployment_for", lambda *_, **__: stack)
    assert command.main(["report", "--open"]) == status
    path = Path(capsys.readouterr().out.strip())
    assert opened == [path.as_uri()]
    assert path.read_bytes().startswith(b"<!doctype html>")


def test_the_command_refuses_a_sync_of_the_library(stack: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["report", "--library", SYNC]) == 2
    assert "leave out SYNC_ID" in capsys.readouterr().err


def test_the_command_writes_the_page_of_the_library(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "deployment_for", lambda *_, **__: stack)
    assert command.main(["report", "--library", "--output", str(tmp_path / "page.html")]) == 0
    assert "No sync has closed yet." in Path(capsys.readouterr().out.strip()).read_text()
