"""Webhooks and the heartbeat: addresses outside AWS that EventBridge calls by itself, without a function."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.config import Settings
from infra.webhook_forms import HEARTBEATS, SENT, WEBHOOKS, Part, secret_key, secret_name
from services.shared.events import Event, OperatorsNotified, SessionAuthenticated, SyncCompleted, SyncFailed

_TRIED_FOR = cdk.Duration.hours(4)  # older news helps nobody
# Slack takes one message a second. EventBridge keeps what is more for later.
_PER_SECOND = 1


class Webhooks(Construct):
    """An API destination for each webhook and each state of the heartbeat, with its rule on the bus.

    The template refers to the addresses, and CloudFormation reads them from the secret when it deploys. What cannot be
    delivered lies with the other undelivered events, whose alarm rings.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        bus: events.IEventBus,
        undelivered: sqs.IQueue,
        settings: Settings,
    ) -> None:
        super().__init__(scope, construct_id)
        self._bus = bus
        self._undelivered = undelivered
        self._secret = secret_name(cdk.Stack.of(self).stack_name)
        self.destinations: dict[str, tuple[events.ApiDestination, events.Connection]] = {}
        """The API destinations and their connections, by what a setting calls them."""

        for name in settings.webhooks:
            self._webhook(name)
        if settings.heartbeat != "off":
            self._heartbeat(settings.heartbeat)

    def _webhook(self, name: str) -> None:
        webhook = WEBHOOKS[name]
        scope = Construct(self, name.title())
        recipient = {}
        if webhook.recipient:
            recipient = {webhook.recipient: events.HttpParameter.from_secret(self._of_secret(name, "recipient"))}
        connection = self._connection(scope, name, recipient)
        destination = self._destination(scope, connection, self._of_secret(name, "url").unsafe_unwrap())
        self._rule(scope, destination, OperatorsNotified, body=_with_paths(webhook.body))
        self.destinations[name] = destination, connection

    def _heartbeat(self, name: str) -> None:
        """Ping at the beginning and at the end of each sync.

        A sync begins with its session, once. It may be requested more often: the catch-up requests that of the same
        date, and a ping for it would tell a monitor of a sync that never ends.
        """
        heartbeat = HEARTBEATS[name]
        scope = Construct(self, "Heartbeat")
        connection = self._connection(scope, "heartbeat", {})
        address = self._of_secret("heartbeat", "url").unsafe_unwrap()
        # A request with a mistake is answered to its sender, and is no failure of the system.
        no_mistake = {"data": {"closed_because": events.Match.anything_but("request_refused")}}
        told_by: Mapping[str, tuple[type[Event], Mapping[str, Any] | None]] = {
            "begin": (SessionAuthenticated, None),
            "success": (SyncCompleted, None),
            "failure": (SyncFailed, no_mistake),
        }
        for state, suffix in heartbeat.ends.items():
            of_state = Construct(scope, state.title())
            event, detail = told_by[state]
            destination = self._destination(of_state, connection, address + suffix, events.HttpMethod.GET)
            self._rule(of_state, destination, event, body={"sync_id": _path(SENT["sync_id"])}, detail=detail)
            self.destinations[f"{name}-{state}"] = destination, connection

    def _connection(
        self, scope: Construct, name: str, recipient: Mapping[str, events.HttpParameter]
    ) -> events.Connection:
        return events.Connection(
            scope,
            "Connection",
            description=f"Cloud Sync's {name}",
            # EventBridge wants a header to authenticate with. Services that need none get one that says nothing.
            authorization=events.Authorization.api_key(
                self._of_secret(name, "header").unsafe_unwrap(), self._of_secret(name, "header_value")
            ),
            body_parameters=dict(recipient) or None,
        )

    def _destination(
        self,
        scope: Construct,
        connection: events.Connection,
        endpoint: str,
        method: events.HttpMethod = events.HttpMethod.POST,
    ) -> events.ApiDestination:
        return events.ApiDestination(
            scope,
            "Destination",
            connection=connection,
            endpoint=endpoint,
            http_method=method,
            rate_limit_per_second=_PER_SECOND,
        )

    def _rule(
        self,
        scope: Construct,
        destination: events.ApiDestination,
        event: type[Event],
        *,
        body: Mapping[str, Any],
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        events.Rule(
            scope,
            "Rule",
            description=f"Calls {scope.node.path.split('/', 2)[-1]}",
            event_bus=self._bus,
            event_pattern=events.EventPattern(
                detail_type=[event.__name__],
                source=sorted(event.sources()),
                detail=detail,
            ),
            targets=[
                targets.ApiDestination(
                    destination,
                    event=events.RuleTargetInput.from_object(body),
                    dead_letter_queue=self._undelivered,
                    max_event_age=_TRIED_FOR,
                )
            ],
        )

    def _of_secret(self, name: str, part: Part) -> cdk.SecretValue:
        return cdk.SecretValue.secrets_manager(self._secret, json_field=secret_key(name, part))


def _path(path: str) -> str:
    return events.EventField.from_path(path)


def _with_paths(body: Any) -> Any:
    """Return a body in which each value such as "<subject>" is taken from the event."""
    if isinstance(body, str):
        name = body[1:-1]
        return _path(SENT[name]) if body == f"<{name}>" else body
    if isinstance(body, Mapping):
        return {name: _with_paths(value) for name, value in body.items()}
    return [_with_paths(value) for value in body] if isinstance(body, list) else body
