"""IAM for the embedded AWS: the checks of roles and policies that MiniStack omits even with `AUTH=true`.

`embedded_aws.py` loads this under MiniStack's interpreter; it uses only the standard library. MiniStack evaluates each
request against its caller's role. This module adds the condition keys of PutEvents, and the checks of what AWS itself
does with a role or a policy:

- PutEvents has `events:source` and `events:detail-type`, each a list with the values of all entries.
- Lambda polls a queue with the function's role (`sqs:ReceiveMessage`, `sqs:GetQueueAttributes`) and deletes processed
  messages with it (`sqs:DeleteMessage`).
- Lambda writes the function's log with the function's role (`logs:CreateLogStream`, `logs:PutLogEvents`).
- Lambda sends traces with the function's role (`xray:PutTraceSegments`, `xray:PutTelemetryRecords`).
- Scheduler publishes with the schedule's role. A rule delivers into a queue by the queue's policy, and into a log group
  by the account's resource policies for logs. A refused
  delivery becomes a dead letter at once, with target and reason as
  attributes, if the role (or the dead-letter queue's policy) allows that.

Every decision about a role is recorded as one line of JSON: `at` (unix seconds), `role` (its name; for a rule, the
rule's ARN), `action`, `resource`, `context` (the condition keys added here), `allowed`.
"""

# ruff: noqa: SLF001 - this file patches MiniStack's internals

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# The attributes that are replaced or called, by module. `embedded_aws.py` checks them before the first is replaced.
NEEDED: Mapping[str, Sequence[str]] = {
    "ministack.core.iam_evaluator": (
        "enforce",
        "evaluate",
        "evaluate_resource_policy",
        "combine_resource_policy",
        "EvalContext",
        "AuthError",
        "_gather_role_policies",
        "_permissions_boundary",
        "_resource_policy",
        "_role_name_from_assumed_arn",
    ),
    "ministack.core.iam_actions": ("request_tag_context",),
    "ministack.core.arn": ("parse_arn",),
    "ministack.core.responses": ("get_account_id", "get_region"),
    "ministack.services.cloudwatch_logs": ("_resource_policies",),
    "ministack.services.eventbridge": ("_invoke_target", "_dispatch_to_sqs"),
    "ministack.services.iam": ("_roles",),
    "ministack.services.lambda_svc": ("_iter_all_esms", "_run_sqs_batch", "_emit_lambda_logs", "_functions"),
    "ministack.services.sqs": ("_receive_messages_for_esm", "_delete_messages_for_esm", "_queues", "_queue_by_arn"),
    "ministack.services.sts": ("_sessions",),
}

Context = Mapping[str, str | list[str]]
"""Condition keys and their values."""

_PUT_EVENTS, _SEND_MESSAGE = "events:PutEvents", "sqs:SendMessage"
_WRITE_LOG = ("logs:CreateLogStream", "logs:PutLogEvents")
_EVENTBRIDGE = "events.amazonaws.com"


class Access:
    """Decides whether a role may do something, and records each decision.

    `modules`: those of `NEEDED`, by the last part of their names. `decisions`: the file for the decisions.
    """

    def __init__(self, modules: Mapping[str, Any], decisions: Path) -> None:
        self._evaluator, self._responses = modules["iam_evaluator"], modules["responses"]
        self._iam, self._functions = modules["iam"], modules["lambda_svc"]._functions
        self._decisions = decisions.open("a", buffering=1)
        self._lock = threading.Lock()

    def may(
        self, role: str, action: str, resource: str, context: Context | None = None, *, record: bool = True
    ) -> bool:
        """Return whether the role (an ARN) is allowed the action, by its own policies and the resource's."""
        evaluator, account = self._evaluator, self._responses.get_account_id()
        name = role.rsplit("/", 1)[-1]
        asked = self._asked(action, resource, f"arn:aws:sts::{account}:assumed-role/{name}/aws", context)
        limits = evaluator._permissions_boundary(self._iam._roles, name, account)
        decided = evaluator.evaluate(asked, evaluator._gather_role_policies(name, account), *limits)
        policy = evaluator._resource_policy(action.partition(":")[0], resource)
        if policy:
            decided = evaluator.combine_resource_policy(decided, asked, *policy, limits=limits)
        allowed = bool(decided.decision == "Allow")
        if record:
            self.record(name, action, resource, context, allowed=allowed)
        return allowed

    def may_for(self, rule: str, action: str, resource: str, policies: Sequence[str]) -> bool:
        """Return whether one of the policies on a resource lets EventBridge do this for a rule. Both are ARNs."""
        context = {"aws:sourcearn": rule, "aws:sourceaccount": self._responses.get_account_id()}
        asked = self._asked(action, resource, "*", context)
        decided = [self._evaluator.evaluate_resource_policy(one, asked, service=_EVENTBRIDGE) for one in policies]
        allowed = any(one.decision == "Allow" for one in decided) and all(one.decision != "Deny" for one in decided)
        self.record(rule, action, resource, context, allowed=allowed)
        return allowed

    def may_trace(self, function: str) -> bool:
        """Return whether a function, given by its name, may send traces."""
        role = self._functions[function]["config"]["Role"]
        # The daemon's own counters. No trace depends on them.
        self.may(role, "xray:PutTelemetryRecords", "*")
        return self.may(role, "xray:PutTraceSegments", "*")

    def may_all(self, role: str, actions: Sequence[str], resource: str) -> bool:
        """Return whether the role is allowed all of these actions. Each is decided and recorded."""
        decided = [self.may(role, action, resource) for action in actions]
        return all(decided)

    def record(self, role: str, action: str, resource: str, context: Context | None = None, *, allowed: bool) -> None:
        """Write a decision to the file."""
        asked = {"role": role, "action": action, "resource": resource, "context": dict(context or {})}
        with self._lock:
            self._decisions.write(json.dumps({"at": time.time(), **asked, "allowed": allowed}) + "\n")

    def _asked(self, action: str, resource: str, principal: str, context: Context | None) -> Any:
        return self._evaluator.EvalContext(
            principal_arn=principal,
            principal_type="Service" if principal == "*" else "AssumedRole",
            principal_account="" if principal == "*" else self._responses.get_account_id(),
            action=action,
            resource_arn=resource,
            region=self._responses.get_region(),
            secure_transport=True,  # AWS's services call each other over TLS
            service_context=dict(context or {}),
        )


class Requests:
    """Adds EventBridge's condition keys to MiniStack's check of a request, and records the decision."""

    def __init__(self, access: Access, modules: Mapping[str, Any]) -> None:
        self._access, self._evaluator, self._sts = access, modules["iam_evaluator"], modules["sts"]
        # Of the current request: MiniStack calls `context` before `enforce`.
        self._entries: ContextVar[Context] = ContextVar("entries")
        self._plain_enforce = self._evaluator.enforce
        self._plain_context = modules["iam_actions"].request_tag_context
        self._evaluator.enforce = self.enforce
        modules["iam_actions"].request_tag_context = self.context

    def context(self, service: str, iam_action: str, body: bytes, params: Mapping[str, Any]) -> dict[str, Any]:
        self._entries.set(_of_entries(body) if iam_action == _PUT_EVENTS else {})
        plain: dict[str, Any] = self._plain_context(service, iam_action, body, params)
        return plain

    def enforce(
        self,
        access_key_id: str,
        iam_action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: dict[str, Any] | None = None,
    ) -> Any:
        more = self._entries.get({}) if iam_action == _PUT_EVENTS else {}
        denied = self._plain_enforce(
            access_key_id, iam_action, service, region, resource_arn, {**(service_context or {}), **more}
        )
        session = self._sts._sessions.get(access_key_id)
        if session and not isinstance(denied, self._evaluator.AuthError):
            role = self._evaluator._role_name_from_assumed_arn(session["Arn"])
            self._access.record(role, iam_action, resource_arn, more, allowed=denied is None)
        return denied


def _of_entries(body: bytes) -> Context:
    """Return the condition keys of a PutEvents request. A key that no entry has is absent, as on AWS."""
    try:
        entries = json.loads(body)["Entries"]
        keys = {"events:source": "Source", "events:detail-type": "DetailType"}
        values = {key: [str(one[name]) for one in entries if one.get(name)] for key, name in keys.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {key: found for key, found in values.items() if found}


class Deliveries:
    """Makes Lambda read a function's queue and write its log with the function's role."""

    def __init__(self, access: Access, modules: Mapping[str, Any]) -> None:
        self._access, self._responses = access, modules["responses"]
        functions, self._sqs = modules["lambda_svc"], modules["sqs"]
        self._functions = functions
        self._polled: Mapping[str, Any] = {}
        self._role: ContextVar[str] = ContextVar("role")
        self._plain_mappings, self._plain_run = functions._iter_all_esms, functions._run_sqs_batch
        self._plain_log = functions._emit_lambda_logs
        self._plain_receive = self._sqs._receive_messages_for_esm
        self._plain_delete = self._sqs._delete_messages_for_esm
        functions._iter_all_esms = self.mappings
        functions._run_sqs_batch = self.run
        functions._emit_lambda_logs = self.log
        self._sqs._receive_messages_for_esm = self.receive
        self._sqs._delete_messages_for_esm = self.delete

    def mappings(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        # One thread polls all mappings, one after the other.
        for account, region, mapping in self._plain_mappings():
            self._polled = mapping
            yield account, region, mapping

    def receive(self, queue_url: str, max_number: int) -> list[dict[str, Any]]:
        queue = self._sqs._queues[queue_url]
        role = self._functions._functions[self._polled["FunctionName"]]["config"]["Role"]
        actions = ("sqs:ReceiveMessage", "sqs:GetQueueAttributes")
        arn = queue["attributes"]["QueueArn"]
        allowed = [self._access.may(role, action, arn, record=False) for action in actions]
        messages: list[dict[str, Any]] = self._plain_receive(queue_url, max_number) if all(allowed) else []
        # An empty queue is polled many times a second; don't record each of these decisions.
        if messages or (not all(allowed) and any(one["visible_at"] <= time.time() for one in queue["messages"])):
            for action, may in zip(actions, allowed, strict=True):
                self._access.record(role.rsplit("/", 1)[-1], action, arn, allowed=may)
        return messages

    def run(self, esm: Any, func_rec: Mapping[str, Any], *args: Any) -> None:
        token = self._role.set(func_rec["config"]["Role"])
        try:
            self._plain_run(esm, func_rec, *args)
        finally:
            self._role.reset(token)

    def delete(self, queue_url: str, receipt_handles: set[str]) -> None:
        arn = self._sqs._queues[queue_url]["attributes"]["QueueArn"]
        if self._access.may(self._role.get(), "sqs:DeleteMessage", arn):
            self._plain_delete(queue_url, receipt_handles)

    def log(self, func: Mapping[str, Any], request_id: str, *args: Any, **kwargs: Any) -> None:
        config = func.get("config") or func
        group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"
        where = f"{self._responses.get_region()}:{self._responses.get_account_id()}"
        stream = f"arn:aws:logs:{where}:log-group:{group}:log-stream:{request_id}"
        if self._access.may_all(config["Role"], ("logs:CreateLogStream", "logs:PutLogEvents"), stream):
            self._plain_log(func, request_id, *args, **kwargs)


class Targets:
    """Makes Scheduler publish with the schedule's role, and rules deliver into queues by the queues' policies."""

    def __init__(self, access: Access, modules: Mapping[str, Any]) -> None:
        self._access, self._eventbridge, self._sqs = access, modules["eventbridge"], modules["sqs"]
        self._parse_arn, self._logs = modules["arn"].parse_arn, modules["cloudwatch_logs"]
        self._plain_invoke = self._eventbridge._invoke_target
        self._eventbridge._invoke_target = self.invoke

    def invoke(
        self, target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None
    ) -> None:
        # MiniStack passes a schedule as if it were a rule.
        is_schedule = "ScheduleExpressionTimezone" in rule
        may = self._by_role(target["RoleArn"], event) if is_schedule else self._by_policy(rule["Arn"])
        dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if may(target["Arn"]):
            self._plain_invoke(target, event, rule, view)
        elif dead_letters and may(dead_letters):
            content = target.get("Input") or json.dumps(dict(event), default=str)
            self._eventbridge._dispatch_to_sqs(self._parse_arn(dead_letters), content)
            said = {"RULE_ARN": rule["Arn"], "TARGET_ARN": target["Arn"], "ERROR_CODE": "NO_PERMISSIONS"}
            attributes = {name: {"DataType": "String", "StringValue": value} for name, value in said.items()}
            if queue := self._sqs._queue_by_arn(dead_letters):
                queue["messages"][-1]["message_attributes"] = attributes

    def _by_role(self, role: str, event: Mapping[str, Any]) -> Callable[[str], bool]:
        context = {"events:source": [str(event["Source"])], "events:detail-type": [str(event["DetailType"])]}

        def may(arn: str) -> bool:
            if _service_of(arn) == "events":
                return self._access.may(role, _PUT_EVENTS, arn, context)
            return self._access.may(role, _SEND_MESSAGE, arn)

        return may

    def _by_policy(self, rule: str) -> Callable[[str], bool]:
        def may(arn: str) -> bool:
            if _service_of(arn) == "logs":
                policies = [str(policy["policyDocument"]) for policy in self._logs._resource_policies.values()]
                stream = f"{arn.removesuffix(':*')}:log-stream:events"
                return all(self._access.may_for(rule, action, stream, policies) for action in _WRITE_LOG)
            if _service_of(arn) != "sqs":
                return True  # MiniStack checks nothing here
            queue = self._sqs._queue_by_arn(arn) or {"attributes": {}}
            return self._access.may_for(rule, _SEND_MESSAGE, arn, [queue["attributes"].get("Policy", "")])

        return may


def _service_of(arn: str) -> str:
    return arn.split(":")[2] if arn.count(":") > 1 else ""


def install(found: Mapping[str, Any], decisions: Path) -> Access:
    """Install the additional checks. `found`: the modules of `NEEDED`, by their full names."""
    modules = {name.rsplit(".", 1)[-1]: module for name, module in found.items()}
    access = Access(modules, decisions)
    Requests(access, modules)
    Deliveries(access, modules)
    Targets(access, modules)
    return access
