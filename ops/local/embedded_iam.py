"""IAM for the embedded AWS: what AWS asks of roles and policies, and MiniStack with `AUTH=true` does not.

Loaded by `embedded_aws.py`, under MiniStack's interpreter; standard library only. MiniStack evaluates each request
against its caller's role. What is added are the condition keys of a request that publishes, what AWS does in the name
of a role without a request, and what EventBridge may do at all:

- `events:source` and `events:detail-type`, for each entry of a PutEvents request; a request is refused as a whole.
- Lambda polls a queue with the function's role (`sqs:ReceiveMessage`, `sqs:GetQueueAttributes`), and takes out of it
  what was done (`sqs:DeleteMessage`).
- Lambda writes the function's log with its role (`logs:CreateLogStream`, `logs:PutLogEvents`).
- Lambda sends traces with its role (`xray:PutTraceSegments`, `xray:PutTelemetryRecords`): `Access.may_trace`.
- Scheduler publishes with the schedule's role, and a rule delivers into a queue by the queue's policy. What may not be
  delivered becomes a dead letter at once, if the role (or the policy of that queue) lets it.

Every decision about a role is written down, a JSON object a line: `at` (unix seconds), `role` (its name; for a rule the
rule's ARN), `action`, `resource`, `context` (the condition keys that are added here), `allowed`.
"""

# ruff: noqa: SLF001 - reaching into MiniStack is what this is for

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

# What is replaced or called, by module: `embedded_aws.py` checks that it is there before anything is touched.
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
    "ministack.services.eventbridge": ("_invoke_target", "_dispatch_to_sqs"),
    "ministack.services.iam": ("_roles",),
    "ministack.services.lambda_svc": ("_iter_all_esms", "_run_sqs_batch", "_emit_lambda_logs", "_functions"),
    "ministack.services.sqs": ("_receive_messages_for_esm", "_delete_messages_for_esm", "_queues", "_queue_by_arn"),
    "ministack.services.sts": ("_sessions",),
}

_PUT_EVENTS, _SEND_MESSAGE = "events:PutEvents", "sqs:SendMessage"
_EVENTBRIDGE = "events.amazonaws.com"


class Access:
    """Answers whether a role may do something, and keeps each answer.

    `modules`: those of `NEEDED`, by the last part of their names. `decisions`: the file that the answers go to.
    """

    def __init__(self, modules: Mapping[str, Any], decisions: Path) -> None:
        self._evaluator, self._responses = modules["iam_evaluator"], modules["responses"]
        self._iam, self._functions = modules["iam"], modules["lambda_svc"]._functions
        self._decisions = decisions.open("a", buffering=1)
        self._lock = threading.Lock()

    def may(
        self, role: str, action: str, resource: str, context: Mapping[str, str] | None = None, *, keep: bool = True
    ) -> bool:
        """Whether the role (its ARN) is allowed the action by its policies, and not denied it by the resource's own."""
        evaluator, account = self._evaluator, self._responses.get_account_id()
        name = role.rsplit("/", 1)[-1]
        asked = self._asked(action, resource, f"arn:aws:sts::{account}:assumed-role/{name}/aws", context)
        limits = evaluator._permissions_boundary(self._iam._roles, name, account)
        decided = evaluator.evaluate(asked, evaluator._gather_role_policies(name, account), *limits)
        policy = evaluator._resource_policy(action.partition(":")[0], resource)
        if policy:
            decided = evaluator.combine_resource_policy(decided, asked, *policy, limits=limits)
        allowed = bool(decided.decision == "Allow")
        if keep:
            self.keep(name, action, resource, context, allowed=allowed)
        return allowed

    def may_send_for(self, rule: str, queue: str, policy: str) -> bool:
        """Whether a queue's policy lets EventBridge send to it for a rule; both are given by their ARNs."""
        context = {"aws:sourcearn": rule, "aws:sourceaccount": self._responses.get_account_id()}
        asked = self._asked(_SEND_MESSAGE, queue, "*", context)
        decided = self._evaluator.evaluate_resource_policy(policy, asked, service=_EVENTBRIDGE)
        allowed = bool(decided.decision == "Allow")
        self.keep(rule, _SEND_MESSAGE, queue, context, allowed=allowed)
        return allowed

    def may_trace(self, function: str) -> bool:
        """Whether the traces of this function, given by its name, may be sent."""
        role = self._functions[function]["config"]["Role"]
        # What the daemon tells X-Ray of itself: counters, on which no trace depends.
        self.may(role, "xray:PutTelemetryRecords", "*")
        return self.may(role, "xray:PutTraceSegments", "*")

    def may_all(self, role: str, actions: Sequence[str], resource: str) -> bool:
        """Whether the role is allowed all of these; each is decided, and kept, whatever comes of the others."""
        decided = [self.may(role, action, resource) for action in actions]
        return all(decided)

    def keep(
        self, role: str, action: str, resource: str, context: Mapping[str, str] | None = None, *, allowed: bool
    ) -> None:
        """Writes a decision down."""
        asked = {"role": role, "action": action, "resource": resource, "context": dict(context or {})}
        with self._lock:
            self._decisions.write(json.dumps({"at": time.time(), **asked, "allowed": allowed}) + "\n")

    def _asked(self, action: str, resource: str, principal: str, context: Mapping[str, str] | None) -> Any:
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
    """Gives MiniStack's check of a request the condition keys of EventBridge, and keeps what comes of it."""

    def __init__(self, access: Access, modules: Mapping[str, Any]) -> None:
        self._access, self._evaluator, self._sts = access, modules["iam_evaluator"], modules["sts"]
        # By request: MiniStack asks for the keys of a request before it checks it.
        self._entries: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("entries", default=())
        self._plain_enforce = self._evaluator.enforce
        self._plain_context = modules["iam_actions"].request_tag_context
        self._evaluator.enforce = self.enforce
        modules["iam_actions"].request_tag_context = self.context

    def context(self, service: str, iam_action: str, body: bytes, params: Mapping[str, Any]) -> dict[str, Any]:
        self._entries.set(_entries(body) if iam_action == _PUT_EVENTS else ())
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
        entries = self._entries.get() if iam_action == _PUT_EVENTS else ()
        for source, detail_type in entries or ((None, None),):
            more = {"events:source": str(source), "events:detail-type": str(detail_type)} if entries else {}
            denied = self._plain_enforce(
                access_key_id, iam_action, service, region, resource_arn, {**(service_context or {}), **more}
            )
            session = self._sts._sessions.get(access_key_id)
            if session and not isinstance(denied, self._evaluator.AuthError):
                role = self._evaluator._role_name_from_assumed_arn(session["Arn"])
                self._access.keep(role, iam_action, resource_arn, more, allowed=denied is None)
            if denied:
                return denied
        return None


def _entries(body: bytes) -> tuple[tuple[str, str], ...]:
    """Source and detail-type of each entry of a PutEvents request, those that are equal once."""
    try:
        entries = json.loads(body)["Entries"]
        return tuple(dict.fromkeys((str(e.get("Source", "")), str(e.get("DetailType", ""))) for e in entries))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()


class Deliveries:
    """Has Lambda read a function's queue, and write its log, with the function's role."""

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
        # One thread polls for all mappings, and is done with one before it asks for the next.
        for account, region, mapping in self._plain_mappings():
            self._polled = mapping
            yield account, region, mapping

    def receive(self, queue_url: str, max_number: int) -> list[dict[str, Any]]:
        queue = self._sqs._queues[queue_url]
        role = self._functions._functions[self._polled["FunctionName"]]["config"]["Role"]
        actions = ("sqs:ReceiveMessage", "sqs:GetQueueAttributes")
        arn = queue["attributes"]["QueueArn"]
        allowed = [self._access.may(role, action, arn, keep=False) for action in actions]
        messages: list[dict[str, Any]] = self._plain_receive(queue_url, max_number) if all(allowed) else []
        # An empty queue is asked many times a second, which is not worth a line each time.
        if messages or (not all(allowed) and any(one["visible_at"] <= time.time() for one in queue["messages"])):
            for action, may in zip(actions, allowed, strict=True):
                self._access.keep(role.rsplit("/", 1)[-1], action, arn, allowed=may)
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
    """Has Scheduler publish with the schedule's role, and rules deliver into queues by the queues' policies."""

    def __init__(self, access: Access, modules: Mapping[str, Any]) -> None:
        self._access, self._eventbridge, self._sqs = access, modules["eventbridge"], modules["sqs"]
        self._parse_arn = modules["arn"].parse_arn
        self._plain_invoke = self._eventbridge._invoke_target
        self._eventbridge._invoke_target = self.invoke

    def invoke(
        self, target: Mapping[str, Any], event: Mapping[str, Any], rule: Mapping[str, Any], view: Any = None
    ) -> None:
        # MiniStack hands a schedule in as if it were a rule.
        is_schedule = "ScheduleExpressionTimezone" in rule
        may = self._by_role(target["RoleArn"], event) if is_schedule else self._by_policy(rule["Arn"])
        dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if may(target["Arn"]):
            self._plain_invoke(target, event, rule, view)
        elif dead_letters and may(dead_letters):
            content = target.get("Input") or json.dumps(dict(event), default=str)
            self._eventbridge._dispatch_to_sqs(self._parse_arn(dead_letters), content)

    def _by_role(self, role: str, event: Mapping[str, Any]) -> Callable[[str], bool]:
        context = {"events:source": str(event["Source"]), "events:detail-type": str(event["DetailType"])}

        def may(arn: str) -> bool:
            if _service_of(arn) == "events":
                return self._access.may(role, _PUT_EVENTS, arn, context)
            return self._access.may(role, _SEND_MESSAGE, arn)

        return may

    def _by_policy(self, rule: str) -> Callable[[str], bool]:
        def may(arn: str) -> bool:
            if _service_of(arn) != "sqs":
                return True  # as MiniStack has it
            queue = self._sqs._queue_by_arn(arn) or {"attributes": {}}
            return self._access.may_send_for(rule, arn, queue["attributes"].get("Policy", ""))

        return may


def _service_of(arn: str) -> str:
    return arn.split(":")[2] if arn.count(":") > 1 else ""


def install(found: Mapping[str, Any], decisions: Path) -> Access:
    """Begins to evaluate what MiniStack does not. `found`: the modules of `NEEDED`, by their names."""
    modules = {name.rsplit(".", 1)[-1]: module for name, module in found.items()}
    access = Access(modules, decisions)
    Requests(access, modules)
    Deliveries(access, modules)
    Targets(access, modules)
    return access
