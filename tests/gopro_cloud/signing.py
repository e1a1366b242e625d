"""Signed URLs: each good for one path and method, for a while."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from tests.gopro_cloud.clock import Clock
    from tests.gopro_cloud.exchange import Request

KEY_PAIR_ID = "KFAKEKEYPAIRID"


class Signer:
    """Signs URLs, each anew and for one method, and judges them by the cloud's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        with self._lock:
            self._served: dict[str, int] = {}
            self._spent: set[str] = set()
            self._issued: list[str] = []

    def sign(self, path: str, filename: str, *, method: str, lifetime: float) -> str:
        """The path with its query; `lifetime` in seconds from now, negative for a URL that is stale already."""
        expires = str(int(self._clock.now() + lifetime))
        disposition = "attachment; filename=" + '"' + filename.replace("\\", "\\\\").replace('"', '\\"') + '"'
        signature = self._signature(secrets.token_bytes(8), method, path, expires, disposition)
        with self._lock:
            self._issued.append(signature)
        return f"{path}?" + urlencode(
            {
                "Expires": expires,
                "Signature": signature,
                "Key-Pair-Id": KEY_PAIR_ID,
                "response-content-disposition": disposition,
            },
            quote_via=quote,
        )

    def _signature(self, nonce: bytes, *signed: str) -> str:
        digest = hmac.digest(self._key, nonce + "\n".join(signed).encode(errors="surrogateescape"), "sha256")
        return base64.urlsafe_b64encode(nonce + digest).decode().replace("=", "~")

    def good(self, request: Request) -> bool:
        """Whether the URL is signed for this very request, and neither expired nor spent."""
        query = request.query
        signature, expires = query.get("Signature", ""), query.get("Expires", "")
        disposition = query.get("response-content-disposition", "")
        try:
            nonce = base64.urlsafe_b64decode(signature.replace("~", "="))[:8]
        except ValueError:
            return False
        right = self._signature(nonce, request.method, request.path, expires, disposition)
        if not hmac.compare_digest(right.encode(), signature.encode()) or query.get("Key-Pair-Id") != KEY_PAIR_ID:
            return False
        with self._lock:
            return int(expires) > self._clock.now() and signature not in self._spent

    @property
    def issued(self) -> list[str]:
        """The signature of every URL so far."""
        with self._lock:
            return list(self._issued)

    def served(self, signature: str) -> int:
        """How many bytes went through the URL so far."""
        with self._lock:
            return self._served.get(signature, 0)

    def count(self, signature: str, sent: int) -> None:
        with self._lock:
            self._served[signature] = self._served.get(signature, 0) + sent

    def spend(self, signature: str) -> None:
        """The URL is no longer good."""
        with self._lock:
            self._spent.add(signature)
