"""The summarizer's settings, from its environment."""

from dataclasses import dataclass

from services.shared.settings import ServiceSettings
from services.summarizer.news import Notify


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    environment: str  # dev or prod: a dimension of every metric
    syncs_table: str
    library_table: str
    media_bucket: str
    notification_topic_arn: str
    notify: Notify
    downloader_inbox_url: str
    downloader_memory_mb: int
    is_local: bool  # whether the stack is on a local stage: then `cloud-sync --env` would look for it on AWS
    sync_deadline_hours: float
    schedule_time_zone: str  # IANA name; a scheduled sync is named by its date there
    schedule_hour: int  # of the daily sync, in that zone
    schedule_enabled: bool  # whether the schedule requests it at all
