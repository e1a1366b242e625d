"""Least privilege, proven both ways: `python -m tests.e2e.least_privilege`, or `make least-privilege`.

With all grants, every story is told to its end. Then one action after the other is taken out of the roles: each time a
story must break, and what broke it must have been the denial of that very action. And no role can publish under the
`source` of another, nor has a resource `*` without a reason that stands in `infra/`.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.exceptions import ClientError

from ops.dead_letters import SERVICES
from ops.local import stage as local
from ops.local.emulator import REGION
from services.shared.events import SOURCE_PREFIX
from tests.e2e.invariants import violations_at_rest
from tests.e2e.roles import SCHEDULE, Decision, Grant, Roles, used
from tests.e2e.stage import Stage, eventually
from tests.e2e.stories import SETTINGS, STORIES, NotKept, Telling, fail_fast

# Of these the emulator can show that they are used, but nobody sees what is missing without them.
NOT_SHOWN: Mapping[str, str] = {
    "xray:PutTelemetryRecords": (
        "the X-Ray daemon's counters about itself, which AWS's documentation names among what active tracing needs"
    ),
}

LONGEST_SECONDS = 90.0  # for a promise, with all grants
_PATIENCE = 3.0  # without a grant, for a promise: so many times as long as with all of them, …
_LEAST_SECONDS = 10.0  # … and at least so long
_TRIES = 3  # on a machine that is so busy that a story is late with all grants
_CALM_SECONDS, _CALM_WITHIN_SECONDS = 0.5, 3.0

SOURCES = tuple(f"{SOURCE_PREFIX}{publisher}" for publisher in (*SERVICES, SCHEDULE, "operator"))


@dataclass(frozen=True, kw_only=True)
class Told:
    """How a story went. `broken`: the promise that was not kept, or what was wrong afterwards; empty if all is well."""

    seconds: float
    took: Mapping[str, float]  # seconds for each promise
    decisions: Sequence[Decision]
    broken: str = ""
    overdue: bool = False  # nothing but the time says that it was not kept

    def denied_for(self, grant: Grant, known: "Told") -> bool:
        """Whether this grant was missed, and no other.

        `known` is the story with all grants, in which that is denied which has to be.
        """
        usual = {_asked(one) for one in known.decisions if not one.allowed}
        denied = [one for one in self.decisions if not one.allowed and _asked(one) not in usual]
        return bool(denied) and all(one.is_about(grant) for one in denied)


def _asked(decision: Decision) -> tuple[object, ...]:
    return decision.role, decision.action, *sorted(decision.context.items())


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What taking a grant away came to. `broken` is empty when no story missed it."""

    grant: Grant
    story: str = ""
    broken: str = ""
    seconds: float


@contextmanager
def guarded_stage(folder: Path, say: Callable[[str], None]) -> Iterator[Stage]:
    """A stage whose roles and policies decide, with failures that end soon."""
    stage = Stage(local.up(local.Wanted(folder=folder, settings=SETTINGS, enforce_iam=True), say=say))
    try:
        stage.listen()
        assert stage.credentials, "read before a story can change them"
        fail_fast(stage)
        yield stage
    finally:
        stage.end()


def tell(stage: Stage, roles: Roles, story: str, patience: Callable[[str], float]) -> Told:
    """Tells one story on a clean stage."""
    stage.clean()
    before, began = roles.decided, time.monotonic()
    telling = Telling(stage, roles, patience)
    broken, overdue = "", False
    try:
        STORIES[story](telling)
    except NotKept as missing:
        broken, overdue = str(missing), missing.overdue
    seconds = time.monotonic() - began
    decisions = roles.decisions(before)
    return Told(seconds=seconds, took=telling.took, decisions=decisions, broken=broken, overdue=overdue)


def with_all(stage: Stage, roles: Roles, story: str) -> Told:
    """Tells one story, in which nothing is denied: whatever it was about, the invariants have to hold afterwards.

    And no secret may show in what the stage has put out since the last time, the stories without a grant included.
    """
    told = tell(stage, roles, story, lambda _: LONGEST_SECONDS)
    if told.broken:
        return told
    wrong = [*violations_at_rest(stage), *map(str, stage.canary.search())]
    return replace(told, broken="; ".join(wrong))


def without(
    stage: Stage, roles: Roles, grant: Grant, known: Mapping[str, Told], *, first: str | None = None
) -> Verdict:
    """Takes a grant away, and tells the stories that use it, the shortest first after `first`, until one breaks.

    Where nothing but time says that a story is broken, it must be kept within that time once the grant is back.
    `known`: the stories with all grants.
    """
    began = time.monotonic()
    using = [story for story, told in known.items() if used([grant], told.decisions)]
    for story in sorted(using, key=lambda story: (story != first, known[story].seconds)):
        for _ in range(_TRIES):
            with roles.without(grant):
                told = tell(stage, roles, story, _patience(known[story]))
            cold = settle(stage, roles, grant.owner)
            missed = told.denied_for(grant, known[story])
            if not told.broken or not (missed or told.overdue):
                break
            if cold and told.overdue:
                with_all(stage, roles, story)
            if missed and not (told.overdue and tell(stage, roles, story, _patience(known[story])).broken):
                return Verdict(grant=grant, story=story, broken=told.broken, seconds=time.monotonic() - began)
    return Verdict(grant=grant, seconds=time.monotonic() - began)


def _patience(with_all_grants: Told) -> Callable[[str], float]:
    took = with_all_grants.took
    return lambda promise: max(_LEAST_SECONDS, _PATIENCE * took.get(promise, 0))


def settle(stage: Stage, roles: Roles, owner: str) -> bool:
    """Ends what a broken story has left under way, so that it doesn't get into the next one.

    Returns whether workers had to be killed for that, so that the next ones start cold.
    """
    for service in SERVICES:
        for queue in ("QueueUrl", "DeadLettersUrl"):
            stage.client("sqs").purge_queue(QueueUrl=stage.outputs[f"{service.title()}{queue}"])
    ends = time.monotonic() + _CALM_WITHIN_SECONDS
    decided, since = roles.decided, time.monotonic()
    while time.monotonic() - since < _CALM_SECONDS:
        if time.monotonic() > ends:
            return owner in SERVICES and stage.kill_workers(owner) > 0
        time.sleep(0.05)
        if roles.decided != decided:
            decided, since = roles.decided, time.monotonic()
    return False


def worker_session(stage: Stage, service: str) -> boto3.Session:
    """The very credentials that a service's function has."""
    variables: dict[str, str] = eventually(lambda: _environment(stage, service), what=f"a worker of the {service}")
    return boto3.Session(
        variables["AWS_ACCESS_KEY_ID"],
        variables["AWS_SECRET_ACCESS_KEY"],
        variables["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )


def _environment(stage: Stage, service: str) -> dict[str, str]:
    for pid in stage.worker_pids(service):
        return psutil.Process(pid).environ()
    return {}


def foreign_sources(stage: Stage) -> dict[tuple[str, str], str]:
    """What PutEvents says to each service, by service and source: an error's code, or nothing where it takes them.

    A service's own source is sent alone, every other one beside an event of the service's own.
    """
    said = {}
    for service in SERVICES:
        client = worker_session(stage, service).client(
            "events", endpoint_url=stage.endpoint_url, verify=str(stage.local.certificate)
        )
        own = f"{SOURCE_PREFIX}{service}"
        for source in SOURCES:
            sources = dict.fromkeys((own, source))
            try:
                client.put_events(Entries=[_nothing(stage, one) for one in sources])
            except ClientError as error:
                said[service, source] = str(error.response["Error"]["Code"])
            else:
                said[service, source] = ""
    return said


def _nothing(stage: Stage, source: str) -> dict[str, Any]:
    """An event that nobody reacts to."""
    bus = stage.outputs["EventBusName"]
    return {"EventBusName": bus, "Source": source, "DetailType": "NothingHappened", "Detail": "{}"}


def wrong_sources(said: Mapping[tuple[str, str], str]) -> list[tuple[str, str]]:
    """The services that may publish under another's source, or not under their own."""
    return [
        (service, source)
        for (service, source), code in said.items()
        if code != ("" if source == f"{SOURCE_PREFIX}{service}" else "AccessDeniedException")
    ]


def everything(roles: Roles) -> dict[Grant, str]:
    """The grants on `*`, with the reasons that `infra/` gives beside them; empty where it gives none."""
    reasons: dict[tuple[str, str], str] = {}
    for policy in roles.template.of_type("AWS::IAM::Policy"):
        rules = policy.body.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
        for rule in rules:
            if "Resource::*" in rule.get("applies_to", []):
                reasons[policy["PolicyName"]] = rule["reason"]
    return {grant: reasons.get(grant.policy, "") for grant in roles.grants() if grant.resource == "*"}


def main() -> int:
    """Prints what is shown, and returns 1 when something is not."""
    parser = argparse.ArgumentParser(prog="least-privilege", description=__doc__.partition("\n")[0])
    parser.add_argument("--role", choices=(*SERVICES, SCHEDULE), help="take grants from this role only")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, guarded_stage(Path(folder) / "stage", _say) as stage:
        roles = Roles(stage)
        missed = _prove(stage, roles, arguments.role)
    print(f"\n{time.monotonic() - began:.0f} s in all; " + ("; ".join(missed) or "all of it is shown"))
    return 1 if missed else 0


def _prove(stage: Stage, roles: Roles, role: str | None) -> list[str]:
    """All steps, one after the other. Returns what was not shown, in words."""
    grants = roles.grants()
    with_all(stage, roles, next(iter(STORIES)))  # with cold functions, whose times would tell nothing
    known = _tell_all(stage, roles, "with all grants")
    missed = [f"broken with all grants: {story}" for story, told in known.items() if told.broken]
    if missed:
        return missed
    unused = set(grants) - used(grants, [one for told in known.values() for one in told.decisions])
    missed += [f"never used: {grant.owner} {grant.action} {grant.where}" for grant in unused]

    said = foreign_sources(stage)
    refused = sum(1 for code in said.values() if code)
    print(f"\nPutEvents by {len(SERVICES)} services under {len(SOURCES)} sources each: {refused} refused")
    missed += [f"{service} may publish as {source}, or not as itself" for service, source in wrong_sources(said)]

    wide = everything(roles)
    print(f"\n{len(wide)} grants of {len(grants)} are on *:")
    for grant, reason in wide.items():
        print(f"  {grant.owner:<14}{grant.action:<28}{reason or 'WITHOUT A REASON'}")
        missed += [] if reason else [f"{grant.owner} {grant.action} is on * without a reason"]

    missed += _take_each_away(stage, roles, [one for one in grants if role in (None, one.owner)], known)
    again = _tell_all(stage, roles, "with all grants again")
    return missed + [f"broken afterwards: {story}" for story, told in again.items() if told.broken]


def _tell_all(stage: Stage, roles: Roles, title: str) -> dict[str, Told]:
    print(f"\n{title}:")
    known = {}
    for story in STORIES:
        known[story] = told = with_all(stage, roles, story)
        actions = {(one.role, one.action) for one in told.decisions}
        outcome = f"BROKEN, {told.broken}" if told.broken else "kept"
        print(f"  {told.seconds:5.1f} s  {len(actions):2} actions  {story}: {outcome}", flush=True)
    return known


def _take_each_away(stage: Stage, roles: Roles, grants: Sequence[Grant], known: Mapping[str, Told]) -> list[str]:
    print("\nwithout one action of a statement:")
    verdicts: list[Verdict] = []
    for grant in grants:
        if grant.action in NOT_SHOWN:
            print(f"  {_what(grant)}         left there: see below", flush=True)
            continue
        # What broke without the same action of another role is likely to break again.
        first = next((one.story for one in verdicts if one.broken and one.grant.action == grant.action), None)
        verdict = without(stage, roles, grant, known, first=first)
        verdicts.append(verdict)
        outcome = f"{verdict.story}: {verdict.broken}" if verdict.broken else "NO STORY BREAKS"
        print(f"  {_what(grant)}{verdict.seconds:5.1f} s  {outcome}", flush=True)
    needed = [one.grant for one in verdicts if one.broken]
    superfluous = [one.grant for one in verdicts if not one.broken]
    statements, shown = ({one.place for one in some} for some in (grants, needed))
    actions = f"{len(needed)} of the {len(grants)} actions in them"
    print(f"\n{len(shown)} of {len(statements)} statements are needed, and {actions}")
    for action, reason in NOT_SHOWN.items():
        print(f"not shown for {sum(one.action == action for one in grants)} roles: {action}, {reason}")
    return [f"nobody misses {one.owner}'s {one.action} on {one.where}" for one in superfluous] + [
        f"nobody misses statement {number} of {role}" for role, _, number in sorted(statements - shown)
    ]


def _what(grant: Grant) -> str:
    return f"{grant.owner:<14}{grant.statement}  {grant.action:<31}{grant.where:<24}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
