"""Runs all tools, prints their figures, and fails when one of them has found something."""

import sys
import tempfile
from pathlib import Path

from infra.static.report import summary
from infra.static.sources import mypy, pip_audit, ruff
from infra.static.template import cdk_nag, cfn_lint, checkov, production


def main() -> int:
    """Print what every tool has found, and what stands for which reason."""
    with tempfile.TemporaryDirectory() as folder:
        stack = production(Path(folder))
        nagged = cdk_nag(stack)
        template = Path(folder) / stack.template_file
        reports = [cfn_lint(template), *nagged, checkov(template), ruff(), mypy(), pip_audit()]
    print(*summary(reports), sep="\n")
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
