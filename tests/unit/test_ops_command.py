"""The command: what it takes, where it goes, how it ends."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from ops import __main__ as entry
from ops import command, demo, watch
from ops.deployment import Deployment, on_aws
from ops.errors import OperatorError
from ops.local import stage
from ops.local.credentials import read_credentials
from ops.local.processes import StageProcess
from ops.local.toolchain import DeployTools, EmulatorTools
from ops.progress import View

Fails = Callable[[BaseException], None]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Lets `cloud-sync status` end with an exception."""

    def arrange(error: BaseException) -> None:
        def run(_: object) -> int:
            raise error

        monkeypatch.setattr(command, "_status", run)

    return arrange


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OperatorError("put this right"), "cloud-sync: put this right\n"),
        (NoCredentialsError(), "cloud-sync: Unable to locate credentials\n"),
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "PutEvents"),
            "cloud-sync: AWS refused PutEvents: AccessDenied: not you\n",
        ),
    ],
)
def test_every_failure_is_one_clear_line_and_status_2(
    fails: Fails, capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    fails(error)

    assert command.main(["status"]) == 2
    assert capsys.readouterr().err == told


def test_an_interrupt_ends_without_a_word(fails: Fails, capsys: pytest.CaptureFixture[str]) -> None:
    fails(KeyboardInterrupt())

    assert command.main(["status"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("outcome", "status"), [("completed", 0), ("partial", 1), ("failed", 1)])
def test_the_exit_status_is_the_outcome(monkeypatch: pytest.MonkeyPatch, outcome: str, status: int) -> None:
    closed = View(sync={"sync_id": "s", "state": "CLOSED", "outcome": outcome})
    monkeypatch.setattr(command, "_deployment", lambda _: None)
    monkeypatch.setattr(watch, "watch", lambda *_, **__: closed)

    assert command.main(["watch", "s"]) == status


def test_a_redrive_that_finds_nothing_of_a_medium_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "_deployment", lambda _: None)
    monkeypatch.setattr(command.dead_letters, "redrive", lambda *_, **__: [])

    assert command.main(["redrive", "--media-id", "typo"]) == 1
    assert "no dead letter of the downloader is about typo" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["trigger", "--from", "yesterday"],
        ["trigger", "--env", "staging"],
        ["trigger", "--env", "dev", "--local"],
        ["redrive", "--limit", "0"],
        ["redrive", "--service", "nobody"],
        ["local"],
        ["local", "up", "--set", "novalue"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)

    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-01-30", "2026-01-30T00:00:00Z"),
        ("2026-01-30T21:08:11Z", "2026-01-30T21:08:11Z"),
        ("2026-01-30T21:08:11+01:00", "2026-01-30T20:08:11Z"),
    ],
)
def test_times_are_in_utc_unless_they_say_otherwise(given: str, sent: str) -> None:
    parsed = command._parser().parse_args(["trigger", "--from", given])

    assert parsed.captured_from == sent


def deployment_for(*arguments: str) -> Deployment:
    return command._deployment(command._parser().parse_args(["status", *arguments]))


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with a local stage that seems to be up."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(stage, "is_this_stage", lambda *_: True)
    stage._saved(stage.Stage(folder=tmp_path, mark="m", endpoint_url="http://127.0.0.1:1", outputs={"A": "b"}))
    return str(tmp_path)


def test_a_command_goes_to_the_local_stage_that_is_up_and_says_so(
    local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployment_for("--stage-dir", local).endpoint_url == "http://127.0.0.1:1"
    assert capsys.readouterr().err == "cloud-sync: on the local stage at http://127.0.0.1:1\n"


def test_a_command_goes_to_aws_when_it_says_so_or_no_stage_is_up(
    local: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deployment_for("--stage-dir", local, "--env", "prod").stack_name == "cloud-sync-prod"
    monkeypatch.setattr(stage, "DEFAULT_FOLDER", Path(local))
    monkeypatch.setattr(stage, "is_this_stage", lambda *_: False)

    assert deployment_for().endpoint_url is None
    assert capsys.readouterr().err.endswith("cloud-sync: on cloud-sync-dev in eu-central-1\n")


def test_a_stage_that_runs_without_iam_is_not_taken_for_one_with_it(
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


def test_a_local_stage_that_does_not_run_is_not_taken_for_one(local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "is_this_stage", lambda *_: False)

    with pytest.raises(OperatorError, match="does not run"):
        deployment_for("--stage-dir", local, "--local")
    with pytest.raises(OperatorError, match="does not run"):
        deployment_for("--stage-dir", local)  # and not on AWS, where nobody meant to be
    with pytest.raises(OperatorError, match="There is no local stage"):
        deployment_for("--stage-dir", f"{local}/elsewhere", "--local")


def test_without_a_region_it_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(OperatorError, match="Which AWS region"):
        on_aws("dev")


def test_the_region_may_be_named_as_the_aws_command_line_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)

    assert on_aws("dev").place == "in eu-west-3"


def test_an_address_that_a_shell_still_has_from_a_local_stage_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")

    assert on_aws("prod").place == "in eu-west-3 at AWS_ENDPOINT_URL, http://127.0.0.1:1"


def test_a_python_without_the_packages_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ops.command", None)

    assert entry.main() == 2
    assert "Run `make setup`" in capsys.readouterr().err


# --- the local stage ------------------------------------------------------------------------------------------------


def test_down_of_nothing_does_no_harm(tmp_path: Path) -> None:
    assert command.main(["local", "down", "--stage-dir", str(tmp_path / "none")]) == 0
    assert not (tmp_path / "none").exists()


def test_a_folder_with_other_things_in_it_is_neither_used_nor_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters.txt").write_text("dear")

    assert command.main(["local", "up", "--stage-dir", str(tmp_path), "--gopro-url", "http://127.0.0.1:9"]) == 2
    assert command.main(["local", "down", "--stage-dir", str(tmp_path)]) == 0

    assert "is not empty and holds no local stage" in capsys.readouterr().err
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letters.txt").write_text("dear")

    assert command.main(["local", "up", "--stage-dir", str(tmp_path / "letters.txt" / "stage")]) == 2
    assert "letters.txt/stage can't be a local stage's folder: Not a directory" in capsys.readouterr().err


def test_a_demo_does_not_take_over_one_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stage.Stage(folder=tmp_path, mark="m")
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    monkeypatch.setattr(stage, "_running", lambda _: kept)
    monkeypatch.setattr(stage, "_remove", lambda _: pytest.fail("it was taken down"))

    assert command.main(["demo"]) == 2
    assert f"still runs. End it first: .venv/bin/cloud-sync local down --stage-dir {tmp_path}" in (
        capsys.readouterr().err
    )


def test_credentials_replace_what_is_no_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Mock(**{"get_secret_value.return_value": {"SecretString": "hello"}})
    monkeypatch.setattr(stage.Stage, "deployment", Mock(**{"client.return_value": secrets}))
    brought = stage.Stage(folder=tmp_path, mark="m", outputs={"CredentialsSecretName": "arn"})

    stage._fill_credentials(brought, {"access_token": "t"}, lambda _: None)

    secrets.put_secret_value.assert_called_once_with(SecretId="arn", SecretString='{"access_token": "t"}')


def test_what_is_not_installed_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"\.stage/venv/bin/python.*make setup"):
        EmulatorTools.find(tmp_path)
    with pytest.raises(OperatorError, match=r"node_modules/\.bin/cdk.*make setup"):
        DeployTools.find(tmp_path)


def test_the_state_of_a_stage_is_read_as_it_was_written(tmp_path: Path) -> None:
    before = stage.Stage(
        folder=tmp_path,
        mark="m",
        processes=(StageProcess(name="ministack", pid=1, started=2.5),),
        endpoint_url="http://127.0.0.1:1",
        outputs={"EventBusName": "bus"},
    )
    stage._saved(before)

    assert stage.load(tmp_path) == before


def test_a_state_that_cannot_be_read_is_said_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"mark": ')

    with pytest.raises(OperatorError, match="can't be read"):
        stage.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        {"client_id": "i", "client_secret": "s", "refresh_token": "r"},
        {"client_id": "i", "client_secret": "s", "username": "u", "password": "p"},
        {"client_id": "i", "client_secret": "s", "username": "u", "password": "p", "refresh_token": "r"},
        {"access_token": "t"},
    ],
)
def test_every_form_of_credentials_is_taken(tmp_path: Path, content: dict[str, str]) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(content))

    assert read_credentials(file) == content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "is incomplete; it has nothing"),
        ('{"client_id": "hush", "client_secret": "hush"}', "is incomplete; it has client_id, client_secret"),
        ('{"access_token": "hush", "acess": "hush"}', "unknown keys: acess"),
        ('{"access_token": ""}', "no usable access_token"),
        ('{"access_token": 5}', "no usable access_token"),
    ],
)
def test_wrong_credentials_are_refused_with_the_allowed_keys_and_without_a_value(
    tmp_path: Path, content: str, told: str
) -> None:
    file = tmp_path / "credentials.json"
    file.write_text(content)

    with pytest.raises(OperatorError, match=told) as caught:
        read_credentials(file)

    assert '{"client_id", "client_secret", "refresh_token"}' in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_credentials_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"none\.json can't be read"):
        read_credentials(tmp_path / "none.json")


def test_the_settings_of_a_local_stage_name_its_cloud_and_yield_to_the_operators(tmp_path: Path) -> None:
    context: Any = stage._context("http://127.0.0.1:8080", {"concurrency": "2", "download_hosts": "localhost"})

    assert context == {
        "env": "dev",
        "wheels": "host",
        "gopro_api_url": "http://127.0.0.1:8080",
        "download_hosts": "localhost",
        "concurrency": "2",
    }


def test_a_cloud_elsewhere_keeps_the_usual_download_hosts() -> None:
    assert "download_hosts" not in stage._context("https://api.gopro.com", {})
