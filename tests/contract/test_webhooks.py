"""The webhooks of the template, behind the embedded AWS: what arrives is what each service documents that it takes.

The services are stood in for by a server on this machine that refuses, as they do, what does not have their published
form.
"""

import io
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from infra.webhook_forms import WEBHOOKS, Part, secret_key, secret_name
from ops.deployment import Deployment
from ops.local.emulator import REGION
from ops.webhooks import set_
from services.shared.envelope import detail
from services.shared.events import Event, OperatorsNotified, SyncFailed, source_of
from services.summarizer.closing import closing_event
from services.summarizer.notification import closing_notification
from tests.contract.embedded_aws import EmbeddedAws
from tests.e2e.canary import IN_PART, Finder, Secret
from tests.e2e.stage import eventually
from tests.template import Synthesize
from tests.unit.summarizer_facts import DEPLOYMENT, SYNC, Known, a_sync_of, failed
from tools.docs.examples import EXAMPLES
from tools.template import Template

HOSTILE = (
    'a "quote", \\ a backslash, <!channel> @everyone, {{x}}, \N{ROCKET}, \u202e, *bold* _it_ </script>\nand a line'
)
KEY = "an-api-key-of-the-generic-service"
CHAT, TOPIC, TOKEN = "-1001234567890", "a-secret-topic", "123456:AAbbCCddEEffGGhhIIjjKK"


class Refused(Exception):
    """The service answers 400 to this body."""


def need(condition: object, what: str) -> None:
    if not condition:
        raise Refused(what)


def only(body: Mapping[str, Any], *names: str) -> None:
    need(set(body) <= set(names), f"unknown fields {set(body) - set(names)}")


# --- the services' published forms ----------------------------------------------------------------------------------


def slack(path: str, _headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and Block Kit's reference."""
    need(path == "/services/T0/B0/secret", "no_service")
    only(body, "text", "blocks")
    need(isinstance(body["text"], str) and body["text"], "no_text")
    need(len(body["blocks"]) <= 50, "invalid_blocks")
    for block in body["blocks"]:
        only(block, "type", "elements")
        need(block["type"] == "rich_text", "invalid_blocks")
        for section in block["elements"]:
            only(section, "type", "elements")
            need(section["type"] == "rich_text_section", "invalid_blocks")
            for element in section["elements"]:
                kind = element["type"]
                only(element, "type", "text", *(["url"] if kind == "link" else []))
                need(kind in ("text", "link") and isinstance(element["text"], str), "invalid_blocks")
                need(kind != "link" or urlsplit(element["url"]).scheme == "https", "invalid_blocks")


def discord(path: str, _headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    """https://docs.discord.com/developers/resources/webhook#execute-webhook."""
    need(path == "/api/webhooks/1/secret", "Unknown Webhook")
    only(body, "content", "allowed_mentions", "flags")
    need(isinstance(body["content"], str) and 1 <= len(body["content"].encode("utf-16-le")) // 2 <= 2000, "BASE_TYPE")
    need(set(body["allowed_mentions"]["parse"]) <= {"roles", "users", "everyone"}, "allowed_mentions")
    need(body["flags"] in (0, 4, 4096), "flags")


def ntfy(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    """https://docs.ntfy.sh/publish/#publish-as-json."""
    need(path == "/", "page not found")
    need(headers.get("Authorization") == "Bearer tk_secret", "unauthorized")
    only(body, "topic", "message", "title", "tags", "priority", "click")
    need(body["topic"] == TOPIC and re.fullmatch(r"[-_A-Za-z0-9]{1,64}", body["topic"]), "invalid topic")
    need(isinstance(body["message"], str) and 0 < len(body["message"].encode()) <= 4096, "would be an attachment")
    need(isinstance(body["title"], str) and urlsplit(body["click"]).scheme == "https", "invalid request")
    need(all(isinstance(tag, str) for tag in body["tags"]), "invalid request")


def telegram(path: str, _headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    """https://core.telegram.org/bots/api#sendmessage."""
    need(path == f"/bot{TOKEN}/sendMessage", "Unauthorized")
    only(body, "chat_id", "text", "link_preview_options")
    need(str(body["chat_id"]) == CHAT, "chat not found")
    need(
        isinstance(body["text"], str) and 1 <= len(body["text"].encode("utf-16-le")) // 2 <= 4096, "message is too long"
    )
    only(body["link_preview_options"], "is_disabled")


def own(path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
    need((path, headers.get("X-Api-Key")) == ("/hook", KEY), "unauthorized")
    need(set(body) == {*EXAMPLES["OperatorsNotified"].__dataclass_fields__} & set(body) and len(body) == 7, "fields")


FORMS: Mapping[str, Callable[[str, Mapping[str, str], Mapping[str, Any]], None]] = {
    "slack": slack,
    "discord": discord,
    "ntfy": ntfy,
    "telegram": telegram,
    "json": own,
}


@dataclass
class Services:
    """The server that stands in for all of them; each has a port of its own."""

    urls: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[str, Any]] = field(default_factory=list)  # service, body
    refused: list[tuple[str, str]] = field(default_factory=list)
    pinged: list[tuple[str, str]] = field(default_factory=list)  # method, path and query

    def of(self, service: str) -> list[Any]:
        return [body for name, body in self.taken if name == service]


@pytest.fixture
def services() -> Iterator[Services]:
    known, servers = Services(), []

    def handler(service: str) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    need(self.headers["Content-Type"].startswith("application/json"), "content type")
                    body = json.loads(raw)
                    FORMS[service](self.path, dict(self.headers), body)
                except (Refused, ValueError, KeyError, TypeError) as error:
                    known.refused.append((service, f"{error}: {raw!r}"))
                    self.answer(400)
                else:
                    known.taken.append((service, body))
                    self.answer(200)

            def do_GET(self) -> None:
                known.pinged.append(("GET", self.path))
                self.answer(200)

            def answer(self, status: int) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    for service in (*FORMS, "heartbeat"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(service))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        known.urls[service] = f"http://127.0.0.1:{server.server_port}"
        servers.append(server)
    yield known
    for server in servers:
        server.shutdown()
        server.server_close()


# --- the stack ------------------------------------------------------------------------------------------------------


@dataclass
class Stack:
    """The part of the real template that calls webhooks, on the embedded AWS."""

    deployment: Deployment
    bus: str

    def publish(self, event: Event, source: str = source_of("summarizer")) -> None:
        entry = {
            "EventBusName": self.bus,
            "Source": source,
            "DetailType": type(event).__name__,
            "Detail": json.dumps(detail(event)),
        }
        assert self.deployment.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def parts(services: Services) -> Mapping[str, Mapping[Part, str]]:
    none: Mapping[Part, str] = {"header": "X-Cloud-Sync", "header_value": "1"}
    urls = services.urls
    return {
        "slack": {"url": f"{urls['slack']}/services/T0/B0/secret", **none},
        "discord": {"url": f"{urls['discord']}/api/webhooks/1/secret", **none},
        "ntfy": {
            "url": f"{urls['ntfy']}/",
            "header": "Authorization",
            "header_value": "Bearer tk_secret",
            "recipient": TOPIC,
        },
        "telegram": {"url": f"{urls['telegram']}/bot{TOKEN}/sendMessage", **none, "recipient": CHAT},
        "json": {"url": f"{urls['json']}/hook", "header": "X-Api-Key", "header_value": KEY},
        "heartbeat": {"url": f"{urls['heartbeat']}/uuid", **none},
    }


def excerpt(template: Template, bus: str) -> dict[str, Any]:
    """Return the template with what calls webhooks, and what that refers to."""
    resources = template.body["Resources"]
    (bus_id,) = [name for name, one in resources.items() if one["Type"] == "AWS::Events::EventBus"]
    undelivered = template.body["Outputs"]["UndeliveredEventsUrl"]["Value"]["Ref"]
    kept = {name: one for name, one in resources.items() if name.startswith("Webhooks")}
    kept[bus_id] = {**resources[bus_id], "Properties": {**resources[bus_id]["Properties"], "Name": bus}}
    kept[undelivered] = resources[undelivered]
    outputs = {name: template.body["Outputs"][name] for name in ("WebhookDestinations",)}
    return {"Resources": kept, "Outputs": outputs}


@pytest.fixture(scope="module")
def all_of_them(template: Synthesize) -> Template:
    return template("prod", webhooks=",".join(WEBHOOKS), heartbeat="healthchecks")


@pytest.fixture
def deploy(aws: EmbeddedAws, all_of_them: Template, services: Services) -> Iterator[Callable[..., Stack]]:
    made: list[str] = []

    def create() -> Stack:
        name = f"stack-{uuid.uuid4().hex[:8]}"
        addresses = json.dumps(
            {
                secret_key(service, part): value
                for service, has in parts(services).items()
                for part, value in has.items()
            }
        )
        aws.client("secretsmanager").create_secret(Name=secret_name(name), SecretString=addresses)
        body = json.dumps(excerpt(all_of_them, name)).replace(secret_name("cloud-sync-prod"), secret_name(name))
        stacks = aws.client("cloudformation")
        stacks.create_stack(StackName=name, TemplateBody=body)
        made.append(name)
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        deployment = Deployment(boto3.Session("test", "test", region_name=REGION), name, aws.endpoint_url)
        return Stack(deployment, name)

    yield create
    stacks = aws.client("cloudformation")
    for name in made:
        stacks.delete_stack(StackName=name)
        stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        left = aws.client("events").list_api_destinations()["ApiDestinations"]
        assert not any(one["Name"].startswith(name) for one in left)


# --- what arrives ---------------------------------------------------------------------------------------------------


def hostile() -> OperatorsNotified:
    """Return the event of a notification about media whose names and reasons are as bad as can be."""
    facts = [*a_sync_of(20), *[failed(f"m{n}", f"{n} {HOSTILE} " + "\N{ROCKET}" * 400) for n in range(20)]]
    known = Known(facts)
    summary = closing_event(known.close("complete"))
    summary = replace(summary, failures=tuple(replace(one, filename=f"{HOSTILE}.MP4") for one in summary.failures))
    return closing_notification(summary, DEPLOYMENT).event


def test_each_service_takes_what_it_is_sent(deploy: Callable[..., Stack], services: Services) -> None:
    stack = deploy()
    worst = hostile()
    assert all(part in worst.text for part in ('"quote", \\', "<!channel>", "\n\nLook:\n"))
    plain = EXAMPLES["OperatorsNotified"]
    assert isinstance(plain, OperatorsNotified)
    quoted = replace(plain, text=HOSTILE, subject='"', notification_id="another")
    for event in (worst, plain, quoted):
        stack.publish(event)
    eventually(lambda: len(services.taken) + len(services.refused) >= 3 * len(WEBHOOKS), "every request")
    assert services.refused == []
    for service, where in (
        ("slack", None),
        ("discord", "content"),
        ("ntfy", "message"),
        ("telegram", "text"),
        ("json", "text"),
    ):
        bodies = services.of(service)
        shown = [body[where] if where else body["blocks"][0]["elements"][0]["elements"][0]["text"] for body in bodies]
        assert sorted(shown) == sorted(event.text for event in (worst, plain, quoted)), service
    (generic,) = [body for body in services.of("json") if body["subject"] == worst.subject]
    assert generic == {
        "notification_id": worst.notification_id,
        "sync_id": SYNC,
        "about": "SyncCompleted",
        "severity": worst.severity,
        "subject": worst.subject,
        "text": worst.text,
        "link": worst.link,
    }


def test_a_monitor_hears_of_the_beginning_and_the_end_of_a_sync(
    deploy: Callable[..., Stack], services: Services
) -> None:
    stack = deploy()
    stack.publish(EXAMPLES["SyncRequested"], source_of("schedule"))
    stack.publish(EXAMPLES["SessionAuthenticated"], source_of("authenticator"))
    eventually(lambda: len(services.pinged) == 1, "the ping at the beginning")
    stack.publish(EXAMPLES["SyncCompleted"])
    eventually(lambda: len(services.pinged) == 2, "the ping at the end")
    failure = EXAMPLES["SyncFailed"]
    assert isinstance(failure, SyncFailed)
    stack.publish(replace(failure, closed_because="request_refused"))
    stack.publish(failure)
    eventually(lambda: len(services.pinged) == 3, "the ping of the failure")
    assert services.pinged == [("GET", "/uuid/start"), ("GET", "/uuid"), ("GET", "/uuid/fail")]


def test_an_address_that_changes_is_used_without_a_deployment(
    deploy: Callable[..., Stack], services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = deploy()
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{services.urls['discord']}/api/webhooks/1/secret\n"))
    set_(stack.deployment, "json", print)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{services.urls['heartbeat']}/another/\n"))
    set_(stack.deployment, "healthchecks", print)
    stack.publish(hostile())
    eventually(lambda: services.refused, "the request at the new address")
    assert {name for name, _ in services.refused} == {"discord"}
    stack.publish(EXAMPLES["SyncCompleted"])
    eventually(lambda: services.pinged, "the ping at the new address")
    assert services.pinged == [("GET", "/another")]


def test_no_address_shows_in_what_the_stack_says_of_itself(
    deploy: Callable[..., Stack], services: Services, aws: EmbeddedAws
) -> None:
    stack = deploy()
    stack.publish(hostile())
    eventually(lambda: len(services.taken) == len(WEBHOOKS), "every request")
    secrets = [
        Secret(kind=f"{service}'s {part}", value=value)
        for service, has in parts(services).items()
        for part, value in has.items()
        if part == "url" or len(value) > IN_PART
    ]
    named = {"StackName": stack.deployment.stack_name}
    stacks, events = aws.client("cloudformation"), aws.client("events")
    said = [
        stacks.get_template(**named),
        stacks.describe_stacks(**named),
        stacks.describe_stack_events(**named),
        stacks.describe_stack_resources(**named),
        *(
            events.list_targets_by_rule(Rule=rule["Name"], EventBusName=stack.bus)
            for rule in events.list_rules(EventBusName=stack.bus)["Rules"]
        ),
        hostile(),
    ]
    found = {find for text in map(str, said) for find in Finder(secrets).find(text)}
    assert found == set()
    # What EventBridge shows to whoever may ask it, as docs/notifications.md says.
    described = str(events.list_api_destinations()["ApiDestinations"])
    assert {kind for kind, _ in Finder(secrets).find(described)} == {
        *(f"{service}'s url" for service in (*WEBHOOKS, "heartbeat"))
    }


def test_without_the_secret_a_deployment_is_refused_and_says_which(aws: EmbeddedAws, all_of_them: Template) -> None:
    name = f"stack-{uuid.uuid4().hex[:8]}"
    body = json.dumps(excerpt(all_of_them, name))
    stacks = aws.client("cloudformation")
    stacks.create_stack(StackName=name, TemplateBody=body)

    def status() -> str:
        return str(stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"])

    eventually(lambda: status().startswith("ROLLBACK"), "the rollback")
    reasons = [
        one.get("ResourceStatusReason", "") for one in stacks.describe_stack_events(StackName=name)["StackEvents"]
    ]
    assert any(secret_name("cloud-sync-prod") in reason for reason in reasons)
