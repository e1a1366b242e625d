"""The errors of the engine. Another try may succeed after each of them.

    TransferError
    ├── ConnectionLost      the connection broke, or the origin gave no answer
    │   └── OriginSlow      the origin sends too slowly, or no more
    ├── UrlExpired          the signed URL does not open (401, 403, 404 or 410), and new ones neither
    ├── OriginChanged       the file at the origin is another version by now
    ├── OriginBroken        the origin's answer doesn't fit the request
    │   ├── OriginBusy      the origin asks for fewer requests (429 or 503)
    │   └── OriginFailed    the origin has an internal error (another 5xx)
    ├── UploadGone          the upload no longer exists: aborted, or completed before
    │   └── UploadConflict  S3 was writing to the same key at that moment, and wants a new upload
    ├── KeyOccupied         another object has the key
    └── NotStored           S3 completed the upload, but the object is absent or has another size

What S3 refuses for other reasons is botocore's `ClientError`, as it is. An exception from a callable that was handed to
the engine ends the copy, and is raised as it is too.
"""


class TransferError(Exception):
    """A copy failed. `retry_after`: seconds to wait, where the origin asked for some."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConnectionLost(TransferError):
    """The connection broke, or the origin gave no answer."""


class OriginSlow(ConnectionLost):
    """The origin sends too slowly, or no more."""


class UrlExpired(TransferError):
    """The signed URL does not open (401, 403, 404 or 410). The origin raises it when new ones don't either."""


class OriginChanged(TransferError):
    """The file at the origin is another version than the one that the copy began with."""


class OriginBroken(TransferError):
    """The origin's answer doesn't fit the request."""


class OriginBusy(OriginBroken):
    """The origin asks for fewer requests (429 or 503)."""


class OriginFailed(OriginBroken):
    """The origin has an internal error (another 5xx)."""


class UploadGone(TransferError):
    """The upload no longer exists: it was aborted, or completed before."""


class UploadConflict(UploadGone):
    """S3 was writing to the same key at that moment, and wants a new upload with all of its parts."""


class KeyOccupied(TransferError):
    """Another object has the key."""


class NotStored(TransferError):
    """S3 completed the upload, but the object is absent or has another size."""
