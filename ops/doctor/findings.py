"""What the doctor can find, and how it is printed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from ops.progress import printable


class Severity(StrEnum):
    """How bad a finding is."""

    BROKEN = "broken"  # syncs or notifications do not work, or work was lost
    AT_RISK = "at risk"  # they do, but something that protects them is not as it was deployed
    UNKNOWN = "unknown"  # a check could not look
    NOTE = "note"  # all is well, and there is something to know


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is not as it should be. `fix`: the command that corrects it, or what to do."""

    severity: Severity
    what: str
    means: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check that was made, and what it found."""

    check: str
    findings: Sequence[Finding]

    def lines(self) -> Iterator[str]:
        """Yield the result as lines of text; the first word of a finding's first line is its severity."""
        if not self.findings:
            yield f"{'ok':{_WIDTH}}{self.check}"
        for found in self.findings:
            yield f"{_SHOWN[found.severity]:{_WIDTH}}{self.check}: {printable(found.what)}"
            yield f"{'':{_WIDTH}}{printable(found.means)}"
            yield f"{'':{_WIDTH}}{FIX}{printable(found.fix)}"


FIX = "fix: "
"""How the line with the command begins."""

_SHOWN: Mapping[Severity, str] = {one: one.value.upper() for one in Severity}
_WIDTH = max(map(len, _SHOWN.values())) + 2
STYLES: Mapping[str, str] = {
    _SHOWN[Severity.BROKEN]: "red",
    _SHOWN[Severity.AT_RISK]: "yellow",
    _SHOWN[Severity.UNKNOWN]: "yellow",
    _SHOWN[Severity.NOTE]: "cyan",
    FIX: "bold",
    f"{'ok':{_WIDTH}}": "green",
}

HEALTHY, SOMETHING_FOUND, NOT_LOOKED = 0, 1, 2


def exit_status(results: Sequence[Checked]) -> int:
    """Return 0 if all is well, 1 if something is not, and 2 if nothing was found but a check could not look."""
    severities = {found.severity for one in results for found in one.findings} - {Severity.NOTE}
    if severities - {Severity.UNKNOWN}:
        return SOMETHING_FOUND
    return NOT_LOOKED if severities else HEALTHY


def described(stack: str, results: Sequence[Checked]) -> dict[str, object]:
    """Return the results for other programs."""
    return {
        "stack": stack,
        "healthy": exit_status(results) == HEALTHY,
        "checks": [one.check for one in results],
        "findings": [{"check": one.check, **asdict(found)} for one in results for found in one.findings],
    }
