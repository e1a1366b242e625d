"""What a sync cost, by what its facts count and AWS's list prices."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.shared.events import MediaDownloadPaused
from services.summarizer.page import prices
from services.summarizer.page.choreography import Counts, reacting_services
from services.summarizer.page.lanes import Span
from services.summarizer.page.wording import UNKNOWN, lasting
from services.summarizer.records import ClosedSync, Medium

_GB = 1e9
_REQUESTS_PER_UPLOAD = 2  # to begin and to complete it, beside its parts


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One item of the bill."""

    item: str
    counted: str
    usd: str


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The items, and their sum. Items that nobody counted are named, and are not in the sum."""

    items: tuple[Cost, ...]
    total: str
    month: str  # what keeping the new bytes costs a month; empty if there are none


def costs(
    sync: ClosedSync, media: Sequence[Medium], work: Sequence[Span], found: Counts, *, memory_mb: int | None
) -> Costs:
    """Return the costs of a sync. `memory_mb`: of the downloader, if known."""
    seconds = sum(span.slice.seconds for span in work)
    parts = sum(span.slice.parts for span in work)
    files = sum(medium.files_total for medium in media if medium.slices)
    knows_work = found.of(MediaDownloadPaused) is not None
    events = sum(count or 0 for count in found.events.values())
    messages = _messages(found)
    rows: list[tuple[str, str, float | None]] = [
        (
            "Lambda, while bytes came",
            f"{lasting(seconds)} at {memory_mb:,} MB" if knows_work and memory_mb else UNKNOWN,
            working(seconds, memory_mb) if knows_work and memory_mb else None,
        ),
        (
            "S3, requests of uploads",
            f"{upload_requests(parts, files):,}" if knows_work else UNKNOWN,
            upload_requests(parts, files) * prices.S3_PUT if knows_work else None,
        ),
        ("Events", f"{events:,}", events * prices.EVENT),
        ("Messages", f"{messages:,}", messages * prices.SQS_REQUESTS_PER_MESSAGE * prices.SQS_REQUEST),
        ("DynamoDB, writes", f"about {table_writes(len(media)):,}", table_writes(len(media)) * prices.TABLE_WRITE),
    ]
    return Costs(
        items=tuple(
            Cost(item=item, counted=counted, usd=UNKNOWN if usd is None else dollars(usd))
            for item, counted, usd in rows
            if usd != 0
        ),
        total=dollars(sum(usd or 0.0 for _, _, usd in rows)),
        month=keeping(sync.bytes) if sync.bytes else "",
    )


def working(seconds: float, memory_mb: int) -> float:
    """Return what Lambda costs (USD) for so many seconds."""
    return seconds * memory_mb / 1024 * prices.LAMBDA_GB_SECOND


def upload_requests(parts: int, files: int) -> int:
    """Return how many requests to S3 the uploads of so many files took."""
    return parts + _REQUESTS_PER_UPLOAD * files


def table_writes(media: int) -> int:
    """Return about how many writes to the library table so many media took."""
    return media * prices.TABLE_WRITES_PER_MEDIUM


def _messages(found: Counts) -> int:
    """Return how many messages the events became: one for each service that reacts."""
    return sum((count or 0) * len(reacting_services(event)) for event, count in found.events.items())


def keeping(count: int) -> str:
    """Return what it costs a month to keep so many bytes in S3 Standard."""
    return dollars(count / _GB * prices.S3_GB_MONTH)


def dollars(usd: float) -> str:
    """Return an amount with enough digits to be more than zero, down to a hundredth of a cent."""
    if usd >= 1:
        return f"${usd:,.2f}"
    return f"${usd:.4f}" if usd >= 0.0001 or not usd else "under $0.0001"  # noqa: PLR2004  # its last digit
