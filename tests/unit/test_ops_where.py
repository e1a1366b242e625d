"""Which stack a command is for, and when it asks before it changes one."""

import io
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from ops import command
from ops.deployment import Deployment, on_aws
from ops.errors import OperatorError
from ops.local import stage
from ops.local.toolchain import ROOT
from ops.where import Where, WhereToChange, deployment_for

Output = pytest.CaptureFixture[str]


def chosen(line: str, *, changes: bool = False) -> Deployment:
    run = command.parse(line.split())
    assert isinstance(run, partial)
    return deployment_for(run.keywords["where"], command.say, changes=changes)


class Checkout:
    """The root of a checkout, with local stages that seem to run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.running: set[str] = set()

    def has(self, name: str, *, running: bool = True) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True)
        stage._saved(stage.Stage(folder=folder, mark=name, endpoint_url=f"http://{name}", outputs={"A": "b"}))
        self.running |= {name} if running else set()
        return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    made = Checkout(tmp_path)
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(variable, "eu-central-1")
    for variable in ("AWS_ENDPOINT_URL", stage.FOLDER_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(stage, "DEFAULT_FOLDER", tmp_path / ".local")
    monkeypatch.setattr(stage, "is_this_stage", lambda _, mark, __: mark in made.running)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return made


@pytest.fixture
def on_dev(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout without a stage, and a stack on AWS."""
    arn = "arn:aws:cloudformation:eu-central-1:123456789012:stack/cloud-sync-dev/1"
    monkeypatch.setattr(Deployment, "_stack", {"StackId": arn})
    return checkout


class Answer(io.StringIO):
    """A terminal at which somebody types."""

    def isatty(self) -> bool:
        return True


def test_a_command_uses_the_running_local_stage_from_any_folder_and_says_so(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    checkout.has(".local")
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")

    assert chosen("trigger", changes=True).endpoint_url == "http://.local"
    assert capsys.readouterr().err == "cloud-sync: on the local stage at http://.local\n"


def test_the_stage_of_a_demo_that_was_kept_is_found_and_stopped(checkout: Checkout, capsys: Output) -> None:
    folder = checkout.has(".local-demo")

    assert chosen("status").endpoint_url == "http://.local-demo"
    assert command.main(["local", "down"]) == 0
    assert not folder.exists()
    assert f"the local stage in {folder} is down" in capsys.readouterr().err


def test_of_two_stages_the_default_one_is_used_and_the_other_one_named(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    default, other = checkout.has(".local"), checkout.has(".local-demo")
    monkeypatch.chdir(tmp_path)

    assert chosen("status").endpoint_url == "http://.local"
    assert "another local stage runs: name it with --stage-dir .local-demo" in capsys.readouterr().err
    assert command.main(["local", "down"]) == 0
    assert (default.exists(), other.exists()) == (False, True)
    assert capsys.readouterr().err.endswith(": .venv/bin/cloud-sync local down --stage-dir .local-demo\n")


def test_make_clean_names_the_stage_that_is_left(tmp_path: Path) -> None:
    (tmp_path / ".local-demo").mkdir()
    (tmp_path / ".local-demo" / "state.json").touch()

    ran = subprocess.run(
        ["make", "-C", tmp_path, "-f", ROOT / "Makefile", "clean"], capture_output=True, text=True, check=False
    )

    assert ran.returncode != 0
    assert ".venv/bin/cloud-sync local down --stage-dir .local-demo\n" in ran.stderr
    assert (tmp_path / ".local-demo").exists()


def test_the_environment_names_a_stage_and_an_option_another(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.has(".local")
    monkeypatch.setenv("CLOUD_SYNC_STAGE", str(checkout.has("theirs")))
    mine = checkout.has("mine")

    assert chosen("status").endpoint_url == "http://theirs"
    assert chosen(f"status --stage-dir {mine}").endpoint_url == "http://mine"
    assert chosen("status --env prod").stack_name == "cloud-sync-prod"


def test_without_a_running_stage_a_command_that_only_reads_uses_aws_and_says_so(
    checkout: Checkout, capsys: Output
) -> None:
    checkout.has(".local", running=False)

    assert chosen("status").endpoint_url is None
    assert capsys.readouterr().err == "cloud-sync: on cloud-sync-dev in eu-central-1\n"


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("--local", r"\.local does not run\. Start it again: \.venv/bin/cloud-sync local up$"),
        ("--stage-dir {root}/.local", "does not run"),  # never AWS, which nobody named
        ("--stage-dir {root}/elsewhere", "There is no local stage in .*elsewhere"),
    ],
)
def test_a_named_local_stage_that_does_not_run_is_an_error(checkout: Checkout, line: str, refusal: str) -> None:
    checkout.has(".local", running=False)

    with pytest.raises(OperatorError, match=refusal):
        chosen(f"status {line.format(root=checkout.root)}")


def test_a_stage_of_the_environment_that_does_not_run_is_an_error_and_never_aws(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SYNC_STAGE", str(checkout.root / "gone"))

    with pytest.raises(OperatorError, match=r"There is no local stage in .*gone"):
        chosen("status")


def test_without_any_stage_the_command_that_starts_one_is_named(checkout: Checkout) -> None:
    with pytest.raises(OperatorError, match=r"There is no local stage in .*\.local\. .*local up"):
        chosen("status --local")


@pytest.mark.parametrize("line", ["trigger --env dev", "trigger --yes"])
def test_a_change_on_aws_that_was_asked_for_says_where_it_is_made(on_dev: Checkout, line: str, capsys: Output) -> None:
    assert chosen(line, changes=True).stack_name == "cloud-sync-dev"
    assert capsys.readouterr().err == "cloud-sync: on cloud-sync-dev in eu-central-1, account 123456789012\n"


def test_a_change_on_aws_that_nobody_named_is_refused_without_a_terminal(on_dev: Checkout, capsys: Output) -> None:
    with pytest.raises(OperatorError, match=r"Nothing was changed: .* Add --env dev if it is meant, or --yes"):
        chosen("trigger", changes=True)


@pytest.mark.parametrize(("typed", "goes_on"), [("y\n", True), ("Yes\n", True), ("\n", False), ("", False)])
def test_a_change_on_aws_that_nobody_named_asks_at_a_terminal(
    on_dev: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: Output, typed: str, goes_on: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", Answer(typed))

    if goes_on:
        assert chosen("trigger", changes=True).endpoint_url is None
    else:
        with pytest.raises(OperatorError, match="nothing was changed"):
            chosen("trigger", changes=True)
    assert "account 123456789012\nThis changes the stack on AWS. Continue? [y/N]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("trigger", True),
        ("cancel s", True),
        ("redrive", True),
        ("credentials set", True),
        ("credentials login", True),
        ("credentials keep", True),
        ("credentials check", False),
        ("verify --refetch", True),
        ("adopt", True),
        ("verify", False),
        ("adopt --dry-run", False),
        ("status", False),
        ("watch", False),
        ("failures", False),
    ],
)
def test_a_command_says_whether_it_changes_something(monkeypatch: pytest.MonkeyPatch, line: str, changes: bool) -> None:
    asked: list[bool] = []

    def choose(given: Where, _: object, *, changes: bool) -> Deployment:
        asked.append(changes)
        assert isinstance(given, WhereToChange) or not changes
        raise OperatorError("enough")

    monkeypatch.setattr(command, "deployment_for", choose)

    assert command.main(line.split()) == 2
    assert asked == [changes]


def test_without_a_region_the_command_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(OperatorError, match="Which AWS region"):
        on_aws("dev")


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("", "in eu-west-3"),
        ("http://127.0.0.1:1", "in eu-west-3 at AWS_ENDPOINT_URL, http://127.0.0.1:1"),
    ],
)
def test_the_place_is_the_region_of_the_aws_cli_and_the_endpoint_that_a_shell_may_still_export(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, place: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    assert on_aws("prod").place == place
