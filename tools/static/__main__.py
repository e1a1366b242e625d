"""Runs all tools, prints their figures, and fails when a tool has found something."""

import sys
import tempfile
from pathlib import Path

from tools.static.report import summary
from tools.static.sources import import_linter, mypy, pip_audit, ruff
from tools.static.template import cdk_nag, cfn_lint, checkov, production


def main() -> int:
    """Print the findings of every tool, and the suppressions with their reasons."""
    with tempfile.TemporaryDirectory() as folder:
        stack = production(Path(folder))
        nagged = cdk_nag(stack)
        template = Path(folder) / stack.template_file
        reports = [cfn_lint(template), *nagged, checkov(template), ruff(), mypy(), import_linter(), pip_audit()]
    print(*summary(reports), sep="\n")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
