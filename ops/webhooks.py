"""The commands `cloud-sync webhooks …`: the addresses of webhooks and of the heartbeat, which lie in a secret."""

import json
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from infra.config import is_loopback
from infra.webhook_forms import HEARTBEATS, WEBHOOKS, Part, secret_key, secret_name
from ops.credentials.prompt import read_hidden
from ops.dead_letters import drop_undelivered_to_webhooks
from ops.deployment import Deployment
from ops.errors import OperatorError
from services.shared.clock import Clock
from services.shared.envelope import detail
from services.shared.events import OPERATOR, OperatorsNotified, source_of

Say = Callable[[str], None]
Parts = Mapping[Part, str]

SERVICES = (*WEBHOOKS, *HEARTBEATS)
_HEARTBEAT = "heartbeat"  # under which name a heartbeat's parts lie in the secret
# What EventBridge takes for an address. A `*` in it would be a wildcard.
_ADDRESS = re.compile(r"([-()_.!~';/?:@&=+$,A-Za-z0-9]|%[0-9A-Fa-f]{2}){1,2000}")
_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]{20,}")
_HEADER = re.compile(r"([A-Za-z0-9-]+):\s*([ -~]+)")
# EventBridge always sends a header to authenticate with. This one says nothing.
_NO_HEADER: Parts = {"header": "X-Cloud-Sync", "header_value": "1"}


def set_(deployment: Deployment, service: str, say: Say) -> int:
    """Ask for a service's address, without showing it, and store it. Where the webhook is deployed, it is used at once.

    Standard input, where it is no terminal, has one answer a line.
    """
    parts = recognised(service, _answers(service), local=deployment.endpoint_url is not None)
    _store(deployment, service, parts)
    say(f"stored in the secret {secret_name(deployment.stack_name)}")
    used = list(_use(deployment, service, parts))
    if not used:
        say(f"not deployed yet: {how_to_deploy(deployment, service)}")
        return 0
    say(f"in use now, for {', '.join(used)}")
    if service in WEBHOOKS:
        say(f"to try it: {deployment.command('webhooks test')}")
    return 0


def how_to_deploy(deployment: Deployment, service: str) -> str:
    """Say how to deploy a webhook or a heartbeat whose address is stored."""
    name = "webhooks" if service in WEBHOOKS else _HEARTBEAT
    if deployment.endpoint_url:
        return deployment.command(f"local up --set {name}={service}")
    value = f'["{service}"]' if service in WEBHOOKS else f'"{service}"'
    return f"write {name} = {value} into cloud-sync.toml, and deploy"


def test(deployment: Deployment, say: Say) -> int:
    """Send a notification to all webhooks that are deployed."""
    names = [name for name in _deployed(deployment) if name in WEBHOOKS]
    if not names:
        raise OperatorError("No webhook is deployed: see docs/notifications.md.")
    event = OperatorsNotified(
        sync_id=f"test-{uuid.uuid4()}",
        notification_id=str(uuid.uuid4()),
        about="Test",
        severity="info",
        subject="Cloud Sync: a test of your webhooks",
        text='Cloud Sync: a test of your webhooks.\n\nLines, "quotes", \\ and <brackets> arrive as they are.\n',
        link=deployment.outputs.get("ReportsConsoleUrl", "https://console.aws.amazon.com/"),
        occurred_at=Clock().now().isoformat(),
    )
    entry = {
        "EventBusName": deployment.outputs["EventBusName"],
        "Source": source_of(OPERATOR),
        "DetailType": type(event).__name__,
        "Detail": json.dumps(detail(event)),
    }
    answer = deployment.client("events").put_events(Entries=[entry])
    if answer["FailedEntryCount"]:
        raise OperatorError(f"EventBridge refused the event: {answer['Entries'][0].get('ErrorCode')}")
    say(f"sent to {', '.join(names)}. What does not arrive: {deployment.command('failures')}")
    return 0


def check(deployment: Deployment) -> int:
    """Say which addresses are stored, and which are in use. Shows none of them."""
    stored, deployed = _stored(deployment), set(_deployed(deployment))
    for service in SERVICES:
        is_stored = secret_key(service if service in WEBHOOKS else _HEARTBEAT, "url") in stored
        if service in HEARTBEATS:
            is_stored = is_stored and stored.get(_kind_key()) == service
        in_use = any(name.partition("-begin")[0].partition("-success")[0] == service for name in deployed)
        print(f"{service:<13} {'stored' if is_stored else '-':<7} {'in use' if in_use else '-'}")
    return 0


def clear(deployment: Deployment, say: Say) -> int:
    """Delete the notifications that could not be delivered to a webhook, which ends their alarm."""
    dropped = drop_undelivered_to_webhooks(deployment)
    say(f"deleted {dropped} of them")
    return 0


def recognised(service: str, answers: Iterable[str], *, local: bool = False) -> Parts:
    """Return the parts of a service's secret. `local`: a local stage may call this machine by http.

    Raises `OperatorError` for what the service cannot use. The error does not quote it.
    """
    first, *more = [answer.strip() for answer in answers] or [""]
    if service == "telegram":
        if not _TOKEN.fullmatch(first):
            raise OperatorError("This is no token of a Telegram bot, such as 123456:ABC…. Nothing was stored.")
        chat = more[0] if more else ""
        if not re.fullmatch(r"-?\d+|@\w+", chat):
            raise OperatorError(
                "Which chat? Its id is a number such as 123456789 or -1001234567890. Nothing was stored."
            )
        return {"url": f"https://api.telegram.org/bot{first}/sendMessage", **_NO_HEADER, "recipient": chat}
    address = _checked(first, local=local)
    if service == "ntfy":
        base, _, topic = address.rstrip("/").rpartition("/")
        if not re.fullmatch(r"[-_A-Za-z0-9]{1,64}", topic) or urlsplit(base).path:
            raise OperatorError("The address of a topic is such as https://ntfy.sh/your-topic. Nothing was stored.")
        return {"url": f"{base}/", **_header(more), "recipient": topic}
    if service in HEARTBEATS:
        # What a service shows has the parameters of one state.
        return {"url": address.partition("?")[0].rstrip("/"), **_NO_HEADER}
    return {"url": address, **(_header(more) if WEBHOOKS[service].takes_header else _NO_HEADER)}


def _checked(address: str, *, local: bool) -> str:
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    usable = parts.scheme == "https" or (local and parts.scheme == "http" and is_loopback(host))
    if not usable or not host or parts.username is not None or parts.fragment or not _ADDRESS.fullmatch(address):
        raise OperatorError(
            "This is not an address that EventBridge can call: https, in ASCII, and without user, `*` or `#`. "
            "Nothing was stored."
        )
    return address


def _header(answers: list[str]) -> Parts:
    given = next(iter(answers), "")
    if not given:
        return _NO_HEADER
    header = _HEADER.fullmatch(given)
    if not header:
        raise OperatorError("A header is such as `Authorization: Bearer …`. Nothing was stored.")
    return {"header": header[1], "header_value": header[2]}


def _answers(service: str) -> list[str]:
    if not sys.stdin.isatty():
        return sys.stdin.read().splitlines()
    return [read_hidden(question).decode(errors="replace") for question in _questions(service)]


def _questions(service: str) -> list[str]:
    """Return the prompts. What is typed stays hidden, so each says that."""
    described = WEBHOOKS.get(service) or HEARTBEATS[service]
    questions = [f"{described.title}: {described.asks}. It stays hidden.\n> "]
    webhook = WEBHOOKS.get(service)
    if webhook and webhook.asks_recipient:
        questions.append(f"{webhook.title}: {webhook.asks_recipient}.\n> ")
    if webhook and webhook.takes_header:
        questions.append(f"{webhook.title}: a header, such as Authorization: Bearer …; empty if it needs none.\n> ")
    return questions


def _stored(deployment: Deployment) -> dict[str, str]:
    secrets = deployment.client("secretsmanager")
    try:
        content = secrets.get_secret_value(SecretId=secret_name(deployment.stack_name))["SecretString"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return {}
    known: dict[str, str] = json.loads(content)
    return known


def _store(deployment: Deployment, service: str, parts: Parts) -> None:
    name = service if service in WEBHOOKS else _HEARTBEAT
    before = _stored(deployment)
    content = {**before, **{secret_key(name, part): value for part, value in parts.items()}}
    if service in HEARTBEATS:
        content[_kind_key()] = service
    secrets, secret = deployment.client("secretsmanager"), secret_name(deployment.stack_name)
    if before:
        secrets.put_secret_value(SecretId=secret, SecretString=json.dumps(content))
    else:
        secrets.create_secret(
            Name=secret,
            Description=f"{deployment.stack_name}: addresses of webhooks, filled in by the user",
            SecretString=json.dumps(content),
        )


def _kind_key() -> str:
    return f"{_HEARTBEAT}_kind"


def _deployed(deployment: Deployment) -> dict[str, tuple[str, str]]:
    """Return the API destinations of the stack and their connections, by what the outputs call them."""
    found = {}
    for entry in filter(None, deployment.outputs.get("WebhookDestinations", "").split(",")):
        name, _, resources = entry.partition("=")
        destination, _, connection = resources.partition("/")
        found[name] = destination, connection
    return found


def _use(deployment: Deployment, service: str, parts: Parts) -> Iterable[str]:
    """Give the deployed API destinations of a service these parts. Yields their names.

    CloudFormation reads the secret again only when something else about them changes.
    """
    events = deployment.client("events")
    for name, (destination, connection) in _deployed(deployment).items():
        suffix = _suffixes(service).get(name)
        if suffix is None:
            continue
        events.update_connection(
            Name=connection, AuthorizationType="API_KEY", AuthParameters=_parameters(service, parts)
        )
        events.update_api_destination(Name=destination, InvocationEndpoint=parts["url"] + suffix)
        yield name


def _suffixes(service: str) -> dict[str, str]:
    """Return what follows the address, by the name of the API destination."""
    heartbeat = HEARTBEATS.get(service)
    return {service: ""} if heartbeat is None else {f"{service}-{state}": end for state, end in heartbeat.ends.items()}


def _parameters(service: str, parts: Parts) -> dict[str, Any]:
    key = {"ApiKeyName": parts["header"], "ApiKeyValue": parts["header_value"]}
    parameters: dict[str, Any] = {"ApiKeyAuthParameters": key}
    if service in WEBHOOKS and WEBHOOKS[service].recipient:
        to_whom = {"Key": WEBHOOKS[service].recipient, "Value": parts["recipient"], "IsValueSecret": True}
        parameters["InvocationHttpParameters"] = {"BodyParameters": [to_whom]}
    return parameters
