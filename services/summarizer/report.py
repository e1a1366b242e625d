"""The report of a sync: a JSON object in the media bucket with the result of every medium."""

import json
from collections.abc import Iterable

import msgspec

from services.summarizer.closing import closing_event
from services.summarizer.records import ClosedSync, Medium

_LEFT_OUT = ("listed", "epoch", "late")


LIBRARY_PAGE_KEY = "reports/index.html"  # of the library's page in the media bucket


def report_key(sync_id: str) -> str:
    """Return the key of a sync's report in the media bucket."""
    return f"reports/{sync_id}.json"


def page_key(sync_id: str) -> str:
    """Return the key of a sync's page in the media bucket, beside its report."""
    return f"reports/{sync_id}.html"


def report(sync: ClosedSync, media: Iterable[Medium]) -> bytes:
    """Return the report as JSON: the summary as of the close, and the result of every medium as of now.

    `amendments` is the number of amendments since the close. `after_close` says whether a medium got its result after
    the close.
    """
    results = []
    for medium in sorted(media, key=lambda one: (one.filename, one.media_id)):
        result = {name: value for name, value in msgspec.to_builtins(medium).items() if name not in _LEFT_OUT}
        results.append({**result, "after_close": medium.late is not None})
    content = {
        "sync_id": sync.sync_id,
        "summary": sync.summary,
        "event": type(closing_event(sync)).__name__,
        "amendments": sync.announcement.number,
        "media": results,
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode()
