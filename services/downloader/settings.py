"""The downloader's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings

_RUNTIME_BYTES = 300_000_000  # the interpreter and its libraries, and a margin


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """The downloader's environment."""

    session_secret: str  # ARN
    library_table: str
    syncs_table: str
    media_bucket: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    lane_wait_seconds: float
    downloader_memory_mb: int  # of the function, in MiB
    connections_per_file: int  # to GoPro's CDN
    stall_kilobytes_per_second: int  # a connection that is slower than this …
    stall_seconds: int  # … for so long is replaced


def part_memory_bytes(memory_mb: int) -> int:
    """Return the bytes available for part buffers, in a function with this memory in MiB."""
    return memory_mb * (1 << 20) - _RUNTIME_BYTES
