"""One file from its origin to the object that proves it arrived."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from services.downloader.transfer.bucket import Bucket, StoredObject, Upload
from services.downloader.transfer.limits import Limits
from services.downloader.transfer.origin import Origin, Version
from services.downloader.transfer.parts import SMALLEST_SEGMENT, PartsTransfer
from services.downloader.transfer.reader import Reader


@dataclass(frozen=True, kw_only=True)
class Copied:
    """What has become of a file."""

    version: Version  # of the origin
    object: StoredObject
    parts: int


def copy(
    origin: Origin,
    bucket: Bucket,
    plan: Callable[[Version], Upload | StoredObject],
    *,
    limits: Limits,
    may_go_on: Callable[[float], bool] = lambda _: True,
    progress: Callable[[Upload], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Copied | None:
    """Stores a file; None when `may_go_on` said no before it was whole, with the parts stored so far kept by S3.

    `plan` is told what the origin has and answers with the upload to go on with, begun now or earlier, or with the
    object if it is there already. `may_go_on` is asked before each part, with the seconds that the slowest one took so
    far, and all along within it, with 0; `progress` is told the upload after each part. What the three raise ends the
    transfer. A connection that breaks goes on where it broke; parts already stored stay.

    Raises `OriginChanged`, `UploadGone`, `KeyOccupied` and other transient errors.
    """
    with closing(Reader(origin, may_go_on=lambda: may_go_on(0.0), sleep=sleep)) as reader:
        # The first bytes tell the version. No more is asked for than the first connection will fetch in any case.
        version = reader.begin(SMALLEST_SEGMENT)
        planned = plan(version)
        if isinstance(planned, StoredObject):
            return Copied(version=version, object=planned, parts=1)
        progress(planned)
        parts = PartsTransfer(
            origin, bucket, planned, limits=limits, may_go_on=may_go_on, progress=progress, sleep=sleep
        )
        if not parts.run(reader):
            return None
    if planned.stored is None and not may_go_on(0.0):
        return None  # completing can take S3 minutes
    return Copied(version=version, object=bucket.complete(planned), parts=planned.part_count)
