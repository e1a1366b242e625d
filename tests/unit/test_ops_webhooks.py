"""`cloud-sync webhooks`: what is stored, what is used at once, and that nobody sees an address."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from infra.webhook_forms import HEARTBEATS, WEBHOOKS
from ops import command
from ops.deployment import Deployment
from ops.errors import OperatorError
from ops.webhooks import SERVICES, how_to_deploy, recognised

Output = pytest.CaptureFixture[str]

SLACK = "https://hooks.slack.com/services/T0/B0/5ecre7"
NONE = {"header": "X-Cloud-Sync", "header_value": "1"}
BOT = "123456:AAbbCCddEEffGGhhIIjjKK"


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch, deployment: Deployment) -> Deployment:
    monkeypatch.setattr(command, "_deployment", lambda _, **__: deployment)
    bus = deployment.client("events").create_event_bus(Name="bus")
    deployment.outputs["EventBusName"] = bus["EventBusArn"].rpartition("/")[2]
    return deployment


def run(monkeypatch: pytest.MonkeyPatch, line: str, given: str = "") -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(given))
    return command.main(["webhooks", *line.split()])


def stored(stack: Deployment) -> dict[str, str]:
    secret = stack.client("secretsmanager").get_secret_value(SecretId="cloud-sync-dev-webhooks")
    found: dict[str, str] = json.loads(secret["SecretString"])
    return found


def deploy(stack: Deployment, *names: str) -> None:
    """Create API destinations as the stack does, with addresses of before."""
    events = stack.client("events")
    for name in names:
        key = {"ApiKeyAuthParameters": {"ApiKeyName": "old", "ApiKeyValue": "old"}}
        made = events.create_connection(Name=f"c-{name}", AuthorizationType="API_KEY", AuthParameters=key)
        events.create_api_destination(
            Name=f"d-{name}",
            ConnectionArn=made["ConnectionArn"],
            InvocationEndpoint="https://old.example/",
            HttpMethod="POST",
        )
    stack.outputs["WebhookDestinations"] = ",".join(f"{name}=d-{name}/c-{name}" for name in names)


def endpoint(stack: Deployment, name: str) -> str:
    return str(stack.client("events").describe_api_destination(Name=f"d-{name}")["InvocationEndpoint"])


def test_an_address_is_stored_before_it_is_deployed_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment
) -> None:
    assert run(monkeypatch, "set slack", f"{SLACK}\n") == 0
    assert stored(stack) == {"slack_url": SLACK, "slack_header": "X-Cloud-Sync", "slack_header_value": "1"}
    said = capsys.readouterr()
    assert 'write webhooks = ["slack"] into cloud-sync.toml, and deploy' in said.err
    assert "5ecre7" not in said.out + said.err


def test_a_local_stage_is_deployed_with_its_own_command(stack: Deployment) -> None:
    local = replace(stack, endpoint_url="http://127.0.0.1:4566", options="--stage-dir here")
    assert how_to_deploy(local, "ntfy") == ".venv/bin/cloud-sync local up --set webhooks=ntfy --stage-dir here"
    assert how_to_deploy(local, "cronitor").endswith("local up --set heartbeat=cronitor --stage-dir here")
    assert how_to_deploy(stack, "cronitor") == 'write heartbeat = "cronitor" into cloud-sync.toml, and deploy'


def test_another_address_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch, stack: Deployment) -> None:
    run(monkeypatch, "set slack", SLACK)
    run(monkeypatch, "set ntfy", "https://ntfy.sh/a-topic\nAuthorization: Bearer tk_1\n")
    run(monkeypatch, "set slack", f"{SLACK}2")
    content = stored(stack)
    assert content["slack_url"] == f"{SLACK}2"
    assert {name: value for name, value in content.items() if name.startswith("ntfy")} == {
        "ntfy_url": "https://ntfy.sh/",
        "ntfy_recipient": "a-topic",
        "ntfy_header": "Authorization",
        "ntfy_header_value": "Bearer tk_1",
    }


def test_a_deployed_webhook_uses_its_new_address_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment
) -> None:
    deploy(stack, "slack", "telegram")
    assert run(monkeypatch, "set telegram", f"{BOT}\n-1001\n") == 0
    assert endpoint(stack, "telegram") == f"https://api.telegram.org/bot{BOT}/sendMessage"
    assert endpoint(stack, "slack") == "https://old.example/"
    connection = stack.client("events").describe_connection(Name="c-telegram")["AuthParameters"]
    assert connection["ApiKeyAuthParameters"]["ApiKeyName"] == "X-Cloud-Sync"
    (to_whom,) = connection["InvocationHttpParameters"]["BodyParameters"]
    assert to_whom["Key"] == "chat_id"
    assert "in use now, for telegram" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("service", "address", "called"),
    [
        (
            "healthchecks",
            "https://hc-ping.com/uuid/",
            {"begin": "https://hc-ping.com/uuid/start", "success": "https://hc-ping.com/uuid",
             "failure": "https://hc-ping.com/uuid/fail"},
        ),
        (
            "cronitor",
            "https://cronitor.link/p/key/sync?state=run",
            {"begin": "https://cronitor.link/p/key/sync?state=run",
             "success": "https://cronitor.link/p/key/sync?state=complete",
             "failure": "https://cronitor.link/p/key/sync?state=fail"},
        ),
        (
            "uptime-kuma",
            "https://kuma.example/api/push/token?status=up&msg=OK&ping=",
            {"success": "https://kuma.example/api/push/token?status=up&msg=OK",
             "failure": "https://kuma.example/api/push/token?status=down&msg=failed"},
        ),
    ],
)  # fmt: skip
def test_a_monitor_is_called_as_it_documents_it(
    monkeypatch: pytest.MonkeyPatch, stack: Deployment, service: str, address: str, called: dict[str, str]
) -> None:
    deploy(stack, *(f"{service}-{state}" for state in called), "slack")
    assert run(monkeypatch, f"set {service}", address) == 0
    assert {state: endpoint(stack, f"{service}-{state}") for state in called} == called
    assert endpoint(stack, "slack") == "https://old.example/"
    assert stored(stack)["heartbeat_url"] == called["success"].partition("?")[0]


def test_a_check_shows_what_is_stored_and_used_and_no_address(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment
) -> None:
    run(monkeypatch, "set slack", SLACK)
    run(monkeypatch, "set healthchecks", "https://hc-ping.com/uuid")
    deploy(stack, "slack", "healthchecks-begin", "healthchecks-failure", "healthchecks-success")
    capsys.readouterr()
    assert run(monkeypatch, "check") == 0
    lines = {words[0]: words[1:] for words in map(str.split, capsys.readouterr().out.splitlines())}
    assert lines.keys() == set(SERVICES)
    assert lines["slack"] == lines["healthchecks"] == ["stored", "in", "use"]
    assert all(words == ["-", "-"] for name, words in lines.items() if name not in ("slack", "healthchecks"))


def test_a_test_is_an_event_that_the_rules_let_through(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment
) -> None:
    assert run(monkeypatch, "test") == 2
    assert "No webhook is deployed" in capsys.readouterr().err
    deploy(stack, "slack", "healthchecks-success")
    sent: list[Any] = []

    def put_events(Entries: list[Any]) -> dict[str, int]:  # noqa: N803  # AWS's own name
        sent.extend(Entries)
        return {"FailedEntryCount": 0}

    events = SimpleNamespace(put_events=put_events)
    monkeypatch.setattr(Deployment, "client", lambda _self, _name: events)
    assert run(monkeypatch, "test") == 0
    (entry,) = sent
    assert (entry["EventBusName"], entry["Source"], entry["DetailType"]) == (
        "bus",
        "cloud-sync.operator",
        "OperatorsNotified",
    )
    assert json.loads(entry["Detail"])["data"]["subject"] == "Cloud Sync: a test of your webhooks"
    assert "sent to slack." in capsys.readouterr().err


def test_what_no_webhook_took_is_listed_with_its_cause_and_cleared(
    monkeypatch: pytest.MonkeyPatch, capsys: Output, stack: Deployment
) -> None:
    sqs, queue = stack.client("sqs"), stack.undelivered
    inbox = stack.inbox("lister").rpartition("/")[2]
    for target in ("arn:aws:events:eu-central-1:1:api-destination/d-slack/u", f"arn:aws:sqs:eu-central-1:1:{inbox}"):
        said = {"TARGET_ARN": target, "ERROR_CODE": "SDK_CLIENT_ERROR", "ERROR_MESSAGE": "404"}
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
        body = json.dumps({"detail-type": "OperatorsNotified", "detail": {"metadata": {"sync_id": "s1"}}})
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageAttributes=attributes)
    assert command.main(["failures"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("webhooks")]
    assert len(rows) == 1
    assert "SDK_CLIENT_ERROR 404" in rows[0]
    assert command.main(["failures", "--service", "lister"]) == 0
    assert "webhooks" not in capsys.readouterr().out
    assert run(monkeypatch, "clear") == 0
    assert "deleted 1 of them" in capsys.readouterr().err
    left = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(left) == 1, "what was for an inbox can still be redriven"


@pytest.mark.parametrize(
    ("service", "answers"),
    [
        ("slack", [""]),
        ("slack", []),
        ("slack", ["http://hooks.slack.com/services/5ecre7"]),
        ("slack", ["https://"]),
        ("slack", ["https://user:5ecre7@hooks.slack.com/x"]),
        ("slack", ["https://hooks.slack.com/5ecre7/*"]),
        ("slack", ["https://hooks.slack.com/5ecre7#part"]),
        ("slack", ["https://hooks.slack.com/5ecre7 and more"]),
        ("slack", ["https://hooks.släck.com/5ecre7"]),
        ("slack", ["https://[hooks/5ecre7"]),
        ("slack", ["https://hooks.slack.com/" + "5ecre7" * 400]),
        ("json", ["https://example.org/5ecre7", "5ecre7 without a colon"]),
        ("ntfy", ["https://ntfy.sh/"]),
        ("ntfy", ["https://ntfy.sh/5ecre7/json"]),
        ("telegram", ["5ecre7", "1"]),
        ("telegram", [BOT]),
        ("telegram", [BOT, "my chat"]),
        ("healthchecks", ["uuid-5ecre7"]),
    ],
)
def test_what_a_service_cannot_use_is_refused_without_being_quoted(service: str, answers: list[str]) -> None:
    with pytest.raises(OperatorError, match="Nothing was stored") as refused:
        recognised(service, answers)
    assert "5ecre7" not in str(refused.value)
    assert "AAbb" not in str(refused.value)


def test_a_local_stage_may_call_this_machine() -> None:
    assert recognised("json", ["http://127.0.0.1:8080/hook"], local=True)["url"] == "http://127.0.0.1:8080/hook"
    with pytest.raises(OperatorError):
        recognised("json", ["http://example.org/hook"], local=True)


def test_a_header_is_taken_only_where_a_service_has_one() -> None:
    header = "X-Key: a b"
    assert recognised("json", ["https://example.org/", header]) == {
        "url": "https://example.org/",
        "header": "X-Key",
        "header_value": "a b",
    }
    assert recognised("json", ["https://example.org/"]) == {"url": "https://example.org/", **NONE}
    assert recognised("discord", ["https://discord.com/api/webhooks/1/x", header])["header"] == "X-Cloud-Sync"


def test_every_service_has_a_setting_of_its_own() -> None:
    assert set(SERVICES) == WEBHOOKS.keys() | HEARTBEATS.keys()
    assert not WEBHOOKS.keys() & HEARTBEATS.keys()
