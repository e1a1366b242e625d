"""The lister's settings, from its environment."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    event_bus_name: str
    inbox_url: str
    max_receives: int
    retry_base_seconds: float
    retry_cap_seconds: float
    session_secret: str  # ARN
    library_table: str
    media_bucket: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    max_media_per_sync: int
    max_gigabytes_per_sync: float  # of 10^9 bytes
    pages_per_slice: int
    lane_wait_seconds: float
