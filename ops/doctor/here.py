"""Checks of the operator's machine and account: credentials, clock, tools, the bootstrap, Lambda's concurrency."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops.doctor.findings import Finding, Severity
from ops.doctor.subject import Subject, name_of, unless_gone
from ops.errors import OperatorError
from ops.local.toolchain import ROOT, DeployTools

_TOLERATED = timedelta(minutes=1)  # AWS refuses requests that are signed 5 minutes off, S3 at 15
_BOOTSTRAP = "/cdk-bootstrap/hnb659fds/version"  # where `cdk bootstrap` writes its version by default
_SOURCES = [ROOT / name for name in ("infra", "requirements", "services")]  # of the functions' code


def credentials(subject: Subject) -> Iterator[Finding]:
    """Check that AWS accepts this shell's credentials."""
    try:
        _identity(subject)
    except (BotoCoreError, ClientError) as error:
        yield Finding(
            severity=Severity.UNKNOWN,
            what=f"AWS does not accept this shell's credentials: {error}",
            means="Nothing else could be looked at.",
            fix="sign in again (aws sso login), or set AWS_PROFILE; aws sts get-caller-identity shows who you are",
        )


def clock(subject: Subject) -> Iterator[Finding]:
    """Check that this machine's clock agrees with AWS's."""
    before = subject.now()
    try:
        answer = _identity(subject)["ResponseMetadata"]
    except ClientError as error:  # it may be refused for the very reason that the clock is wrong
        answer = error.response["ResponseMetadata"]
    except BotoCoreError:
        return  # without an answer there is nothing to compare with
    stated = answer["HTTPHeaders"].get("date")
    if stated:
        yield from clock_findings(before, parsedate_to_datetime(stated).astimezone(UTC), subject.now())


def clock_findings(before: datetime, stated: datetime, after: datetime) -> Iterator[Finding]:
    """Yield whether this clock is wrong. `stated` is AWS's time of an answer, asked for and read at the other two."""
    for off, how in ((before - stated, "fast"), (stated - after, "slow")):
        if off > _TOLERATED:
            yield Finding(
                severity=Severity.AT_RISK,
                what=f"this machine's clock is {off.total_seconds():.0f} seconds {how}",
                means="AWS refuses requests that are signed at another time than its own, and ages are shown wrong.",
                fix="sudo timedatectl set-ntp true",
            )


def tools(_: Subject) -> Iterator[Finding]:
    """Check that the CDK command and its Node are those of this checkout."""
    try:
        found = DeployTools.find()
        said = subprocess.run([found.node / "node", "--version"], capture_output=True, text=True, check=True).stdout
        installed = _json(ROOT / "node_modules" / "aws-cdk" / "package.json")
    except (OperatorError, OSError, subprocess.SubprocessError) as error:
        yield _no_tools(str(error).rstrip("."))
    else:
        pinned = _json(ROOT / "package.json")["devDependencies"]["aws-cdk"]
        needed = str(installed.get("engines", {}).get("node", ""))
        yield from tool_findings(cdk=installed["version"], pinned=pinned, node=said.strip(), needed=needed)


def tool_findings(*, cdk: str, pinned: str, node: str, needed: str) -> Iterator[Finding]:
    """Yield what is wrong with these versions. `pinned`: of the CDK command; `needed`: of Node, such as `>= 18.0.0`."""
    if cdk != pinned:
        yield _no_tools(f"the CDK command is {cdk}, and this checkout needs {pinned}")
    if _version(node) < _version(needed):
        yield _no_tools(f"Node is {node}, and the CDK command needs {needed}")


def _no_tools(what: str) -> Finding:
    means = "This checkout can't deploy. What is deployed is not affected."
    return Finding(severity=Severity.AT_RISK, what=what, means=means, fix="make setup")


def bootstrap(subject: Subject) -> Iterator[Finding]:
    """Check that the account's bootstrap is as new as the template needs. A local stage's template needs none."""
    try:
        template = subject.template
    except ClientError:  # there is no stack yet
        template = {"Parameters": {"BootstrapVersion": {"Default": _BOOTSTRAP}}}
    name = template.get("Parameters", {}).get("BootstrapVersion", {}).get("Default")
    if not name:
        return
    found = unless_gone(subject.client("ssm").get_parameter, Name=name)
    yield from bootstrap_findings(found and found["Parameter"]["Value"], refused_versions(template))


def refused_versions(template: Mapping[str, Any]) -> set[str]:
    """Return the versions of a bootstrap that the template's own rule refuses."""
    rules = json.dumps(template.get("Rules", {}).get("CheckBootstrapVersion"))
    return set(re.findall(r'"(\d+)"', rules))


def bootstrap_findings(version: str | None, refused: set[str]) -> Iterator[Finding]:
    """Yield whether the account has to be bootstrapped. `version`: None if it is not."""
    if version is None or version in refused:
        yield Finding(
            severity=Severity.AT_RISK,
            what="this account and region are not bootstrapped"
            if version is None
            else f"the bootstrap has version {version}, and the template needs {max(map(int, refused)) + 1}",
            means="`cdk deploy` has no place for the functions' code, and stops. What is deployed is not affected.",
            fix=".venv/bin/cdk bootstrap",
        )


def version(subject: Subject) -> Iterator[Finding]:
    """Check that the functions' code is what this checkout has built, if it has built the stack since its last change.

    A local stage builds its own.
    """
    built = ROOT / "cdk.out" / f"{subject.deployment.stack_name}.template.json"
    if subject.deployment.endpoint_url or not built.exists() or is_older(built, than=_SOURCES):
        return
    yield from version_findings(code_of(subject.template), code_of(_json(built)), subject.env)


def code_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the name of each function's package, which is a hash of its content, by the function's name."""
    return {
        name_of(name): one["Properties"]["Code"]["S3Key"]
        for name, one in template["Resources"].items()
        if one["Type"] == "AWS::Lambda::Function" and "S3Key" in one["Properties"]["Code"]
    }


def version_findings(has: Mapping[str, str], built: Mapping[str, str], env: str) -> Iterator[Finding]:
    """Yield which functions run other code than the checkout's."""
    others = [name for name, package in has.items() if built.get(name) != package]
    if others:
        yield Finding(
            severity=Severity.NOTE,
            what=f"other code than this checkout's is deployed: {', '.join(others)}",
            means="It is another version, or was built on a machine with another Python.",
            fix=f".venv/bin/cdk deploy -c env={env}, if this checkout's is wanted",
        )


def is_older(file: Path, *, than: Sequence[Path]) -> bool:
    """Return whether a file is older than any file in these folders."""
    when = file.stat().st_mtime
    sources = (source for folder in than for source in folder.rglob("*") if "__pycache__" not in source.parts)
    return any(source.is_file() and source.stat().st_mtime > when for source in sources)


def concurrency(subject: Subject) -> Iterator[Finding]:
    """Check that Lambda may run as many functions at once as the settings need."""
    at_once = [
        one.wanted["ScalingConfig"]["MaximumConcurrency"]
        for one in subject.resources("AWS::Lambda::EventSourceMapping")
    ]
    has = subject.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    needs = sum(at_once)
    if has < needs:
        increase = "service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384"
        smaller = max(at_once) - (needs - has)
        instead = f"; or set concurrency = {smaller} and deploy" if smaller > 1 else ""
        yield Finding(
            severity=Severity.AT_RISK,
            what=f"Lambda may run {has} functions at once, and these settings need {needs}",
            means="Lambda refuses to start some, which costs a message one of its tries each time.",
            fix=subject.aws(f"{increase} --desired-value 1000{instead}"),
        )


def _identity(subject: Subject) -> Mapping[str, Any]:
    answer: Mapping[str, Any] = subject.client("sts").get_caller_identity()
    return answer


def _json(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text())
    return content


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
