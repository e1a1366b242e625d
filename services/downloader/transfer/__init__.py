"""Copies files from an HTTP origin into S3: several ranges at once, in bounded memory, resumable, proven by S3.

Knows neither Lambda nor GoPro, and can be used alone:

    limits = Limits(connections=8, memory_bytes=200_000_000)
    bucket = Bucket(boto3.client("s3", config=S3_CONFIG), "my-bucket")
    with WirePool() as wires:
        origin = Origin(url, renew=lambda: url, wires=wires)
        copied = copy(origin, bucket, lambda version: bucket.begin("key", version, limits=limits), limits=limits)

Two variables of the environment do it good. BOTO_DISABLE_CRT=true, when botocore is imported: its Python signer signs
then; the native one copies what it signs. MALLOC_MMAP_THRESHOLD_=1048576, when the process starts: glibc gives buffers
back then; else what several threads have let go of adds up.
"""

from services.downloader.transfer.bucket import (
    ORIGIN_ETAG,
    S3_CONFIG,
    Bucket,
    KeyOccupied,
    StoredObject,
    Upload,
    UploadGone,
)
from services.downloader.transfer.copying import Copied, copy
from services.downloader.transfer.limits import Limits
from services.downloader.transfer.origin import (
    Origin,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    UrlExpired,
    Version,
)
from services.downloader.transfer.wire import ConnectionLost, Pace, WirePool

__all__ = [
    "ORIGIN_ETAG",
    "S3_CONFIG",
    "Bucket",
    "ConnectionLost",
    "Copied",
    "KeyOccupied",
    "Limits",
    "Origin",
    "OriginBroken",
    "OriginBusy",
    "OriginChanged",
    "Pace",
    "StoredObject",
    "Upload",
    "UploadGone",
    "UrlExpired",
    "Version",
    "WirePool",
    "copy",
]
