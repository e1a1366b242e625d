"""The downloader's settings, from its environment."""

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
    lane_wait_seconds: float
    memory_megabytes: int  # of the function
