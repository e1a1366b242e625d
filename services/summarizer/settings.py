"""The summarizer's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    syncs_table: str
    library_table: str
    media_bucket: str
    notification_topic_arn: str
    downloader_inbox_url: str
    downloader_dead_letters_url: str
    sync_deadline_hours: float
    schedule_time_zone: str  # IANA name; a scheduled sync is named by its date there
