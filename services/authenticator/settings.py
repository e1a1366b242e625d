"""The authenticator's environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """What the authenticator has to know."""

    credentials_secret: str  # ARN
    refresh_secret: str  # ARN
    session_secret: str  # ARN
    authenticator_table: str
    gopro_api_url: str
    download_hosts: str  # comma list of exact host names
    environment: str  # dev or prod: a dimension of every metric
    schedule_time_zone: str  # IANA name
    schedule_hour: int  # of the daily sync
