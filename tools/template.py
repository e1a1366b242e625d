"""The synthesized stack, from which developers' tools and tests read the wiring instead of repeating it."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from services.shared.events import SERVICES, Event

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Resource:
    """A resource of the template, with its logical id."""

    id: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self.body.get("Properties", {})
        return properties

    def __getitem__(self, name: str) -> Any:
        return self.properties[name]


@dataclass(frozen=True, kw_only=True)
class ServiceWiring:
    """One service as the template wires it: located by its handler and references, not by logical ids."""

    name: str
    function: Resource
    source: Resource  # the event source mapping
    inbox: Resource
    dead_letters: Resource
    rule: Resource
    role: Resource
    log_group: Resource
    statements: tuple[Mapping[str, Any], ...]  # of all policies of the role

    @property
    def environment(self) -> Mapping[str, Any]:
        variables: Mapping[str, Any] = self.function["Environment"]["Variables"]
        return variables


def reactions_of_services() -> Mapping[str, Collection[type[Event]]]:
    """Return the events that each service reacts to."""
    return {name: importlib.import_module(f"services.{name}.reactions").REACTIONS for name in SERVICES}


class Template:
    """A synthesized template and the assets beside it."""

    def __init__(self, folder: Path, stack: str) -> None:
        self.folder = folder
        self.stack = stack
        self.path = folder / f"{stack}.template.json"
        self.body: Mapping[str, Any] = json.loads(self.path.read_text())
        self.resources = {id_: Resource(id_, body) for id_, body in self.body["Resources"].items()}

    def of_type(self, kind: str) -> list[Resource]:
        """Return all resources of a type, such as `AWS::SQS::Queue`."""
        return [resource for resource in self.resources.values() if resource.body["Type"] == kind]

    def referred(self, value: Any) -> Resource:
        """Return the resource that a `Ref` or `Fn::GetAtt` points at."""
        if "Ref" in value:
            return self.resources[value["Ref"]]
        return self.resources[value["Fn::GetAtt"][0]]

    def refers(self, value: Any, resource: Resource) -> bool:
        """Return whether the value is a `Ref` or `Fn::GetAtt` of the resource."""
        return (
            isinstance(value, Mapping)
            and bool({"Ref", "Fn::GetAtt"} & value.keys())
            and (self.referred(value) == resource)
        )

    def statements_of(self, role: Resource) -> tuple[Mapping[str, Any], ...]:
        """Return the statements of all policies of a role."""
        return tuple(
            statement
            for policy in self.of_type("AWS::IAM::Policy")
            if any(self.refers(attached, role) for attached in policy["Roles"])
            for statement in policy["PolicyDocument"]["Statement"]
        )

    @cached_property
    def services(self) -> Mapping[str, ServiceWiring]:
        return {name: self._service(name) for name in SERVICES}

    def _service(self, name: str) -> ServiceWiring:
        function = _only(
            function
            for function in self.of_type("AWS::Lambda::Function")
            if function["Handler"] == f"services.{name}.handler.handler"
        )
        source = _only(
            mapping
            for mapping in self.of_type("AWS::Lambda::EventSourceMapping")
            if self.refers(mapping["FunctionName"], function)
        )
        inbox = self.referred(source["EventSourceArn"])
        role = self.referred(function["Role"])
        return ServiceWiring(
            name=name,
            function=function,
            source=source,
            inbox=inbox,
            dead_letters=self.referred(inbox["RedrivePolicy"]["deadLetterTargetArn"]),
            rule=_only(
                rule
                for rule in self.of_type("AWS::Events::Rule")
                if any(self.refers(target["Arn"], inbox) for target in rule["Targets"])
            ),
            role=role,
            log_group=self.referred(function["LoggingConfig"]["LogGroup"]),
            statements=self.statements_of(role),
        )

    @cached_property
    def assets(self) -> Mapping[str, Any]:
        """Return the asset manifest."""
        manifest: Mapping[str, Any] = json.loads((self.folder / f"{self.stack}.assets.json").read_text())
        return manifest

    def asset_folder(self, code: Mapping[str, Any]) -> Path:
        """Return the folder that is zipped for a function's `Code` or a layer's `Content`."""
        digest = code["S3Key"].removesuffix(".zip")
        return self.folder / str(self.assets["files"][digest]["source"]["path"])


def _only(found: Any) -> Any:
    (one,) = found
    return one


def sources() -> list[Path]:
    """Return the source files of the template, without those that are only uploaded."""
    contracts = {"events.py", "metrics.py", "reactions.py", "settings.py"}
    read_by_infra = [path for path in (ROOT / "services").rglob("*.py") if path.name in contracts]
    return [ROOT / "cdk.json", *sorted((ROOT / "infra").rglob("*.py")), *sorted(read_by_infra)]


def run_app(
    folder: Path, settings: Mapping[str, Any], settings_file: str = os.devnull
) -> subprocess.CompletedProcess[str]:
    """Run the CDK app into `folder` as the `cdk` command does, with these settings as context.

    Reads no cloud-sync.toml of this checkout.
    """
    context = {**json.loads((ROOT / "cdk.json").read_text()).get("context", {}), **settings}
    return subprocess.run(
        [sys.executable, "-m", "infra"],
        check=False,
        cwd=ROOT,
        env={
            **os.environ,
            "CDK_OUTDIR": str(folder),
            "CDK_CONTEXT_JSON": json.dumps(context),
            "CLOUD_SYNC_SETTINGS": settings_file,
        },
        capture_output=True,
        text=True,
    )
