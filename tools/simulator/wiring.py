"""The wiring of the system: read once from the synthesized template, and cached by a digest of its sources."""

import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tools.template import ROOT, Resource, ServiceWiring, Template, run_app, sources

REGION, ACCOUNT = "eu-central-1", "123456789012"
_CACHE = ROOT / ".build" / "simulation"


@dataclass(frozen=True)
class ServiceWires:
    """The wiring of one service in the template."""

    name: str
    environment: Mapping[str, str]
    timeout: float
    memory_megabytes: int
    inbox: str  # URL of the inbox
    dead_letters: str
    visibility: float
    max_receives: int
    batch_size: int
    batch_window: float
    concurrency: int
    pattern: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Wires:
    """The wiring of the whole system in the template."""

    services: Mapping[str, ServiceWires]
    tables: Mapping[str, Mapping[str, str]]  # types of the key attributes, by name
    bus: str
    bucket: str
    topic: str
    secrets: Sequence[str]
    credentials: str
    review_seconds: float
    schedule_input: str  # of the daily sync
    zone: str  # time zone of the next two times: hour, minute
    daily: tuple[int, int]
    catch_up: tuple[int, int]
    outputs: Mapping[str, str]


@cache
def wires() -> Wires:
    """Return the wiring of the production template."""
    return _read(_synthesized())


def _synthesized() -> Template:
    content = b"".join(path.read_bytes() for path in sources())
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
    topic_arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic.id}"
    (bus,) = template.of_type("AWS::Events::EventBus")
    schedules = {s.id: s for s in template.of_type("AWS::Scheduler::Schedule")}
    daily = schedules[outputs["DailyScheduleName"]]
    (review,) = [s for s in schedules.values() if s["ScheduleExpression"].startswith("rate(")]
    return Wires(
        # A notification reads the region from the topic's ARN, which is what `Ref` stands for.
        services={name: _service(wiring, {topic.id: topic_arn}) for name, wiring in template.services.items()},
        tables={
            table.id: {attribute["AttributeName"]: attribute["AttributeType"] for attribute in _key(table)}
            for table in template.of_type("AWS::DynamoDB::Table")
        },
        bus=bus.id,
        bucket=bucket.id,
        topic=topic_arn,
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


def _service(wiring: ServiceWiring, arns: Mapping[str, str]) -> ServiceWires:
    if wiring.source["FunctionResponseTypes"] != ["ReportBatchItemFailures"]:
        raise RuntimeError(f"{wiring.name}: the simulator knows partial batch responses only")
    environment = {name: resolved(value) for name, value in wiring.environment.items()}
    return ServiceWires(
        name=wiring.name,
        environment={name: arns.get(value, value) for name, value in environment.items()},
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
    """Return a value of the template as text, with the logical ids of referenced resources."""
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
