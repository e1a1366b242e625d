"""The media bucket's `listings/` folder, where the lister keeps its walks and listings as JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import msgspec
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from services.lister.listing import FrozenListing, LastListing
from services.lister.newest import Known
from services.lister.walk import Walk
from services.shared.clock import Clock
from services.shared.errors import TransientError
from services.shared.library.records import Row
from services.shared.retry import retry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = Logger(child=True)

# No sync id begins with an underscore.
_LAST = "listings/_last.json"
_KNOWN = "listings/_known.json"
_FIRST_ROWS = "listings/_first_rows.json"

_T = TypeVar("_T")


class WriteConflict(TransientError):
    """Another write of the same object is under way, with an unknown result."""


class ListingsBucket:
    """The listings of all syncs. Reading an object that does not exist returns None."""

    def __init__(self, client: "S3Client", bucket: str, *, clock: Clock) -> None:
        self._client = client
        self._bucket = bucket
        self._clock = clock

    def frozen(self, sync_id: str) -> FrozenListing | None:
        """Read the frozen listing of a sync."""
        return self._read(_frozen_key(sync_id), FrozenListing)

    def freeze(self, sync_id: str, listing: FrozenListing) -> tuple[FrozenListing, bool]:
        """Write the listing of a sync if it has none.

        Returns the sync's frozen listing, and whether it is the listing given here.
        """
        key, content = _frozen_key(sync_id), msgspec.json.encode(listing)
        if retry(lambda: self._create(key, content), on=WriteConflict, clock=self._clock, tries=5, first_pause=0.2):
            return listing, True
        first = self.frozen(sync_id)
        if first is None:
            raise TransientError(f"{key} exists, but could not be read")
        return first, False

    def walk(self, key: str) -> Walk | None:
        """Read the walk that a paused listing refers to."""
        return self._read(key, Walk)

    def keep_walk(self, sync_id: str, hops: int, walk: Walk) -> str:
        """Write a walk before its n-th pause. Returns its key."""
        key = f"listings/{sync_id}/{hops}.json"
        self._write(key, walk)
        return key

    def last(self) -> LastListing | None:
        """Read what is remembered of the latest listings of the whole library; None if it is damaged."""
        return self._remembered(_LAST, LastListing)

    def keep_last(self, last: LastListing) -> None:
        """Overwrite what is remembered of the latest listings of the whole library."""
        self._write(_LAST, last)

    def known(self) -> Known | None:
        """Read what the listings know of the whole library; None if it is damaged."""
        return self._remembered(_KNOWN, Known)

    def keep_known(self, known: Known) -> None:
        """Overwrite what the listings know of the whole library, unless a later one has written it."""
        before = self.known()
        if before is None or before.decided_at <= known.decided_at:
            self._write(_KNOWN, known)

    def first_rows(self) -> dict[str, Row] | None:
        """Read the rows to compare with that no record has (`admission.first_rows`); None if they are damaged."""
        return self._remembered(_FIRST_ROWS, dict[str, Row])

    def keep_first_rows(self, rows: Mapping[str, Row]) -> None:
        """Overwrite these rows. They may be many, so they have an object of their own, which few nights need."""
        self._write(_FIRST_ROWS, rows)

    def _remembered(self, key: str, kind: type[_T]) -> _T | None:
        try:
            return self._read(key, kind)
        except msgspec.DecodeError:
            logger.warning("last_listing_unreadable", key=key)
            return None

    def _write(self, key: str, content: object) -> None:
        self._client.put_object(Bucket=self._bucket, Key=key, Body=msgspec.json.encode(content))

    def _read(self, key: str, kind: type[_T]) -> _T | None:
        try:
            content = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            # S3 answers 403 for an absent object to a role that may not list the bucket.
            if error.response["Error"]["Code"] in ("NoSuchKey", "404", "AccessDenied", "403"):
                return None
            raise
        return msgspec.json.decode(content, type=kind)

    def _create(self, key: str, content: bytes) -> bool:
        """Return whether the object was written; False if it exists."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfNoneMatch="*")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("PreconditionFailed", "412"):
                return False
            if code in ("ConditionalRequestConflict", "409"):
                raise WriteConflict(f"another write of {key} was under way") from error
            raise
        return True


def _frozen_key(sync_id: str) -> str:
    return f"listings/{sync_id}.json"
