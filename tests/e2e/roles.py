"""The roles of a deployed stage: their grants, one grant taken away for a while, and the decisions about them."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from ops.local.emulator import decisions_of
from services.shared.events import SERVICES
from tests.e2e.stage import Stage
from tools.template import Template

SCHEDULE = "schedule"
_ALL_EQUAL = "ForAllValues:StringEquals"
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
    condition: tuple[tuple[str, str], ...] = ()  # keys whose values all have to equal these

    @property
    def place(self) -> tuple[str, str, int]:
        return self.role, self.policy, self.statement

    @property
    def where(self) -> str:
        """The resource in short: as the stack's constructs call it."""
        return _GENERATED.sub(r"\1", self.resource.removesuffix(":*").rsplit(":", 1)[-1])


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision of the emulator about a request, or about what AWS itself does in the name of a role."""

    at: float  # unix seconds
    role: str
    action: str
    resource: str
    context: Mapping[str, str | list[str]]
    allowed: bool

    def values(self, key: str) -> list[str]:
        """Return the values of a condition key; none if the request had none."""
        return _listed(self.context.get(key, []))

    def is_about(self, grant: Grant) -> bool:
        return (
            (self.role, self.action) == (grant.role, grant.action)
            and fnmatchcase(self.resource, grant.resource)
            and all(set(self.values(key)) == {value} for key, value in grant.condition)
        )


class Roles:
    """All roles that the stack made. Changes take effect with the next request: nothing caches them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._iam = stage.client("iam")
        self._log = decisions_of(stage.record.folder)

    @cached_property
    def names(self) -> Mapping[str, str]:
        """The names of the roles, by whose they are."""
        names = {service: self._stage.function(service)["Role"] for service in SERVICES}
        names[SCHEDULE] = self._stage.schedule("Daily")["Target"]["RoleArn"]
        return {owner: arn.rsplit("/", 1)[-1] for owner, arn in names.items()}

    @cached_property
    def template(self) -> Template:
        """The stack as it was deployed."""
        return Template(self._stage.record.folder / "cdk.out", self._stage.deployment.stack_name)

    def grants(self) -> list[Grant]:
        """Return all that the roles grant. CDK makes inline policies only, which is checked here."""
        found = []
        for owner, role in self.names.items():
            assert not self._iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"], f"{role} has others"
            for policy in self._iam.list_role_policies(RoleName=role)["PolicyNames"]:
                for place, statement in enumerate(self._statements(role, policy)):
                    assert statement["Effect"] == "Allow"
                    conditions = statement.get("Condition", {})
                    assert set(conditions) <= {_ALL_EQUAL, "Null"}
                    equal = tuple(conditions.get(_ALL_EQUAL, {}).items())
                    # Without this, a request that lacks the key would be allowed.
                    assert conditions.get("Null", {}) == {key: "false" for key, _ in equal}
                    found += [
                        Grant(owner, role, policy, place, action, resource, equal)
                        for action in _listed(statement["Action"])
                        for resource in _listed(statement["Resource"])
                    ]
        assert len(self.names) == len(self.template.of_type("AWS::IAM::Role")), "the stack has roles not looked at"
        return found

    @contextmanager
    def without(self, grant: Grant) -> Iterator[None]:
        """Take one action out of its statement, and put it back."""
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
        """Return what was decided behind a place, in order."""
        with self._log.open("rb") as log:
            log.seek(since)
            return [Decision(**json.loads(line)) for line in log if line.endswith(b"\n")]

    def _statements(self, role: str, policy: str) -> list[dict[str, Any]]:
        return list(self._iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]["Statement"])

    def _put(self, grant: Grant, statements: list[dict[str, Any]]) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self._iam.put_role_policy(RoleName=grant.role, PolicyName=grant.policy, PolicyDocument=document)


def used(grants: Iterable[Grant], decisions: Iterable[Decision]) -> set[Grant]:
    """Return the grants that allowed something."""
    allowed = [one for one in decisions if one.allowed]
    return {grant for grant in grants if any(one.is_about(grant) for one in allowed)}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
