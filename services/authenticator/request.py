"""Checking a SyncRequested. GoPro ignores a filter that it does not know, and would list everything."""

from dataclasses import replace
from datetime import UTC, datetime

from services.authenticator.failures import RequestRefused
from services.shared.events import Filters, SyncRequested
from services.shared.gopro.client import MEDIA_TYPES

PROVIDERS = ("gopro",)
_REMEDY = 'Send a new SyncRequested without the mistake; {"provider": "gopro"} is enough for the whole library.'


def accepted_filters(request: SyncRequested) -> Filters:
    """Return the request's filters, with times in UTC. Raises `RequestRefused` when the request has a mistake."""
    if request.refused:
        raise _refused(request.refused)
    if request.provider not in PROVIDERS:
        raise _refused(f"the provider {request.provider!r:.60} is unknown; the only provider is {', '.join(PROVIDERS)}")
    unknown = sorted(set(request.filters.types) - MEDIA_TYPES)
    if unknown:
        raise _refused(
            f"filters.types: GoPro has no {', '.join(unknown):.200}; its types are {', '.join(sorted(MEDIA_TYPES))}"
        )
    begin = _moment("captured_from", request.filters.captured_from)
    end = _moment("captured_until", request.filters.captured_until)
    if begin and end and begin >= end:
        raise _refused("filters.captured_until has to be later than filters.captured_from")
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


def _refused(why: str) -> RequestRefused:
    return RequestRefused(f"the request was not accepted: {why}", remedy=_REMEDY)
