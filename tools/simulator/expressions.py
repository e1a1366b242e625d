"""The subset of DynamoDB's expressions that the services use. Unknown syntax raises.

Each expression is parsed once and cached as a function. Semantics as documented: a comparison with a missing attribute
is false, except for `<>`; so is a comparison between values of different types.
"""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

from tools.simulator.virtual import SimulatorError

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Condition = Callable[[Item, Names, Values], bool]
Operand = Callable[[Item, Names, Values], Any]
AttributePath = tuple[str, ...]  # the name of an attribute, then the names of nested parts
Change = Callable[[Item, Item, Names, Values], AttributePath]  # (previous item, item to change, …) → changed path

MISSING = object()
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+]|[#:]?\w+(?:\.#?\w+)*)")
_COMPARATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ValidationError(SimulatorError):
    """DynamoDB would refuse the request as malformed: a mistake in the code, which no retry may hide."""


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[str] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if not match:
                raise SimulatorError(f"an expression that the simulator can't read: {text}")
            self._tokens.append(match[1])
            position = match.end()

    def peek(self) -> str:
        return self._tokens[0] if self._tokens else ""

    def next(self) -> str:
        return self._tokens.pop(0) if self._tokens else ""

    def takes(self, word: str) -> bool:
        """Take the next token if it is this one."""
        found = self.peek().upper() == word
        if found:
            self.next()
        return found

    def expect(self, wanted: str) -> None:
        if (found := self.next()) != wanted:
            raise SimulatorError(f"{wanted!r} expected and {found!r} found in: {self.text}")


@cache
def condition(text: str) -> Condition:
    """Return a function that decides whether an item meets the condition."""
    reader = _Reader(text)
    parsed = _either(reader)
    reader.expect("")
    return parsed


def _either(reader: _Reader) -> Condition:
    parts = [_both(reader)]
    while reader.takes("OR"):
        parts.append(_both(reader))
    return parts[0] if len(parts) == 1 else lambda i, n, v: any(part(i, n, v) for part in parts)


def _both(reader: _Reader) -> Condition:
    parts = [_single(reader)]
    while reader.takes("AND"):
        parts.append(_single(reader))
    return parts[0] if len(parts) == 1 else lambda i, n, v: all(part(i, n, v) for part in parts)


def _single(reader: _Reader) -> Condition:
    if reader.takes("("):
        inner = _either(reader)
        reader.expect(")")
        return inner
    token = reader.next()
    if reader.takes("("):
        return _function(token, reader)
    left, sign, right = _operand(token), reader.next(), _operand(reader.next())
    if sign == "<>":
        return lambda i, n, v: not _compare(operator.eq, left(i, n, v), right(i, n, v))
    if sign not in _COMPARATORS:
        raise SimulatorError(f"{sign!r} not understood in: {reader.text}")
    compare = _COMPARATORS[sign]
    return lambda i, n, v: _compare(compare, left(i, n, v), right(i, n, v))


def _compare(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    return one is not MISSING and other is not MISSING and type(one) is type(other) and bool(compare(one, other))


def _function(name: str, reader: _Reader) -> Condition:
    subject = _operand(reader.next())
    if name in ("attribute_exists", "attribute_not_exists"):
        reader.expect(")")
        wanted = name == "attribute_exists"
        return lambda i, n, v: (subject(i, n, v) is not MISSING) == wanted
    if name == "begins_with":
        reader.expect(",")
        prefix = _operand(reader.next())
        reader.expect(")")

        def begins(item: Item, names: Names, values: Values) -> bool:
            found = subject(item, names, values)
            return isinstance(found, str) and found.startswith(prefix(item, names, values))

        return begins
    raise SimulatorError(f"the function {name} is not known to the simulator: {reader.text}")


def _operand(token: str) -> Operand:
    if token.startswith(":"):
        return lambda item, names, values: values[token]
    path = _path(token)

    def attribute(item: Item, names: Names, values: Values) -> Any:
        found: Any = item
        for step in path:
            found = found.get(names.get(step, step), MISSING) if isinstance(found, dict) else MISSING
        return found

    return attribute


def _path(token: str) -> tuple[str, ...]:
    if not re.fullmatch(r"(#|[A-Za-z_])\w*(\.#?\w+)*", token):
        raise SimulatorError(f"{token!r} is no path that the simulator can read")
    return tuple(token.split("."))


@cache
def update(text: str) -> Callable[[Item, Item, Names, Values], list[AttributePath]]:
    """Return a function that applies an update expression, and returns the changed paths."""
    reader = _Reader(text)
    changes: list[Change] = []
    clauses: set[str] = set()
    while clause := reader.next().upper():
        if clause in clauses:
            raise ValidationError(f'The "{clause}" section can only be used once in an update expression: {text}')
        if clause not in _CLAUSES:
            raise SimulatorError(f"{clause!r} not understood in: {text}")
        clauses.add(clause)
        changes.append(_CLAUSES[clause](reader))
        while reader.takes(","):
            changes.append(_CLAUSES[clause](reader))

    def make(before: Item, after: Item, names: Names, values: Values) -> list[AttributePath]:
        paths = sorted(change(before, after, names, values) for change in changes)
        if any(longer[: len(shorter)] == shorter for shorter, longer in pairwise(paths)):
            raise ValidationError(f"Two document paths overlap with each other: {text}")
        return paths

    return make


def _set(reader: _Reader) -> Change:
    path = _path(reader.next())
    reader.expect("=")
    first = _operand(reader.next())
    second = _operand(reader.next()) if reader.takes("+") else None

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        new = first(before, names, values)
        if second is not None:
            new = _sum(new, second(before, names, values))
        if new is MISSING:
            raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
        steps = tuple(names.get(step, step) for step in path)
        place: Any = after
        for step in steps[:-1]:
            place = place.get(step) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ValidationError("The document path provided in the update expression is invalid for update")
        place[steps[-1]] = new
        return steps

    return change


def _remove(reader: _Reader) -> Change:
    (step,) = _path(reader.next())

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        name = names.get(step, step)
        after.pop(name, None)
        return (name,)

    return change


def _add(reader: _Reader) -> Change:
    (step,) = _path(reader.next())
    amount = _operand(reader.next())

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        name = names.get(step, step)
        after[name] = _sum(before.get(name, Decimal(0)), amount(before, names, values))
        return (name,)

    return change


def _sum(one: Any, other: Any) -> Decimal:
    if not isinstance(one, Decimal) or not isinstance(other, Decimal):
        raise ValidationError("An operand in the update expression has an incorrect data type")
    return one + other


_CLAUSES: Mapping[str, Callable[[_Reader], Change]] = {"SET": _set, "REMOVE": _remove, "ADD": _add}
_USED = re.compile(r"[#:]\w+")


@cache
def placeholders(*texts: str) -> frozenset[str]:
    """Return the names and values that expressions refer to; DynamoDB refuses requests that define others."""
    return frozenset(mark for text in texts for mark in _USED.findall(text))
