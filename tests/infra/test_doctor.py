"""What `cloud-sync doctor` reads in a template is there, and what a stack has is looked at or left out on purpose."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ops.doctor import here
from tools.template import ROOT, Template

LEFT_OUT = {
    # Their absence or change shows elsewhere: a function that may not do something fails, and its alarm rings.
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Logs::ResourcePolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    # Looked at through what needs them: the bucket, the functions, the rules and the schedules.
    "AWS::Events::ApiDestination",
    "AWS::Events::Connection",
    "AWS::Lambda::LayerVersion",
    "AWS::S3::BucketPolicy",
    "AWS::Scheduler::ScheduleGroup",
    # For people to look at; nothing depends on them.
    "AWS::CloudWatch::Dashboard",
    "AWS::Logs::QueryDefinition",
    "AWS::XRay::Group",
    # CDK's own.
    "AWS::CDK::Metadata",
}


@pytest.fixture(params=["prod", "unusual"])
def stack(request: pytest.FixtureRequest) -> Template:
    found: Template = request.getfixturevalue(request.param)
    return found


def test_each_kind_of_resource_is_looked_at_or_left_out_on_purpose(stack: Template) -> None:
    sources = "".join(path.read_text() for path in (ROOT / "ops" / "doctor").glob("*.py"))
    looked_at = set(re.findall(r'"(AWS::\w+::\w+)"', sources))
    kinds = {one["Type"] for one in stack.body["Resources"].values()}
    assert kinds - looked_at - LEFT_OUT == set()
    assert looked_at & LEFT_OUT == set()


def test_the_properties_that_are_compared_are_in_the_template(stack: Template) -> None:
    compared = {
        "AWS::Events::Rule": ("EventPattern", "Targets"),
        "AWS::Scheduler::Schedule": ("ScheduleExpression", "State"),
        "AWS::SNS::Subscription": ("Endpoint", "Protocol"),
        "AWS::Lambda::Function": ("Timeout", "MemorySize", "Environment", "Code"),
        "AWS::Logs::LogGroup": ("RetentionInDays",),
        "AWS::DynamoDB::Table": ("PointInTimeRecoverySpecification", "DeletionProtectionEnabled"),
        "AWS::CloudWatch::Alarm": ("AlarmActions", "AlarmDescription"),
    }
    for kind, names in compared.items():
        for one in stack.of_type(kind):
            assert set(names) <= one.properties.keys(), one.id


def test_the_template_says_which_bootstrap_it_needs(prod: Template) -> None:
    refused = here.refused_versions(prod.body)
    assert prod.body["Parameters"]["BootstrapVersion"]["Default"]
    assert prod.body["Parameters"]["BootstrapVersion"]["Type"].startswith("AWS::SSM::Parameter::Value")
    newest = max(map(int, refused))
    assert refused == {str(version) for version in range(1, newest + 1)}


def test_the_functions_at_once_are_as_many_as_the_readme_says(stack: Template) -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    (beside,) = re.findall(r"Cloud Sync needs up to `concurrency` \+ (\d+)", readme)
    sources = stack.of_type("AWS::Lambda::EventSourceMapping")
    concurrency = stack.services["downloader"].source["ScalingConfig"]["MaximumConcurrency"]

    def found(has: int) -> list[str]:
        limit = {"AccountLimit": {"UnreservedConcurrentExecutions": has}}
        subject: Any = SimpleNamespace(
            resources=lambda _: [SimpleNamespace(wanted=one.properties) for one in sources],
            client=lambda _: SimpleNamespace(get_account_settings=lambda: limit),
            aws=str,
        )
        return [one.what for one in here.concurrency(subject)]

    needed = concurrency + int(beside)
    assert found(needed) == []
    assert found(needed - 1) == [f"Lambda may run {needed - 1} functions at once, and these settings need {needed}"]
