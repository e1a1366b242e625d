"""The names of the metrics that the functions emit, each with the dimensions `environment` and `service`.

CloudWatch charges for a metric by the hours in which it has values. So none is emitted when there is nothing to say.
"""

from enum import StrEnum


class Metric(StrEnum):
    """A metric of a service, by its name in CloudWatch."""

    # Of the summarizer, as facts are tallied:
    MEDIA_DOWNLOADED = "MediaDownloaded"
    MEDIA_FAILED = "MediaFailed"
    BYTES_STORED = "BytesStored"
    # Of the summarizer, once a sync, when it closes:
    SYNC_COMPLETED = "SyncCompleted"
    SYNC_FAILED = "SyncFailed"
    MEDIA_LISTED = "MediaListed"  # in the library
    MEDIA_STORED_BEFORE = "MediaStoredBefore"  # of the listed
    MEDIA_NEW = "MediaNew"  # of the listed: this sync took them on
    MEDIA_DEFERRED = "MediaDeferred"  # of the listed: beyond the sync's limits
    MEDIA_NOT_READY = "MediaNotReady"  # of the listed: GoPro still processes them
    # Of the summarizer, at each review that finds any:
    OPEN_SYNCS = "OpenSyncs"  # open, or closed with something left to announce
    # Of the authenticator, at each probe of a pasted session:
    SESSION_AGE_HOURS = "SessionAgeHours"
