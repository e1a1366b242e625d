"""Starts the emulated AWS on a free loopback port and waits until it answers."""

import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

from ops.errors import OperatorError
from ops.local.processes import StageProcess, start
from ops.local.toolchain import EmulatorTools

REGION = "us-east-1"
ACCOUNT = "000000000000"

_PROGRAM = Path(__file__).with_name("embedded_aws.py")
_START_SECONDS = 30.0


def start_emulator(tools: EmulatorTools, folder: Path, mark: str) -> tuple[StageProcess, str]:
    """Returns the process and its endpoint URL. `folder` (absolute) takes its log, its home and its temporary files.

    Raises `OperatorError` with the end of its log when it does not come up; what may be left of it carries `mark`.
    """
    log = folder / "ministack.log"
    for name in ("home", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        port = _free_port()
        environment = _environment(tools, folder, mark, port)
        command: list[str | Path] = [tools.python, "-I", _PROGRAM]
        process = start("ministack", command, environment=environment, log=log, mark=mark, cwd=folder)
        if _answers(port, mark, process):
            return process, f"http://127.0.0.1:{port}"
        if "already in use" not in tail(log, lines=5):
            break  # else another program was quicker to take the port
    raise OperatorError(f"The emulated AWS did not start:\n{tail(log)}")


def is_this_stage(endpoint_url: str, mark: str) -> bool:
    """Whether what answers there is the stage with this mark."""
    with suppress(OSError, ValueError, http.client.HTTPException):
        host, port = endpoint_url.removeprefix("http://").split(":")
        with closing(http.client.HTTPConnection(host, int(port), timeout=5)) as connection:
            connection.request("GET", "/_ministack/health")
            return bool(json.loads(connection.getresponse().read())["edition"] == mark)
    return False


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log file; empty when there is none."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _environment(tools: EmulatorTools, folder: Path, mark: str, port: int) -> Mapping[str, str]:
    """All that the emulator may know of this machine. Functions inherit it: no credentials, no proxies, no CAs."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_EDITION": mark,  # it tells this in its health report: that is how it is known to be ours
        "AWSCRT_DIR": str(tools.awscrt),
    }


def _answers(port: int, mark: str, process: StageProcess) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.find():
        if is_this_stage(f"http://127.0.0.1:{port}", mark):
            return True
        time.sleep(0.1)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
