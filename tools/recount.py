"""Recounts a sync's counters from the records of its media in the syncs table."""

from collections.abc import Collection, Mapping
from typing import Any


def recounted(media: Collection[Mapping[str, Any]]) -> dict[str, int]:
    """Return the expected counters by name. `bytes` counts only media that the sync itself has stored."""
    downloaded = [medium for medium in media if medium["state"] == "DOWNLOADED"]
    own = [medium for medium in downloaded if not medium["already_stored"]]
    return {
        "discovered": len(media),
        "downloaded": len(downloaded),
        "already_stored": len(downloaded) - len(own),
        "failed": sum(medium["state"] == "FAILED" for medium in media),
        "skipped": sum(medium["state"] == "SKIPPED" for medium in media),
        "known_losses": sum(bool(medium.get("known_since")) for medium in media),
        "bytes": sum(medium["bytes"] for medium in own),
    }
