"""The canary: looks for each secret that was in reach of a run, in each of the run's outputs.

A secret is found whole or in part (any sixteen characters of it in a row), plain and in the usual encodings. A find
says where, and of which kind the secret is; never the secret.
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
_SHORTEST = 8  # characters that don't come up by chance

# What betrays a signed URL or a session, whatever its values are.
_MARKS = {
    "signed URL": ("Signature=", "Key-Pair-Id", "response-content-disposition"),
    "Authorization header": ("Bearer ", "gp_access_token="),
}


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A value that may show nowhere. `may_lie_in`: the kinds of output where a test has put it."""

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
    encoding: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.encoding}) in {self.output}: {self.where}"


def report(finds: Iterable[Find]) -> str:
    """Return the finds for people: of those that differ in their place alone, the first."""
    return "\n".join(sorted(map(str, {(find.output, find.secret): find for find in reversed([*finds])}.values())))


class Finder:
    """Finds these secrets in any text."""

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._whole: dict[str, tuple[Secret, str]] = {}
        self._windows: dict[str, tuple[Secret, str]] = {}
        for secret in secrets:
            # Backwards, for the plainest name of a window that several encodings share.
            for encoding, text in reversed(list(encodings(secret.value))):
                if len(text) < IN_PART:
                    self._whole[text] = (secret, encoding)
                else:
                    self._windows.update(dict.fromkeys(_windows(text, 1), (secret, encoding)))

    def find(self, text: str, kind: str = "") -> set[tuple[str, str]]:
        """Return (kind of secret, encoding) of all that is in a text of this kind of output."""
        found = [self._windows[window] for window in _windows(text, _STEP) if window in self._windows]
        found += [secret for whole, secret in self._whole.items() if whole in text]
        kinds = {(secret.kind, encoding) for secret, encoding in found if kind not in secret.may_lie_in}
        return kinds | {(mark, "plain") for mark, words in _MARKS.items() if any(word in text for word in words)}

    def search(self, outputs: Iterable[Output]) -> Iterator[Find]:
        for output in outputs:
            for secret, encoding in self.find(output.text, output.kind):
                where = "a place that has it in its name" if self.find(output.where) else output.where
                yield Find(output.kind, where, secret, encoding)


def _windows(text: str, step: int) -> list[str]:
    return [text[at : at + _WINDOW] for at in range(0, len(text) - _WINDOW + 1, step)]


def encodings(value: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each form in which a value may show, each text once."""
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
    names = {text: name for name, text in reversed(forms.items())}
    yield from ((name, text) for name, text in forms.items() if names[text] == name)


class Canary:
    """Searches the outputs of a stage, each time those that came since the time before."""

    def __init__(self, stage: "Stage") -> None:
        self.searched: Counter[str] = Counter()  # outputs, by kind
        self._stage = stage
        self._outputs = Outputs(stage)
        self._known: set[Secret] = set()
        self._looked_for: set[Secret] = set()
        self._finds = 0

    def know(self, kind: str, value: str, *, may_lie_in: Iterable[str] = ()) -> None:
        """Look for this value too from now on."""
        self._known.add(Secret(kind=kind, value=value, may_lie_in=frozenset(may_lie_in)))

    def search(self) -> list[Find]:
        """Return the finds of all secrets that the GoPro Cloud has issued or that were made known."""
        given = self._stage.control.secrets()
        issued = {Secret(kind=kind.replace("_", " "), value=one) for kind, values in given.items() for one in values}
        secrets, outputs = self._known | issued, self._outputs.look()
        found = sorted(set(Finder(secrets).search(outputs)), key=str)
        self.searched += Counter(output.kind for output in outputs)
        self._looked_for |= secrets
        self._finds += len(found)
        return found

    @property
    def figures(self) -> str:
        """How much was searched for how many secrets."""
        kinds = sorted(Counter(secret.kind for secret in self._looked_for).items())
        of_kind = ", ".join(f"{kind}: {number:,}" for kind, number in kinds)
        searched = [f"  {kind:<16}{self.searched[kind]:>9,}" for kind in KINDS]
        lines = [f"looked for {len(self._looked_for):,} secrets ({of_kind}) in", *searched]
        return "\n".join([*lines, f"  {'found':<16}{self._finds:>9,}"])
