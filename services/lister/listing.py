"""The outcome of a listing, and the warnings about it that the operator reads."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.lister.walk import Walk
from services.shared.events import Filters, NotReadyMedium, WalkKind
from services.shared.gopro.client import ListedMedium
from services.shared.library.records import Row

MUCH_SMALLER = 0.5  # a library with less than this share of its former media is reported


@dataclass(frozen=True, kw_only=True)
class FrozenListing:
    """The outcome of a sync's listing. Once written, it never changes."""

    media: tuple[ListedMedium, ...]  # taken on by this sync
    listed: int
    stored: int
    pending: int
    deferred: int
    warnings: tuple[str, ...]
    # A listing written by 0.1.0 does not have the fields below.
    not_ready: tuple[NotReadyMedium, ...] = ()  # as in `Admission`
    library_media: int | None = None  # media in the library without the filters; None if unknown
    look_again: tuple[str, ...] = ()  # as in `Admission`
    unreadable: int = 0  # rows of the listing
    unseen: int = 0  # media that GoPro counts but no page showed
    known_warnings: tuple[str, ...] = ()  # warnings that the last listing had too
    walk: WalkKind = "full"
    full_walk_at: str = ""  # when the last full walk was over, if it was proven complete; UTC, ISO 8601


@dataclass(frozen=True, kw_only=True)
class LastListing:
    """What is remembered of the listings of the whole library, for the next one to compare with."""

    # Of the latest complete listing:
    sync_id: str = ""
    listed_at: str = ""  # UTC, ISO 8601
    total: int = 0
    # Of the latest listing, complete or not:
    not_ready_since: Mapping[str, str] = field(default_factory=dict)  # by media id; UTC, ISO 8601
    first_rows: Mapping[str, Row] = field(default_factory=dict)  # as older versions kept them, in this same object
    marks: tuple[str, ...] = ()  # see `Warned`


@dataclass(frozen=True, kw_only=True)
class Warned:
    """A warning that the operator reads.

    A warning is known if the last listing had one with the same mark. A warning with an empty mark is always new.
    """

    text: str
    mark: str


def matching(media: Sequence[ListedMedium], filters: Filters) -> Sequence[ListedMedium]:
    """Return the media of the wanted types, in case GoPro ignored the filter. Media without a type stay."""
    return [medium for medium in media if not filters.types or not medium.type or medium.type in filters.types]


def warnings_about(walk: Walk, *, account_total: int | None, left_out: int = 0) -> Iterator[Warned]:
    """Yield warnings about what the listing may lack.

    `account_total`: the account's own count of the same media; None if unknown. `left_out`: the number of media that
    did not match the filters.
    """
    if not walk.complete:
        yield _unproven(walk, account_total)
    if walk.odd:
        yield unreadable(walk.odd)
    if walk.errors:
        yield Warned(text=f"GoPro reported {_count(walk.errors, 'error')} in its listing.", mark="errors")
    if left_out:
        text = f"GoPro ignored the filter: {left_out:,} media of other types were listed, and left out."
        yield Warned(text=text, mark="left out")


def unreadable(odd: Mapping[str, int]) -> Warned:
    """Return the warning about rows that could not be read. `odd`: their number, by what is odd about them."""
    kinds = ", ".join(f"{kind} ({number:,})" for kind, number in sorted(odd.items()))
    rows = _count(sum(odd.values()), "row")
    return Warned(
        text=f"{rows} of GoPro's listing could not be read, and the media are missing from it: {kinds}.",
        mark=f"unreadable {kinds}",
    )


def _unproven(walk: Walk, account_total: int | None) -> Warned:
    seen, total = len(walk.sightings), walk.total or 0
    because = ""
    if walk.changed:
        because = " The library changed during the listing."
    elif walk.unseen and walk.trouble:
        media = "a medium" if walk.unseen == 1 else f"{walk.unseen:,} media"
        because = f" GoPro did not show {media}, in pages of any size and order: {walk.trouble}."
    elif account_total is not None:
        because = f" The account counts {account_total:,}."
    return Warned(
        text=f"The listing could not be proven complete: Cloud Sync saw {seen:,} media, and GoPro counts {total:,}."
        + because,
        mark="" if walk.changed else f"unproven {total - seen}",
    )


def warnings_about_library(walk: Walk, *, account_total: int | None, last: LastListing) -> Iterator[Warned]:
    """Yield warnings that only a listing of the whole library can give.

    `account_total`: the account's own count of media; None if unknown. `last`: what earlier listings left.
    """
    if walk.complete and account_total is not None and account_total != walk.total:
        total = walk.total or 0
        text = f"GoPro counts {account_total:,} media in the account, but {total:,} in the listing."
        yield Warned(text=text, mark=f"account {account_total - total}")
    seen = len(walk.media())
    if seen + walk.unseen + walk.unreadable < last.total * MUCH_SMALLER:
        yield Warned(
            text=f"The library is suddenly {'much smaller' if seen else 'empty'}: {seen:,} media, after "
            f"{last.total:,} on {last.listed_at[:10]}. Nothing was deleted from the bucket.",
            mark=f"smaller than on {last.listed_at}",
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
