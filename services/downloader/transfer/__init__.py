"""Copy files from an HTTP origin into S3: several ranges at once, in bounded memory, resumable, proven by S3.

The engine knows neither Lambda nor GoPro, and can be used alone:

    limits = Limits(connections=8, memory_bytes=200_000_000)
    bucket = Bucket(boto3.client("s3", config=S3_CONFIG), "my-bucket")
    with ConnectionPool() as connections:
        origin = Origin(url, renew=lambda: url, connections=connections)
        with open_source(origin) as source:
            upload = bucket.begin("key", source.version, limits=limits)
            stored = source.copy(bucket, upload, limits=limits)

Two environment variables help:

- `BOTO_DISABLE_CRT=true`, set when botocore is imported: botocore then signs in Python. The native signer would copy
  each part.
- `MALLOC_MMAP_THRESHOLD_=1048576`, set when the process starts: glibc then returns freed buffers to the system at once.
  Otherwise buffers freed by several threads add up.
"""

from services.downloader.transfer.bucket import (
    LENGTH,
    MIB,
    ORIGIN_ETAG,
    S3_CONFIG,
    Bucket,
    Headers,
    Limits,
    StoredObject,
    Upload,
)
from services.downloader.transfer.connections import ConnectionPool, Pace
from services.downloader.transfer.errors import (
    ConnectionLost,
    KeyOccupied,
    OriginBroken,
    OriginBusy,
    OriginChanged,
    OriginFailed,
    OriginSlow,
    TransferError,
    UploadGone,
    UrlExpired,
)
from services.downloader.transfer.origin import WEAK, Origin, Version
from services.downloader.transfer.parts import Source, open_source, read_version

__all__ = [
    "LENGTH",
    "MIB",
    "ORIGIN_ETAG",
    "S3_CONFIG",
    "WEAK",
    "Bucket",
    "ConnectionLost",
    "ConnectionPool",
    "Headers",
    "KeyOccupied",
    "Limits",
    "Origin",
    "OriginBroken",
    "OriginBusy",
    "OriginChanged",
    "OriginFailed",
    "OriginSlow",
    "Pace",
    "Source",
    "StoredObject",
    "TransferError",
    "Upload",
    "UploadGone",
    "UrlExpired",
    "Version",
    "open_source",
    "read_version",
]
