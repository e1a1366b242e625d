"""What moto's S3 doesn't do by itself."""

from typing import Any


def take_bytearrays(emitter: Any) -> None:
    """Lets moto read a `bytearray`, which S3's own client sends without a copy. `emitter`: a client's or session's."""
    emitter.register_first("before-send.s3", _as_bytes)


def _as_bytes(request: Any, **_: Any) -> None:
    if isinstance(request.body, bytearray):
        request.body = bytes(request.body)
