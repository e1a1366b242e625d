"""What may be asked for. GoPro ignores a filter that it doesn't know, and would list everything."""

from dataclasses import replace
from datetime import UTC, datetime

from services.authenticator.failures import NeedsOperator
from services.shared.events import Filters, SyncRequested
from services.shared.gopro.media import MEDIA_TYPES

PROVIDERS = ("gopro",)
_REMEDY = 'Send a new SyncRequested without the mistake; {"provider": "gopro"} is enough for the whole library.'


def accepted_filters(request: SyncRequested) -> Filters:
    """The request's filters, their times in UTC with a Z. Raises `NeedsOperator` when it can't be met as it stands."""
    if request.refused:
        raise _refused(request.refused)
    if request.provider not in PROVIDERS:
        raise _refused(f"the provider {request.provider!r:.60} is not known, only {', '.join(PROVIDERS)}")
    unknown = sorted(set(request.filters.types) - MEDIA_TYPES)
    if unknown:
        raise _refused(
            f"filters.types: GoPro has no {', '.join(unknown):.200}; its types are {', '.join(sorted(MEDIA_TYPES))}"
        )
    begin = _moment("captured_from", request.filters.captured_from)
    end = _moment("captured_until", request.filters.captured_until)
    if begin and end and begin >= end:
        raise _refused("filters.captured_until has to lie after filters.captured_from")
    return replace(request.filters, captured_from=begin, captured_until=end)


def _moment(name: str, text: str | None) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        utc = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refused(f"filters.{name} is not an ISO 8601 time, such as 2026-01-30T21:08:11Z: {text!r:.60}") from None
    return utc.replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _refused(why: str) -> NeedsOperator:
    return NeedsOperator(f"the request was not accepted: {why}", remedy=_REMEDY)
