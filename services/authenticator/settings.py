"""The authenticator's settings, from its environment."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    event_bus_name: str
    inbox_url: str
    max_receives: int
    retry_base_seconds: float
    retry_cap_seconds: float
    credentials_secret: str  # ARN
    refresh_secret: str  # ARN
    session_secret: str  # ARN
    authenticator_table: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    schedule_time_zone: str  # IANA name
