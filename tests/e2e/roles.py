"""The roles of a deployed stage: what they grant, one grant taken away for a while, and what was decided about them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from ops.dead_letters import SERVICES
from ops.local.emulator import decisions_of
from tests.e2e.stage import Stage
from tests.template import Template

SCHEDULE = "schedule"
# A name that CloudFormation made of the stack's and a construct's: what is around the construct's path.
_GENERATED = re.compile(r".*cloud-sync-[a-z]+[-/]([a-z]+)[0-9a-f]{8}(-\w+)*", re.IGNORECASE)


@dataclass(frozen=True)
class Grant:
    """One action of one statement, on one resource."""

    owner: str  # a service, or the schedule
    role: str
    policy: str
    statement: int  # its place in the policy
    action: str
    resource: str
    condition: tuple[tuple[str, str], ...] = ()  # keys that have to equal these values

    @property
    def place(self) -> tuple[str, str, int]:
        return self.role, self.policy, self.statement

    @property
    def where(self) -> str:
        """The resource in short: as the stack's constructs call it."""
        return _GENERATED.sub(r"\1", self.resource.removesuffix(":*").rsplit(":", 1)[-1])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What the emulator decided about a request, or about what AWS itself does in the name of a role."""

    at: float  # unix seconds
    role: str
    action: str
    resource: str
    context: Mapping[str, str]
    allowed: bool

    def is_about(self, grant: Grant) -> bool:
        return (
            (self.role, self.action) == (grant.role, grant.action)
            and fnmatchcase(self.resource, grant.resource)
            and all(self.context.get(key) == value for key, value in grant.condition)
        )


class Roles:
    """All roles that the stack made. Changes take effect with the next request: nothing caches them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._iam = stage.client("iam")
        self._log = decisions_of(stage.local.folder)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names of the roles, by whose they are."""
        names = {service: self._function(service)["Role"] for service in SERVICES}
        names[SCHEDULE] = self.schedule_target("DailyScheduleName")["RoleArn"]
        return {owner: arn.rsplit("/", 1)[-1] for owner, arn in names.items()}

    @cached_property
    def template(self) -> Template:
        """The stack as it was deployed."""
        deployment = self._stage.deployment
        return Template(self._stage.local.folder / "cdk.out", deployment.stack_name)

    def schedule_target(self, output: str) -> dict[str, Any]:
        """The target of the schedule that an output of the stack names."""
        outputs = self._stage.outputs
        schedule = self._stage.client("scheduler").get_schedule(
            Name=outputs[output].rsplit("/", 1)[-1], GroupName=outputs["ScheduleGroupName"]
        )
        return dict(schedule["Target"])

    def grants(self) -> list[Grant]:
        """All that the roles grant. Their policies are all inline: CDK makes no others here, which is checked."""
        found = []
        for owner, role in self.names.items():
            assert not self._iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], f"{role} has others"
            for policy in self._iam.list_role_policies(RoleName=role)["PolicyNames"]:
                for place, statement in enumerate(self._statements(role, policy)):
                    assert statement["Effect"] == "Allow"
                    conditions = statement.get("Condition", {})
                    assert set(conditions) <= {"StringEquals"}
                    equal = tuple(conditions.get("StringEquals", {}).items())
                    found += [
                        Grant(owner, role, policy, place, action, resource, equal)
                        for action in _listed(statement["Action"])
                        for resource in _listed(statement["Resource"])
                    ]
        assert len(self.names) == len(self.template.of_type("AWS::IAM::Role")), "the stack has roles not looked at"
        return found

    @contextmanager
    def without(self, grant: Grant) -> Iterator[None]:
        """Takes one action out of its statement, and puts it back."""
        before = self._statements(grant.role, grant.policy)
        statement = before[grant.statement]
        left = [action for action in _listed(statement["Action"]) if action != grant.action]
        changed = [{**statement, "Action": left}] if left else []
        self._put(grant, [*before[: grant.statement], *changed, *before[grant.statement + 1 :]])
        try:
            yield
        finally:
            self._put(grant, before)

    @property
    def decided(self) -> int:
        """A place in the decisions: those that come from now on are behind it."""
        return self._log.stat().st_size if self._log.exists() else 0

    def decisions(self, since: int) -> list[Decision]:
        """What was decided behind a place, in order."""
        with self._log.open("rb") as log:
            log.seek(since)
            return [Decision(**json.loads(line)) for line in log if line.endswith(b"\n")]

    def _statements(self, role: str, policy: str) -> list[dict[str, Any]]:
        return list(self._iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"])

    def _put(self, grant: Grant, statements: list[dict[str, Any]]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self._iam.put_role_policy(RoleName=grant.role, PolicyName=grant.policy, PolicyDocument=document)

    def _function(self, service: str) -> dict[str, Any]:
        name = self._stage.outputs[f"{service.title()}FunctionName"]
        return dict(self._stage.client("lambda").get_function_configuration(FunctionName=name))


def used(grants: Iterable[Grant], decisions: Iterable[Decision]) -> set[Grant]:
    """Those of the grants that something was allowed by."""
    allowed = [one for one in decisions if one.allowed]
    return {grant for grant in grants if any(one.is_about(grant) for one in allowed)}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
