"""The canary: each secret that was in reach of a run is looked for in each of its outputs.

A secret is found whole or in part (any sixteen characters of it in a row), as it is and in the spellings that it may
have been given on its way. What is told of a find is where, and of which kind the secret is; never the secret.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.e2e.outputs import KINDS, Output, Outputs

if TYPE_CHECKING:
    from tests.e2e.stage import Stage

# Every window of so many characters of a secret is known, and every fifth window of a text is looked up: whatever is as
# long as a window and a step together can't slip through between two of them.
_WINDOW, _STEP = 12, 5
IN_PART = _WINDOW + _STEP - 1  # characters in a row that are found
_SHORTEST = 8  # of what can be told from chance

# What betrays a signed URL or a session, whatever its values are.
_MARKS = {
    "signed URL": ("Signature=", "Key-Pair-Id", "response-content-disposition"),
    "Authorization header": ("Bearer ", "gp_access_token="),
}


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A value that is nobody's business. `may_lie_in`: the kinds of output where somebody has put it."""

    kind: str
    value: str = field(repr=False)
    may_lie_in: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        assert len(self.value) >= _SHORTEST, f"a {self.kind} of {len(self.value)} characters can't be looked for"


@dataclass(frozen=True)
class Find:
    """A secret where it should not be."""

    output: str  # the kind of output
    where: str
    secret: str  # the kind of secret
    spelling: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.spelling}) in {self.output}: {self.where}"


def told(finds: Iterable[Find]) -> str:
    """The finds for people: of those that differ in their place alone, the first."""
    return "\n".join(sorted(map(str, {(find.output, find.secret): find for find in reversed([*finds])}.values())))


class Finder:
    """Finds these secrets in any text."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._whole: dict[str, tuple[Secret, str]] = {}
        self._windows: dict[str, tuple[Secret, str]] = {}
        for secret in secrets:
            # Backwards, for the plainest name of a window that several spellings share.
            for spelling, text in reversed(list(spellings(secret.value))):
                if len(text) < IN_PART:
                    self._whole[text] = (secret, spelling)
                else:
                    self._windows.update(dict.fromkeys(_windows(text, 1), (secret, spelling)))

    def find(self, text: str, kind: str = "") -> set[tuple[str, str]]:
        """(kind of secret, spelling) of all that is in a text of this kind of output."""
        found = [self._windows[window] for window in _windows(text, _STEP) if window in self._windows]
        found += [secret for whole, secret in self._whole.items() if whole in text]
        kinds = {(secret.kind, spelling) for secret, spelling in found if kind not in secret.may_lie_in}
        return kinds | {(mark, "plain") for mark, words in _MARKS.items() if any(word in text for word in words)}

    def search(self, outputs: Iterable[Output]) -> Iterator[Find]:
        for output in outputs:
            for secret, spelling in self.find(output.text, output.kind):
                where = "a place that has it in its name" if self.find(output.where) else output.where
                yield Find(output.kind, where, secret, spelling)


def _windows(text: str, step: int) -> list[str]:
    return [text[at : at + _WINDOW] for at in range(0, len(text) - _WINDOW + 1, step)]


def spellings(value: str) -> Iterator[tuple[str, str]]:
    """(name, text) of each form in which a value may show, each once."""
    raw = value.encode()
    forms = {
        "plain": value,
        "URL-quoted": quote(value, safe=""),
        "JSON-escaped": json.dumps(value)[1:-1],
        "JSON-escaped twice": json.dumps(json.dumps(value)[1:-1])[1:-1],
    }
    for before in range(3):  # bytes that stand before the value in what was encoded
        bits = 8 * (before + len(raw))
        inner = slice(-(-8 * before // 6), bits // 6)  # the characters that depend on nothing but the value
        encoded = base64.b64encode(bytes(before) + raw).decode()[inner]
        forms[f"base64 after {before} bytes"] = encoded
        forms[f"URL-safe base64 after {before} bytes"] = encoded.translate(str.maketrans("+/", "-_"))
    seen = set()
    for name, text in forms.items():
        if text not in seen:
            seen.add(text)
            yield name, text


@dataclass
class Figures:
    """How much was searched for how many secrets."""

    outputs: Counter[str] = field(default_factory=Counter)
    secrets: set[Secret] = field(default_factory=set)
    finds: int = 0

    @property
    def empty(self) -> list[str]:
        """The kinds of output of which there was none: a search in nothing shows nothing."""
        return [kind for kind in KINDS if not self.outputs[kind]]

    def __str__(self) -> str:
        kinds = sorted(Counter(secret.kind for secret in self.secrets).items())
        return "\n".join(
            [
                f"looked for {len(self.secrets):,} secrets ({', '.join(f'{kind}: {n:,}' for kind, n in kinds)}) in",
                *(f"  {kind:<16}{self.outputs[kind]:>9,}" for kind in KINDS),
                f"  {'found':<16}{self.finds:>9,}",
            ]
        )


class Canary:
    """Searches the outputs of a stage, each time those that came since the time before."""

    def __init__(self, stage: "Stage") -> None:
        self.figures = Figures()
        self._stage = stage
        self._outputs = Outputs(stage)
        self._known: set[Secret] = set()

    def know(self, kind: str, value: str, *, may_lie_in: Iterable[str] = ()) -> None:
        """From now on this value is looked for too."""
        self._known.add(Secret(kind=kind, value=value, may_lie_in=frozenset(may_lie_in)))

    def search(self) -> list[Find]:
        """What was found of the secrets that the GoPro Cloud has given away or that were made known."""
        given = self._stage.control.secrets()
        issued = {Secret(kind=kind.replace("_", " "), value=one) for kind, values in given.items() for one in values}
        secrets, outputs = self._known | issued, self._outputs.look()
        found = sorted(set(Finder(secrets).search(outputs)), key=str)
        self.figures.outputs += Counter(output.kind for output in outputs)
        self.figures.secrets |= secrets
        self.figures.finds += len(found)
        return found
