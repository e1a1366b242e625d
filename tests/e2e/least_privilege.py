"""Least privilege, shown both ways: with all grants every story is kept, without any one of them a story breaks.

What broke it must have been the denial of that very action. And no role can publish under the `source` of another,
nor has a resource `*` without a reason that stands in `infra/`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import boto3
import psutil
from botocore.exceptions import ClientError

from ops.local.emulator import REGION
from services.shared.events import SERVICES, SOURCE_PREFIX
from tests.e2e.invariants import violations_at_rest
from tests.e2e.roles import SCHEDULE, Decision, Grant, Roles, used
from tests.e2e.stage import PATIENCE_SECONDS, Stage, eventually
from tests.e2e.stories import STORIES, NotKept, Run

# The emulator can show that these are used, but nobody sees what is missing without them.
NOT_SHOWN: Mapping[str, str] = {
    "xray:PutTelemetryRecords": (
        "the X-Ray daemon's counters about itself, which AWS's documentation names among what active tracing needs"
    ),
}

_PATIENCE = 3.0  # without a grant, for a promise: so many times as long as with all of them, …
_LEAST_SECONDS = 10.0  # … and at least so long
_TRIES = 3  # of a story that was late with the grant, too
_GRACE_SECONDS = 3.0  # for what a broken story has left under way

SOURCES = tuple(f"{SOURCE_PREFIX}{publisher}" for publisher in (*SERVICES, SCHEDULE, "operator"))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a story went. `broken`: the promise that was not kept, or what was wrong afterwards; empty if all is well."""

    seconds: float
    took: Mapping[str, float]  # seconds for each promise
    decisions: Sequence[Decision]
    broken: str = ""
    overdue: bool = False  # nothing but the time says that it was not kept

    def denied_for(self, grant: Grant, known: "Outcome") -> bool:
        """Whether this grant was missed, and no other.

        `known` is the story with all grants, in which that is denied which has to be.
        """
        usual = {_asked(one) for one in known.decisions if not one.allowed}
        denied = [one for one in self.decisions if not one.allowed and _asked(one) not in usual]
        return bool(denied) and all(one.is_about(grant) for one in denied)


def _asked(decision: Decision) -> tuple[object, ...]:
    return decision.role, decision.action, *((key, *decision.values(key)) for key in sorted(decision.context))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How the stories went without a grant. `broken` is empty when no story missed it."""

    grant: Grant
    story: str = ""
    broken: str = ""
    seconds: float

    def __str__(self) -> str:
        grant, outcome = self.grant, f"{self.story}: {self.broken}" if self.broken else "NO STORY BREAKS"
        place = f"{grant.owner:<14}{grant.statement}  {grant.action:<31}{grant.where:<24}"
        return f"{place}{self.seconds:5.1f} s  {outcome}"


def run(stage: Stage, roles: Roles, story: str, patience: Callable[[str], float]) -> Outcome:
    """Run one story on a clean stage."""
    stage.clean(grace_seconds=_GRACE_SECONDS)
    before, began = roles.decided, time.monotonic()
    attempt = Run(stage, patience)
    broken, overdue = "", False
    try:
        STORIES[story](attempt)
    except NotKept as missing:
        broken, overdue = str(missing), missing.overdue
    seconds = time.monotonic() - began
    decisions = roles.decisions(before)
    return Outcome(seconds=seconds, took=attempt.took, decisions=decisions, broken=broken, overdue=overdue)


def with_all(stage: Stage, roles: Roles, story: str) -> Outcome:
    """Run one story with all grants: whatever it was about, the invariants have to hold afterwards.

    And no secret may show in what the stage has put out since the last time, the stories without a grant included.
    """
    outcome = run(stage, roles, story, lambda _: PATIENCE_SECONDS)
    if outcome.broken:
        return outcome
    wrong = [*violations_at_rest(stage), *map(str, stage.canary.search())]
    return replace(outcome, broken="; ".join(wrong))


def without(stage: Stage, roles: Roles, grant: Grant, known: Mapping[str, Outcome]) -> Verdict:
    """Take a grant away, and run the stories that use it, the shortest first, until one breaks.

    Where nothing but time says that a story is broken, it must be kept within that time once the grant is back.
    `known`: the stories with all grants.
    """
    began = time.monotonic()
    using = [story for story, outcome in known.items() if used([grant], outcome.decisions)]
    for story in sorted(using, key=lambda story: known[story].seconds):
        for times in range(1, _TRIES + 1):
            patience = _patience(known[story], times)
            with roles.without(grant):
                outcome = run(stage, roles, story, patience)
            if not outcome.broken:
                break
            missed = outcome.denied_for(grant, known[story])
            if missed and not (outcome.overdue and run(stage, roles, story, patience).broken):
                return Verdict(grant=grant, story=story, broken=outcome.broken, seconds=time.monotonic() - began)
    return Verdict(grant=grant, seconds=time.monotonic() - began)


def _patience(with_all_grants: Outcome, times: int) -> Callable[[str], float]:
    took = with_all_grants.took
    return lambda promise: times * max(_LEAST_SECONDS, _PATIENCE * took.get(promise, 0))


def foreign_sources(stage: Stage) -> dict[tuple[str, str], str]:
    """Return what PutEvents says to each service, by service and source: an error's code, or nothing if it takes them.

    A service's own source is sent alone, every other one beside an event of the service's own.
    """
    said = {}
    for service in SERVICES:
        client = _worker_session(stage, service).client(
            "events", endpoint_url=stage.record.endpoint_url, verify=str(stage.record.certificate)
        )
        for source in SOURCES:
            try:
                sources = dict.fromkeys((f"{SOURCE_PREFIX}{service}", source))
                client.put_events(Entries=[_nothing(stage, one) for one in sources])
                said[service, source] = ""
            except ClientError as error:
                said[service, source] = str(error.response["Error"]["Code"])
    return said


def _worker_session(stage: Stage, service: str) -> boto3.Session:
    """The very credentials that a service's function has."""
    pid = eventually(lambda: stage.worker_pids(service), f"a worker of the {service}")[0]
    variables = psutil.Process(pid).environ()
    return boto3.Session(
        variables["AWS_ACCESS_KEY_ID"],
        variables["AWS_SECRET_ACCESS_KEY"],
        variables["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )


def _nothing(stage: Stage, source: str) -> Any:
    """An event that nobody reacts to."""
    bus = stage.outputs["EventBusName"]
    return {"EventBusName": bus, "Source": source, "DetailType": "NothingHappened", "Detail": "{}"}


def on_everything(roles: Roles) -> dict[Grant, str]:
    """Return the grants on `*`, with the reasons that `infra/` gives beside them; empty where it gives none."""
    reasons: dict[str, str] = {}
    for policy in roles.template.of_type("AWS::IAM::Policy"):
        rules = policy.body.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
        for rule in rules:
            if "Resource::*" in rule.get("applies_to", []):
                reasons[policy["PolicyName"]] = rule["reason"]
    return {grant: reasons.get(grant.policy, "") for grant in roles.grants() if grant.resource == "*"}
