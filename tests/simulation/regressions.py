"""Seeds that failed once, with what it took to fail: each is run again in every test run."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.scenario import Options

_FILE = Path(__file__).with_name("regressions.json")


@dataclass(frozen=True)
class Regression:
    """A run that once violated an invariant."""

    seed: int
    options: str
    showed: str

    def as_json(self) -> str:
        return json.dumps({"seed": self.seed, "options": self.options, "showed": self.showed})


def regressions() -> list[Regression]:
    return [Regression(**entry) for entry in json.loads(_FILE.read_text())]


def options_text(options: Options) -> str:
    """The options as the command line takes them; empty where there are none."""
    given = {
        "only": None if options.only is None else sorted(options.only),
        "media": options.media,
        "without": sorted(options.without) or None,
        "actions": None if options.actions is None else sorted(options.actions),
    }
    given = {name: value for name, value in given.items() if value is not None}
    return json.dumps(given) if given else ""


def read_options(text: str) -> Options:
    given = json.loads(text) if text else {}
    return Options(
        only=frozenset(given["only"]) if "only" in given else None,
        media=given.get("media"),
        without=frozenset(given.get("without", ())),
        actions=frozenset(given["actions"]) if "actions" in given else None,
    )
