"""What `make prove` prints of its parts, and which Python `make test-lambda-python` takes."""

import sys
from pathlib import Path

import pytest

from tools import prove
from tools.lambda_python import newest
from tools.prove import PARTS, Part


def part(name: str, script: str, *, alone: bool = False) -> Part:
    return Part(name=name, command=[sys.executable, "-c", script], alone=alone)


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prove, "ROOT", tmp_path)


def test_each_part_gets_a_line_and_a_failed_one_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [part("good", "print('quiet')"), part("bad", "import sys; print('why'); sys.exit(3)")]
    assert prove.prove(parts, 2) == 1
    printed = capsys.readouterr().out.splitlines()
    lines = {line.split()[0]: line for line in printed}
    assert lines["good"].endswith("s  passed: quiet")
    assert lines["bad"].endswith("s  failed: why")
    assert "    why" in printed
    assert printed[-1].startswith("1 passed, 1 failed, 0 skipped in 0 min ")


def test_a_part_with_nothing_to_run_is_skipped_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert prove.prove([part("good", ""), part("idle", "print('skipped: nothing here')")], 1) == 0
    printed = capsys.readouterr().out
    assert "s  skipped: nothing here\n" in printed
    assert "1 passed, 0 failed, 1 skipped in" in printed


def test_nothing_runs_beside_a_part_that_measures(tmp_path: Path) -> None:
    """Each of the others would see its mark."""
    mark = tmp_path / "mark"
    measures = f"import pathlib, time; m = pathlib.Path({str(mark)!r}); m.touch(); time.sleep(0.3); m.unlink()"
    other = f"import pathlib, sys; sys.exit(pathlib.Path({str(mark)!r}).exists())"
    parts = [part("a", other), part("measures", measures, alone=True), part("b", other)]
    assert prove.prove(parts, 3) == 0


def test_no_part_at_all_proves_nothing() -> None:
    assert prove.main(["--only", "no such part"]) == 1


def test_parts_have_logs_of_their_own() -> None:
    assert len({one.log for one in PARTS}) == len(PARTS)


def test_the_newest_python_up_to_lambdas_is_taken(tmp_path: Path) -> None:
    def interpreter(name: str, version: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o755)
        return path

    found = [
        interpreter("python3.11", "3 11"),
        interpreter("python3.13", "3 13"),
        interpreter("python3.12", "3 12"),
        interpreter("python3.14", "3 14"),
        interpreter("python3.13-config", "--help"),
        tmp_path / "python3.10",
    ]
    assert newest(found, above=(3, 11), most=(3, 13)) == (tmp_path / "python3.13", (3, 13))
    assert newest(found, above=(3, 12), most=(3, 12)) is None
