"""`cloud-sync uninstall`: what goes, what stays and what it costs, and that nothing is deleted unasked."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from moto import mock_aws

from infra.config import CREATE, TABLES_AND_SECRETS, Settings
from infra.webhook_forms import secret_name
from ops import command, prices
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.uninstall import OUTPUTS, Leaving, Stored, costs, lines_of_settings, look, refuse_loss, said, uninstall

Output = pytest.CaptureFixture[str]

GB = 10**9
SETTINGS = {
    "media_bucket": "media",
    "library_table": "library",
    "credentials_secret": "arn:credentials",
    "refresh_secret": "arn:refresh",
}
LEAVING = Leaving(
    stack_name="cloud-sync-prod",
    place="in eu-central-1, account 123456789012",
    protected=False,
    goes=("AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::SQS::Queue"),
    log_groups=("lister-log",),
    settings=SETTINGS,
    stored=Stored(objects=40_000, bytes=2_000 * GB, former=GB),
    tables={"library": 2 * GB},
    waiting=3,
)


STORES = {
    "MediaBucketName": ("AWS::S3::Bucket", "media"),
    "LibraryTableName": ("AWS::DynamoDB::Table", "library"),
    "SyncsTableName": ("AWS::DynamoDB::Table", "syncs"),
    "AuthenticatorTableName": ("AWS::DynamoDB::Table", "authenticator"),
    "CredentialsSecretName": ("AWS::SecretsManager::Secret", "credentials"),
}


@pytest.fixture
def deployed() -> Iterator[Deployment]:
    """A stack that has no output of the refresh token's secret, as 0.1.0 leaves it, with one original stored twice."""
    with mock_aws():
        stack = Deployment(boto3.Session("test", "test", region_name="us-east-1"), "cloud-sync-dev")
        aws = stack.client
        s3, sqs, cloudformation = aws("s3"), aws("sqs"), Mock()
        s3.create_bucket(Bucket="media")
        s3.put_bucket_versioning(Bucket="media", VersioningConfiguration={"Status": "Enabled"})
        for body in (b"former", b"now"):
            s3.put_object(Bucket="media", Key="gopro/one", Body=body)
        for kind, name in STORES.values():
            if kind == "AWS::DynamoDB::Table":
                aws("dynamodb").create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                )
        aws("secretsmanager").create_secret(Name="the-refresh-token", SecretString="{}")
        inbox = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        sqs.send_message(QueueUrl=inbox, MessageBody="a message")
        resources = [
            *((f"Storage{output}", kind, name) for output, (kind, name) in STORES.items()),
            ("StorageRefresh6CFFA0E5", "AWS::SecretsManager::Secret", "the-refresh-token"),
            ("ListerInbox", "AWS::SQS::Queue", inbox),
            ("ListerLog", "AWS::Logs::LogGroup", "lister-log"),
            ("ListerRule", "AWS::Events::Rule", "gone"),
        ]
        outputs = {**{output: name for output, (_, name) in STORES.items()}, "ListerQueueUrl": inbox}
        described = {
            "StackId": f"arn:aws:cloudformation:us-east-1:123456789012:stack/{stack.stack_name}/id",
            "Outputs": [{"OutputKey": name, "OutputValue": value} for name, value in outputs.items()],
        }
        cloudformation.describe_stacks.return_value = {"Stacks": [described]}
        cloudformation.get_paginator.return_value.paginate.return_value = [
            {
                "StackResourceSummaries": [
                    {
                        "LogicalResourceId": name,
                        "ResourceType": kind,
                        "PhysicalResourceId": its_id,
                        "ResourceStatus": "DELETE_COMPLETE" if its_id == "gone" else "CREATE_COMPLETE",
                    }
                    for name, kind, its_id in resources
                ]
            }
        ]
        kept = {name: {"DeletionPolicy": "RetainExceptOnCreate"} for name, *_ in resources if name != "ListerInbox"}
        cloudformation.get_template.return_value = {"TemplateBody": {"Resources": {**kept, "ListerInbox": {}}}}
        stack.__dict__["client"] = lambda service: cloudformation if service == "cloudformation" else aws(service)
        yield stack


def test_what_goes_and_what_stays_is_read_from_the_stack_and_its_template(deployed: Deployment) -> None:
    leaving = look(deployed)

    assert leaving.goes == ("AWS::SQS::Queue",)
    assert leaving.stored == Stored(objects=1, bytes=9, former=6)
    assert (leaving.waiting, leaving.protected, leaving.log_groups) == (1, False, ("lister-log",))
    assert set(leaving.settings) == set(OUTPUTS) - {"kms_key"}
    assert leaving.settings["refresh_secret"].startswith("arn:aws:secretsmanager:us-east-1:123456789012:secret:")
    assert set(leaving.tables) == {"library", "syncs", "authenticator"}


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_a_template_that_would_delete_a_bucket_or_a_table_is_refused(kind: str) -> None:
    kinds = {"Kept": kind, "Lost": kind, "Queue": "AWS::SQS::Queue"}
    with pytest.raises(OperatorError, match=r"^Nothing was changed: .* would delete Lost\. Deploy"):
        refuse_loss(kinds, ["Kept"])
    refuse_loss(kinds, ["Kept", "Lost"])


def test_what_stays_costs_what_aws_lists() -> None:
    leaving = replace(LEAVING, settings={**SETTINGS, "kms_key": "arn:key"}, webhooks="addresses")
    found = {name: usd for name, usd, _ in costs(leaving)}

    assert found == {
        "media": pytest.approx(2_000 * prices.S3_GB_MONTH.usd),
        "library": pytest.approx(2 * (prices.TABLE_GB_MONTH.usd + prices.TABLE_BACKUP_GB_MONTH.usd)),
        "arn:credentials": prices.SECRET_MONTH.usd,
        "arn:refresh": prices.SECRET_MONTH.usd,
        "addresses": prices.SECRET_MONTH.usd,
        "arn:key": prices.KEY_MONTH.usd,
    }


def test_the_addresses_of_webhooks_are_said_to_stay(deployed: Deployment) -> None:
    assert look(deployed).webhooks == ""
    name = secret_name(deployed.stack_name)
    deployed.client("secretsmanager").create_secret(Name=name, SecretString="{}")
    assert look(deployed).webhooks == name


def test_an_operator_reads_what_goes_and_what_stays() -> None:
    lines = list(said(LEAVING))

    assert lines[0] == "cloud-sync-prod in eu-central-1, account 123456789012"
    assert "    1 Lambda Function" in lines
    assert "    2 SQS Queue" in lines
    assert any(line.startswith("  3 messages wait") for line in lines)
    assert not any("messages wait" in line for line in said(replace(LEAVING, waiting=0)))
    assert "     $46.00 a month  media: 40,000 objects, 2000.00 GB, 1.00 GB of them former versions" in lines
    assert any(line.strip() == "lister-log: a log, whose lines go when their retention ends" for line in lines)
    assert lines[-1] == "     $47.70 a month in all, until you delete it yourself"


def test_the_settings_that_take_it_back_are_settings() -> None:
    assert set(TABLES_AND_SECRETS) < set(OUTPUTS)
    values = {name: getattr(Settings.from_context({"env": "dev"}), name) for name in OUTPUTS}
    assert values == {**dict.fromkeys(OUTPUTS, CREATE), "kms_key": None}
    assert list(lines_of_settings({"media_bucket": "media", "library_table": "one"})) == [
        'media_bucket = "media"',
        'library_table = "one"',
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """`cloud-sync uninstall` with a protected stack at hand, and a deletion that does nothing."""
    deleted = Mock()
    monkeypatch.setattr(command, "_deployment", lambda _: None)
    monkeypatch.setattr("ops.uninstall.look", lambda _: replace(LEAVING, protected=True))
    monkeypatch.setattr("ops.uninstall.uninstall", deleted)
    return deleted


@pytest.mark.parametrize(
    ("line", "answer", "is_deleted", "status"),
    [
        ("--unprotect", "y", True, 0),
        ("--unprotect", "n", False, 2),
        ("--unprotect", "", False, 2),
        ("--unprotect --yes", "", True, 0),
        ("--yes", "", False, 2),
        ("--dry-run", "", False, 0),
    ],
)
def test_nothing_is_deleted_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, asked: Mock, line: str, answer: str, is_deleted: bool, status: int
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)

    assert command.main(["uninstall", *line.split()]) == status
    assert asked.called is is_deleted
    out = capsys.readouterr().out
    assert out.startswith("cloud-sync-prod in eu-central-1")
    assert ('library_table = "library"' in out) is (status == 0)


def test_nobody_is_asked_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, asked: Mock
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y"))

    assert command.main(["uninstall", "--unprotect"]) == 2
    assert not asked.called
    assert capsys.readouterr().err.endswith("no terminal to ask at. Add --yes if it is meant.\n")


class Fake:
    """A CloudFormation whose stack ends as it is told."""

    def __init__(self, *statuses: str, protected: bool = False) -> None:
        self.statuses, self.protected, self.calls = [*statuses], protected, list[str]()

    def describe_stacks(self, **_: str) -> Any:
        status = self.statuses[0] if len(self.statuses) == 1 or "delete" not in self.calls else self.statuses.pop(0)
        one = {"StackId": "a:b:c:d:account:id", "StackStatus": status, "EnableTerminationProtection": self.protected}
        return {"Stacks": [one]}

    def get_template(self, **_: str) -> Any:
        return {"TemplateBody": {"Resources": {}}}

    def get_paginator(self, _: str) -> Any:
        one = {"LogicalResourceId": "Network", "ResourceType": "AWS::EC2::VPC", "ResourceStatus": "DELETE_FAILED"}
        pages = Mock()
        pages.paginate.return_value = [{"StackResourceSummaries": [{**one, "ResourceStatusReason": "in use"}]}]
        return pages

    def update_termination_protection(self, **wanted: Any) -> None:
        assert wanted["EnableTerminationProtection"] is False
        self.calls.append("unprotect")

    def delete_stack(self, **_: str) -> None:
        self.calls.append("delete")


def on(fake: Fake) -> Any:
    deployment = Mock(stack_name="cloud-sync-prod", outputs={})
    deployment.client = lambda _: fake
    return deployment


def test_the_protection_goes_only_if_the_operator_says_so() -> None:
    fake = Fake("DELETE_IN_PROGRESS", "DELETE_COMPLETE", protected=True)
    with pytest.raises(OperatorError, match=r"cloud-sync-prod is protected from deletion\. Add --unprotect"):
        uninstall(on(fake), unprotect=False, say=lambda _: None)
    assert fake.calls == []

    waited = list[float]()
    uninstall(on(fake), unprotect=True, say=lambda _: None, wait=waited.append)
    assert fake.calls == ["unprotect", "delete"]
    assert len(waited) == 1


def test_what_could_not_be_deleted_is_said_with_its_reason() -> None:
    with pytest.raises(OperatorError, match=r"(?s)could not be deleted: .*\n  Network: in use\n.*same command"):
        uninstall(on(Fake("DELETE_FAILED")), unprotect=False, say=lambda _: None)


def test_a_deletion_that_takes_longer_goes_on_without_the_command() -> None:
    with pytest.raises(OperatorError, match="still being deleted"):
        uninstall(
            on(Fake("DELETE_IN_PROGRESS")),
            unprotect=True,
            say=lambda _: None,
            wait=lambda _: None,
            now=Mock(side_effect=[0.0, 4_000.0]),
        )
