"""How large an item is, as DynamoDB counts: its limit and its prices are about this."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_LONGEST_NUMBER = 21  # bytes


def item_bytes(item: Mapping[str, Any]) -> int:
    """Names and values of all attributes."""
    return sum(len(name.encode()) + _bytes(value) for name, value in item.items())


def _bytes(value: Any) -> int:
    """By the rules of "DynamoDB item sizes and formats" in its developer guide."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bool) or value is None:
        return 1
    if isinstance(value, int | Decimal):
        number = Decimal(value).normalize().as_tuple()
        return min(_LONGEST_NUMBER, (len(number.digits) + 1) // 2 + 1 + number.sign)
    if isinstance(value, Mapping):
        return 3 + sum(len(name.encode()) + _bytes(part) + 1 for name, part in value.items())
    if isinstance(value, list | tuple):
        return 3 + sum(_bytes(part) + 1 for part in value)
    raise TypeError(f"a {type(value).__name__} is no value of DynamoDB")
