"""How much of a function's memory is for the parts in hand."""

_RUNTIME_BYTES = 300_000_000  # what the interpreter and its libraries take, and a margin


def part_memory_bytes(memory_megabytes: int) -> int:
    """What is left of it."""
    return memory_megabytes * (1 << 20) - _RUNTIME_BYTES
