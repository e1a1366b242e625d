"""The local stage: the very stack that goes to AWS, on the emulated AWS of this machine. Brought up and taken down."""

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

from infra.config import is_loopback
from ops.deployment import Deployment, at_endpoint
from ops.errors import OperatorError
from ops.local.credentials import checked, read_credentials
from ops.local.deploy import deploy
from ops.local.emulator import ACCOUNT, REGION, certificate_of, is_this_stage, start_emulator, tail
from ops.local.processes import StageProcess, end, start
from ops.local.toolchain import ROOT, DeployTools, EmulatorTools

DEFAULT_FOLDER = Path(".local")

_STATE = "state.json"
_FAKE = "gopro-cloud"
_FAKE_COMMAND = (sys.executable, "-m", "tests.gopro_cloud")
_FAKE_START_SECONDS = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """A local stage, as its folder remembers it. Holds no secret."""

    folder: Path
    mark: str
    processes: tuple[StageProcess, ...] = ()
    env: str = "dev"
    endpoint_url: str = ""
    gopro_url: str = ""
    gopro_control_url: str = ""  # of a GoPro Cloud of our own
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def enforces_iam(self) -> bool:
        return self.endpoint_url.startswith("https:")

    @property
    def certificate(self) -> Path | None:
        """What vouches for the endpoint, where it is TLS."""
        return certificate_of(self.folder) if self.enforces_iam else None

    @property
    def deployment(self) -> Deployment:
        certificate = str(self.certificate) if self.certificate else None
        return at_endpoint(self.endpoint_url, REGION, self.env, certificate)

    @property
    def description(self) -> dict[str, object]:
        """What `local up --json` prints."""
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
        """What makes the AWS command line of a shell talk to this stage."""
        return (
            f"export AWS_ENDPOINT_URL={self.endpoint_url} AWS_REGION={REGION} "
            f"AWS_DEFAULT_REGION={REGION} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
        ) + (f" AWS_CA_BUNDLE={shlex.quote(str(self.certificate))}" if self.certificate else "")

    @property
    def is_up(self) -> bool:
        """Whether it is deployed, runs, and is what answers at its address."""
        return bool(self.outputs) and is_this_stage(self.endpoint_url, self.mark, self.certificate)

    def process(self, name: str) -> StageProcess | None:
        """The recorded process of this name that still runs."""
        return next((one for one in self.processes if one.name == name and one.find()), None)

    def with_process(self, process: StageProcess) -> "Stage":
        others = tuple(one for one in self.processes if one.name != process.name)
        return replace(self, processes=(*others, process))


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `local up` is asked for."""

    folder: Path = DEFAULT_FOLDER
    gopro_url: str | None = None  # None: start a GoPro Cloud of our own, with its demo library
    credentials: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    fresh: bool = False  # refuse to go on with a stage that runs already
    enforce_iam: bool = False  # evaluate roles and policies as AWS does, over TLS


def up(wanted: Wanted, say: Say) -> Stage:
    """Brings the stage up, or what runs of it up to date with what is wanted.

    Raises `OperatorError` that says why it can't; a stage that did not run before is then gone again.
    """
    emulator_tools, deploy_tools = EmulatorTools.find(), DeployTools.find()
    credentials = read_credentials(wanted.credentials) if wanted.credentials else None
    folder = wanted.folder.resolve()
    with _locked(folder):
        before = _running(folder)
        if before and wanted.fresh:
            raise OperatorError(
                f"The stage in {folder} still runs. End it first: "
                f".venv/bin/cloud-sync local down --stage-dir {wanted.folder}"
            )
        if before and wanted.enforce_iam and not before.enforces_iam:
            raise OperatorError(f"The stage in {folder} runs without IAM. End it first, with `local down`.")
        stage = before or _fresh(folder)
        try:
            if before is None:
                say("starting the emulated AWS")
                process, endpoint_url = start_emulator(
                    emulator_tools, folder, stage.mark, enforce_iam=wanted.enforce_iam
                )
                stage = _saved(replace(stage.with_process(process), endpoint_url=endpoint_url))
            # Of no more use once what is deployed has another; until then what runs needs it.
            replaced = stage.process(_FAKE) if wanted.gopro_url is not None else None
            stage, offered = _with_gopro(stage, wanted, say)
            say("deploying the stack" if before is None else "deploying what has changed")
            began = time.monotonic()
            context = _context(stage.gopro_url, wanted.settings)
            deploy(
                deploy_tools,
                folder,
                endpoint_url=stage.endpoint_url,
                certificate=stage.certificate,
                mark=stage.mark,
                context=context,
                bootstrap=before is None,
            )
            say(f"deployed in {time.monotonic() - began:.0f} s")
            stage = replace(stage, env=context["env"])
            stage = replace(stage, outputs=stage.deployment.outputs)
            _fill_credentials(stage, credentials or offered, say)
            if replaced:
                end([replaced])
            return _saved(stage)
        except BaseException:
            if before is None:
                say("taking down what was started")
                _remove(stage)
            raise


def down(folder: Path, say: Say) -> None:
    """Ends what `up` started and deletes the folder. Does nothing when there is no stage in it."""
    folder = folder.resolve()
    with contextlib.ExitStack() as lock:
        if (folder / _STATE).exists():
            lock.enter_context(_locked(folder))
        if not (folder / _STATE).exists():
            say(f"there is no local stage in {folder}")
            return
        _remove(load(folder))
    say("the local stage is down")


def load(folder: Path) -> Stage:
    """The stage that the folder remembers, running or not. Raises `OperatorError` when there is none."""
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
        raise OperatorError(f"{path} can't be read ({error}); end its processes by hand and delete it.") from error


def _running(folder: Path) -> Stage | None:
    """The stage that already runs. What is left of one that does not run any more is taken away."""
    if not (folder / _STATE).exists():
        if any(folder.iterdir()):
            raise OperatorError(f"{folder} is not empty and holds no local stage; choose another --stage-dir.")
        return None
    stage = load(folder)
    if stage.process("ministack") and is_this_stage(stage.endpoint_url, stage.mark, stage.certificate):
        return stage
    end(stage.processes, stage.mark)
    _empty(folder)
    return None


def _fresh(folder: Path) -> Stage:
    # Remembered before anything starts: the mark alone finds all that is started from here on.
    return _saved(Stage(folder=folder, mark=uuid.uuid4().hex))


def _with_gopro(stage: Stage, wanted: Wanted, say: Say) -> tuple[Stage, dict[str, str] | None]:
    """The stage with its GoPro Cloud, and the credentials that a cloud of our own offers."""
    if wanted.gopro_url is not None:
        kept = tuple(one for one in stage.processes if one.name != _FAKE)
        return replace(stage, processes=kept, gopro_url=wanted.gopro_url.rstrip("/"), gopro_control_url=""), None
    if stage.process(_FAKE) is None:
        say("starting a GoPro Cloud of our own")
        stage = _with_own_gopro(stage)
    told = subprocess.run([*_FAKE_COMMAND, "--print-credentials"], cwd=ROOT, capture_output=True, check=True)
    return stage, checked(json.loads(told.stdout), origin="What the GoPro Cloud of our own takes")


def _with_own_gopro(stage: Stage) -> Stage:
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
    raise OperatorError(f"The GoPro Cloud of our own did not start:\n{tail(log)}")


def _context(gopro_url: str, settings: Mapping[str, str]) -> dict[str, str]:
    host = urlsplit(gopro_url).hostname or ""
    # Hosts of this machine are refused unless they are named. Another cloud has the usual hosts to download from.
    own_hosts = {"download_hosts": host} if is_loopback(host) else {}
    return {"env": "dev", "wheels": "host", "gopro_api_url": gopro_url, **own_hosts, **settings}


def _fill_credentials(stage: Stage, credentials: dict[str, str] | None, say: Say) -> None:
    secrets = stage.deployment.client("secretsmanager")
    name = stage.outputs["CredentialsSecretName"]
    present: object = None
    with contextlib.suppress(ValueError):  # somebody may have put there what is no JSON
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
    """A second Ctrl-C must not keep the first one's from being cleaned up after."""
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
    """Makes the folder and keeps other `up` and `down` of it waiting."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise OperatorError(f"{folder} can't be a local stage's folder: {error.strerror}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Who was waited for may have deleted the folder that this handle leads to.
            if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
                yield
                return
        finally:
            os.close(handle)
