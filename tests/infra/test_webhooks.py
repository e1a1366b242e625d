"""What must hold of webhooks and the heartbeat, read from the synthesized template."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from infra.webhook_forms import HEARTBEATS, SENT, WEBHOOKS
from services.shared.envelope import detail
from services.shared.events import EVENT_TYPES
from tests.template import Synthesize
from tools.docs.examples import EXAMPLES
from tools.template import Resource, Template

_PLACEHOLDER = re.compile(r"<[^<>]*>")
_REFERENCE = re.compile(r"\{\{resolve:secretsmanager:cloud-sync-(?:prod|dev)-webhooks:SecretString:(\w+)::\}\}")


@pytest.fixture(scope="module")
def all_of_them(template: Synthesize) -> Template:
    return template("prod", webhooks=",".join(WEBHOOKS), heartbeat="healthchecks")


def rules(stack: Template) -> list[Resource]:
    """Return the rules that call API destinations."""
    destinations = stack.of_type("AWS::Events::ApiDestination")
    return [
        rule
        for rule in stack.of_type("AWS::Events::Rule")
        if any(stack.refers(rule["Targets"][0]["Arn"], destination) for destination in destinations)
    ]


def test_nothing_of_it_is_there_unless_it_is_wanted(prod: Template) -> None:
    assert prod.of_type("AWS::Events::Connection") == prod.of_type("AWS::Events::ApiDestination") == []
    assert "WebhookDestinations" not in prod.body["Outputs"]


def test_addresses_and_keys_are_references_to_the_secret_and_nothing_else(all_of_them: Template) -> None:
    secrets: list[str] = []
    for destination in all_of_them.of_type("AWS::Events::ApiDestination"):
        assert _REFERENCE.match(destination["InvocationEndpoint"])
        secrets.append(destination["InvocationEndpoint"])
    for connection in all_of_them.of_type("AWS::Events::Connection"):
        given = connection["AuthParameters"]
        secrets += given["ApiKeyAuthParameters"].values()
        for one in given.get("InvocationHttpParameters", {}).get("BodyParameters", []):
            assert one["IsValueSecret"]
            secrets.append(one["Value"])
    assert all(_REFERENCE.match(secret) for secret in secrets)
    # What the template says besides is a state of the heartbeat.
    assert {_REFERENCE.sub("", secret) for secret in secrets} == {"", *HEARTBEATS["healthchecks"].ends.values()}


def test_no_address_is_anywhere_in_the_template_and_no_function_knows_the_secret(all_of_them: Template) -> None:
    text = _REFERENCE.sub("", json.dumps(all_of_them.body))
    assert "cloud-sync-prod-webhooks" not in text
    for host in ("slack.com", "discord.com", "ntfy.sh", "telegram.org", "hc-ping.com"):
        assert host not in text


def test_what_a_webhook_does_not_take_rings_with_the_other_undelivered_events(all_of_them: Template) -> None:
    for rule in rules(all_of_them):
        (target,) = rule["Targets"]
        queue = all_of_them.referred(target["DeadLetterConfig"]["Arn"])
        assert queue.body["Type"] == "AWS::SQS::Queue"
        assert all_of_them.body["Outputs"]["UndeliveredEventsUrl"]["Value"] == {"Ref": queue.id}
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 4 * 3600


def test_a_rule_may_call_its_own_destination_only(all_of_them: Template) -> None:
    for rule in rules(all_of_them):
        (target,) = rule["Targets"]
        role = all_of_them.referred(target["RoleArn"])
        statements = [
            statement
            for policy in all_of_them.of_type("AWS::IAM::Policy")
            if any(all_of_them.refers(held, role) for held in policy["Roles"])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        assert [(one["Action"], one["Resource"]) for one in statements] == [
            ("events:InvokeApiDestination", target["Arn"])
        ]


def test_a_message_a_second_at_most(all_of_them: Template) -> None:
    for destination in all_of_them.of_type("AWS::Events::ApiDestination"):
        assert destination["InvocationRateLimitPerSecond"] == 1


def rendered(template: str) -> Any:
    """Return a body as EventBridge makes it of values that are whole JSON values."""
    return json.loads(_PLACEHOLDER.sub(lambda found: json.dumps(f"value of {found[0]}"), template))


def texts(body: Any) -> list[str]:
    if isinstance(body, Mapping):
        return [text for value in body.values() for text in texts(value)]
    if isinstance(body, list):
        return [text for value in body for text in texts(value)]
    return [body] if isinstance(body, str) else []


def test_no_value_stands_within_a_string_where_eventbridge_would_not_escape_it(all_of_them: Template) -> None:
    for rule in rules(all_of_them):
        transformer = rule["Targets"][0]["InputTransformer"]
        names = {f"<{name}>" for name in transformer["InputPathsMap"]}
        template = transformer["InputTemplate"]
        assert set(_PLACEHOLDER.findall(template)) == names
        filled = {text.removeprefix("value of ") for text in texts(rendered(template)) if text.startswith("value of ")}
        assert filled == names
        assert len(template) <= 8192


def test_every_value_is_in_the_event_that_a_rule_lets_through(all_of_them: Template) -> None:
    for rule in rules(all_of_them):
        (name,) = rule["EventPattern"]["detail-type"]
        assert rule["EventPattern"]["source"] == sorted(EVENT_TYPES[name].sources())
        event = {"detail": detail(EXAMPLES[name])}
        for path in rule["Targets"][0]["InputTransformer"]["InputPathsMap"].values():
            found: Any = event
            for part in path.removeprefix("$.").split("."):
                found = found[part]
            assert isinstance(found, str)


def test_a_webhook_is_told_what_operators_are_told(all_of_them: Template) -> None:
    told = [rule for rule in rules(all_of_them) if rule["EventPattern"]["detail-type"] == ["OperatorsNotified"]]
    assert len(told) == len(WEBHOOKS)
    said = WEBHOOKS["json"].body
    assert said.keys() == SENT.keys()


@pytest.mark.parametrize(("stack", "heartbeat"), [("all_of_them", "healthchecks"), ("unusual", "uptime-kuma")])
def test_a_monitor_hears_of_each_sync_that_begins_and_ends(
    request: pytest.FixtureRequest, stack: str, heartbeat: str
) -> None:
    synthesized: Template = request.getfixturevalue(stack)
    called = {}
    for rule in rules(synthesized):
        if rule["EventPattern"]["detail-type"] == ["OperatorsNotified"]:
            continue
        destination = synthesized.referred(rule["Targets"][0]["Arn"])
        assert destination["HttpMethod"] == "GET"
        pattern = rule["EventPattern"]
        called[pattern["detail-type"][0]] = _REFERENCE.sub("", destination["InvocationEndpoint"])
    ends = HEARTBEATS[heartbeat].ends
    by_state = {"begin": "SessionAuthenticated", "success": "SyncCompleted", "failure": "SyncFailed"}
    assert called == {by_state[state]: suffix for state, suffix in ends.items()}


def test_a_request_with_a_mistake_is_no_failure_of_the_monitored_sync(all_of_them: Template) -> None:
    (failed,) = [rule for rule in rules(all_of_them) if rule["EventPattern"]["detail-type"] == ["SyncFailed"]]
    because = failed["EventPattern"]["detail"]["data"]["closed_because"]
    assert because == [{"anything-but": ["request_refused"]}]


def test_the_outputs_name_each_destination_for_the_command_that_changes_its_address(all_of_them: Template) -> None:
    said = json.dumps(all_of_them.body["Outputs"]["WebhookDestinations"])
    for name in (*WEBHOOKS, *(f"healthchecks-{state}" for state in HEARTBEATS["healthchecks"].ends)):
        assert f"{name}=" in said
