"""cloud-sync.toml: read by every deployment, overridden for once by `-c`, and refused with the line of each mistake."""

from pathlib import Path

import pytest

from infra.config import Settings, SettingsError, overrides
from infra.settings_file import SettingsFile, UnreadableFile, read_settings_file
from tools.template import run_app

FILE = """\
env = "prod"
notification_emails = ["you@example.com", "me@example.com"]
concurrency = 8

[dev]
concurrency = 2
schedule_enabled = false
"""
ALONE = " holds for this deployment alone; to keep it, write it into cloud-sync.toml"


def file(folder: Path, text: str = FILE) -> SettingsFile:
    path = folder / "cloud-sync.toml"
    path.write_text(text)
    return read_settings_file(path)


def problems(file: SettingsFile, **context: object) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        Settings.from_context(context, file)
    return str(refused.value).splitlines()


def test_a_deployment_reads_what_the_file_says_for_its_environment(tmp_path: Path) -> None:
    prod = Settings.from_context({}, file(tmp_path))
    assert (prod.env, prod.concurrency, prod.schedule_enabled) == ("prod", 8, True)
    assert prod.notification_emails == ("you@example.com", "me@example.com")
    dev = Settings.from_context({"env": "dev"}, file(tmp_path))
    assert (dev.env, dev.concurrency, dev.schedule_enabled, dev.log_level) == ("dev", 2, False, "DEBUG")
    assert dev.notification_emails == prod.notification_emails


def test_the_command_line_overrides_the_file_and_says_so(tmp_path: Path) -> None:
    context = {"concurrency": "3", "schedule_hour": "4", "notification_emails": "you@example.com,me@example.com"}
    settings = Settings.from_context(context, file(tmp_path))
    assert (settings.concurrency, settings.schedule_hour) == (3, 4)
    assert [line for line in overrides(context, file(tmp_path), settings) if "protected" not in line] == [
        "note: -c concurrency=3 overrides the 8 of cloud-sync.toml and" + ALONE,
        "note: -c schedule_hour=4" + ALONE,
    ]


def test_production_is_said_to_be_unprotected_until_it_is_protected(tmp_path: Path) -> None:
    unprotected = file(tmp_path)
    (line,) = overrides({}, unprotected, Settings.from_context({}, unprotected))
    assert "protected = true into cloud-sync.toml" in line
    protected = file(tmp_path, 'env = "prod"\nprotected = true')
    assert list(overrides({}, protected, Settings.from_context({}, protected))) == []
    assert list(overrides({"env": "dev"}, protected, Settings.from_context({"env": "dev"}, protected))) == []


def test_each_mistake_is_named_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    wrong = file(
        tmp_path,
        """\
env = "prod"
concurency = 5

[dev]
env = "dev"
log_level = "debug"

[prod]
concurrency = 1

[staging]
""",
    )
    assert problems(wrong) == [
        "cloud-sync.toml, line 11: [staging] is no environment; allowed: [dev] and [prod]",
        "cloud-sync.toml, line 2: concurency is no setting; did you mean concurrency?",
        "cloud-sync.toml, line 5: env belongs above the tables",
        "cloud-sync.toml, line 6: log_level='debug' is refused; allowed: one of DEBUG, INFO, WARNING, ERROR",
        "cloud-sync.toml, line 9: concurrency='1' is refused; allowed: a whole number from 2 to 1000",
    ]


@pytest.mark.parametrize("text", ["env = prod", "env = 'prod'\nenv = 'dev'", "\udcff"])
def test_a_file_that_is_not_toml_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cloud-sync.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UnreadableFile, match=r"^cloud-sync\.toml can't be read: "):
        read_settings_file(path)


def test_the_app_reads_the_file_and_refuses_it_without_a_traceback(tmp_path: Path) -> None:
    wrong = tmp_path / "cloud-sync.toml"
    wrong.write_text("concurrency = 1\n")
    done = run_app(tmp_path / "out", {}, settings_file=str(wrong))
    assert done.returncode != 0
    assert "cloud-sync.toml, line 1: concurrency='1' is refused; allowed: a whole number from 2 to 1000" in done.stderr
    assert "env is missing" in done.stderr
    assert "Traceback" not in done.stderr
