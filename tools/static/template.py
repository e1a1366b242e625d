"""The tools that check the stack: cfn-lint and checkov check its template, cdk-nag its constructs."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cfnlint.config import ConfigMixIn
from cfnlint.decode import decode
from cfnlint.runner import Runner

from infra.config import Settings
from infra.node import NODE

os.environ["JSII_NODE"] = NODE

import aws_cdk as cdk
from aws_cdk.cx_api import SynthesisMessage, SynthesisMessageLevel
from cdk_nag import AwsSolutionsChecks, NagReportFormat, ServerlessChecks

from infra.stack import CloudSync
from tools.static.report import Finding, Report

_TOOLS = Path(__file__).resolve().parents[2] / ".static" / "venv" / "bin"
_CHECKOV = (_TOOLS / "checkov", "--framework", "cloudformation", "--skip-download", "--output", "json")


def production(folder: Path) -> CloudSync:
    """Build the production stack, to be synthesized into a folder. `tools.static.options` has all that can be added."""
    return built(folder, {"env": "prod"})


def built(folder: Path, context: Mapping[str, str]) -> CloudSync:
    """Build the stack with these settings, to be synthesized into a folder."""
    settings = Settings.from_context(context)
    app = cdk.App(outdir=str(folder), analytics_reporting=False)
    return CloudSync(app, f"cloud-sync-{settings.env}", settings=settings)


def cdk_nag(stack: cdk.Stack) -> list[Report]:
    """Synthesize a stack and run the rule packs on it."""
    app = cast("cdk.App", stack.node.root)
    packs = [
        AwsSolutionsChecks(report_formats=[NagReportFormat.JSON]),
        ServerlessChecks(report_formats=[NagReportFormat.JSON]),
    ]
    for pack in packs:
        cdk.Aspects.of(stack).add(pack)
    messages = app.synth().get_stack_by_name(stack.stack_name).messages
    problems = [_message(message) for message in messages if message.level != SynthesisMessageLevel.INFO]
    reports = []
    for name in (pack.read_pack_name for pack in packs):
        (file,) = Path(app.outdir).glob(f"{name}-*{stack.stack_name}-NagReport.json")
        verdicts = json.loads(file.read_text())["lines"]
        rules, resources = ({verdict[key] for verdict in verdicts} for key in ("ruleId", "resourceId"))
        reports.append(
            Report(
                tool=f"cdk-nag {name}",
                checked=f"{len(rules)} rules that apply, {len(resources)} resources",
                # cdk-nag puts the name of a rule that crashed in brackets.
                findings=[problem for problem in problems if name in problem.rule],
                suppressed=[_verdict(verdict) for verdict in verdicts if verdict["compliance"] == "Suppressed"],
            )
        )
    return reports


def _message(message: SynthesisMessage) -> Finding:
    rule, _, text = str(message.entry.data).strip().partition(": ")
    return Finding(rule=rule, place=message.id, text=text)


def _verdict(verdict: Mapping[str, str]) -> Finding:
    ((one_of_several, reason),) = re.findall(r"\A(\[.*?\])? ?(.*)\Z", verdict["exceptionReason"], re.DOTALL)
    return Finding(rule=verdict["ruleId"] + one_of_several, place=verdict["resourceId"], text=reason)


def cfn_lint(template: Path) -> Report:
    """Run cfn-lint, including informational rules. Ignores suppressions in the template."""
    config = ConfigMixIn(
        include_checks=["I"],
        # The style of references, which CDK generates; and objects that have nearly all the properties they may have.
        ignore_checks=["I1022", "I3010"],
        mandatory_checks=["E", "W"],
        config_file=os.devnull,
    )
    runner = Runner(config)
    body, matches = decode(str(template))
    matches += runner.validate_template(body) if body else []
    rules = sum(runner.rules.is_rule_enabled(rule, config) for rule in runner.rules.values())
    return Report(
        tool="cfn-lint",
        checked=f"{rules} rules, {len(body['Resources']) if body else 0} resources",
        findings=[
            # An error that stops cfn-lint from reading the template has no path.
            Finding(rule=match.rule.id, place="/".join(map(str, getattr(match, "path", []))), text=match.message)
            for match in matches
        ],
    )


def checkov(template: Path) -> Report:
    """Run checkov with an empty home and working directory, so that it finds no other settings."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [*_CHECKOV, "--file", template.resolve()],
            check=False,
            cwd=empty,
            env={"HOME": empty, "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"checkov failed: {done.stderr}")
    answer = json.loads(done.stdout)
    results = answer["results"]
    rules = {check["check_id"] for kind in ("passed", "failed", "skipped") for check in results[f"{kind}_checks"]}
    return Report(
        tool="checkov",
        checked=f"{len(rules)} rules that apply, {answer['summary']['resource_count']} resources",
        findings=[
            *(_checked(check, check["check_name"]) for check in results["failed_checks"]),
            *(Finding(rule="parsing", place=file, text="can't be read") for file in results["parsing_errors"]),
        ],
        suppressed=[_checked(check, _comment(check)) for check in results["skipped_checks"]],
    )


def _checked(check: Mapping[str, Any], text: str) -> Finding:
    return Finding(rule=check["check_id"], place=check["resource"], text=text)


def _comment(check: Mapping[str, Any]) -> str:
    comment: str = check["check_result"]["suppress_comment"]
    return "" if comment == "No comment provided" else comment
