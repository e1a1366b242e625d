"""The JSON of the API: a medium's row in the listing, and its download listing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from tests.gopro_cloud.cdn import path_of
from tests.gopro_cloud.library import Medium, Rendition, Shape, created_at, iso

USER_ID = "0f3c2e9a-0000-4000-8000-00000000c10d"
UPDATED_AFTER = 3600  # seconds from created_at to updated_at

Sign = Callable[[str, str, str], str]
"""Signs a path, for the file name in its disposition and a method."""

# Named in a full record, and without meaning here.
_EMPTY = (
    "cah_mandatory", "captured_at_timezone", "client_updated_at", "composition", "content_source", "content_title",
    "content_type", "content_description", "direct_upload_progress", "errors", "event_id", "external_id",
    "external_user_id", "fov", "gopro_tag", "gumi_parent", "is_public_copy", "lens_mode", "location_latitude",
    "location_longitude", "mce_clips", "mce_duration", "media_store_id", "music_track_artist", "music_track_name",
    "music_track_id", "on_public_profile", "parent_id", "products", "profile_url", "publish_url", "rating",
    "reprocessed_at", "share_url", "submitted_at", "tags", "thumbnail_available", "transcode_progress", "trashed_at",
    "uploader_client_id", "uploader_device", "visibility", "watermark",
)  # fmt: skip


def pages(page: int, per_page: int, total: int) -> dict[str, int]:
    """The `_pages` of an answer."""
    return {
        "current_page": page,
        "per_page": per_page,
        "total_items": total,
        "total_pages": math.ceil(total / per_page),
    }


def row(medium: Medium, names: Iterable[str] | None = None) -> dict[str, Any]:
    """A medium as the listing shows it: all fields, or those of `names` that exist."""
    created = created_at(medium)
    edit = medium.shape in (Shape.EDIT, Shape.QUIK_PROJECT)
    quik = medium.shape is Shape.QUIK_PROJECT
    width, height = (5568, 4872) if medium.still else (3840, 2160)
    true_size = None if edit else medium.true_size
    size = true_size if medium.listed_size == "true" else medium.listed_size
    full: dict[str, Any] = {
        **dict.fromkeys(_EMPTY),
        "id": medium.media_id,
        "type": medium.type,
        "filename": medium.filename,
        "file_extension": "json" if edit else medium.extension,
        "file_size": size,
        "item_count": max(1, len(medium.contents)),
        "captured_at": medium.captured_at,
        "created_at": iso(created),
        "updated_at": iso(created + UPDATED_AFTER),
        "revision_number": 1,
        "ready_to_view": medium.ready_to_view,
        "ready_to_edit": True,
        "resolution": "12MP" if medium.still else "2160p",
        "width": width,
        "height": height,
        "orientation": 1,
        "source_duration": None if medium.still else "61234",
        "camera_model": medium.camera_model,
        "camera_positions": "default",
        "play_as": "edl" if quik else "photo" if medium.still else "video",
        "mce_type": "user_created" if quik else "auto_generated" if edit else None,
        "moments_count": len(medium.moments),
        "on_watermark": False,
        "has_gpr": medium.raw is not None,
        "available_labels": sorted({rendition.label for rendition in medium.renditions()} - {"file", "thumbnail"}),
        "token": f"fake.{medium.media_id}",
        "gopro_user_id": USER_ID,
        "user_id": USER_ID,
        **medium.extra,
    }
    if medium.numbers_as_strings:
        full = {name: _as_string(value) for name, value in full.items()}
    return full if names is None else {name: full[name] for name in names if name in full}


def _as_string(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


def download(medium: Medium, sign: Sign) -> dict[str, Any]:
    """The download listing, with its order as a trap: the proxies come before the source."""
    renditions = medium.renditions()
    files = [_file(medium, one, sign) for one in renditions if one.where == "files"]
    if not files and medium.shape not in (Shape.QUIK_PROJECT, Shape.PHOTO):
        proxy = next(one for one in renditions if one.label == "high_res_proxy_mp4")
        files = [_file(medium, proxy, sign)]
    elif medium.shape is Shape.PHOTO:
        files = [_file(medium, one, sign) for one in renditions if one.label == "thumbnail"]
    order = {"edit_proxy": 0, "concat": 1, "source": 2, "baked_source": 2, "high_res_proxy_mp4": 3}
    variations = sorted((one for one in renditions if one.where == "variations"), key=lambda one: order[one.label])
    entries = [_variation(medium, one, sign) for one in variations]
    if medium.backwards:
        files.reverse()
        places = [place for place, one in enumerate(variations) if one.label == "source"]
        sources = [entries[place] for place in places]
        for place, entry in zip(places, reversed(sources), strict=True):
            entries[place] = entry
    embedded: dict[str, Any] = {
        "files": files,
        "variations": entries,
        "sprites": [],
        "sidecar_files": [
            _sidecar(medium, one, sign)
            for one in renditions
            if one.where == "sidecar_files" and one.label != "thumbnail"
        ],
    }
    thumbnail = next((one for one in renditions if one.label == "thumbnail"), None)
    if thumbnail is not None and not medium.still:
        links = _links(medium, thumbnail, sign)
        frame = {"count": 10, "width": 100, "height": 56}
        embedded["sprites"] = [{"type": "jpg", "frame": frame, "urls": [links["url"]], "heads": [links["head"]]}]
    return {"filename": medium.filename, "_embedded": embedded}


def _links(medium: Medium, rendition: Rendition, sign: Sign) -> dict[str, str]:
    path = path_of(medium, rendition)
    return {"url": sign(path, rendition.filename, "GET"), "head": sign(path, rendition.filename, "HEAD")}


def _file(medium: Medium, rendition: Rendition, sign: Sign) -> dict[str, Any]:
    small = not rendition.original and rendition.where != "files"
    width, height = (1920, 1080) if small else (5568, 4872)
    return {
        **({"item_number": rendition.item} if medium.item_numbers else {}),
        "camera_position": "default",
        "width": width,
        "height": height,
        "orientation": 1,
        "available": medium.source_available or small,
        **_links(medium, rendition, sign),
    }


def _variation(medium: Medium, rendition: Rendition, sign: Sign) -> dict[str, Any]:
    source = rendition.label in ("source", "baked_source")
    entry: dict[str, Any] = {"label": rendition.label, "type": rendition.extension}
    if rendition.label == "source" and medium.item_numbers:
        entry["item_number"] = rendition.item
    if rendition.label == "edit_proxy":
        entry |= {"quality": "540p", "width": 960, "height": 540}
    elif medium.still:
        entry |= {"quality": "12MP", "width": 5568, "height": 4872}
    else:
        # The high-resolution proxy may be as big a picture as the source: size tells nothing.
        entry |= {"quality": "2160p", "width": 3840, "height": 2160}
    return {**entry, "available": medium.source_available or not source, **_links(medium, rendition, sign)}


def _sidecar(medium: Medium, rendition: Rendition, sign: Sign) -> dict[str, Any]:
    entry: dict[str, Any] = {"label": rendition.label, "type": rendition.extension}
    if rendition.label == "gpmf":
        entry["fps"] = 29.97
    return {**entry, "item_number": rendition.item, "available": True, **_links(medium, rendition, sign)}
