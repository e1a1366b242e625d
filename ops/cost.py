"""What a month costs on AWS, by list prices: an estimate that shows what it rests on."""

from dataclasses import dataclass

from services.downloader.transfer import Limits, Version

PRICES_OF = "us-east-1, USD, list prices as of November 2026, without free tiers"
NIGHTS = 30.4

# USD for one of each
_LAMBDA_GB_SECOND = 0.0000133334  # arm64
_LAMBDA_REQUEST = 0.20e-6
_EVENT = 1.00e-6
_SQS_REQUEST = 0.40e-6
_TABLE_WRITE = 0.625e-6
_TABLE_READ = 0.125e-6
_S3_PUT = 0.005e-3  # also for each part of an upload
_S3_GB_MONTH = 0.023  # Standard
_SECRET_MONTH = 0.40
_ALARM_MONTH = 0.10
_LOG_GB = 0.50

# What the system does, per medium and at rest. Events: discovered, downloaded. Each is published once and delivered to
# one or two queues, which takes a send, a receive and a delete.
_EVENTS_PER_MEDIUM = 2
_SQS_REQUESTS_PER_MEDIUM = 12
_TABLE_WRITES_PER_MEDIUM = 16  # leases, files and tallies; those in transactions count twice
_LOG_GB_PER_MEDIUM = 3e-6
_SQS_REQUESTS_AT_REST = 4 * 650_000  # a month of Lambda's polling of four queues
_REVIEWS = 96 * NIGHTS
_SECRETS, _ALARMS = 3, 8


@dataclass(frozen=True, kw_only=True)
class Use:
    """What is to be paid for."""

    media_per_night: float
    gigabytes_each: float  # 10^9 bytes
    stored_gigabytes: float = 0.0  # that are in the bucket already
    megabytes_per_second: float = 40.0  # that one lane gets from GoPro
    memory_megabytes: int = 1024  # of the downloader


def month(use: Use) -> list[tuple[str, float]]:
    """(what, USD) of a month; storage as it is at the month's end."""
    media = use.media_per_night * NIGHTS
    gigabytes = media * use.gigabytes_each
    size = max(1, int(use.gigabytes_each * 1e9))
    part_size = Limits().part_size(Version(size=size, etag=""))
    parts = media * -(-size // part_size)
    seconds = gigabytes * 1e3 / use.megabytes_per_second + media  # one more for what isn't bytes
    return [
        ("Lambda, while bytes flow", seconds * use.memory_megabytes / 1024 * _LAMBDA_GB_SECOND),
        ("Lambda, requests", (4 * media + _REVIEWS) * _LAMBDA_REQUEST),
        ("S3, parts and other requests", (parts + 4 * media) * _S3_PUT),
        ("events", (media * _EVENTS_PER_MEDIUM + _REVIEWS) * _EVENT),
        ("SQS", (media * _SQS_REQUESTS_PER_MEDIUM + _SQS_REQUESTS_AT_REST) * _SQS_REQUEST),
        ("DynamoDB", media * _TABLE_WRITES_PER_MEDIUM * (_TABLE_WRITE + _TABLE_READ)),
        ("secrets and alarms", _SECRETS * _SECRET_MONTH + _ALARMS * _ALARM_MONTH),
        ("logs", media * _LOG_GB_PER_MEDIUM * _LOG_GB),
        (f"S3, {use.stored_gigabytes + gigabytes:,.0f} GB stored", (use.stored_gigabytes + gigabytes) * _S3_GB_MONTH),
    ]  # fmt: skip


def report(use: Use) -> list[str]:
    """The lines of the estimate."""
    rows = month(use)
    width = max(len(what) for what, _ in rows)
    return [
        f"A month with {use.media_per_night:g} new media a night of {use.gigabytes_each:g} GB each,",
        f"at {use.megabytes_per_second:g} MB/s a lane ({PRICES_OF}):",
        *(f"  {what:<{width}}  {usd:9.2f}" for what, usd in rows),
        f"  {'together':<{width}}  {sum(usd for _, usd in rows):9.2f}",
        "Every month adds as much to the storage as this one.",
    ]
