"""The summarizer's settings, from its environment."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Settings:
    event_bus_name: str
    inbox_url: str
    max_receives: int
    retry_base_seconds: float
    retry_cap_seconds: float
    syncs_table: str
    library_table: str
    media_bucket: str
    notification_topic_arn: str
    downloader_inbox_url: str
    downloader_dead_letters_url: str
    sync_deadline_hours: float
    schedule_time_zone: str  # IANA name; a scheduled sync is named by its date there
