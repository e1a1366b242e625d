"""How much CPU time a function's start takes, with and without compiled packages: `make cold-start`.

Starts each function as Lambda does: in a new process, with nothing but the standard library, its package and the layer,
neither of which can be written to. Measures until the handler is imported, on the Python that runs this.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.packaging import build_layer, collect_service, finish
from services.shared.events import SERVICES
from tools.template import Template, run_app

_ROUNDS = 5
_START = """
import importlib, sys, time
sys.dont_write_bytecode = True
sys.path[:0] = sys.argv[2:]
importlib.import_module(f"services.{sys.argv[1]}.handler").handler
print(time.process_time())
"""


def main() -> int:
    """Print a line for each function: the median of the rounds, in seconds of CPU time."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        done = run_app(work / "cdk.out", {"env": "prod", "wheels": "host"})
        if done.returncode:
            sys.exit(done.stderr)
        template = Template(work / "cdk.out", "cloud-sync-prod")
        build_layer(work / "layer", "host")
        for name in SERVICES:
            collect_service(name, work / name)
            finish(work / name, "host", unpacked_at="/var/task")
        print(f"seconds of CPU until a function has started, Python {sys.version.split()[0]}, median of {_ROUNDS}")
        compiled = {name: _measure(template, name, work) for name in SERVICES}
        for cache in list(work.rglob("__pycache__")):
            shutil.rmtree(cache)
        plain = {name: _measure(template, name, work) for name in SERVICES}
    print(f"{'':16}{'sources':>9}{'compiled':>10}")
    for name in SERVICES:
        print(f"{name:16}{plain[name]:9.2f}{compiled[name]:10.2f}")
    return 0


def _measure(template: Template, name: str, work: Path) -> float:
    given = template.services[name].environment
    environment = {key: value if isinstance(value, str) else "filled-in" for key, value in given.items()}
    region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), "eu-central-1")
    command = [sys.executable, "-I", "-S", "-c", _START, name, str(work / name), str(work / "layer" / "python")]
    seconds = []
    for _ in range(_ROUNDS):
        ran = subprocess.run(
            command, env={"PATH": os.defpath, **environment, **region}, capture_output=True, text=True, check=True
        )
        seconds.append(float(ran.stdout.split()[-1]))
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
