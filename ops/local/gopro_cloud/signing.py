"""The cloud's clock, and the signed URLs that expire by it."""

import secrets
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ops.local.gopro_cloud.exchange import Request

KEY_PAIR_ID = "KFAKEKEYPAIRID"
URL_SECONDS = 3600  # that a signed URL lives


class Clock:
    """Real time plus an offset that only ever grows."""

    def __init__(self) -> None:
        self.ahead = 0.0  # seconds

    def now(self) -> float:
        """Return the cloud's unix time, in seconds."""
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once; ValueError when they are negative."""
        if seconds < 0:
            raise ValueError("time does not run backwards")
        self.ahead += seconds


@dataclass
class SignedUrl:
    """What a signature was given for: one method, path and query, until the clock reads `expires`."""

    method: str
    path: str
    query: dict[str, str]
    expires: float
    spent: bool = False  # expired before its time


class Signer:
    """Signs URLs, each anew, and knows them again."""

    def __init__(self, clock: Clock, base_url: str) -> None:
        self._clock = clock
        self._base_url = base_url
        self._signed: dict[str, SignedUrl] = {}

    def reset(self) -> None:
        self._signed = {}

    def sign(self, method: str, path: str, disposition: str, *, lifetime: float, host: str = "") -> str:
        """Return a URL that is good for `lifetime` seconds; a negative one makes a URL that is stale already.

        `disposition` is the answer's Content-Disposition; `host` is another than the cloud's own.
        """
        expires = self._clock.now() + lifetime
        query = urlencode(
            {
                "Expires": str(int(expires)),
                "Signature": secrets.token_urlsafe(32),
                "Key-Pair-Id": KEY_PAIR_ID,
                "response-content-disposition": disposition,
            },
            quote_via=quote,
        )
        signed = SignedUrl(method, path, dict(parse_qsl(query)), expires)
        self._signed[signed.query["Signature"]] = signed
        base = urlsplit(self._base_url)
        return f"{base.scheme}://{host or base.hostname}:{base.port}{path}?{query}"

    def find(self, request: Request) -> SignedUrl | None:
        """Return the signed URL that the request came through; None when there is none, or it has expired."""
        signed = self._signed.get(request.query.get("Signature", ""))
        if signed is None or (signed.method, signed.path, signed.query) != (
            request.method,
            request.path,
            request.query,
        ):
            return None
        return None if signed.spent or signed.expires <= self._clock.now() else signed

    @property
    def issued(self) -> list[str]:
        """The signature of every URL so far."""
        return list(self._signed)
