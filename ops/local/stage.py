"""The local stage: the same stack that is deployed to AWS, on an emulated AWS on this machine."""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from infra.config import Settings, SettingsError, is_loopback
from ops.credentials.forms import checked, read_credentials
from ops.deployment import Deployment, at_endpoint, command
from ops.errors import OperatorError
from ops.local.deploy import deploy
from ops.local.emulator import ACCOUNT, REGION, certificate_of, is_this_stage, start_emulator, tail
from ops.local.processes import StageProcess, end, start
from ops.local.toolchain import ROOT, DeployTools, EmulatorTools

DEFAULT_FOLDER = ROOT / ".local"
FOLDER_VARIABLE = "CLOUD_SYNC_STAGE"
"""The environment variable that names a stage's folder."""

_STATE = "state.json"
_FAKE = "gopro-cloud"
_FAKE_COMMAND = (sys.executable, "-m", "ops.local.gopro_cloud")
_FAKE_START_SECONDS = 20.0
_ANY_FAKE = "http://127.0.0.1:1"  # stands for the address of a fake that has not started yet
_URL = "gopro_api_url"  # the setting behind --gopro-url

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A local stage, as recorded in its folder. Holds no secret."""

    folder: Path
    mark: str
    processes: tuple[StageProcess, ...] = ()
    env: str = "dev"
    endpoint_url: str = ""
    gopro_url: str = ""
    gopro_control_url: str = ""  # empty unless the stage started its own GoPro Cloud
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def enforces_iam(self) -> bool:
        return self.endpoint_url.startswith("https:")

    @property
    def certificate(self) -> Path | None:
        """The endpoint's certificate; None without TLS."""
        return certificate_of(self.folder) if self.enforces_iam else None

    @property
    def deployment(self) -> Deployment:
        certificate = str(self.certificate) if self.certificate else None
        return at_endpoint(self.endpoint_url, REGION, self.env, certificate, options=option(self.folder))

    @property
    def description(self) -> dict[str, object]:
        """The object that `local up --json` prints."""
        return {
            "endpoint_url": self.endpoint_url,
            "region": REGION,
            "account": ACCOUNT,
            "outputs": dict(self.outputs),
            "gopro_url": self.gopro_url,
            "certificate": str(self.certificate) if self.certificate else None,
        }

    @property
    def shell(self) -> str:
        """The shell command that points the AWS CLI at this stage."""
        return (
            f"export AWS_ENDPOINT_URL={self.endpoint_url} AWS_REGION={REGION} "
            f"AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
        ) + (f" AWS_CA_BUNDLE={shlex.quote(str(self.certificate))}" if self.certificate else "")

    @property
    def is_up(self) -> bool:
        """Whether the stage is deployed, and it and no other answers at its address."""
        return bool(self.outputs) and is_this_stage(self.endpoint_url, self.mark, self.certificate)

    def process(self, name: str) -> StageProcess | None:
        """Return the recorded process of this name, if it still runs."""
        return next((one for one in self.processes if one.name == name and one.find()), None)

    def with_process(self, process: StageProcess) -> "Stage":
        others = tuple(one for one in self.processes if one.name != process.name)
        return replace(self, processes=(*others, process))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The options of `local up`."""

    folder: Path = DEFAULT_FOLDER
    gopro_url: str | None = None  # None: start a fake GoPro Cloud with its demo library
    credentials: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False  # refuse to update a stage that runs already
    enforce_iam: bool = False  # enforce roles and policies as AWS does, over TLS


def named_folder(given: Path | None) -> Path | None:
    """Return the folder that `--stage-dir` or else CLOUD_SYNC_STAGE names; None if neither does."""
    named = os.environ.get(FOLDER_VARIABLE)
    return given or (Path(named) if named else None)


def folders() -> list[Path]:
    """Return the folders in this checkout that hold a stage, running or not: the default one first."""
    found = (path.parent for path in DEFAULT_FOLDER.parent.glob(f"{DEFAULT_FOLDER.name}*/{_STATE}"))
    return sorted(found, key=lambda folder: (folder != DEFAULT_FOLDER, folder))


def option(folder: Path) -> str:
    """Return the option that names this folder on the command line; empty for the default one."""
    if folder.resolve() == DEFAULT_FOLDER:
        return ""
    with contextlib.suppress(ValueError):
        folder = folder.resolve().relative_to(Path.cwd())
    return f"--stage-dir {shlex.quote(str(folder))}"


def up(wanted: Wanted, say: Say) -> Stage:
    """Start the stage, or update the one that runs.

    Raises `OperatorError` when it fails. A stage that did not run before is then removed again.
    """
    emulator_tools, deploy_tools = EmulatorTools.find(), DeployTools.find()
    credentials = read_credentials(wanted.credentials) if wanted.credentials else None
    _refuse_wrong(wanted)
    folder = wanted.folder.resolve()
    stop_first = f"Stop it first: {command('local down', option(folder))}"
    with _locked(folder):
        before = _running(folder)
        if before and wanted.fresh:
            raise OperatorError(f"The stage in {folder} still runs. {stop_first}")
        if before and wanted.enforce_iam and not before.enforces_iam:
            raise OperatorError(f"The stage in {folder} runs without IAM. {stop_first}")
        env = wanted.settings.get("env", before.env if before else "dev")
        if before and env != before.env:
            # A second stack would stand beside the first, and no command would find that one any more.
            raise OperatorError(
                f"The stage in {folder} has the stack of env={before.env}, and a stage has only one. "
                f"Put the other one into a folder of its own, with --stage-dir. {stop_first.replace('Stop', 'Or stop')}"
            )
        stage = before or _fresh(folder)
        try:
            if before is None:
                say("starting the emulated AWS")
                process, endpoint_url = start_emulator(
                    emulator_tools, folder, stage.mark, enforce_iam=wanted.enforce_iam
                )
                stage = _saved(replace(stage.with_process(process), endpoint_url=endpoint_url))
            # The running functions need it until the deployed stack uses the other one.
            replaced = stage.process(_FAKE) if wanted.gopro_url is not None else None
            stage, offered = _with_gopro(stage, wanted, say)
            began = time.monotonic()
            context = _context(stage.gopro_url, {**wanted.settings, "env": env})
            deploy(
                deploy_tools,
                folder,
                endpoint_url=stage.endpoint_url,
                certificate=stage.certificate,
                mark=stage.mark,
                context=context,
                bootstrap=before is None,
                say=say,
            )
            say(f"deployed in {time.monotonic() - began:.0f} s")
            stage = replace(stage, env=env)
            stage = replace(stage, outputs=stage.deployment.outputs)
            _fill_credentials(stage, credentials or offered, say)
            if replaced:
                end([replaced])
            return _saved(stage)
        except BaseException:
            if before is None:
                say("removing what was started")
                _remove(stage)
            raise


def down(folder: Path, say: Say) -> None:
    """End the stage's processes and delete its folder. Does nothing when the folder holds no stage."""
    folder = folder.resolve()
    with contextlib.ExitStack() as lock:
        if (folder / _STATE).exists():
            lock.enter_context(_locked(folder))
        if not (folder / _STATE).exists():
            say(f"there is no local stage in {folder}")
            return
        _remove(load(folder))
    say(f"the local stage in {folder} is down")


def load(folder: Path) -> Stage:
    """Return the stage recorded in the folder, running or not. Raises `OperatorError` when there is none."""
    path = folder.resolve() / _STATE
    try:
        state = json.loads(path.read_text())
        processes = tuple(StageProcess(**one) for one in state.pop("processes"))
        return Stage(folder=path.parent, processes=processes, **state)
    except FileNotFoundError as error:
        raise OperatorError(
            f"There is no local stage in {path.parent}. Start one: .venv/bin/cloud-sync local up"
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OperatorError(
            f"{path} can't be read ({error}). End the stage's processes by hand and delete the file."
        ) from error


def _running(folder: Path) -> Stage | None:
    """Return the stage that already runs. Removes what a stage that ended has left in the folder."""
    if not (folder / _STATE).exists():
        if any(folder.iterdir()):
            raise OperatorError(f"{folder} is not empty and holds no local stage. Choose another --stage-dir.")
        return None
    stage = load(folder)
    if stage.process("ministack") and is_this_stage(stage.endpoint_url, stage.mark, stage.certificate):
        return stage
    end(stage.processes, stage.mark)
    _empty(folder)
    return None


def _fresh(folder: Path) -> Stage:
    # Recorded before any process starts: the mark finds every process from here on.
    return _saved(Stage(folder=folder, mark=uuid.uuid4().hex))


def _with_gopro(stage: Stage, wanted: Wanted, say: Say) -> tuple[Stage, dict[str, str] | None]:
    """Return the stage with its GoPro Cloud and, where the stage started that itself, its credentials."""
    if wanted.gopro_url is not None:
        kept = tuple(one for one in stage.processes if one.name != _FAKE)
        return replace(stage, processes=kept, gopro_url=wanted.gopro_url.rstrip("/"), gopro_control_url=""), None
    if stage.process(_FAKE) is None:
        say("starting the fake GoPro Cloud")
        stage = _with_fake_gopro(stage)
    printed = subprocess.run([*_FAKE_COMMAND, "--print-credentials"], cwd=ROOT, capture_output=True, check=True).stdout
    return stage, checked(json.loads(printed), origin="The output of the fake GoPro Cloud")


def _with_fake_gopro(stage: Stage) -> Stage:
    log, ready = stage.folder / f"{_FAKE}.log", stage.folder / f"{_FAKE}.json"
    ready.unlink(missing_ok=True)
    command: list[str | Path] = [*_FAKE_COMMAND, "--port", "0", "--library", "demo", "--ready-file", ready]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = start(_FAKE, command, environment=environment, log=log, mark=stage.mark, cwd=ROOT)
    stage = _saved(stage.with_process(process))
    deadline = time.monotonic() + _FAKE_START_SECONDS
    while time.monotonic() < deadline and process.find():
        if ready.exists():
            announced = json.loads(ready.read_text())
            return _saved(
                replace(stage, gopro_url=announced["url"], gopro_control_url=announced["control_url"]),
            )
        time.sleep(0.1)
    raise OperatorError(f"The fake GoPro Cloud did not start:\n{tail(log)}")


def _refuse_wrong(wanted: Wanted) -> None:
    """Raise `OperatorError` for settings that the stack would refuse, each by the name that the operator gave it."""
    try:
        Settings.from_context(_context(wanted.gopro_url or _ANY_FAKE, wanted.settings))
    except SettingsError as error:
        by_option = wanted.gopro_url is not None and _URL not in wanted.settings
        text = str(error).replace(f"{_URL}=", "--gopro-url ") if by_option else str(error)
        raise OperatorError(text) from error


def _context(gopro_url: str, settings: Mapping[str, str]) -> dict[str, str]:
    host = ""
    with contextlib.suppress(ValueError):  # an address that the settings refuse
        host = urlsplit(gopro_url).hostname or ""
    # The stack refuses this machine as a download host unless it is named. Any other GoPro Cloud uses the defaults.
    own_hosts = {"download_hosts": host} if is_loopback(host) else {}
    return {"env": "dev", "wheels": "host", _URL: gopro_url, **own_hosts, **settings}


def _fill_credentials(stage: Stage, credentials: dict[str, str] | None, say: Say) -> None:
    secrets = stage.deployment.client("secretsmanager")
    name = stage.outputs["CredentialsSecretName"]
    present: object = None
    with contextlib.suppress(ValueError):  # the secret may hold something else than JSON
        present = json.loads(secrets.get_secret_value(SecretId=name)["SecretString"])
    if credentials and present != credentials:
        say("filling the credentials secret")
        secrets.put_secret_value(SecretId=name, SecretString=json.dumps(credentials))
    elif not present:
        say("the credentials secret is empty: a sync will fail until it is filled, with --credentials FILE.json")


def _saved(stage: Stage) -> Stage:
    state = asdict(stage)
    del state["folder"]
    path = stage.folder / _STATE
    path.with_suffix(".new").write_text(json.dumps(state, indent=2) + "\n")
    path.with_suffix(".new").replace(path)
    return stage


def _remove(stage: Stage) -> None:
    with _undisturbed():
        end(stage.processes, stage.mark)
        shutil.rmtree(stage.folder, ignore_errors=True)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore signals, so that a second Ctrl-C does not interrupt the clean-up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and make every other `up` and `down` in it wait."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise OperatorError(f"{folder} can't be a local stage's folder: {error.strerror}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # The process that held the lock may have deleted the folder behind this handle.
            if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
                yield
                return
        finally:
            os.close(handle)
