"""The lister's environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """What the lister has to know."""

    session_secret: str  # ARN
    library_table: str
    syncs_table: str
    media_bucket: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    max_media_per_sync: int
    max_gigabytes_per_sync: int  # of 10^9 bytes
    looks_per_sync: int
    order: str  # oldest, newest or auto
    pages_per_slice: int
    full_walk_days: int
    lane_wait_seconds: float
