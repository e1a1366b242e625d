"""What a tool has looked at, what it has found, and what it was told to let stand."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a tool objects to. The text says why, or for one that was suppressed, why it may stand."""

    rule: str
    place: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of one tool."""

    tool: str
    checked: str
    findings: Sequence[Finding]
    suppressed: Sequence[Finding] = ()
    not_checked: str = ""  # what the tool should have looked at and could not, and why

    @property
    def problems(self) -> list[Finding]:
        """The findings, and the suppressions that give no reason."""
        unexplained = [
            dataclasses.replace(finding, text="suppressed without a reason")
            for finding in self.suppressed
            if not finding.text
        ]
        return [*self.findings, *unexplained]

    def lines(self) -> Iterator[str]:
        """The report as text: its figures, and a line for each problem."""
        figures = f"{self.checked}, {len(self.problems)} findings, {len(self.suppressed)} suppressed"
        yield f"{self.tool:22}{figures}"
        if self.not_checked:
            yield f"{self.tool:22}SKIPPED: {self.not_checked}"
        for problem in self.problems:
            yield f"    {problem.place}: {problem.rule}: {problem.text}"


def summary(reports: Sequence[Report]) -> Iterator[str]:
    """All reports as text, every reason for a suppression with how often it is given, and what it comes to."""
    for report in reports:
        yield from report.lines()
    yield "\nSuppressed, and why:"
    given: defaultdict[str, list[str]] = defaultdict(list)
    for finding in (finding for report in reports for finding in report.suppressed if finding.text):
        given[finding.text].append(finding.rule.partition("[")[0])
    for reason, rules in given.items():
        yield f"{len(rules):4} x {', '.join(sorted(set(rules)))}: {reason}"
    findings = sum(len(report.problems) for report in reports)
    skipped = [report.tool for report in reports if report.not_checked]
    yield f"\n{findings} findings" + (f"; SKIPPED, not passed: {', '.join(skipped)}" if skipped else "")
