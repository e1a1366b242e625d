"""The downloader's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    session_secret: str  # ARN
    library_table: str
    media_bucket: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    lane_wait_seconds: float
    memory_megabytes: int  # of the function
    connections_per_file: int  # to GoPro's CDN
    stall_bytes_per_second: float  # a source that gives less than this …
    stall_seconds: float  # … for so long is given up and opened anew
