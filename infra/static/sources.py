"""Three tools on the sources: ruff, mypy, and pip-audit on the packages that the functions run with."""

import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.static.report import Finding, Report

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
    """What ruff finds in the whole repository."""
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
    """What mypy finds where pyproject.toml has it look, with the strictness that stands there."""
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


def pip_audit() -> Report:
    """Which of the functions' packages are known to be vulnerable."""
    requirements = _ROOT / "requirements" / "runtime.txt"
    done = subprocess.run([*_PIP_AUDIT, "--requirement", requirements], check=False, capture_output=True, text=True)
    return audited(re.findall(r"^([a-z0-9-]+)==", requirements.read_text(), re.MULTILINE), done.stdout, done.stderr)


def audited(wanted: Sequence[str], answer: str, log: str) -> Report:
    """What pip-audit's answer says of the packages that it was to look at.

    It takes one that the service doesn't answer for as good; here that one is skipped.
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
    """What comments suppress in the code that goes into use, each with the rest of its comment for a reason.

    Those that suppress nothing are findings of their own: of ruff's RUF100, and by mypy's `warn_unused_ignores`.
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


def _run(tool: str, *arguments: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments], check=False, cwd=_ROOT, capture_output=True, text=True
    )
    if not done.stdout:
        raise RuntimeError(f"{tool} failed: {done.stderr}")
    return done.stdout


def _type_error(line: str) -> Finding:
    place, _, text = line.partition(": error: ")
    text, _, rule = text.removesuffix("]").rpartition("  [")
    return Finding(rule=rule, place=place, text=text)
