"""The runbooks in docs/runbooks.md, as tests read them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tools.template import ROOT

PAGE = ROOT / "docs" / "runbooks.md"
PARTS = ("Look", "Do", "Verify")


@dataclass(frozen=True, kw_only=True)
class Runbook:
    """`commands`: the lines of each part's shell block, as printed."""

    means: str
    commands: Mapping[str, tuple[str, ...]]


def runbooks() -> dict[str, Runbook]:
    """Return the runbooks by their headings."""
    _, *sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    return {section.partition("\n")[0].strip(): _read(section) for section in sections}


def _read(section: str) -> Runbook:
    texts = re.split(r"^\*\*(.*?):\*\*", section, flags=re.MULTILINE)
    parts = dict(zip(texts[1::2], texts[2::2], strict=True))
    blocks = {part: re.findall(r"^```sh\n(.*?)^```", parts.get(part, ""), re.MULTILINE | re.DOTALL) for part in PARTS}
    return Runbook(
        means=parts.get("It means", "").strip(),
        commands={part: tuple("".join(found).splitlines()) for part, found in blocks.items()},
    )
