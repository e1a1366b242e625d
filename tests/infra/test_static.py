"""The static checks find nothing in the production template, and find planted mistakes."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.node import NODE
from tools.static.report import Finding, Report, summary
from tools.static.sources import NOQA, TYPE_IGNORE, audited, suppressed
from tools.template import ROOT, Template

os.environ["JSII_NODE"] = NODE

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs

from infra.suppressions import suppress
from tools.static.template import cdk_nag, cfn_lint, checkov, production

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Report], Path]:
    """Return cdk-nag's reports on the production stack, and the template that it synthesized."""
    folder = tmp_path_factory.mktemp("nagged")
    stack = production(folder)
    return cdk_nag(stack), folder / stack.template_file


def stack_in(folder: Path) -> cdk.Stack:
    return cdk.Stack(cdk.App(outdir=str(folder), analytics_reporting=False), "planted")


def altered(prod: Template, folder: Path, **planted: Mapping[str, Any]) -> Path:
    """Write the production template without its suppressions and with planted resources."""
    resources = {
        name: {key: value for key, value in resource.body.items() if key != "Metadata"}
        for name, resource in prod.resources.items()
    }
    path = folder / "altered.template.json"
    path.write_text(json.dumps({**prod.body, "Resources": {**resources, **planted}}))
    return path


def rules(findings: Iterable[Finding], place: str) -> set[str]:
    return {finding.rule for finding in findings if place in finding.place}


# The production template


def test_cfn_lint_finds_nothing(prod: Template) -> None:
    report = cfn_lint(prod.path)
    assert (report.problems, report.suppressed) == ([], ())


def test_cdk_nag_finds_nothing(nagged: tuple[list[Report], Path]) -> None:
    reports, _ = nagged
    assert [report.tool for report in reports] == ["cdk-nag AwsSolutions", "cdk-nag Serverless"]
    assert [problem for report in reports for problem in report.problems] == []


def test_cdk_nag_checks_the_template_that_is_deployed(nagged: tuple[list[Report], Path], prod: Template) -> None:
    _, template = nagged
    assert json.loads(template.read_text()) == prod.body


def test_each_suppression_of_cdk_nag_suppresses_one_finding(nagged: tuple[list[Report], Path], prod: Template) -> None:
    written = Counter(
        (suppression["id"] + "".join(f"[{one}]" for one in suppression.get("applies_to", [])), suppression["reason"])
        for resource in prod.resources.values()
        for suppression in resource.body.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
    )
    reports, _ = nagged
    assert written == Counter((finding.rule, finding.text) for report in reports for finding in report.suppressed)


def test_checkov_finds_only_the_suppressed_and_the_planted(prod: Template, tmp_path: Path) -> None:
    report = checkov(prod.path)
    assert report.problems == []
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    path = altered(
        prod,
        tmp_path,
        PlantedBucket={"Type": "AWS::S3::Bucket"},
        PlantedPolicy={
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "planted",
                "Roles": ["planted"],
                "PolicyDocument": {"Version": "2012-10-17", "Statement": [everything]},
            },
        },
    )
    bare = checkov(path)
    assert bare.suppressed == []
    assert rules(bare.findings, "PlantedBucket") >= {"CKV_AWS_53", "CKV_AWS_21"}  # public access, versions
    assert rules(bare.findings, "PlantedPolicy") >= {"CKV_AWS_62", "CKV_AWS_63"}  # all of everything
    kept = {(finding.rule, finding.place) for finding in bare.findings if "Planted" not in finding.place}
    assert kept == {(finding.rule, finding.place) for finding in report.suppressed}


# Planted mistakes


def test_cfn_lint_finds_a_property_that_does_not_exist_whatever_the_template_suppresses(
    prod: Template, tmp_path: Path
) -> None:
    path = altered(
        prod,
        tmp_path,
        Planted={
            "Type": "AWS::SNS::Topic",
            "Properties": {"Nmae": "topic"},
            "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["E3002"]}}},
        },
    )
    (finding,) = cfn_lint(path).findings
    assert (finding.rule, finding.place) == ("E3002", "Resources/Planted/Properties/Nmae")


def test_cfn_lint_finds_a_template_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    assert cfn_lint(path).findings


def test_cdk_nag_finds_requests_without_tls_and_a_policy_that_allows_everything(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    s3.CfnBucket(stack, "Bucket")
    sqs.CfnQueue(stack, "Queue")
    sns.CfnTopic(stack, "Topic")
    role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
    role.add_to_policy(iam.PolicyStatement(actions=["s3:*"], resources=["*"]))
    solutions, _ = cdk_nag(stack)
    without_tls = {"Bucket": "AwsSolutions-S10", "Queue": "AwsSolutions-SQS4", "Topic": "AwsSolutions-SNS3"}
    assert [name for name, rule in without_tls.items() if rule not in rules(solutions.findings, name)] == []
    assert rules(solutions.findings, "Role") == {"AwsSolutions-IAM5[Action::s3:*]", "AwsSolutions-IAM5[Resource::*]"}


def test_a_suppression_of_one_permission_leaves_the_others_standing(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    policy = iam.ManagedPolicy(
        stack, "Policy", statements=[iam.PolicyStatement(actions=["s3:*", "sqs:*"], resources=["arn:aws:s3:::one"])]
    )
    suppress(policy, "AwsSolutions-IAM5[Action::s3:*]", because="This one is planted")
    suppress(policy, "CKV_AWS_63", because="And this one is checkov's")
    solutions, _ = cdk_nag(stack)
    assert [finding.rule for finding in solutions.findings] == ["AwsSolutions-IAM5[Action::sqs:*]"]
    assert [(f.rule, f.text) for f in solutions.suppressed] == [
        ("AwsSolutions-IAM5[Action::s3:*]", "This one is planted")
    ]


def test_a_rule_of_cdk_nag_that_cannot_be_evaluated_is_a_finding(tmp_path: Path) -> None:
    stack = stack_in(tmp_path)
    lambda_.CfnFunction(
        stack,
        "Function",
        code=lambda_.CfnFunction.CodeProperty(zip_file="planted"),
        role="arn:aws:iam::123456789012:role/planted",
        runtime=cdk.CfnParameter(stack, "Runtime").value_as_string,
    )
    solutions, serverless = cdk_nag(stack)
    assert rules(solutions.findings, "Function") == {"CdkNagValidationFailure[AwsSolutions-L1]"}
    assert "CdkNagValidationFailure[Serverless-LambdaLatestVersion]" in rules(serverless.findings, "Function")


def test_a_suppressing_comment_is_found_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "planted.py").write_text(
        "# ruff: noqa: INP001 - a script\n"
        "import a  # noqa: F401, E402\n"
        "a.b = 1  # type: ignore[attr-defined]  # the stubs are old\n"
        'c = "# noqa: F401"\n'
    )
    found = [(finding.place, finding.rule, finding.text) for finding in suppressed(tmp_path, NOQA)]
    assert found == [("services/planted.py:1", "INP001", "a script"), ("services/planted.py:2", "F401, E402", "")]
    (ignored,) = suppressed(tmp_path, TYPE_IGNORE)
    assert (ignored.rule, ignored.text) == ("attr-defined", "the stubs are old")


@pytest.mark.parametrize("form", [NOQA, TYPE_IGNORE], ids=["noqa", "type-ignore"])
def test_every_suppressing_comment_gives_its_reason(form: re.Pattern[str]) -> None:
    found = list(suppressed(ROOT, form))
    assert found
    assert [finding.place for finding in found if not finding.text] == []


# pip-audit, whose service only some networks reach


def test_a_vulnerable_package_is_a_finding() -> None:
    vulnerability = {"id": "PYSEC-1", "fix_versions": [], "aliases": [], "description": "it leaks"}
    answer = {"dependencies": [{"name": "requests", "version": "2.0", "vulns": [vulnerability]}]}
    report = audited(["requests"], json.dumps(answer), "")
    assert report.problems == [Finding(rule="PYSEC-1", place="requests 2.0", text="it leaks")]
    assert (report.checked, report.not_checked) == ("1 packages", "")


def test_a_package_without_an_answer_is_reported_as_not_checked() -> None:
    answer = {
        "dependencies": [
            {"name": "requests", "version": "2.0", "vulns": []},
            {"name": "boto3", "skip_reason": "Dependency not found on PyPI and could not be audited"},
        ]
    }
    report = audited(["requests", "boto3", "six"], json.dumps(answer), "")
    assert report.checked == "1 packages"
    assert report.not_checked == "the vulnerability service could not be reached for boto3, six"


@pytest.mark.parametrize("log", ["requests.exceptions.ConnectionError: …", "ERROR: Could not connect to PyPI"])
def test_without_the_service_pip_audit_is_reported_as_skipped(log: str) -> None:
    report = audited(["requests"], "", log)
    assert report.not_checked == "the vulnerability service could not be reached for any package"
    assert list(summary([report]))[-1].endswith("SKIPPED, not passed: pip-audit")


def test_a_failing_tool_is_not_taken_for_a_missing_network() -> None:
    with pytest.raises(RuntimeError, match="no such option"):
        audited(["requests"], "", "error: no such option")


# The report


def test_a_suppression_without_a_reason_is_a_finding() -> None:
    unexplained = Finding(rule="CKV_AWS_27", place="AWS::SQS::Queue.Inbox", text="")
    report = Report(tool="checkov", checked="1 rules", findings=[], suppressed=[unexplained])
    (problem,) = report.problems
    assert (problem.rule, problem.place) == ("CKV_AWS_27", "AWS::SQS::Queue.Inbox")
    assert "checkov               1 rules, 1 findings, 1 suppressed" in summary([report])


def test_reasons_are_counted_over_all_tools() -> None:
    accepted = [Finding(rule=rule, place="Bucket", text="because") for rule in ("AwsSolutions-S1", "CKV_AWS_18")]
    reports = [Report(tool="a tool", checked="1 rules", findings=[], suppressed=[one]) for one in accepted]
    assert "   2 x AwsSolutions-S1, CKV_AWS_18: because" in summary(reports)
