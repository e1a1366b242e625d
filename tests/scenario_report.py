"""`--scenarios-report PATH` writes which test shows which scenario, and how each of them ended in this run.

Which tests those are is read from the sources, not from what was collected: a marked test that this run left out
shows as one that was not run, and fails it.
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
OPTION = "--scenarios-report"
MARK = "pytest.mark.scenario"

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"

HEAD = """\
# Failure scenarios

What can go wrong, what must come of it, and the tests that show it. `make scenarios` writes this file from the marks of
the tests and from how they ended; don't edit it.

| # | what happens | what must come of it | with | shown by | result |
|---|---|---|---|---|---|
"""
FOOT = """
With: SIM the simulator, FAKE the fake GoPro Cloud over HTTP, EMU the deployed template on the embedded AWS, PROXY the
same behind a proxy that injects faults, PROP random examples, TEMPLATE the synthesized template, RLIMIT a process of
limited memory. A test fails where a scenario has no test of the kind that stands there.
"""

# Which kind of test a file holds, by the beginning of its path; and by what it imports.
PLACES = {
    "tests/simulation/": Means.SIM,
    "tests/load/": Means.SIM,
    "tests/choreography/": Means.FAKE,
    "tests/e2e/": Means.EMU | Means.FAKE,
    "tests/e2e/test_faults.py": Means.PROXY,
    "tests/infra/": Means.TEMPLATE,
    "tests/contract/test_transfer_memory.py": Means.RLIMIT,
    "tests/unit/": Means.UNIT,
}
FAKE_CLOUD = ("tests.gopro_cloud", "tests.unit.gopro_stage")


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
        tests = [test for test, numbers in marked_tests().items() if number in numbers]
        used = Means(0)
        for test in tests:
            used |= means_of(test)
        if scenario.by & ~used:
            missing[number] = scenario.by & ~used
    return missing


# ── The document ─────────────────────────────────────────────────────────────────────────────────────────────────────


def render(endings: Mapping[str, str]) -> str:
    """The document, of how the marked tests ended. The same endings make the same text."""
    rows = []
    for number, scenario in sorted(SCENARIOS.items()):
        tests = [test for test, numbers in marked_tests().items() if number in numbers]
        shown_by = "<br>".join(_entry(test, endings.get(test, NOT_RUN)) for test in tests)
        result = worst(endings.get(test, NOT_RUN) for test in tests) if tests else NOT_RUN
        by = ", ".join(str(means.name) for means in scenario.by)
        rows.append(f"| {number} | {scenario.happens} | {scenario.required} | {by} | {shown_by or '—'} | {result} |\n")
    return HEAD + "".join(rows) + FOOT + f"\n{summary(endings)}\n"


def summary(endings: Mapping[str, str]) -> str:
    return f"{len(shown_by(endings))} of {len(SCENARIOS)} scenarios are shown."


def shown_by(endings: Mapping[str, str]) -> dict[int, list[str]]:
    """The scenarios that have tests, all of which passed."""
    tests: dict[int, list[str]] = defaultdict(list)
    for test, numbers in marked_tests().items():
        for number in numbers:
            tests[number].append(test)
    return {
        number: of_it
        for number, of_it in sorted(tests.items())
        if worst(endings.get(test, NOT_RUN) for test in of_it) == PASSED
    }


def worst(results: Iterable[str]) -> str:
    found = set(results)
    return next((result for result in (FAILED, NOT_RUN) if result in found), PASSED)


def _entry(test: str, ending: str) -> str:
    path, name = test.split("::", 1)
    trouble = "" if ending == PASSED else f" **{ending}**"
    return f"[`{path.removeprefix('tests/')}::{name}`](../{path}){trouble}"


# ── The run ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class ScenarioReport:
    """Collects how the marked tests end."""

    def __init__(self, path: Path) -> None:
        self._path = path
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

    def endings(self) -> dict[str, str]:
        return {test: worst(cases.values()) for test, cases in self._results.items()}

    def troubles(self) -> list[str]:
        """The marked tests that did not pass."""
        ended = {test: self.endings().get(test, NOT_RUN) for test in marked_tests()}
        return [f"{test}: {result}" for test, result in ended.items() if result != PASSED]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._path.write_text(render(self.endings()))
        if self.troubles() and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("failure scenarios")
        terminalreporter.line(f"{len(shown_by(self.endings()))} of {len(SCENARIOS)} scenarios are shown: {self._path}")
        for line in self.troubles():
            terminalreporter.line(f"did not pass  {line}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION, metavar="PATH", help="write the table of failure scenarios, their tests and their results to this file"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(*numbers): the test shows these scenarios of tests/scenarios.py")
    path = config.getoption(OPTION)
    if path and not hasattr(config, "workerinput"):  # xdist's workers tell the one that started them
        config.pluginmanager.register(ScenarioReport(Path(path)), "scenario-report")
