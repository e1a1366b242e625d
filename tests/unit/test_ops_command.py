"""The command: its arguments, the local stage, and its exit status."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from typer.main import get_command

from ops import __main__ as entry
from ops import command, dead_letters, demo, watch
from ops.arguments import PANELS, app
from ops.deployment import Deployment, on_aws
from ops.errors import OperatorError
from ops.local import stage
from ops.local.deploy import _every_few_seconds
from ops.local.processes import StageProcess
from ops.local.toolchain import ROOT, DeployTools, EmulatorTools
from ops.progress import View
from tools.pseudo_terminal import pseudo_terminal

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("error", "printed", "status"),
    [
        (OperatorError("do this"), "cloud-sync: do this\n", 2),
        (NoCredentialsError(), "cloud-sync: Unable to locate credentials\n", 2),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "PutEvents"),
            "cloud-sync: AWS refused PutEvents: AccessDenied: not you\n",
            2,
        ),
        (KeyboardInterrupt(), "", 130),
    ],
)
def test_an_error_is_one_clear_line_and_an_interrupt_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, error: BaseException, printed: str, status: int
) -> None:
    monkeypatch.setattr(command, "deployment_for", Mock(side_effect=error))

    assert command.main(["status"]) == status
    assert capsys.readouterr().err == printed


@pytest.mark.parametrize(("outcome", "status"), [("completed", 0), ("partial", 1), ("failed", 1)])
def test_the_exit_status_is_the_outcome(monkeypatch: pytest.MonkeyPatch, outcome: str, status: int) -> None:
    closed = View(sync={"sync_id": "s", "state": "CLOSED", "outcome": outcome})
    monkeypatch.setattr(command, "_deployment", lambda _, **__: None)
    monkeypatch.setattr(watch, "watch", lambda *_, **__: closed)

    assert command.main(["watch", "s"]) == status


def test_ctrl_c_says_that_the_sync_goes_on_and_how_to_look_again(
    monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _: on_aws("prod"))
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setattr(watch, "look", Mock(side_effect=KeyboardInterrupt))

    assert command.main(["watch", "s"]) == 130
    assert capsys.readouterr().err.endswith("To look again: .venv/bin/cloud-sync watch s --env prod\n")


def test_watching_the_latest_sync_names_an_older_one_that_is_unsettled(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, deployment: Deployment
) -> None:
    syncs = deployment.table("SyncsTableName")
    for sync_id, hour in (("old", 1), ("new", 2)):
        at = f"2026-11-23T0{hour}:00:00Z"
        syncs.put_item(Item={"sync_id": sync_id, "record": "sync", "state": "CLOSED", "requested_at": at})
    syncs.put_item(Item={"sync_id": "#unsettled", "record": "old"})
    monkeypatch.setattr(command, "_deployment", lambda _: deployment)

    command.main(["watch"])

    printed = capsys.readouterr()
    assert "an older sync is not settled yet: .venv/bin/cloud-sync watch old\n" in printed.err
    assert printed.out.startswith("sync new, requested at")


def test_a_redrive_of_a_medium_without_dead_letters_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: None)
    monkeypatch.setattr(dead_letters, "redrive", lambda *_, **__: [])

    assert command.main(["redrive", "--media-id", "typo"]) == 1
    assert "no dead letter of the downloader is about typo" in capsys.readouterr().err


def test_a_python_without_the_packages_names_the_remedy(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setitem(sys.modules, "ops.command", None)

    assert entry.main() == 2
    assert "Run `make setup`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "trigger --from yesterday",
        "trigger --types=",
        "trigger --types Video,,Photo",
        "trigger --wait --timeout -1",
        "trigger --wait --timeout nan",
        "watch --timeout -1",
        "trigger --env staging",
        "trigger --env dev --local",
        "redrive --limit 0",
        "redrive --service nobody",
        "local",
        "local up --set novalue",
        "cost --megabytes-per-second 0",
        "cost --gigabytes-each 1e308",
        "cost --media-per-night nan",
    ],
)
def test_wrong_arguments_are_refused_in_plain_text(capsys: Output, line: str) -> None:
    assert command.main(line.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"cloud-sync: .+\nFor help: cloud-sync.* --help\n", printed.err)


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (
            "trigger --provider dropbox",
            "the provider 'dropbox' is unknown; the only provider is gopro. Nothing was sent",
        ),
        ("trigger --types Vidoe", "GoPro has no Vidoe; its types are "),
        ("trigger --sync-id -x", "`sync_id`: 1 to 100 letters"),
        (
            "trigger --from 2026-08-14 --until 2026-08-01",
            "filters.captured_until has to be later than filters.captured_from",
        ),
        ("trigger --timeout 5", "--timeout is for watching: add --wait"),
    ],
)
def test_a_wrong_request_is_refused_before_aws_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, line: str, refusal: str
) -> None:
    monkeypatch.setattr(command, "deployment_for", Mock(side_effect=AssertionError("AWS was called")))

    assert command.main(line.replace("--sync-id ", "--sync-id=").split()) == 2
    assert refusal in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "refusals"),
    [
        ("--gopro-url nonsense", ["--gopro-url 'nonsense' is refused; allowed: the https address"]),
        ("--gopro-url https://[::1", ["--gopro-url 'https://[::1' is refused"]),
        (
            "--gopro-url http://gopro.example --set concurrency=1 --set retry_bas_seconds=1",
            ["--gopro-url 'http://gopro.example' is", "concurrency='1' is refused", "did you mean retry_base_seconds?"],
        ),
        ("--set gopro_api_url=nonsense", ["gopro_api_url='nonsense' is refused"]),
    ],
)
def test_wrong_settings_of_a_stage_are_refused_by_their_names_before_anything_starts(
    tmp_path: Path, capsys: Output, line: str, refusals: list[str]
) -> None:
    folder = tmp_path / "stage"

    assert command.main(["local", "up", "--stage-dir", str(folder), *line.split()]) == 2
    printed = capsys.readouterr().err
    assert [refusal for refusal in refusals if refusal not in printed] == []
    assert not folder.exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tigger", "No such command 'tigger'. Did you mean 'trigger'?\nFor help: cloud-sync --help"),
        ("trigger --from yesterday", "Invalid value for '--from': 'yesterday' is not a date such as 2026-01-30"),
        ("trigger --wiat", "No such option: --wiat (Possible options: --wait)\nFor help: cloud-sync trigger --help"),
        ("redrive --service nobody", "'nobody' is not one of authenticator, lister, downloader, summarizer"),
        ("trigger --env staging", "Invalid value for '--env': 'staging' is not one of 'dev', 'prod'"),
        ("cancel", "Missing argument 'SYNC_ID'"),
        ("status --env dev --local", "--env names a stack on AWS, and --local the local stage: give one of them"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_right(capsys: Output, line: str, said: str) -> None:
    assert command.main(line.split()) == 2
    assert said in capsys.readouterr().err


def commands(of: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All commands, with the words that name them."""
    line: Any = of or get_command(app)
    for name, one in line.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*before, name))
        else:
            yield (*before, name), one


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_the_help_of_a_command_has_an_example_that_is_accepted(capsys: Output, words: tuple[str, ...]) -> None:
    assert command.main([*words, "--help"]) == 0

    helped = capsys.readouterr().out
    examples = re.findall(rf"^  cloud-sync ({' '.join(words)}.*)$", helped, re.MULTILINE)
    assert examples
    for example in examples:
        command.parse(shlex.split(example.partition(" < ")[0]))
    assert max(map(len, helped.splitlines())) <= 80
    assert helped.isascii()  # no boxes


def test_the_help_has_the_commands_by_panel_and_the_exit_statuses(capsys: Output) -> None:
    assert command.main(["--help"]) == 0

    helped = capsys.readouterr().out
    panels = re.findall(r"^([A-Z].*):$", helped, re.MULTILINE)
    assert panels == ["Options", *PANELS, "Examples", "Exit status"]
    assert {words[0] for words, _ in commands()} <= set(re.findall(r"^  ([a-z]+) ", helped, re.MULTILINE))


def test_in_a_terminal_the_help_has_panels_and_keeps_the_defaults() -> None:
    with pseudo_terminal(["trigger", "--help"], columns=80) as terminal:
        assert terminal.wait(60) == 0

    assert terminal.picture.count("╭─") == 1
    assert "[default: gopro]" in terminal.picture
    assert "Default: never." in terminal.picture
    assert "<bool>" not in terminal.picture
    assert terminal.picture.endswith("cloud-sync trigger --types Video,Photo --from 2026-01-30")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_options_and_services(shell: str) -> None:
    def offered(*words: str) -> str:
        line = " ".join(["cloud-sync", *words])
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words)), "_TYPER_COMPLETE_ARGS": line}
        environment = {**os.environ, **asked, "_CLOUD_SYNC_COMPLETE": f"complete_{shell}"}
        environment["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
        ran = subprocess.run(
            [sys.executable, "-m", "ops"], env=environment, capture_output=True, text=True, check=True, cwd=ROOT
        )
        return ran.stdout

    assert "trigger" in offered("tri")
    assert "--media-id" in offered("redrive", "--med")
    assert "summarizer" in offered("redrive", "--service", "summ")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-01-30", "2026-01-30T00:00:00Z"),
        ("2026-01-30T21:08:11Z", "2026-01-30T21:08:11Z"),
        ("2026-01-30T21:08:11+01:00", "2026-01-30T20:08:11Z"),
    ],
)
def test_a_time_without_a_zone_is_utc(given: str, sent: str) -> None:
    run = command.parse(["trigger", "--from", given])
    assert isinstance(run, partial)
    assert run.keywords["captured_from"] == sent


def test_stopping_a_stage_that_does_not_exist_does_no_harm(tmp_path: Path) -> None:
    assert command.main(["local", "down", "--stage-dir", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_files_is_neither_used_nor_deleted(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "letters.txt").write_text("dear")

    assert command.main(["local", "up", "--stage-dir", str(tmp_path), "--gopro-url", "http://127.0.0.1:9"]) == 2
    assert command.main(["local", "down", "--stage-dir", str(tmp_path)]) == 0

    assert "is not empty and holds no local stage" in capsys.readouterr().err
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "letters.txt").write_text("dear")

    assert command.main(["local", "up", "--stage-dir", str(tmp_path / "letters.txt" / "stage")]) == 2
    assert "letters.txt/stage can't be a local stage's folder: Not a directory" in capsys.readouterr().err


def test_a_demo_does_not_replace_one_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    monkeypatch.setattr(stage, "_running", lambda _: stage.Stage(folder=tmp_path, mark="m"))
    monkeypatch.setattr(stage, "_remove", lambda _: pytest.fail("the stage was removed"))

    assert command.main(["demo"]) == 2
    expected = f"still runs. Stop it first: .venv/bin/cloud-sync local down --stage-dir {tmp_path}"
    assert expected in capsys.readouterr().err


def test_a_stage_that_runs_without_iam_is_not_used_as_one_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = stage.Stage(folder=tmp_path, mark="m", endpoint_url="http://127.0.0.1:1")
    monkeypatch.setattr(stage, "_running", lambda _: running)

    with pytest.raises(OperatorError, match="runs without IAM"):
        stage.up(stage.Wanted(folder=tmp_path, enforce_iam=True), say=lambda _: None)


def test_the_shell_of_a_stage_with_iam_trusts_its_certificate(tmp_path: Path) -> None:
    over_tls = stage.Stage(folder=tmp_path / "a stage", mark="m", endpoint_url="https://127.0.0.1:1")
    without = replace(over_tls, endpoint_url="http://127.0.0.1:1")

    assert over_tls.deployment.certificate == over_tls.description["certificate"] == str(over_tls.certificate)
    assert shlex.split(over_tls.shell)[-1] == f"AWS_CA_BUNDLE={over_tls.certificate}"
    assert "AWS_CA_BUNDLE" not in without.shell
    assert without.description["certificate"] is None


def test_credentials_replace_a_secret_that_is_not_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Mock(**{"get_secret_value.return_value": {"SecretString": "hello"}})
    monkeypatch.setattr(stage.Stage, "deployment", Mock(**{"client.return_value": secrets}))
    brought = stage.Stage(folder=tmp_path, mark="m", outputs={"CredentialsSecretName": "arn"})

    stage._fill_credentials(brought, {"access_token": "t"}, lambda _: None)

    secrets.put_secret_value.assert_called_once_with(SecretId="arn", SecretString='{"access_token": "t"}')


def test_a_missing_tool_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"\.stage/venv/bin/python.*make setup"):
        EmulatorTools.find(tmp_path)
    with pytest.raises(OperatorError, match=r"node_modules/\.bin/cdk.*make setup"):
        DeployTools.find(tmp_path)


def test_the_state_of_a_stage_is_read_as_it_was_written(tmp_path: Path) -> None:
    process = StageProcess(name="ministack", pid=1, started=2.5)
    before = stage.Stage(folder=tmp_path, mark="m", processes=(process,), outputs={"EventBusName": "bus"})
    stage._saved(before)

    assert stage.load(tmp_path) == before


def test_a_state_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"mark": ')

    with pytest.raises(OperatorError, match="can't be read"):
        stage.load(tmp_path)


def test_a_stage_has_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_running", lambda _: stage.Stage(folder=tmp_path, mark="m", env="prod"))

    with pytest.raises(OperatorError, match=r"has the stack of env=prod, .*\. Or stop it first: .*local down --stage"):
        stage.up(stage.Wanted(folder=tmp_path, settings={"env": "dev"}), say=lambda _: None)


@pytest.mark.parametrize(
    ("gopro_url", "settings", "context"),
    [
        ("https://api.gopro.com", {}, {}),
        ("http://127.0.0.1:8080", {"concurrency": "2"}, {"download_hosts": "127.0.0.1", "concurrency": "2"}),
        ("http://127.0.0.1:8080", {"download_hosts": "localhost"}, {"download_hosts": "localhost"}),
    ],
)
def test_a_stage_allows_downloads_from_its_own_gopro_cloud_unless_the_operator_says_otherwise(
    gopro_url: str, settings: dict[str, str], context: dict[str, str]
) -> None:
    expected = {"env": "dev", "wheels": "host", "gopro_api_url": gopro_url, **context}

    assert stage._context(gopro_url, settings) == expected


def test_a_deployment_says_every_few_seconds_how_far_it_is_and_what_it_is_at() -> None:
    seconds, said = iter([0, 2, 5, 9, 10, 15]), list[str]()
    meanwhile = _every_few_seconds(said.append, "deploying", lambda: next(seconds))
    line = "stack |  0/72 | x\nstack | 13/72 | 3:32:24 AM | CREATE_COMPLETE"

    for log in ("", "creating", "", line, f"{line}      | AWS::Lambda::Function  | downloader/Function (downloaderF)"):
        meanwhile(log)

    assert said == [
        "  deploying for 5 s",
        "  deploying for 10 s, 13/72 resources",
        "  deploying for 15 s, 13/72 resources, now Lambda::Function",
    ]
