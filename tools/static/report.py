"""The outcome of a tool: its checks, findings and suppressions."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A tool's objection. The text says why; for a suppressed one, why it is accepted."""

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
    not_checked: str = ""  # checks that could not run, and why

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
        """Yield the report as text: its figures, and a line for each problem."""
        figures = f"{self.checked}, {len(self.problems)} findings, {len(self.suppressed)} suppressed"
        yield f"{self.tool:22}{figures}"
        if self.not_checked:
            yield f"{self.tool:22}SKIPPED: {self.not_checked}"
        for problem in self.problems:
            yield f"    {problem.place}: {problem.rule}: {problem.text}"


def summary(reports: Sequence[Report]) -> Iterator[str]:
    """Yield all reports as text, every reason for a suppression with its count, and the total."""
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
