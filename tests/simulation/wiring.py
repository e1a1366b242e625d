"""How the parts are wired: read from the synthesized template, once, and kept beside the sources that it is made of."""

import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.template import ROOT, Resource, ServiceWiring, Template, run_app

REGION, ACCOUNT = "eu-central-1", "123456789012"
_CACHE = ROOT / ".build" / "simulation"


@dataclass(frozen=True)
class ServiceWires:
    """What the template says of one service."""

    name: str
    environment: Mapping[str, str]
    timeout: float
    memory_megabytes: int
    inbox: str  # its URL
    dead_letters: str
    visibility: float
    max_receives: int
    batch_size: int
    batch_window: float
    concurrency: int
    pattern: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Wires:
    """What the template says of the whole."""

    services: Mapping[str, ServiceWires]
    tables: Mapping[str, Mapping[str, str]]  # the key attributes and their types, by name
    bus: str
    bucket: str
    topic: str
    secrets: Sequence[str]
    credentials: str
    review_seconds: float
    schedule_input: str  # of the daily sync
    zone: str  # in which the next two are local times: hour, minute
    daily: tuple[int, int]
    catch_up: tuple[int, int]
    outputs: Mapping[str, str]


@cache
def wires() -> Wires:
    """As the production template has them."""
    return _read(_synthesized())


def _synthesized() -> Template:
    sources = [ROOT / "cdk.json", *sorted((ROOT / "infra").rglob("*.py"))]
    content = b"".join(path.read_bytes() for path in sources)
    folder = _CACHE / hashlib.sha256(content).hexdigest()[:16]
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "manifest.json").exists():
            done = run_app(folder, {"env": "prod"})
            if done.returncode:
                raise RuntimeError(done.stderr)
    return Template(folder, "cloud-sync-prod")


def _read(template: Template) -> Wires:
    outputs = {name: resolved(output["Value"]) for name, output in template.body["Outputs"].items()}
    (bucket,) = template.of_type("AWS::S3::Bucket")
    (topic,) = template.of_type("AWS::SNS::Topic")
    (bus,) = template.of_type("AWS::Events::EventBus")
    schedules = {s.id: s for s in template.of_type("AWS::Scheduler::Schedule")}
    daily = schedules[outputs["DailyScheduleName"]]
    (review,) = [s for s in schedules.values() if s["ScheduleExpression"].startswith("rate(")]
    return Wires(
        services={name: _service(wiring) for name, wiring in template.services.items()},
        tables={
            table.id: {attribute["AttributeName"]: attribute["AttributeType"] for attribute in _key(table)}
            for table in template.of_type("AWS::DynamoDB::Table")
        },
        bus=bus.id,
        bucket=bucket.id,
        topic=topic.id,
        secrets=[resolved({"Fn::GetAtt": [s.id, "Id"]}) for s in template.of_type("AWS::SecretsManager::Secret")],
        credentials=outputs["CredentialsSecretName"],
        review_seconds=_minutes(review) * 60,
        schedule_input=daily["Target"]["Input"],
        zone=daily["ScheduleExpressionTimezone"],
        daily=_time(daily),
        catch_up=_time(schedules[outputs["CatchUpScheduleName"]]),
        outputs=outputs,
    )


def _key(table: Resource) -> list[Mapping[str, str]]:
    types = {attribute["AttributeName"]: attribute for attribute in table["AttributeDefinitions"]}
    return [types[key["AttributeName"]] for key in table["KeySchema"]]


def _service(wiring: ServiceWiring) -> ServiceWires:
    if wiring.source["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
        raise RuntimeError(f"{wiring.name}: the simulator knows partial batch responses only")
    return ServiceWires(
        name=wiring.name,
        environment={name: resolved(value) for name, value in wiring.environment.items()},
        timeout=float(wiring.function["Timeout"]),
        memory_megabytes=int(wiring.function["MemorySize"]),
        inbox=wiring.inbox.id,
        dead_letters=wiring.dead_letters.id,
        visibility=float(wiring.inbox["VisibilityTimeout"]),
        max_receives=int(wiring.inbox["RedrivePolicy"]["maxReceiveCount"]),
        batch_size=int(wiring.source["BatchSize"]),
        batch_window=float(wiring.source.properties.get("MaximumBatchingWindowInSeconds", 0)),
        concurrency=int(wiring.source["ScalingConfig"]["MaximumConcurrency"]),
        pattern=wiring.rule["EventPattern"],
    )


def _time(schedule: Resource) -> tuple[int, int]:
    minute, hour, *_ = schedule["ScheduleExpression"].removeprefix("cron(").split()
    return int(hour), int(minute)


def _minutes(review: Resource) -> float:
    return float(review["ScheduleExpression"].removeprefix("rate(").removesuffix(" minutes)"))


def resolved(value: Any) -> str:
    """A value of the template: what it refers to goes by its logical id."""
    if isinstance(value, str):
        return value
    if "Ref" in value:
        known = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws"}
        return known.get(value["Ref"], str(value["Ref"]))
    if "Fn::GetAtt" in value:
        return ".".join(value["Fn::GetAtt"])
    if "Fn::Join" in value:
        separator, entries = value["Fn::Join"]
        return str(separator.join(resolved(entry) for entry in entries))
    return json.dumps(value)
