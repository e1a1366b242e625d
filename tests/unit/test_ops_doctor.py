"""`cloud-sync doctor`: what each check makes of what AWS answers, as far as the local stage can't show it.

The end-to-end tests break a local stage in each way that it knows. Here is what it does not: an address that has not
confirmed, states of a stack, the bootstrap, quotas, keys, versions of tools, clocks, and what AWS refuses to show.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from ops.doctor import deployed, here
from ops.doctor.examination import checked, examine
from ops.doctor.findings import Checked, Finding, Severity, described, exit_status
from ops.doctor.subject import Resource, Subject
from services.authenticator.health import Health

NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)
EMAIL = "you@example.com"


def refused(code: str, operation: str = "GetThing") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


class Answers:
    """A client of AWS that answers each operation with this, or raises it. Pages are single."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        def answer(**_: Any) -> Any:
            found = self._answers[operation]
            if isinstance(found, Exception):
                raise found
            return found

        return answer

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **request: [getattr(self, operation)(**request)])


@dataclass
class FakeDeployment:
    """A deployment whose clients answer from this."""

    clients: Mapping[str, Answers]
    outputs: Mapping[str, str] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    stack_name: str = "cloud-sync-prod"
    endpoint_url: str | None = None
    place: str = "in eu-central-1"

    def client(self, service: str) -> Answers:
        return self.clients[service]

    def command(self, line: str) -> str:
        return f"cloud-sync {line} --env prod"

    def session_health(self) -> Health:
        return self.health


def subject(resources: Mapping[str, Any] | None = None, **clients: Answers) -> Subject:
    """Return a subject whose template has these resources, as (type, properties) by their logical id."""
    template = {
        "Resources": {
            name: {"Type": kind, "Properties": properties} for name, (kind, properties) in (resources or {}).items()
        }
    }
    summaries = [{"LogicalResourceId": name, "PhysicalResourceId": name.lower()} for name in resources or {}]
    formation = Answers(
        get_template={"TemplateBody": template}, list_stack_resources={"StackResourceSummaries": summaries}
    )
    fake: Any = FakeDeployment({"cloudformation": formation, **clients})
    return Subject(fake, lambda: NOW)


def of_deployment(made: Subject) -> FakeDeployment:
    fake: Any = made.deployment
    assert isinstance(fake, FakeDeployment)
    return fake


def whats(findings: Iterator[Finding]) -> list[str]:
    return [one.what for one in findings]


# --- subscriptions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arn", "what"),
    [
        ("arn:aws:sns:eu-central-1:1:t:s", []),
        ("PendingConfirmation", [f"{EMAIL} has not confirmed its subscription"]),
        ("Deleted", [f"{EMAIL} is not subscribed, although the settings name it"]),
        (None, [f"{EMAIL} is not subscribed, although the settings name it"]),
    ],
)
def test_an_address_hears_of_nothing_before_it_has_confirmed(arn: str | None, what: list[str]) -> None:
    has = {"other@example.com": "PendingConfirmation", **({EMAIL: arn} if arn else {})}
    found = list(deployed.subscription_findings([EMAIL], has, subscribe="aws sns subscribe"))
    assert whats(iter(found)) == what
    assert all(EMAIL in one.fix and one.severity is Severity.BROKEN for one in found)


def test_an_address_is_quoted_in_the_command_that_is_to_be_copied() -> None:
    (found,) = deployed.subscription_findings(["a;reboot@example.com"], {}, subscribe="aws sns subscribe")
    assert found.fix == "aws sns subscribe 'a;reboot@example.com'; then click the link in the e-mail"


def test_a_topic_needs_no_subscriber_if_the_settings_name_none() -> None:
    sns = Answers(get_topic_attributes={}, list_subscriptions_by_topic={"Subscriptions": []})
    assert list(deployed.notifications(subject({"Topic": ("AWS::SNS::Topic", {})}, sns=sns))) == []


# --- the stack ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "severity"),
    [
        ("CREATE_COMPLETE", None),
        ("UPDATE_COMPLETE", None),
        ("IMPORT_COMPLETE", None),
        ("UPDATE_IN_PROGRESS", Severity.AT_RISK),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Severity.AT_RISK),
        ("UPDATE_ROLLBACK_COMPLETE", Severity.AT_RISK),
        ("ROLLBACK_COMPLETE", Severity.BROKEN),
        ("UPDATE_ROLLBACK_FAILED", Severity.BROKEN),
        ("DELETE_FAILED", Severity.BROKEN),
    ],
)
def test_the_state_of_a_stack_says_how_its_last_deployment_went(state: str, severity: Severity | None) -> None:
    found = list(deployed.state_findings(state, "prod"))
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(state in one.what for one in found)


def test_a_stack_that_does_not_exist_is_named_with_where_it_was_looked_for() -> None:
    made = subject()
    of_deployment(made).clients = {"cloudformation": Answers(describe_stacks=refused("ValidationError"))}
    (found,) = deployed.stack(made)
    assert found.what == "there is no stack cloud-sync-prod in eu-central-1"
    assert ".venv/bin/cdk deploy -c env=prod" in found.fix


@pytest.mark.parametrize(("protected", "can_be_deleted"), [(True, True), (False, False)])
def test_protection_is_missed_only_if_the_settings_want_it(*, protected: bool, can_be_deleted: bool) -> None:
    made = subject({"Table": ("AWS::DynamoDB::Table", {"DeletionProtectionEnabled": protected})})
    described = {"Stacks": [{"StackStatus": "CREATE_COMPLETE", "EnableTerminationProtection": False}]}
    made.client("cloudformation")._answers["describe_stacks"] = described
    found = whats(iter(deployed.stack(made)))
    assert found == (["the stack can be deleted, although `protected` is set"] if can_be_deleted else [])


# --- resources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "has", "count"),
    [("ENABLED", "ENABLED", 0), ("DISABLED", "DISABLED", 0), ("ENABLED", "DISABLED", 1), ("DISABLED", "ENABLED", 1)],
)
def test_a_schedule_that_is_off_is_a_finding_unless_the_settings_want_that(wanted: str, has: str, count: int) -> None:
    wants = {"State": wanted, "ScheduleExpression": "rate(1 day)"}
    scheduler = Answers(get_schedule={"State": has, "ScheduleExpression": "rate(1 day)"})
    made = subject({"Daily": ("AWS::Scheduler::Schedule", wants)}, scheduler=scheduler)
    of_deployment(made).outputs = {"ScheduleGroupName": "group"}
    found = list(deployed.schedules(made))
    assert len(found) == count
    assert all(f"--state {wanted} " in one.fix for one in found)


@pytest.mark.parametrize(
    ("found", "what"),
    [
        ({"State": "Enabled"}, []),
        ({"State": "Updating"}, []),
        ({"State": "Disabling"}, ["the event source Source is disabled"]),
        (refused("ResourceNotFoundException"), ["Source is gone"]),
    ],
)
def test_an_event_source_is_read_or_named(found: Any, what: list[str]) -> None:
    made = subject(
        {"Source": ("AWS::Lambda::EventSourceMapping", {})}, **{"lambda": Answers(get_event_source_mapping=found)}
    )
    assert whats(iter(deployed.event_sources(made))) == what


def test_a_bus_that_is_gone_is_named_once_and_not_with_each_of_its_rules() -> None:
    events = Answers(describe_event_bus=refused("ResourceNotFoundException"))
    resources: dict[str, Any] = {"Bus": ("AWS::Events::EventBus", {}), "Rule": ("AWS::Events::Rule", {})}
    assert whats(iter(deployed.bus(subject(resources, events=events)))) == ["Bus is gone"]


def test_a_function_that_lambda_can_not_run_is_named_with_the_reason() -> None:
    one = Resource(logical_id="Downloader", physical_id="d", wanted={})
    failed = {"State": "Failed", "StateReason": "The role cannot be assumed"}
    (found,) = deployed.configuration_findings(one, failed, restore="cdk deploy")
    assert found.what == "Downloader can't run: The role cannot be assumed"


def test_what_a_template_refers_to_is_not_compared() -> None:
    wanted = {"Environment": {"Variables": {"TABLE": {"Ref": "Table"}, "LIMIT": "5"}}, "Timeout": 900}
    one = Resource(logical_id="Lister", physical_id="l", wanted=wanted)
    has = {"Environment": {"Variables": {"TABLE": "any", "LIMIT": "5", "MORE": "1"}}, "Timeout": 900}
    assert list(deployed.configuration_findings(one, has, restore="")) == []


@pytest.mark.parametrize("rings", [True, False])
def test_an_alarm_without_actions_is_a_finding_unless_the_settings_want_that(*, rings: bool) -> None:
    wanted = {"ActionsEnabled": rings, "AlarmDescription": "No sync. Runbook: docs/runbooks.md#nosync"}
    one = Resource(logical_id="AlarmsNoSync", physical_id="a", wanted=wanted)
    found = {"StateValue": "OK", "ActionsEnabled": False, "AlarmActions": ["arn"]}
    named = whats(deployed.alarm_findings(one, found, aws=str, restore=""))
    assert named == (["the actions of the alarm NoSync are disabled"] if rings else [])


def test_an_alarm_that_rings_says_what_its_description_says() -> None:
    wanted = {"AlarmDescription": "No sync has begun. Runbook: docs/runbooks.md#nosync"}
    one = Resource(logical_id="AlarmsNoSync", physical_id="a", wanted=wanted)
    found = {"StateValue": "ALARM", "ActionsEnabled": True, "AlarmActions": ["arn"]}
    (rings,) = deployed.alarm_findings(one, found, aws=str, restore="")
    assert (rings.means, rings.fix) == ("No sync has begun.", "follow the runbook docs/runbooks.md#nosync")


@pytest.mark.parametrize(
    ("state", "command"), [("Disabled", "aws kms enable-key"), ("PendingDeletion", "aws kms cancel-key-deletion")]
)
def test_a_key_that_can_not_be_used_is_named(state: str, command: str) -> None:
    made = subject(kms=Answers(describe_key={"KeyMetadata": {"KeyState": state}}))
    assert list(deployed.kms_key(made)) == []  # no key is set
    of_deployment(made).outputs = {"KmsKeyArn": "arn:aws:kms:eu-central-1:1:key/k"}
    (found,) = deployed.kms_key(made)
    assert found.what == f"the key's state is {state}"
    assert found.fix.startswith(command)


def health(**known: Any) -> Health:
    return Health(version=1, since="2026-11-27T01:00:00Z", last_accepted="2026-11-27T01:00:00Z", **known)


@pytest.mark.parametrize(
    ("known", "what"),
    [
        (Health(), []),
        (health(), ["the session is older than the shortest of the last ones: since 2026-11-27T01:00:00Z"]),
        (health(lives=(24 * 3600,)), []),
        (health(renews_itself=True), []),
        (health(first_refused="2026-11-27T05:00:00Z"), ["GoPro refuses the session since 2026-11-27T05:00:00Z"]),
    ],
)
@pytest.mark.parametrize("newer", [True, False])
def test_a_session_that_is_refused_or_old_is_named_unless_there_are_newer_credentials(
    known: Health, what: list[str], *, newer: bool
) -> None:
    changed = NOW - timedelta(hours=1 if newer else 10)
    made = subject(secretsmanager=Answers(describe_secret={"LastChangedDate": changed}))
    of_deployment(made).outputs = {"CredentialsSecretName": "c"}
    of_deployment(made).health = known
    assert whats(iter(deployed.session(made))) == ([] if newer else what)


@pytest.mark.parametrize(("content", "empty"), [("{}", True), ("", True), ('{"a": "b"}', False), ("gp=x", False)])
def test_credentials_are_empty_as_the_deployment_left_them(content: str, *, empty: bool) -> None:
    secrets = Answers(describe_secret={"ARN": "arn", "Name": "c"}, get_secret_value={"SecretString": content})
    made = subject({"Credentials": ("AWS::SecretsManager::Secret", {})}, secretsmanager=secrets)
    of_deployment(made).outputs = {"CredentialsSecretName": "arn"}
    assert whats(iter(deployed.secrets(made))) == (["the credentials secret is empty"] if empty else [])


# --- the machine and the account ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        (NOW + timedelta(seconds=60), []),
        (NOW - timedelta(seconds=60), []),
        (NOW + timedelta(seconds=90), ["this machine's clock is 90 seconds slow"]),
        (NOW - timedelta(seconds=61), ["this machine's clock is 61 seconds fast"]),
    ],
)
def test_a_clock_may_differ_from_aws_by_a_minute(stated: datetime, what: list[str]) -> None:
    found = list(here.clock_findings(NOW, stated, NOW))
    assert found == [
        Finding(
            severity=Severity.AT_RISK,
            what=text,
            means="AWS refuses requests that are signed at another time than its own, and ages are shown wrong.",
            fix="sudo timedatectl set-ntp true",
        )
        for text in what
    ]
    date = stated.strftime("%a, %d %b %Y %H:%M:%S GMT")
    sts = Answers(get_caller_identity={"ResponseMetadata": {"HTTPHeaders": {"date": date}}})
    assert whats(iter(here.clock(subject(sts=sts)))) == what


def test_a_slow_answer_does_not_make_a_clock_wrong() -> None:
    assert list(here.clock_findings(NOW, NOW + timedelta(seconds=100), NOW + timedelta(seconds=120))) == []


@pytest.mark.parametrize(
    ("cdk", "node", "what"),
    [
        ("2.1", "v24.1.0", []),
        ("2.1", "v18.0.0", []),
        ("2.0", "v24.1.0", ["the CDK command is 2.0, and this checkout needs 2.1"]),
        ("2.1", "v16.9.9", ["Node is v16.9.9, and the CDK command needs >= 18.0.0"]),
    ],
)
def test_the_tools_have_to_be_those_of_the_checkout(cdk: str, node: str, what: list[str]) -> None:
    assert whats(here.tool_findings(cdk=cdk, pinned="2.1", node=node, needed=">= 18.0.0")) == what


RULES = {
    "CheckBootstrapVersion": {
        "Assertions": [{"Assert": {"Fn::Not": [{"Fn::Contains": [["1", "2", "5"], {"Ref": "BootstrapVersion"}]}]}}]
    }
}


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ({"Parameter": {"Value": "6"}}, []),
        ({"Parameter": {"Value": "5"}}, ["the bootstrap has version 5, and the template needs 6"]),
        (refused("ParameterNotFound"), ["this account and region are not bootstrapped"]),
    ],
)
def test_the_bootstrap_has_to_be_as_new_as_the_template_says(answer: Any, what: list[str]) -> None:
    made = subject(ssm=Answers(get_parameter=answer))
    template = {"Parameters": {"BootstrapVersion": {"Default": "/cdk/version"}}, "Rules": RULES, "Resources": {}}
    made.client("cloudformation")._answers["get_template"] = {"TemplateBody": template}
    assert list(here.bootstrap(made)) == [
        Finding(
            severity=Severity.AT_RISK,
            what=text,
            means="`cdk deploy` has no place for the functions' code, and stops. What is deployed is not affected.",
            fix=".venv/bin/cdk bootstrap",
        )
        for text in what
    ]


def test_without_a_stack_the_account_still_has_to_be_bootstrapped() -> None:
    made = subject(ssm=Answers(get_parameter=refused("ParameterNotFound")))
    made.client("cloudformation")._answers["get_template"] = refused("ValidationError")
    assert whats(iter(here.bootstrap(made))) == ["this account and region are not bootstrapped"]


@pytest.mark.parametrize(
    ("has", "instead"),
    [
        (1000, None),
        (11, None),
        (10, "; or set concurrency = 4 and deploy"),
        (8, "; or set concurrency = 2 and deploy"),
        (7, ""),
    ],
)
def test_a_new_account_runs_too_few_functions_for_the_default_settings(has: int, instead: str | None) -> None:
    sources: dict[str, Any] = {
        name: ("AWS::Lambda::EventSourceMapping", {"ScalingConfig": {"MaximumConcurrency": limit}})
        for name, limit in {"A": 2, "L": 2, "D": 5, "S": 2}.items()
    }
    limit = {"AccountLimit": {"UnreservedConcurrentExecutions": has}}
    increase = "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384"
    assert list(here.concurrency(subject(sources, **{"lambda": Answers(get_account_settings=limit)}))) == [
        Finding(
            severity=Severity.AT_RISK,
            what=f"Lambda may run {has} functions at once, and these settings need 11",
            means="Lambda refuses to start some, which costs a message one of its tries each time.",
            fix=f"{increase} --desired-value 1000{text}",
        )
        for text in [instead]
        if text is not None
    ]


def with_code(**packages: str) -> dict[str, Any]:
    functions = {
        f"{name}0123ABCD": {"Type": "AWS::Lambda::Function", "Properties": {"Code": {"S3Key": package}}}
        for name, package in packages.items()
    }
    return {"Resources": {"Bus": {"Type": "AWS::Events::EventBus", "Properties": {}}, **functions}}


def test_code_that_this_checkout_has_not_built_is_a_note() -> None:
    has = here.code_of(with_code(Lister="a.zip", Downloader="b.zip", Summarizer="c.zip"))
    built = here.code_of(with_code(Lister="a.zip", Downloader="d.zip"))
    assert list(here.version_findings(has, has, "prod")) == []
    assert list(here.version_findings(has, built, "prod")) == [
        Finding(
            severity=Severity.NOTE,
            what="other code than this checkout's is deployed: Downloader, Summarizer",
            means="It is another version, or was built on a machine with another Python.",
            fix=".venv/bin/cdk deploy -c env=prod, if this checkout's is wanted",
        )
    ]


@pytest.mark.parametrize(
    ("built", "sources", "known"), [(200, 100, True), (100, 100, True), (100, 200, False), (None, 100, False)]
)
def test_the_version_of_a_checkout_is_known_if_it_was_built_since_its_last_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: int | None, sources: int, *, known: bool
) -> None:
    source, template = tmp_path / "services" / "a.py", tmp_path / "cdk.out" / "cloud-sync-prod.template.json"
    for file, content, when in ((source, "", sources), (template, json.dumps(with_code(Lister="b.zip")), built)):
        file.parent.mkdir()
        if when:
            file.write_text(content)
            os.utime(file, (when, when))
    (tmp_path / "services" / "__pycache__").mkdir()
    (tmp_path / "services" / "__pycache__" / "a.pyc").touch()  # newer than all
    monkeypatch.setattr(here, "ROOT", tmp_path)
    monkeypatch.setattr(here, "_SOURCES", [tmp_path / "services"])
    made = subject({"Lister": ("AWS::Lambda::Function", {"Code": {"S3Key": "a.zip"}})})
    assert len(list(here.version(made))) == known
    of_deployment(made).endpoint_url = "http://here"
    assert list(here.version(made)) == []


# --- all of it ------------------------------------------------------------------------------------------------------


def test_what_aws_refuses_to_show_is_a_finding() -> None:
    def secrets_of_others(_: Subject) -> Iterator[Finding]:
        yield from deployed.state_findings("DELETE_FAILED", "prod")
        raise refused("AccessDeniedException", "DescribeSecret")

    made = checked(secrets_of_others, subject())
    assert made.check == "secrets of others"
    assert [one.severity for one in made.findings] == [Severity.BROKEN, Severity.UNKNOWN]
    assert made.findings[1].what == "AWS refused DescribeSecret: AccessDeniedException"


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody start Node."""

    def tools(_: Subject) -> list[Finding]:
        return []

    monkeypatch.setattr(here, "tools", tools)


@pytest.mark.usefixtures("no_tools")
def test_without_credentials_only_the_machine_is_examined() -> None:
    made = subject(sts=Answers(get_caller_identity=NoCredentialsError()))
    results = list(examine(made))
    assert [one.check for one in results] == ["credentials", "clock", "tools"]
    assert [one.severity for one in results[0].findings] == [Severity.UNKNOWN]
    assert results[1].findings == []


@pytest.mark.usefixtures("no_tools")
@pytest.mark.parametrize(
    ("state", "outputs", "goes_on"),
    [
        ("UPDATE_IN_PROGRESS", [{"OutputKey": "EventBusName", "OutputValue": "bus"}], True),
        ("CREATE_IN_PROGRESS", [], False),
        ("ROLLBACK_COMPLETE", [], False),
    ],
)
def test_a_stack_with_nothing_in_it_is_not_examined_further(
    state: str, outputs: list[dict[str, str]], *, goes_on: bool
) -> None:
    date = NOW.strftime("%a, %d %b %Y %H:%M:%S GMT")
    made = subject(sts=Answers(get_caller_identity={"ResponseMetadata": {"HTTPHeaders": {"date": date}}}))
    made.client("cloudformation")._answers["describe_stacks"] = {"Stacks": [{"StackStatus": state}]}
    of_deployment(made).outputs = {one["OutputKey"]: one["OutputValue"] for one in outputs}
    results = examine(made)
    assert [next(results).check for _ in range(5)] == ["credentials", "clock", "tools", "bootstrap", "stack"]
    after = next(results, None)
    assert (after is not None) == goes_on


def finding(severity: Severity) -> Finding:
    return Finding(severity=severity, what="it leaks", means="Water everywhere.", fix="mend it")


@pytest.mark.parametrize(
    ("severities", "status"),
    [
        ([], 0),
        ([Severity.NOTE], 0),
        ([Severity.UNKNOWN], 2),
        ([Severity.UNKNOWN, Severity.NOTE], 2),
        ([Severity.AT_RISK], 1),
        ([Severity.BROKEN], 1),
        ([Severity.UNKNOWN, Severity.AT_RISK], 1),
    ],
)
def test_the_exit_status_is_of_what_was_found_before_what_could_not_be(severities: list[Severity], status: int) -> None:
    results = [Checked(check="roof", findings=[finding(one)]) for one in severities]
    assert exit_status([Checked(check="door", findings=[]), *results]) == status


def test_a_result_is_told_line_by_line_and_as_json() -> None:
    good, bad = Checked(check="door", findings=[]), Checked(check="roof", findings=[finding(Severity.AT_RISK)])
    assert [*good.lines(), *bad.lines()] == [
        "ok       door",
        "AT RISK  roof: it leaks",
        "         Water everywhere.",
        "         fix: mend it",
    ]
    assert described("cloud-sync-prod", [good, bad]) == {
        "stack": "cloud-sync-prod",
        "healthy": False,
        "checks": ["door", "roof"],
        "findings": [
            {
                "check": "roof",
                "severity": "at risk",
                "what": "it leaks",
                "means": "Water everywhere.",
                "fix": "mend it",
            }
        ],
    }


@pytest.mark.parametrize(
    ("endpoint_url", "aws", "restore"),
    [
        (None, "aws sns x", ".venv/bin/cdk deploy -c env=prod --revert-drift"),
        (
            "http://here",
            "aws --endpoint-url http://here sns x",
            "cloud-sync local down --env prod && cloud-sync local up --env prod",
        ),
    ],
)
def test_a_command_for_the_local_stage_never_goes_to_aws(endpoint_url: str | None, aws: str, restore: str) -> None:
    made = subject()
    of_deployment(made).endpoint_url = endpoint_url
    assert made.aws("sns x") == aws
    assert made.restore == restore
