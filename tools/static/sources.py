"""The tools that read sources: ruff, mypy and import-linter, and pip-audit for the packages of the functions."""

import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.static.report import Finding, Report

_ROOT = Path(__file__).resolve().parents[2]
_TOOLS = _ROOT / ".static" / "venv" / "bin"
_PIP_AUDIT = (
    _TOOLS / "pip-audit",
    "--require-hashes",
    "--disable-pip",
    "--progress-spinner",
    "off",
    "--format",
    "json",
)

NOQA = re.compile(r"noqa:\s*(?P<rules>[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)(?P<reason>.*)")
TYPE_IGNORE = re.compile(r"type:\s*ignore\[(?P<rules>[\w, -]+)\](?P<reason>.*)")
_NO_CONNECTION = re.compile(r"ConnectionError|Timeout|ProxyError|SSLError|ServiceError|Could not connect")


def ruff() -> Report:
    """Run ruff on the whole repository."""
    settings = _run("ruff", "check", "--show-settings", "pyproject.toml")
    (enabled,) = re.findall(r"^linter\.rules\.enabled = \[\n(.*?)^\]", settings, re.MULTILINE | re.DOTALL)
    files = _run("ruff", "check", "--show-files").splitlines()
    found = json.loads(_run("ruff", "check", "--output-format", "json"))
    return Report(
        tool="ruff",
        checked=f"{len(enabled.splitlines())} rules, {len(files)} files",
        findings=[
            Finding(
                rule=one["code"] or "syntax",
                place=f"{Path(one['filename']).relative_to(_ROOT)}:{one['location']['row']}",
                text=one["message"],
            )
            for one in found
        ],
        suppressed=list(suppressed(_ROOT, NOQA)),
    )


def mypy() -> Report:
    """Run mypy on the packages and with the settings in pyproject.toml."""
    *errors, figures = _run("mypy").splitlines()
    checked = re.search(r"(\d+) source files", figures)
    return Report(
        tool="mypy",
        checked=f"{checked[1]} files" if checked else "nothing",
        findings=[
            *(_type_error(line) for line in errors if ": error: " in line),
            *([] if checked else [Finding(rule="mypy", place="pyproject.toml", text=figures)]),
        ],
        suppressed=list(suppressed(_ROOT, TYPE_IGNORE)),
    )


def import_linter(root: Path = _ROOT) -> Report:
    """Check the import contracts in pyproject.toml against the packages below `root`."""
    answer = _run("lint-imports", "--no-cache", "--no-logo", root=root)
    contracts = re.findall(r"^(.+) (KEPT|BROKEN)", answer, re.MULTILINE)
    if not contracts:
        raise RuntimeError(f"lint-imports failed: {answer}")
    broken = [name for name, state in contracts if state == "BROKEN"]
    return Report(
        tool="import-linter",
        checked=f"{len(contracts)} contracts",
        findings=[Finding(rule=name, place="pyproject.toml", text="`lint-imports` shows by what") for name in broken],
    )


def pip_audit() -> Report:
    """Ask pip-audit which of the functions' packages have known vulnerabilities."""
    requirements = _ROOT / "requirements" / "runtime.txt"
    done = subprocess.run([*_PIP_AUDIT, "--requirement", requirements], check=False, capture_output=True, text=True)
    return audited(re.findall(r"^([a-z0-9-]+)==", requirements.read_text(), re.MULTILINE), done.stdout, done.stderr)


def audited(wanted: Sequence[str], answer: str, log: str) -> Report:
    """Parse pip-audit's result for the packages to check.

    pip-audit counts a package without an answer from the service as good; this report counts it as not checked.
    """
    try:
        packages = json.loads(answer)["dependencies"]
    except ValueError:
        if not _NO_CONNECTION.search(log):
            raise RuntimeError(f"pip-audit failed: {log}") from None
        packages = []
    answered = {package["name"] for package in packages if "vulns" in package}
    silent = [name for name in wanted if name not in answered]
    which = ", ".join(silent) if answered else "any package"
    return Report(
        tool="pip-audit",
        checked=f"{len(answered)} packages",
        findings=[
            Finding(rule=one["id"], place=f"{package['name']} {package['version']}", text=one["description"])
            for package in packages
            for one in package.get("vulns", [])
        ],
        not_checked=f"the vulnerability service could not be reached for {which}" if silent else "",
    )


def suppressed(root: Path, form: re.Pattern[str]) -> Iterator[Finding]:
    """Yield each suppression comment in deployed code and commands, with the rest of the comment as its reason.

    ruff's RUF100 and mypy's `warn_unused_ignores` find comments that suppress nothing.
    """
    for file in sorted(path for folder in ("services", "infra", "ops") for path in (root / folder).rglob("*.py")):
        with tokenize.open(file) as source:
            comments = [token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.COMMENT]
        for comment in comments:
            for found in form.finditer(comment.string):
                yield Finding(
                    rule=found["rules"],
                    place=f"{file.relative_to(root)}:{comment.start[0]}",
                    text=found["reason"].strip(" #-"),
                )


def _run(tool: str, *arguments: str, root: Path = _ROOT) -> str:
    command = [str(Path(sys.executable).with_name(tool)), *arguments]
    done = subprocess.run(command, check=False, cwd=root, capture_output=True, text=True)
    if not done.stdout:
        raise RuntimeError(f"{tool} failed: {done.stderr}")
    return done.stdout


def _type_error(line: str) -> Finding:
    place, _, text = line.partition(": error: ")
    text, _, rule = text.removesuffix("]").rpartition("  [")
    return Finding(rule=rule, place=place, text=text)
