"""The synthesized stack, for every suite that wants to know how things are wired: read, never written down again.

`template` is a fixture (tests/conftest.py hands it to all suites): `template("prod")` synthesizes once a test run,
however many workers it has.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("authenticator", "lister", "downloader", "summarizer")


@dataclass(frozen=True)
class Resource:
    """A resource of the template, with its logical id."""

    id: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        return self.body.get("Properties", {})

    def __getitem__(self, name: str) -> Any:
        return self.properties[name]


@dataclass(frozen=True, kw_only=True)
class ServiceWiring:
    """One service as the template wires it: found from its handler along the references, whatever things are called."""

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
        return self.function["Environment"]["Variables"]


class Template:
    """A synthesized template and the assets beside it."""

    def __init__(self, folder: Path, stack: str) -> None:
        self.folder = folder
        self.path = folder / f"{stack}.template.json"
        self.body: Mapping[str, Any] = json.loads(self.path.read_text())
        self.resources = {id_: Resource(id_, body) for id_, body in self.body["Resources"].items()}

    def of_type(self, kind: str) -> list[Resource]:
        """All resources of a type, such as `AWS::SQS::Queue`."""
        return [resource for resource in self.resources.values() if resource.body["Type"] == kind]

    def referred(self, value: Any) -> Resource:
        """The resource that a `Ref` or `Fn::GetAtt` points at."""
        if "Ref" in value:
            return self.resources[value["Ref"]]
        return self.resources[value["Fn::GetAtt"][0]]

    def refers(self, value: Any, resource: Resource) -> bool:
        """Whether the value is a `Ref` or `Fn::GetAtt` of the resource."""
        return (
            isinstance(value, Mapping)
            and bool({"Ref", "Fn::GetAtt"} & value.keys())
            and (self.referred(value) == resource)
        )

    def statements_of(self, role: Resource) -> tuple[Mapping[str, Any], ...]:
        """What a role allows and denies, over all its policies."""
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
        """The asset manifest."""
        return json.loads((self.folder / f"{self.path.name.split('.')[0]}.assets.json").read_text())

    def asset_folder(self, code: Mapping[str, Any]) -> Path:
        """The folder that is zipped for a function's `Code` or a layer's `Content`."""
        digest = code["S3Key"].removesuffix(".zip")
        return self.folder / self.assets["files"][digest]["source"]["path"]


def _only(found: Any) -> Any:
    (one,) = found
    return one


def run_app(folder: Path, settings: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run the CDK app as the `cdk` command does, into `folder`, with these settings in the context."""
    context = {**json.loads((ROOT / "cdk.json").read_text()).get("context", {}), **settings}
    return subprocess.run(
        [sys.executable, "-m", "infra"],
        check=False,
        cwd=ROOT,
        env={**os.environ, "CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": json.dumps(context)},
        capture_output=True,
        text=True,
    )


Synthesize = Callable[..., Template]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """`template(env, **settings)`: the stack for that environment."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made: dict[str, Template] = {}

    def synthesize(env: str = "prod", **settings: Any) -> Template:
        wanted = {"env": env, **{name: str(value) for name, value in settings.items()}}
        digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:12]
        if digest not in made:
            folder = shared / f"synth-{digest}"
            with (shared / f"synth-{digest}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (folder / "manifest.json").exists():
                    done = run_app(folder, wanted)
                    assert done.returncode == 0, done.stderr
            made[digest] = Template(folder, f"cloud-sync-{env}")
        return made[digest]

    return synthesize
