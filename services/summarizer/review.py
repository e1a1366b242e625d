"""What the review decides about an open sync: which results it has missed, and whether anything still moves."""

from collections.abc import Iterable, Mapping

from services.shared.events import Event, MediaDownloaded, MediaDownloadFailed
from services.shared.library.records import MediumRecord, Status
from services.summarizer.records import Medium, Quiet, Sync


def missed_results(sync_id: str, outstanding: Iterable[Medium], records: Mapping[str, MediumRecord]) -> list[Event]:
    """Return as facts the results that the library table has and no event has reported.

    A failure counts only for the sync in which it happened: this sync has tries of its own. So does a look at a stored
    medium.
    """
    facts: list[Event] = []
    for medium in outstanding:
        record = records.get(medium.media_id)
        if record is None:
            continue
        own = record.sync_id == sync_id
        look_failed = medium.looked_again and record.status == Status.STORED and bool(record.reason)
        if own and (record.status == Status.FAILED or look_failed):
            facts.append(
                MediaDownloadFailed(
                    sync_id=sync_id,
                    media_id=medium.media_id,
                    epoch=record.epoch,
                    reason=record.reason or "",
                    files_stored=record.files_stored or 0,
                    files_total=record.files_total or 0,
                    failed_files=record.failed_files,
                    known_since=(record.known_since or "") if record.known_by != sync_id else "",
                )
            )
        elif (
            record.status == Status.STORED
            and (record.item_count or 1) >= medium.item_count
            and (own or not medium.looked_again)
        ):
            facts.append(
                MediaDownloaded(
                    sync_id=sync_id,
                    media_id=medium.media_id,
                    epoch=record.epoch,
                    # What a look has added is not known here.
                    files_total=0 if medium.looked_again else record.files_total or 0,
                    bytes=0 if medium.looked_again else record.bytes_total,
                    already_stored=not own,
                    looked_again=medium.looked_again,
                    warning=record.warning,
                )
            )
    return facts


def quiet_since(sync: Sync, *, moving: bool, reviewed_at: str) -> Quiet | None:
    """Return the first review, this one or an earlier one, since which nothing has moved; None while something moves.

    Any fact raises the sync's version, and thereby ends the quiet of an earlier review.
    """
    if moving:
        return None
    if sync.quiet and sync.quiet.version == sync.version:
        return sync.quiet
    return Quiet(version=sync.version + 1, reviewed_at=reviewed_at)
