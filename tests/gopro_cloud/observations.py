"""What the cloud saw: every request, and how many downloads ran at once."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.gopro_cloud.faults import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(kw_only=True)
class Seen:
    """One request; `status` 0 means that it got no answer (yet), `at` and `seconds` are real time."""

    at: float
    endpoint: str
    method: str
    media_id: str | None = None
    item: int | None = None
    label: str | None = None
    range: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    status: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    finished: bool = False
    authorized: bool = False  # carried an Authorization header
    vendor_accept: bool = False
    token_version: int | None = None
    grant: str | None = None
    faults: tuple[str, ...] = ()


@dataclass
class _Running:
    now: int = 0
    most: int = 0

    def enter(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)


class Observations:
    """Kept from the start or the last `clear`; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._seen: list[Seen] = []
        self._downloads = _Running()
        self._media = _Running()
        self._per_medium: dict[str, _Running] = {}

    def clear(self) -> None:
        """Forget what was; downloads under way are no longer counted."""
        with self._lock:
            self._forget()

    def add(self, seen: Seen) -> None:
        with self._lock:
            self._seen.append(seen)

    def begin_download(self, media_id: str) -> Callable[[], None]:
        """Count a download from the CDN as under way, until what this returns is called (again: without effect)."""
        with self._lock:
            downloads, media = self._downloads, self._media
            medium = self._per_medium.setdefault(media_id, _Running())
            downloads.enter()
            if medium.now == 0:
                media.enter()
            medium.enter()
        ended = False

        def end() -> None:
            nonlocal ended
            with self._lock:
                if ended:
                    return
                ended = True
                downloads.now -= 1
                medium.now -= 1
                if medium.now == 0:
                    media.now -= 1

        return end

    def requests(
        self, endpoint: str | None = None, media_id: str | None = None, *, method: str | None = None
    ) -> list[Seen]:
        """The requests so far, oldest first, of one endpoint, medium or method where given."""
        with self._lock:
            return [
                seen
                for seen in self._seen
                if endpoint in (None, seen.endpoint)
                and media_id in (None, seen.media_id)
                and method in (None, seen.method)
            ]

    def attempts(self, media_id: str, endpoint: str = Endpoint.DOWNLOAD) -> list[float]:
        """When (unix seconds) a medium was asked for at `endpoint`."""
        return [seen.at for seen in self.requests(endpoint, media_id)]

    @property
    def max_downloads(self) -> int:
        """The most requests the CDN was answering at once (HEAD not counted)."""
        with self._lock:
            return self._downloads.most

    @property
    def max_media(self) -> int:
        """The most media that were being downloaded at once."""
        with self._lock:
            return self._media.most

    def to_json(self, *, since: int = 0, requests: bool = True) -> dict[str, Any]:
        """Totals, and the requests from number `since` on."""
        with self._lock:
            seen = list(self._seen)
            form: dict[str, Any] = {
                "now": time.time(),
                "downloads": {
                    "current": self._downloads.now,
                    "max": self._downloads.most,
                    "media_current": self._media.now,
                    "media_max": self._media.most,
                    "per_medium_max": {media_id: running.most for media_id, running in self._per_medium.items()},
                },
            }
        endpoints = Counter(one.endpoint for one in seen)
        attempts: dict[str, dict[str, list[float]]] = {}
        for one in seen:
            if one.media_id is not None:
                attempts.setdefault(one.media_id, {}).setdefault(one.endpoint, []).append(one.at)
        form["counters"] = {
            "requests": len(seen),
            "bytes_sent": sum(one.bytes_sent for one in seen),
            "endpoints": dict(endpoints),
            "statuses": {f"{key[0]} {key[1]}": n for key, n in Counter((s.endpoint, s.status) for s in seen).items()},
            "changes": endpoints[Endpoint.CHANGE],
        }
        form["attempts"] = attempts
        form["next"] = len(seen)
        if requests:
            form["requests"] = [dataclasses.asdict(one) for one in seen[since:]]
        return form
