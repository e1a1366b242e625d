"""What the lister keeps in the media bucket, under `listings/`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from services.lister.walk import Walk
from services.shared.errors import TransientError
from services.shared.gopro.media import ListedMedium

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = Logger(child=True)

_LAST = "listings/_last.json"
_TRIES = 5


@dataclass(frozen=True, kw_only=True)
class FrozenListing:
    """What a sync's listing came to. Once written it never changes."""

    media: tuple[ListedMedium, ...]  # handed on in this sync
    listed: int
    stored: int
    pending: int
    deferred: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LastListing:
    """The latest listing of the whole library that was complete."""

    sync_id: str
    listed_at: str  # UTC, ISO 8601
    total: int


class Archive:
    """JSON objects. One that isn't there reads as None (S3 says 403 where its keys may not be listed)."""

    def __init__(self, client: "S3Client", bucket: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep

    def frozen(self, sync_id: str) -> FrozenListing | None:
        content = self._read(_frozen_key(sync_id))
        return None if content is None else msgspec.json.decode(content, type=FrozenListing)

    def freeze(self, sync_id: str, listing: FrozenListing) -> tuple[FrozenListing, bool]:
        """The listing that holds from now on, and whether it is this one: only the first that is written counts."""
        if self._create(_frozen_key(sync_id), msgspec.json.encode(listing)):
            return listing, True
        first = self.frozen(sync_id)
        if first is None:
            raise TransientError(f"{_frozen_key(sync_id)} exists and can't be read")
        return first, False

    def keep_walk(self, sync_id: str, hops: int, walk: Walk) -> str:
        """Keeps what was seen before the pause of this number. Returns its key."""
        key = f"listings/{sync_id}/{hops}.json"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(walk))
        return key

    def walk(self, key: str) -> Walk | None:
        content = self._read(key)
        return None if content is None else msgspec.json.decode(content, type=Walk)

    def last(self) -> LastListing | None:
        content = self._read(_LAST)
        try:
            return None if content is None else msgspec.json.decode(content, type=LastListing)
        except msgspec.DecodeError:
            logger.warning("The last listing can't be read; it will be written anew", key=_LAST)
            return None

    def keep_last(self, last: LastListing) -> None:
        self._client.put_object(Bucket=self._bucket, Key=_LAST, Body=msgspec.json.encode(last))

    def _read(self, key: str) -> bytes | None:
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "AccessDenied", "403"):
                return None
            raise

    def _create(self, key: str, content: bytes) -> bool:
        """False when the object exists."""
        for attempt in range(_TRIES):
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfNoneMatch="*")
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in ("PreconditionFailed", "412"):
                    return False
                # Another write of the same key was under way; what came of it isn't known yet.
                if code not in ("ConditionalRequestConflict", "409"):
                    raise
                self._sleep(0.2 * 2**attempt)
            else:
                return True
        raise TransientError(f"S3 kept refusing to write {key}: other writes were under way")


def _frozen_key(sync_id: str) -> str:
    return f"listings/{sync_id}.json"
