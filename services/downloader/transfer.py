"""Bytes from an origin into an upload, part by part, through one buffer."""

import time
from collections.abc import Callable

from services.downloader.origin import ByteStream, ConnectionLost, Origin
from services.downloader.upload import MediaBucket, Upload

# Connections in a row that bring not one byte before the file is given up for this try.
_FRUITLESS_CONNECTIONS = 4


def transfer(
    origin: Origin,
    bucket: MediaBucket,
    upload: Upload,
    *,
    stream: ByteStream | None = None,
    may_go_on: Callable[[], bool] = lambda: True,
    progress: Callable[[int], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Stores the parts that `upload` lacks; True once it has them all, False when `may_go_on` said no before that.

    Memory: two parts, the one that is filled and its copy on the way to S3. `stream`: the origin opened at byte 0
    already, if it is. `may_go_on` is asked before every read, so that no slow part outlasts its slice; `progress` is
    told the bytes of the file that are stored, after every part. A connection that breaks goes on where it broke; parts
    already stored stay.

    Raises `OriginChanged`, `UploadGone` and other transient errors.
    """
    buffer = bytearray(upload.part_size)
    source = _Reader(origin, upload, stream, may_go_on, sleep)
    try:
        number = upload.next_missing()
        while number is not None:
            part = memoryview(buffer)[: upload.length_of(number)]
            if not source.fill(part, at=(number - 1) * upload.part_size):
                return False
            bucket.put_part(upload, number, bytes(part))
            progress(upload.bytes_done)
            number = upload.next_missing(after=number)
    finally:
        source.close()
    return True


class _Reader:
    """Reads an origin at rising offsets over as few connections as possible."""

    def __init__(
        self,
        origin: Origin,
        upload: Upload,
        stream: ByteStream | None,
        may_go_on: Callable[[], bool],
        sleep: Callable[[float], None],
    ) -> None:
        self._origin = origin
        self._version = upload.version
        self._stream = stream
        self._offset = 0
        self._may_go_on = may_go_on
        self._sleep = sleep

    def fill(self, buffer: memoryview, *, at: int) -> bool:
        """Fills the whole buffer with the bytes from `at` on; False when it may not go on before that."""
        filled = fruitless = 0
        while filled < len(buffer):
            if not self._may_go_on():
                return False
            try:
                filled += self._read(buffer[filled:], at + filled)
                fruitless = 0
            except ConnectionLost:
                self.close()
                fruitless += 1
                if fruitless >= _FRUITLESS_CONNECTIONS:
                    raise
                self._sleep(0.2 * 2**fruitless)
        return True

    def _read(self, buffer: memoryview, offset: int) -> int:
        if self._stream is None or self._offset != offset:
            self.close()
            self._stream = self._origin.open(offset, self._version)
            self._offset = offset
        count = self._stream.readinto(buffer)
        self._offset += count
        return count

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
