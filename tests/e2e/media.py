"""Media for the fake GoPro Cloud, and whether the bucket holds their originals."""

from typing import Any

from ops.local.gopro_cloud import Generated, Library, Medium
from ops.local.gopro_cloud.faults import Fault
from tests.e2e.stage import Stage

MIB = 1 << 20


def video(number: int, *faults: Fault, size: int = 300_000, **fields: Any) -> Medium:
    media_id = f"6a93{number:020x}"
    known: dict[str, Any] = {
        "media_id": media_id,
        "contents": (Generated(size + number, media_id),),
        "filename": f"GX01{number:04}.MP4",
        "etag_part_bytes": 5 * MIB,
        "faults": faults,
    }
    return Medium(**{**known, **fields})


def serve(stage: Stage, *media: Medium) -> None:
    """Have the GoPro Cloud hold these media, and forget what was asked for before."""
    stage.control.replace_library(Library(media=media))
    stage.control.forget()


def is_stored(stage: Stage, medium: Medium) -> bool:
    """Whether the bucket holds a medium's originals, byte for byte."""
    originals = [original["sha256"] for original in stage.control.originals(medium.media_id)]
    return [one.sha256 for one in stage.objects_of(medium.media_id)] == originals


def assert_stored(stage: Stage, *media: Medium) -> None:
    """The bucket holds the originals of these media and of no others."""
    assert [medium.media_id for medium in media if not is_stored(stage, medium)] == []
    assert {one.metadata["media-id"] for one in stage.objects().values()} == {medium.media_id for medium in media}


def bytes_fetched(stage: Stage, medium: Medium, *, since: float = 0.0) -> int:
    """How many bytes of a medium's originals were fetched by requests that began after `since` (unix seconds)."""
    requests = [one for one in stage.control.requests("cdn", medium.media_id) if one.label == "source"]
    return sum(one.bytes_sent for one in requests if one.at >= since)
