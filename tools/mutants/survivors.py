"""The mutants that no test needs to notice or can notice, each with its reason: survivors.toml."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("survivors.toml")


@dataclass(frozen=True, order=True)
class Change:
    """The change of a mutant: the original lines of a function, and their replacement."""

    module: str  # path in the repository
    function: str  # methods as `Class.method`
    was: Sequence[str]
    becomes: Sequence[str]

    @classmethod
    def from_diff(cls, module: str, function: str, diff: str) -> "Change":
        lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++", "@@"))]
        return cls(
            module,
            function,
            was=tuple(line[1:].strip() for line in lines if line.startswith("-")),
            becomes=tuple(line[1:].strip() for line in lines if line.startswith("+")),
        )

    def __str__(self) -> str:
        lines = [f"    - {line}" for line in self.was] + [f"    + {line}" for line in self.becomes]
        return "\n".join([f"  {self.module}: {self.function}", *lines])


def known_survivors() -> Mapping[Change, str]:
    """Return the reason for each known survivor. Raises `ValueError` for a duplicate or a missing reason."""
    reasons: dict[Change, str] = {}
    for entry in tomllib.loads(FILE.read_text())["survivor"]:
        change = Change(entry["module"], entry["function"], tuple(entry["was"]), tuple(entry["becomes"]))
        if change in reasons or not entry["reason"].strip():
            raise ValueError(f"listed twice, or without a reason:\n{change}")
        reasons[change] = entry["reason"]
    return reasons
