"""cloud-sync.toml: the settings that every deployment reads.

Settings above the tables hold for both environments, those in `[dev]` and `[prod]` for one:

    env = "prod"
    notification_emails = ["you@example.com"]

    [prod]
    concurrency = 8
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BOTH = ""
"""The section of the settings above all tables."""


class UnreadableFile(ValueError):
    """The file is missing or is not TOML; the text says where."""


@dataclass(frozen=True, kw_only=True)
class SettingsFile:
    """The values as they stand in the file, by section and name."""

    name: str = "cloud-sync.toml"
    sections: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)  # of a name; that of a table has the name ""

    def where(self, section: str, name: str = "") -> str:
        """Return the file and the line of a setting, or of a table."""
        line = self.lines.get((section, name))
        return f"{self.name}, line {line}" if line else self.name


NO_FILE = SettingsFile()


def read_settings_file(path: Path) -> SettingsFile:
    """Read the file. Raises `UnreadableFile`."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, ValueError) as error:  # TOML's and Unicode's errors are value errors
        raise UnreadableFile(f"{path.name} can't be read: {error}") from error
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    both = {name: value for name, value in content.items() if name not in tables}
    return SettingsFile(name=path.name, sections={BOTH: both, **tables}, lines=_lines(text))


def _lines(text: str) -> Mapping[tuple[str, str], int]:
    """Return where each name stands. `tomllib` does not say."""
    lines: dict[tuple[str, str], int] = {}
    section = BOTH
    for number, line in enumerate(text.splitlines(), 1):
        if table := re.match(r"\s*\[\s*[\"']?([\w-]+)[\"']?\s*\]", line):
            section = table[1]
            lines.setdefault((section, ""), number)
        elif setting := re.match(r"\s*[\"']?([\w-]+)[\"']?\s*=", line):
            lines.setdefault((section, setting[1]), number)
    return lines
