"""An estimate of a month's cost on AWS by list prices, and the assumptions behind it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from infra.config import Settings
from ops import prices
from services.downloader.progress import INTERVAL_SECONDS
from services.downloader.transfer import Limits, Version
from services.shared.envelope import detail
from services.shared.events import Event, MediaDiscovered, MediaDownloaded, StoredFile, SyncReviewDue
from services.shared.metrics import Metric
from services.summarizer.page.prices import TABLE_WRITES_PER_MEDIUM

PRICES_OF = prices.PRICES_OF
NIGHTS = 30.4
_HOURS = NIGHTS * 24

# For each medium: two events (discovered, downloaded), each delivered to one or two queues, and a queue takes a send, a
# receive and a delete.
_SQS_REQUESTS_PER_MEDIUM = 12
_INVOCATIONS_PER_MEDIUM = 4
_LOG_GB_PER_MEDIUM = 3e-6  # three lines of 0.8 kB, and Lambda's own
# For each sync:
_EVENTS_PER_SYNC = 5  # requested, session, listed, closed, notified
_PINGS_PER_SYNC = 2  # of a monitor: begun, and ended
_PAGE_GB, _PAGE_GB_PER_MEDIUM = 50e-6, 0.5e-6
_WRITES_OF_PAGES = 3  # its report, its page, and the library's page
# Without any media:
_SQS_REQUESTS_AT_REST = 4 * 650_000  # Lambda polls four queues all month
_REVIEWS = 96 * NIGHTS
_LOG_GB_PER_REVIEW = 1.5e-6
_SECRETS, _ALARMS = 3, 17

INTERFACE_ENDPOINTS = 5  # of a VPC that the stack creates, each in one zone

_LOG_COMPRESSION = 0.15  # of a log's size while it is kept
_BYTES_PER_LOG_LINE = 26  # which CloudWatch adds to each

# Events as a typical medium has them, to know their size.
_ID = "0123456789abcdef-0123-4567"
_KEY = f"gopro/2026/08/14/{_ID}/GX010639.MP4"
_DISCOVERED = MediaDiscovered(sync_id=_ID, media_id=_ID, filename="GX010639.MP4", size=4_000_000_000, item_count=1)
_DOWNLOADED = MediaDownloaded(
    sync_id=_ID,
    media_id=_ID,
    epoch=1,
    files=(StoredFile(key=_KEY, size=4_000_000_000, checksum="kJ8mRZPq1bA=", proof="origin-etag"),),
    files_total=1,
    bytes=4_000_000_000,
    seconds=100.0,
)


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much the system is used. The defaults are those of the settings."""

    media_per_night: float
    gigabytes_each: float  # 10^9 bytes
    stored_gigabytes: float = 0.0  # in the bucket already
    megabytes_per_second: float = 40.0  # from GoPro, for each download
    memory_megabytes: int = Settings.downloader_memory_mb
    lanes: int = Settings.concurrency
    event_log_days: int = Settings.event_log_days
    webhooks: float = 0  # that get each notification, the monitor included
    vpc: bool = False  # whether the stack creates one
    vpc_functions: str = Settings.vpc_functions

    @property
    def media(self) -> float:
        """New media in a month."""
        return self.media_per_night * NIGHTS

    @property
    def gigabytes(self) -> float:
        """New gigabytes in a month."""
        return self.media * self.gigabytes_each

    @property
    def seconds(self) -> float:
        """The seconds in a month in which bytes come, of all lanes together."""
        return self.gigabytes * 1e3 / self.megabytes_per_second

    @property
    def hours_per_night(self) -> float:
        """The hours of a night in which a sync is under way, each begun hour as a whole, as metrics are charged."""
        return min(24, max(1, math.ceil(self.seconds / NIGHTS / self.lanes / 3600)))


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the estimate. `off`: what switches it off, or makes it smaller."""

    name: str
    usd: float
    off: str


def month(use: Use) -> list[Item]:
    """Return what a month costs without what only shows it, with the storage as it is at the month's end."""
    media, gigabytes = use.media, use.gigabytes
    size = max(1, int(use.gigabytes_each * 1e9))
    part_size = Limits().part_size(Version(size=size, etag=""))
    parts = media * -(-size // part_size)
    seconds = use.seconds + media  # one second for everything but the bytes
    stored = use.stored_gigabytes + gigabytes
    return [
        Item(
            name="Lambda, while bytes flow",
            usd=seconds * use.memory_megabytes / 1024 * prices.LAMBDA_GB_SECOND.usd,
            off="less `downloader_memory_mb`",
        ),
        Item(
            name="Lambda, requests",
            usd=(_INVOCATIONS_PER_MEDIUM * media + _REVIEWS) * prices.LAMBDA_REQUEST.usd,
            off="",
        ),
        Item(name="S3, parts and other requests", usd=(parts + 4 * media) * prices.S3_PUT.usd, off=""),
        Item(name="events", usd=(media * len((_DISCOVERED, _DOWNLOADED)) + _REVIEWS) * prices.EVENT.usd, off=""),
        Item(
            name="SQS",
            usd=(media * _SQS_REQUESTS_PER_MEDIUM + _SQS_REQUESTS_AT_REST) * prices.SQS_REQUEST.usd,
            off="",
        ),
        Item(
            name="DynamoDB",
            usd=media * TABLE_WRITES_PER_MEDIUM * (prices.TABLE_WRITE.usd + prices.TABLE_READ.usd),
            off="",
        ),
        Item(name="secrets", usd=_SECRETS * prices.SECRET_MONTH.usd, off=""),
        Item(
            name=f"S3, {stored:,.0f} GB stored",
            usd=stored * prices.S3_GB_MONTH.usd,
            off="a lifecycle rule to a colder class",
        ),
        *network(use),
    ]


def network(use: Use) -> list[Item]:
    """Return what a month of the VPC costs that the stack creates. The bytes of requests and answers cost cents."""
    if not use.vpc:
        return []
    through = use.gigabytes if use.vpc_functions == "all" else 0.0
    return [
        Item(name="NAT gateway", usd=_HOURS * prices.NAT_HOUR.usd, off="`vpc = none`"),
        Item(
            name=f"NAT gateway, {through:,.0f} GB through it",
            usd=through * prices.NAT_GB.usd,
            off="`vpc_functions = no_downloader`",
        ),
        Item(
            name=f"endpoints ({INTERFACE_ENDPOINTS})",
            usd=INTERFACE_ENDPOINTS * _HOURS * prices.ENDPOINT_HOUR.usd,
            off="`vpc = none`",
        ),
    ]


def watching(use: Use) -> list[Item]:
    """Return what a month costs to show what happens, and to notify people."""
    syncs = NIGHTS
    page = _PAGE_GB + _PAGE_GB_PER_MEDIUM * use.media_per_night
    lines = use.media * _LOG_GB_PER_MEDIUM + _REVIEWS * _LOG_GB_PER_REVIEW
    invocations = use.media * _INVOCATIONS_PER_MEDIUM + _REVIEWS
    return [
        Item(name="dashboard", usd=prices.DASHBOARD_MONTH.usd, off="`dashboard = false`"),
        Item(name="alarms", usd=_ALARMS * prices.ALARM_MONTH.usd, off="nothing"),
        Item(
            name="metrics",
            usd=len(Metric) * prices.METRIC_MONTH.usd * use.hours_per_night * NIGHTS / _HOURS,
            off="nothing",
        ),
        Item(name="log lines", usd=_logged(lines, Settings.log_retention_days), off='`log_level = "WARNING"`'),
        Item(
            name="log of all events",
            usd=_logged(_event_gigabytes(use), use.event_log_days),
            off="fewer `event_log_days`",
        ),
        Item(name="traces", usd=invocations * prices.TRACE.usd, off="nothing; AWS keeps one a second and 5 % more"),
        Item(
            name="progress of the lanes",
            usd=use.seconds / INTERVAL_SECONDS * prices.TABLE_WRITE.usd,
            off="nothing",
        ),
        Item(
            name="pages of the syncs",
            usd=syncs * (_WRITES_OF_PAGES * prices.S3_PUT.usd + page * prices.S3_GB_MONTH.usd),
            off="nothing",
        ),
        Item(
            name=f"webhooks ({use.webhooks:g})",
            # One secret holds the addresses of all.
            usd=use.webhooks * syncs * (1 + _PINGS_PER_SYNC) * prices.API_DESTINATION.usd
            + (prices.SECRET_MONTH.usd if use.webhooks else 0.0),
            off="`webhooks`, `heartbeat`: off by default",
        ),
        Item(name="saved queries, X-Ray groups", usd=0.0, off=f"a query reads a GB for {prices.QUERY_GB.usd:g}"),
    ]


def _logged(gigabytes: float, days: int) -> float:
    """Return the price of writing this to a log, and of keeping as much of it as `days` have."""
    kept = gigabytes * days / NIGHTS * _LOG_COMPRESSION
    return gigabytes * prices.LOG_GB.usd + kept * prices.LOG_GB_MONTH.usd


def _event_gigabytes(use: Use) -> float:
    of_medium = sum(map(_event_bytes, (_DISCOVERED, _DOWNLOADED)))
    of_sync = _EVENTS_PER_SYNC * _event_bytes(_DOWNLOADED)
    of_reviews = _REVIEWS * _event_bytes(SyncReviewDue(sync_id=""))
    return (use.media * of_medium + NIGHTS * of_sync + of_reviews) / 1e9


def _event_bytes(event: Event) -> int:
    """Return the size of an event as EventBridge writes it to a log."""
    envelope = {
        "version": "0",
        "id": "01234567-89ab-cdef-0123-456789abcdef",
        "detail-type": type(event).__name__,
        "source": "cloud-sync.downloader",
        "account": "123456789012",
        "time": "2026-11-27T02:00:00Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": detail(event),
    }
    return len(json.dumps(envelope)) + _BYTES_PER_LOG_LINE


def total(*parts: Sequence[Item]) -> float:
    """Return the sum in USD."""
    return sum(item.usd for part in parts for item in part)


def _dollars(usd: float) -> str:
    return f"{'under 0.01' if 0 < usd < 0.01 else f'{usd:.2f}':>10}"  # noqa: PLR2004  # a cent


def description(use: Use) -> dict[str, Any]:
    """Return the estimate as the object that `cost --json` prints, with every price that is in it."""
    copying, seeing = month(use), watching(use)
    return {
        "use": asdict(use),
        "prices_of": PRICES_OF,
        "prices": {name: {**asdict(price), "page": prices.SITE + price.page} for name, price in prices.PRICES.items()},
        "usd": {item.name: item.usd for item in copying},
        "usd_to_see_it": {item.name: item.usd for item in seeing},
        "off": {item.name: item.off for item in (*copying, *seeing) if item.off},
        "total_usd": total(copying, seeing),
    }


def report(use: Use) -> list[str]:
    """Return the estimate as lines of text."""
    copying, seeing = month(use), watching(use)
    width = max(len(item.name) for item in (*copying, *seeing))

    def rows(items: Sequence[Item]) -> list[str]:
        return [f"  {item.name:<{width}}  {_dollars(item.usd)}  {item.off}".rstrip() for item in items]

    return [
        f"A month with {use.media_per_night:g} new media a night, {use.gigabytes_each:g} GB each,",
        f"downloaded at {use.megabytes_per_second:g} MB/s ({PRICES_OF}):",
        "",
        f"  {'to store them':<{width}}  {'USD':>10}  smaller or off by",
        *rows(copying),
        "",
        f"  {'to see it, and to be told':<{width}}  {'USD':>10}  smaller or off by",
        *rows(seeing),
        f"  {'together':<{width}}  {_dollars(total(seeing))}",
        "",
        f"  {'total':<{width}}  {_dollars(total(copying, seeing))}",
        "Every further month adds as much to the storage as this one.",
    ]
