"""The authenticator's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    credentials_secret: str  # ARN
    refresh_secret: str  # ARN
    session_secret: str  # ARN
    authenticator_table: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    schedule_time_zone: str  # IANA name
