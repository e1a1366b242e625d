"""Which test shows which scenario: written to docs/failure-scenarios.md, and checked at the end of a run.

`python -m tests.scenario_report` writes the document. `pytest --all-scenarios` fails unless all marked tests passed.
The tests are read from the sources, not from what was collected, so a marked test that a run leaves out fails it.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.scenarios import SCENARIOS, Means

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DOCUMENT = ROOT / "docs" / "failure-scenarios.md"
OPTION = "--all-scenarios"
MARK = "pytest.mark.scenario"

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"

HEAD = """\
# Failure scenarios

What can go wrong, what must then happen, and the tests that show it. `python -m tests.scenario_report` writes this file
from the marks of the tests; `make scenarios` runs them.

| # | what happens | what must then happen | with | shown by |
|---|---|---|---|---|
"""
FOOT = """
With: SIM the simulator, FAKE the fake GoPro Cloud over HTTP, EMU the deployed template on the embedded AWS, PROXY the
same behind a proxy that injects faults, PROP random examples, TEMPLATE the synthesized template, RLIMIT a process of
limited memory. A test fails where a scenario has no test of the kind that stands there.
"""

# Which kind of test a file holds, by the beginning of its path; and by what it imports.
PLACES = {
    "tests/simulation/": Means.SIM,
    "tests/unit/test_load.py": Means.SIM,
    "tests/e2e/": Means.EMU | Means.FAKE,
    "tests/e2e/test_faults.py": Means.PROXY,
    "tests/infra/": Means.TEMPLATE,
    "tests/contract/test_transfer_memory.py": Means.RLIMIT,
    "tests/unit/": Means.UNIT,
}
FAKE_CLOUD = ("ops.local.gopro_cloud", "tests.unit.gopro_stage")


# ── Marks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def marks_in(source: str) -> Iterator[tuple[str, list[int]]]:
    """(test, numbers) of every test of a file that is marked. Any other form of the mark is refused."""
    tree = ast.parse(source)
    scopes: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    scopes += [(f"{node.name}::", node.body) for node in tree.body if isinstance(node, ast.ClassDef)]
    found = 0
    for prefix, body in scopes:
        for test in body:
            if not isinstance(test, ast.FunctionDef):
                continue
            for mark in test.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == MARK:
                    found += 1
                    yield f"{prefix}{test.name}", [ast.literal_eval(number) for number in mark.args]
    if sum(isinstance(node, ast.Attribute) and ast.unparse(node) == MARK for node in ast.walk(tree)) != found:
        raise ValueError(f"a scenario is marked as @{MARK}(number, …) on a test, and in no other way")


@cache
def marked_tests() -> Mapping[str, tuple[int, ...]]:
    """The scenarios of every marked test, by its node id without parameters."""
    marked: dict[str, set[int]] = defaultdict(set)
    for file in TESTS.rglob("test_*.py"):
        for test, numbers in marks_in(file.read_text()):
            marked[f"{file.relative_to(ROOT).as_posix()}::{test}"].update(numbers)
    return {test: tuple(sorted(numbers)) for test, numbers in sorted(marked.items())}


@cache
def means_of(test: str) -> Means:
    """What a test shows its scenarios with."""
    path, *_, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text())
    means = Means(0)
    for place, kind in PLACES.items():
        means |= kind if path.startswith(place) else Means(0)
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    if any(module.startswith(FAKE_CLOUD) for module in imported):
        means |= Means.FAKE
    (function,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    if any(ast.unparse(decorator).startswith("given(") for decorator in function.decorator_list):
        means |= Means.PROP
    return means


def not_shown_as_required() -> dict[int, Means]:
    """By scenario, the means that it has to be shown with and no test of it uses."""
    missing: dict[int, Means] = {}
    for number, scenario in SCENARIOS.items():
        used = Means(0)
        for test in tests_of(number):
            used |= means_of(test)
        if scenario.by & ~used:
            missing[number] = scenario.by & ~used
    return missing


# ── The document ─────────────────────────────────────────────────────────────────────────────────────────────────────


def tests_of(number: int) -> list[str]:
    """The tests that show a scenario."""
    return [test for test, numbers in marked_tests().items() if number in numbers]


def render() -> str:
    """The document."""
    rows = []
    for number, scenario in sorted(SCENARIOS.items()):
        shown_by = "<br>".join(_link(test) for test in tests_of(number))
        by = ", ".join(str(means.name) for means in scenario.by)
        rows.append(f"| {number} | {scenario.happens} | {scenario.required} | {by} | {shown_by} |\n")
    return HEAD + "".join(rows) + FOOT


def _link(test: str) -> str:
    path, name = test.split("::", 1)
    return f"[`{path.removeprefix('tests/')}::{name}`](../{path})"


# ── The run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def worst(results: Iterable[str]) -> str:
    """What several cases come to: failed if one failed, passed if all did."""
    found = set(results)
    return next((result for result in (FAILED, NOT_RUN) if result in found), PASSED)


class ScenarioReport:
    """Collects how the marked tests end."""

    def __init__(self) -> None:
        self._results: dict[str, dict[str, str]] = defaultdict(dict)  # of every case, by test

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.partition("[")[0]
        if test not in marked_tests():
            return
        of_case = self._results[test]
        if report.failed or hasattr(report, "wasxfail"):
            of_case[report.nodeid] = FAILED
        elif report.skipped:
            of_case.setdefault(report.nodeid, NOT_RUN)
        elif report.when == "call":
            of_case.setdefault(report.nodeid, PASSED)

    def troubles(self) -> dict[str, str]:
        """The marked tests that did not pass, and what became of each."""
        ended = {test: worst(self._results[test].values() or [NOT_RUN]) for test in marked_tests()}
        return {test: result for test, result in ended.items() if result != PASSED}

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.troubles() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        troubles = self.troubles()
        shown = [number for number in SCENARIOS if not troubles.keys() & set(tests_of(number))]
        terminalreporter.section("failure scenarios")
        terminalreporter.line(f"{len(shown)} of {len(SCENARIOS)} scenarios are shown.")
        for test, result in troubles.items():
            terminalreporter.line(f"did not pass  {test}: {result}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help="fail unless every test that shows a failure scenario passed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(*numbers): the test shows these scenarios of tests/scenarios.py")
    if config.getoption(OPTION) and not hasattr(
        config, "workerinput"
    ):  # xdist's workers report to the one that started them
        config.pluginmanager.register(ScenarioReport(), "scenario-report")


if __name__ == "__main__":
    DOCUMENT.write_text(render())
