"""The lister's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    session_secret: str  # ARN
    library_table: str
    media_bucket: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    max_media_per_sync: int
    max_gigabytes_per_sync: float  # of 10^9 bytes
    pages_per_slice: int
    lane_wait_seconds: float
