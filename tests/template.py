"""The fixture `template`: the stack, synthesized once a test run however many workers it has."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tools.template import Template, run_app

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
