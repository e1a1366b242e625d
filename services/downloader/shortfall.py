"""What a medium lacks after a try that stored some of its files and not others."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.downloader.manifest import OriginalsMissing
from services.shared.errors import PermanentError, TransientError, reason_of
from services.shared.events import FailedFile

_REASONS_SAID, _FILES_NAMED = 5, 3  # the most reasons in a text; the most files named for each
_NAME_LENGTH, _REASON_LENGTH = 200, 300  # characters: 100 failed files have to fit into an event


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """The originals of a medium that are not in the bucket, and why."""

    stored: int  # files in the bucket
    total: int  # all files, as far as known
    files: tuple[FailedFile, ...]  # those not stored; a name is empty if GoPro doesn't say which file is missing

    def __str__(self) -> str:
        """Return the text for the operator."""
        by_reason: dict[str, list[str]] = {}
        for file in self.files:
            by_reason.setdefault(file.reason, []).append(file.name)
        if self.total <= 1:
            return "; ".join(by_reason)
        said = [_missing(names, reason) for reason, names in by_reason.items()]
        more = [f"and others for {len(said) - _REASONS_SAID} other reasons"] if len(said) > _REASONS_SAID else []
        missing = ", ".join([*said[:_REASONS_SAID], *more])
        return f"{self.stored} of {self.total} files stored; missing: {missing}"


def _missing(names: Sequence[str], reason: str) -> str:
    more = [f"{len(names) - _FILES_NAMED} more"] if len(names) > _FILES_NAMED else []
    named = " and ".join(filter(None, [", ".join(names[:_FILES_NAMED]), *more]))
    return f"{named} ({reason})" if named else reason


class Incomplete(TransientError):
    """Some files could not be stored, and another try may store them."""

    def __init__(self, shortfall: Shortfall, *, retry_after: float | None) -> None:
        super().__init__(str(shortfall), retry_after=retry_after)
        self.shortfall = shortfall


class IncompleteForGood(OriginalsMissing):
    """Some files could not be stored, and no retry can store them."""

    def __init__(self, shortfall: Shortfall, *, remedy: str) -> None:
        super().__init__(str(shortfall), remedy=remedy)
        self.shortfall = shortfall


def incomplete(failures: Sequence[tuple[str, Exception]], *, stored: int, total: int) -> Incomplete | IncompleteForGood:
    """Return the error that says what a try could not store, and why.

    `failures`: the name of each file, and its error. `stored`: number of files in the bucket. `total`: number of all
    files, as far as known. Returns `IncompleteForGood` only if all errors are permanent.
    """
    errors = [error for _, error in failures]
    files = tuple(
        FailedFile(name=name[:_NAME_LENGTH], reason=reason_of(error)[:_REASON_LENGTH]) for name, error in failures
    )
    shortfall = Shortfall(stored=stored, total=total, files=files)
    permanent = [error for error in errors if isinstance(error, PermanentError)]
    if len(permanent) == len(errors):
        return IncompleteForGood(shortfall, remedy=next((one.remedy for one in permanent if one.remedy), ""))
    waits = [one.retry_after for one in errors if isinstance(one, TransientError) and one.retry_after is not None]
    return Incomplete(shortfall, retry_after=max(waits, default=None))
