"""Deploys the real stack onto the emulated AWS, with the CDK command."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ops.errors import OperatorError
from ops.local.emulator import ACCOUNT, REGION, tail
from ops.local.processes import MARK
from ops.local.toolchain import ROOT, DeployTools

_SAY_EVERY_SECONDS = 5.0
# In the CDK command's lines about resources: how many there are by now, and the type of the last one.
_RESOURCES = re.compile(r"\|\s*(\d+/\d+)\s*\|(?:[^\n]*?\bAWS::(\w+::\w+))?")
_NOISE = ("Subprocess exited with error", "NOTICES", "[WARNING]")  # lines that the CDK command adds to those of the app


def deploy(
    tools: DeployTools,
    folder: Path,
    *,
    endpoint_url: str,
    certificate: Path | None,
    mark: str,
    context: Mapping[str, str],
    bootstrap: bool,
    say: Callable[[str], None],
) -> None:
    """Synthesize the stack with this context and deploy it. Logs and the assembly go to `folder` (absolute).

    Raises `OperatorError` with the output of the step that failed.
    """
    environment = _environment(tools, endpoint_url, mark)
    if certificate:
        # The CDK command reads the first, Node the second.
        environment |= dict.fromkeys(("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(certificate))
    assembly = folder / "cdk.out"
    settings = [argument for name, value in context.items() for argument in ("-c", f"{name}={value}")]
    synth = ["synth", "--quiet", "--output", str(assembly), *settings]
    # Without an app, `cdk bootstrap` does not synthesize it a second time.
    boot = ["bootstrap", f"aws://{ACCOUNT}/{REGION}", "--app", ""]
    say("building the functions' packages and the template")
    with ThreadPoolExecutor() as pool:
        booted = pool.submit(_run, tools, "bootstrap", boot, environment, folder) if bootstrap else None
        _run(tools, "synth", synth, environment, folder, _every_few_seconds(say, "building"))
        if booted:
            booted.result()
    say("deploying the stack")
    deployed = ["deploy", "--app", str(assembly), "--all", "--require-approval", "never"]
    _run(tools, "deploy", deployed, environment, folder, _every_few_seconds(say, "deploying"))


def _run(
    tools: DeployTools,
    name: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    meanwhile: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a step of the CDK command. Calls `meanwhile` with the end of its log while it runs."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        step = subprocess.Popen(
            [tools.cdk, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while step.poll() is None:
                meanwhile(tail(log, lines=5))
                with suppress(subprocess.TimeoutExpired):
                    step.wait(timeout=0.5)
        except BaseException:
            step.kill()
            step.wait()
            raise
    if step.returncode != 0:
        raise OperatorError(f"`cdk {name}` failed:\n{_cause(log)}")


def _every_few_seconds(
    say: Callable[[str], None], doing: str, clock: Callable[[], float] = time.monotonic
) -> Callable[[str], None]:
    """Return a function that says every few seconds for how long a step has run, and how many resources it has made."""
    began = said = clock()

    def meanwhile(log: str) -> None:
        nonlocal said
        now = clock()
        if now - said >= _SAY_EVERY_SECONDS:
            said = now
            said_of = ""
            if resources := _RESOURCES.findall(log):
                count, kind = resources[-1]
                said_of = f", {count} resources" + (f", now {kind}" if kind else "")
            say(f"  {doing} for {now - began:.0f} s{said_of}")

    return meanwhile


def _cause(log: Path) -> str:
    """Return the lines about the resources that failed, or else the end of the log, without the CDK command's noise."""
    lines = tail(log, lines=1000).splitlines()
    failed = [line for line in lines if "_FAILED" in line]
    relevant = [line for line in failed or lines[-30:] if line.strip() and not any(noise in line for noise in _NOISE)]
    return "\n".join(relevant)


def _environment(tools: DeployTools, endpoint_url: str, mark: str) -> dict[str, str]:
    """Return this shell's environment, which a first synth needs to reach the network, without any AWS account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    unproxied = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1"]))
    return {
        **kept,
        MARK: mark,
        "CLOUD_SYNC_SETTINGS": os.devnull,  # the checkout's settings are for AWS
        "PATH": f"{tools.path}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "NO_PROXY": unproxied,
        "no_proxy": unproxied,
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
    }
