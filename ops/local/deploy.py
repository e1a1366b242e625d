"""Deploys the real stack onto the emulated AWS, with the CDK command."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.errors import OperatorError
from ops.local.emulator import ACCOUNT, REGION, tail
from ops.local.processes import MARK
from ops.local.toolchain import ROOT, DeployTools

_NOISE = ("Subprocess exited with error", "NOTICES", "[WARNING]")  # what the CDK command adds to the words of the app


def deploy(
    tools: DeployTools,
    folder: Path,
    *,
    endpoint_url: str,
    certificate: Path | None,
    mark: str,
    context: Mapping[str, str],
    bootstrap: bool,
) -> None:
    """Synthesizes the stack with this context and deploys it; logs and the assembly go to `folder` (absolute).

    Raises `OperatorError` with the text of the step that failed.
    """
    environment = _environment(tools, endpoint_url, mark)
    if certificate:
        # The first for the CDK command's own requests, the second for those that Node makes for it.
        environment |= dict.fromkeys(("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"), str(certificate))
    assembly = folder / "cdk.out"
    settings = [argument for name, value in context.items() for argument in ("-c", f"{name}={value}")]
    synth = ["synth", "--quiet", "--output", str(assembly), *settings]
    # With an app, `cdk bootstrap` would synthesize it for nothing.
    boot = ["bootstrap", f"aws://{ACCOUNT}/{REGION}", "--app", ""]
    with ThreadPoolExecutor() as pool:
        steps = {"synth": synth, "bootstrap": boot} if bootstrap else {"synth": synth}
        running = [pool.submit(_run, tools, name, step, environment, folder) for name, step in steps.items()]
        for step in running:
            step.result()
    _run(
        tools, "deploy", ["deploy", "--app", str(assembly), "--all", "--require-approval", "never"], environment, folder
    )


def _run(tools: DeployTools, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            [tools.cdk, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise OperatorError(f"`cdk {name}` failed:\n{_told(log)}")


def _told(log: Path) -> str:
    """What of the log says why: the resources that failed, else its end; without the CDK command's own additions."""
    lines = tail(log, lines=1000).splitlines()
    failed = [line for line in lines if "_FAILED" in line]
    told = [line for line in failed or lines[-30:] if line.strip() and not any(noise in line for noise in _NOISE)]
    return "\n".join(told)


def _environment(tools: DeployTools, endpoint_url: str, mark: str) -> dict[str, str]:
    """This shell's, for the network settings that a first synth needs, without what could lead to a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    unproxied = ",".join(filter(None, [kept.get("NO_PROXY") or kept.get("no_proxy"), "127.0.0.1"]))
    return {
        **kept,
        MARK: mark,
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
