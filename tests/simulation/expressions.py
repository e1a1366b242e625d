"""DynamoDB's expressions, as far as the services use them. What is not known here raises.

A text is read once and kept as a function. Semantics as documented: a comparison with an attribute that isn't there is
false, except for `<>`; so is one between values of different types.
"""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.simulation.virtual import SimulatorError

Item = dict[str, Any]
Names = Mapping[str, str]
Values = Mapping[str, Any]
Condition = Callable[[Item, Names, Values], bool]
Operand = Callable[[Item, Names, Values], Any]

MISSING = object()
_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+-]|[#:]?\w+(?:\.#?\w+)*)")
_COMPARATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ValidationError(SimulatorError):
    """DynamoDB would refuse the request as malformed: a mistake of the code, which no retry may hide."""


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
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def opens_twice(self) -> bool:
        """Whether what follows, up to the end of the parentheses just opened, stands in parentheses of its own."""
        depth = 0
        for place, token in enumerate(self._tokens[self._at :], self._at):
            depth += {"(": 1, ")": -1}.get(token, 0)
            if depth <= 0:
                return place > self._at and self._tokens[place + 1 : place + 2] == [")"] and self.peek() == "("
        return False

    def expect(self, wanted: str) -> None:
        if (found := self.next()) != wanted:
            raise SimulatorError(f"{wanted!r} expected and {found!r} found in: {self.text}")


@cache
def condition(text: str) -> Condition:
    """What tells whether an item meets the condition."""
    reader = _Reader(text)
    parsed = _either(reader)
    if reader.peek():
        raise SimulatorError(f"{reader.peek()!r} not understood in: {text}")
    return parsed


def _either(reader: _Reader) -> Condition:
    parts = [_both(reader)]
    while reader.peek().upper() == "OR":
        reader.next()
        parts.append(_both(reader))
    return parts[0] if len(parts) == 1 else lambda i, n, v: any(part(i, n, v) for part in parts)


def _both(reader: _Reader) -> Condition:
    parts = [_single(reader)]
    while reader.peek().upper() == "AND":
        reader.next()
        parts.append(_single(reader))
    return parts[0] if len(parts) == 1 else lambda i, n, v: all(part(i, n, v) for part in parts)


def _single(reader: _Reader) -> Condition:
    if reader.peek().upper() == "NOT":
        reader.next()
        inner = _single(reader)
        return lambda i, n, v: not inner(i, n, v)
    if reader.peek() == "(":
        reader.next()
        if reader.opens_twice():
            raise ValidationError(f"The expression has redundant parentheses: {reader.text}")
        inner = _either(reader)
        reader.expect(")")
        return inner
    token = reader.next()
    if reader.peek() == "(":
        return _function(token, reader)
    left, sign = _operand(token), reader.next()
    right = _operand(reader.next())
    if sign == "<>":
        return lambda i, n, v: not _equal(left(i, n, v), right(i, n, v))
    if sign not in _COMPARATORS:
        raise SimulatorError(f"{sign!r} not understood in: {reader.text}")
    compare = _COMPARATORS[sign]

    def holds(item: Item, names: Names, values: Values) -> bool:
        one, other = left(item, names, values), right(item, names, values)
        return one is not MISSING and other is not MISSING and _same_type(one, other) and compare(one, other)

    return holds


def _function(name: str, reader: _Reader) -> Condition:
    reader.expect("(")
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


def _same_type(one: Any, other: Any) -> bool:
    return type(one) is type(other)


def _equal(one: Any, other: Any) -> bool:
    return one is not MISSING and other is not MISSING and _same_type(one, other) and bool(one == other)


def _operand(token: str) -> Operand:
    if token.startswith(":"):

        def value(item: Item, names: Names, values: Values) -> Any:
            try:
                return values[token]
            except KeyError:
                raise ValidationError(f"An expression attribute value is not defined: {token}") from None

        return value
    path = _path(token)

    def attribute(item: Item, names: Names, values: Values) -> Any:
        found: Any = item
        for step in path:
            found = found.get(_name(step, names), MISSING) if isinstance(found, dict) else MISSING
        return found

    return attribute


def _path(token: str) -> tuple[str, ...]:
    if not re.fullmatch(r"#?\w+(\.#?\w+)*", token) or token[0].isdigit():
        raise SimulatorError(f"{token!r} is no path that the simulator can read")
    path = tuple(token.split("."))
    if reserved := _reserved_words() & {step.upper() for step in path}:
        raise ValidationError(f"Attribute name is a reserved keyword: {', '.join(reserved)}")
    return path


@cache
def _reserved_words() -> frozenset[str]:
    """DynamoDB's list, which moto keeps."""
    spec = find_spec("moto")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "dynamodb", "parsing", "reserved_keywords.txt")
    return frozenset(path.read_text().upper().split())


def _name(step: str, names: Names) -> str:
    if not step.startswith("#"):
        return step
    try:
        return names[step]
    except KeyError:
        raise ValidationError(f"An expression attribute name is not defined: {step}") from None


AttributePath = tuple[str, ...]  # the names of an attribute and, within it, of parts
Change = Callable[[Item, Item, Names, Values], AttributePath]  # of (item as it was, item to change); what it changes


@cache
def update(text: str) -> Callable[[Item, Item, Names, Values], list[AttributePath]]:
    """What makes the changes of an update expression, and tells where."""
    reader = _Reader(text)
    changes: list[Change] = []
    clauses: list[str] = []
    while reader.peek():
        clause = reader.next().upper()
        if clause in clauses:
            raise ValidationError(f'The "{clause}" section can only be used once in an update expression: {text}')
        clauses.append(clause)
        while True:
            if clause == "SET":
                changes.append(_set(reader))
            elif clause == "REMOVE":
                changes.append(_remove(reader))
            elif clause == "ADD":
                changes.append(_add(reader))
            else:
                raise SimulatorError(f"{clause!r} not understood in: {text}")
            if reader.peek() != ",":
                break
            reader.next()

    def make(before: Item, after: Item, names: Names, values: Values) -> list[AttributePath]:
        paths = sorted(change(before, after, names, values) for change in changes)
        if any(longer[: len(shorter)] == shorter for shorter, longer in pairwise(paths)):
            raise ValidationError(f"Two document paths overlap with each other: {text}")
        return paths

    return make


def _set(reader: _Reader) -> Change:
    path = _path(reader.next())
    reader.expect("=")
    value = _value(reader)
    if reader.peek() in ("+", "-"):
        sign = reader.next()
        first, second = value, _value(reader)

        def computed(item: Item, names: Names, values: Values) -> Any:
            one, other = first(item, names, values), second(item, names, values)
            if not isinstance(one, Decimal) or not isinstance(other, Decimal):
                raise ValidationError("An operand in the update expression has an incorrect data type")
            return one + other if sign == "+" else one - other

        value = computed

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        new = value(before, names, values)
        if new is MISSING:
            raise ValidationError("The provided expression refers to an attribute that does not exist in the item")
        return _assign(after, path, names, new)

    return change


def _value(reader: _Reader) -> Operand:
    token = reader.next()
    if token != "if_not_exists":  # no password
        return _operand(token)
    reader.expect("(")
    subject = _operand(reader.next())
    reader.expect(",")
    default = _operand(reader.next())
    reader.expect(")")

    def value(item: Item, names: Names, values: Values) -> Any:
        found = subject(item, names, values)
        return default(item, names, values) if found is MISSING else found

    return value


def _remove(reader: _Reader) -> Change:
    path = _path(reader.next())
    if len(path) > 1:
        raise SimulatorError(f"REMOVE of a part of an attribute is not known to the simulator: {reader.text}")

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        name = _name(path[0], names)
        after.pop(name, None)
        return (name,)

    return change


def _add(reader: _Reader) -> Change:
    path = _path(reader.next())
    amount = _operand(reader.next())

    def change(before: Item, after: Item, names: Names, values: Values) -> AttributePath:
        name, more = _name(path[0], names), amount(before, names, values)
        known = before.get(name, Decimal(0))
        if len(path) > 1 or not isinstance(known, Decimal) or not isinstance(more, Decimal):
            raise ValidationError("An operand in the update expression has an incorrect data type")
        after[name] = known + more
        return (name,)

    return change


def _assign(item: Item, path: tuple[str, ...], names: Names, value: Any) -> AttributePath:
    steps = tuple(_name(step, names) for step in path)
    place: Any = item
    for step in steps[:-1]:
        place = place.get(step) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        raise ValidationError("The document path provided in the update expression is invalid for update")
    place[steps[-1]] = value
    return steps


@cache
def partition(text: str, key: str) -> str:
    """The value in a key condition that says which partition it is about, as DynamoDB wants every one to say."""
    match = re.match(rf"{key} = (:\w+)(?: AND |$)", text)
    if not match:
        raise SimulatorError(f"a key condition that doesn't begin with the partition: {text}")
    return match[1]


_USED = re.compile(r"[#:]\w+")


@cache
def placeholders(*texts: str) -> frozenset[str]:
    """The names and values that expressions refer to; DynamoDB refuses requests that give others."""
    return frozenset(mark for text in texts for mark in _USED.findall(text))
