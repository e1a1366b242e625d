"""What the cloud saw: every request, and how many downloads ran at once."""

import threading
import time
from dataclasses import dataclass
from typing import NamedTuple

from ops.local.gopro_cloud.faults import Endpoint


@dataclass(kw_only=True)
class Seen:
    """One request, without its secrets; status 0 means that it got no answer (yet). Times are real, in seconds."""

    at: float
    endpoint: Endpoint
    method: str
    media_id: str | None = None
    item: int | None = None
    label: str | None = None
    range: str | None = None
    authorized: bool = False  # carried an Authorization header
    token_version: int | None = None
    grant: str | None = None
    status: int = 0
    bytes_sent: int = 0
    seconds: float = 0.0
    finished: bool = False


class Downloads(NamedTuple):
    """How many downloads from the CDN run at once, and of how many media; HEAD requests are not counted."""

    max: int = 0
    media_current: int = 0
    media_max: int = 0


class Observations:
    """All that was seen since the start or the last `clear`; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget all of it; downloads under way are no longer counted."""
        with self._lock:
            self._seen: list[Seen] = []
            self._running: dict[int, Seen] = {}
            self._downloads = Downloads()

    def begin(self, seen: Seen) -> None:
        """Note a request."""
        with self._lock:
            self._seen.append(seen)
            if seen.endpoint == "cdn" and seen.method == "GET":
                self._running[id(seen)] = seen
                self._count()

    def end(self, seen: Seen) -> None:
        """Note that a request is over, but for what is still being sent."""
        with self._lock:
            if not seen.finished:
                seen.seconds = time.time() - seen.at
                seen.finished = True
                self._running.pop(id(seen), None)
                self._count()

    def _count(self) -> None:
        media = len({seen.media_id for seen in self._running.values()})
        before = self._downloads
        self._downloads = Downloads(max(before.max, len(self._running)), media, max(before.media_max, media))

    def requests(
        self, endpoint: str | None = None, media_id: str | None = None, *, method: str | None = None
    ) -> list[Seen]:
        """Return the requests so far, oldest first: those of one endpoint, medium or method where given."""
        with self._lock:
            return [
                seen
                for seen in self._seen
                if endpoint in (None, seen.endpoint)
                and media_id in (None, seen.media_id)
                and method in (None, seen.method)
            ]

    @property
    def downloads(self) -> Downloads:
        with self._lock:
            return self._downloads

    @property
    def max_downloads(self) -> int:
        """The most requests that the CDN was answering at once."""
        return self.downloads.max
