"""Starts the emulated AWS on a free loopback port and waits until it answers."""

import http.client
import json
import os
import socket
import ssl
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ops.errors import OperatorError
from ops.local.processes import StageProcess, start
from ops.local.toolchain import EmulatorTools

REGION = "us-east-1"
ACCOUNT = "000000000000"

_PROGRAM = Path(__file__).with_name("embedded_aws.py")
_START_SECONDS = 30.0
_TMP = "tmp"


def start_emulator(
    tools: EmulatorTools, folder: Path, mark: str, *, enforce_iam: bool = False
) -> tuple[StageProcess, str]:
    """Start the emulator and return its process and endpoint URL.

    `folder` (absolute) takes its log, its home and its temporary files. With `enforce_iam`, calls need the permissions
    that they need on AWS, and the endpoint uses TLS, because policies require it; the emulator writes its decisions to
    `decisions_of(folder)`. Raises `OperatorError` with the end of the log when the emulator does not start; processes
    that it may have left carry `mark`.
    """
    log = folder / "ministack.log"
    for name in ("home", _TMP):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        port = _free_port()
        environment = _environment(tools, folder, mark, port)
        if enforce_iam:
            environment |= {"AUTH": "true", "USE_SSL": "1", "IAM_DECISIONS": str(decisions_of(folder))}
        command: list[str | Path] = [tools.python, "-I", _PROGRAM]
        process = start("ministack", command, environment=environment, log=log, mark=mark, cwd=folder)
        endpoint_url = f"{'https' if enforce_iam else 'http'}://127.0.0.1:{port}"
        if _answers(endpoint_url, mark, process, certificate_of(folder)):
            return process, endpoint_url
        if "already in use" not in tail(log, lines=5):
            break  # otherwise another program took the port first
    raise OperatorError(f"The emulated AWS did not start:\n{tail(log)}")


def certificate_of(folder: Path) -> Path:
    """Return the path of the emulator's self-signed certificate."""
    return folder / _TMP / "ministack-tls" / "server.crt"


def decisions_of(folder: Path) -> Path:
    """Return the path of the file with the emulator's decisions about roles; `embedded_iam.py` describes it."""
    return folder / "decisions.jsonl"


def is_this_stage(endpoint_url: str, mark: str, certificate: Path | None = None) -> bool:
    """Return whether the stage with this mark answers at the address."""
    unanswered = suppress(OSError, ValueError, http.client.HTTPException)
    with unanswered, closing(_connection(endpoint_url, certificate)) as connection:
        connection.request("GET", "/_ministack/health")
        return bool(json.loads(connection.getresponse().read())["edition"] == mark)
    return False


def _connection(endpoint_url: str, certificate: Path | None) -> http.client.HTTPConnection:
    parts = urlsplit(endpoint_url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=5)
    trusted = ssl.create_default_context(cafile=certificate)
    return http.client.HTTPSConnection(host, port, timeout=5, context=trusted)


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log file, or an empty text when there is no such file."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _environment(tools: EmulatorTools, folder: Path, mark: str, port: int) -> dict[str, str]:
    """Return the emulator's whole environment. Functions inherit it, so it has no credentials, proxies or CAs."""
    return {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / _TMP),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_EDITION": mark,  # its health report repeats this, which identifies the stage
        "AWSCRT_DIR": str(tools.awscrt),
    }


def _answers(endpoint_url: str, mark: str, process: StageProcess, certificate: Path) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.find():
        if is_this_stage(endpoint_url, mark, certificate):
            return True
        time.sleep(0.1)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
