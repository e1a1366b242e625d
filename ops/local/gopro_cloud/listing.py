"""The JSON of the API: a page of the listing, a medium's row in it, and its download listing."""

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from ops.local.gopro_cloud.library import Medium, Rendition, Shape, iso

USER_ID = "0f3c2e9a-0000-4000-8000-00000000c10d"
UPDATED_AFTER = 3600  # seconds from created_at to updated_at

Sign = Callable[[str, str, str], str]
"""Signs a URL for a method, a path and the Content-Disposition of its answer."""


def pages(page: int, per_page: int, total: int) -> dict[str, int]:
    """Return the `_pages` of an answer."""
    count = math.ceil(total / per_page)
    return {"current_page": page, "per_page": per_page, "total_items": total, "total_pages": count}


def row(medium: Medium, fields: str | None) -> Any:
    """Return a medium as the listing shows it: all fields, or those of the comma list that exist."""
    edit = medium.shape in (Shape.EDIT, Shape.QUIK_PROJECT)
    quik = medium.shape == Shape.QUIK_PROJECT
    true_size = None if edit else medium.true_size
    if medium.row_is is not msgspec.UNSET:
        return medium.row_is
    full: dict[str, Any] = {
        "id": medium.media_id,
        "type": medium.type,
        "filename": medium.filename,
        "file_extension": "json" if edit else medium.extension,
        "file_size": true_size if medium.listed_size == "true" else medium.listed_size,
        "item_count": max(1, len(medium.contents)),
        "captured_at": medium.captured_at,
        "captured_at_timezone": None,
        "created_at": iso(medium.created),
        "updated_at": medium.reprocessed_at or iso(medium.created + UPDATED_AFTER),
        "reprocessed_at": medium.reprocessed_at,
        "ready_to_view": medium.ready_to_view,
        "ready_to_edit": True,
        "resolution": "12MP" if medium.still else "2160p",
        "width": 5568 if medium.still else 3840,
        "height": 4872 if medium.still else 2160,
        "source_duration": None if medium.still else "61234",
        "camera_model": medium.camera_model,
        "play_as": "edl" if quik else "photo" if medium.still else "video",
        "mce_type": "user_created" if quik else "auto_generated" if edit else None,
        "composition": None,
        "available_labels": sorted({one.label for one in medium.renditions()} - {"file", "thumbnail"}),
        "token": f"fake.{medium.media_id}",
        "gopro_user_id": USER_ID,
    }
    if medium.numbers_as_strings:
        full = {name: str(value).lower() if isinstance(value, int) else value for name, value in full.items()}
    full |= medium.row
    return {name: full[name] for name in fields.split(",") if name in full} if fields else full


def download(medium: Medium, sign: Sign) -> dict[str, Any]:
    """Return the download listing."""
    embedded: dict[str, list[dict[str, Any]]] = {"files": [], "variations": [], "sprites": [], "sidecar_files": []}
    for rendition in medium.renditions():
        embedded[rendition.where].append(_entry(medium, rendition, sign))
    return {"filename": medium.filename, "_embedded": embedded}


def _entry(medium: Medium, rendition: Rendition, sign: Sign) -> dict[str, Any]:
    # The item's number is in the path, as it is at GoPro.
    path = f"/cdn/{quote(medium.media_id, safe='')}/{rendition.label}/default/{rendition.item}.{rendition.extension}"
    quoted = rendition.filename.replace("\\", "\\\\").replace('"', '\\"')
    disposition = (medium.disposition if rendition.original else "") or f'attachment; filename="{quoted}"'
    url, head = (sign(method, path, disposition) for method in ("GET", "HEAD"))
    number = {"item_number": rendition.item}
    available = {"available": medium.source_available or not rendition.original, "url": url, "head": head}
    name = {"label": rendition.label, "type": rendition.extension}
    match rendition.where:
        case "files":
            width, height = (5568, 4872) if rendition.original else (1920, 1080)
            size = {"camera_position": "default", "width": width, "height": height, "orientation": 1}
            # Files have no label as a rule: their place says what they are.
            moved = name if rendition.label in ("source", "baked_source") else {}
            return {**moved, **(number if medium.item_numbers else {}), **size, **available}
        case "variations":
            # The high-resolution proxy may be as big a picture as the source: the size doesn't tell them apart.
            quality, width, height = ("12MP", 5568, 4872) if medium.still else ("2160p", 3840, 2160)
            if rendition.label == "edit_proxy":
                quality, width, height = "540p", 960, 540
            size = {"quality": quality, "width": width, "height": height}
            return {
                **name,
                **(number if rendition.label == "source" and medium.item_numbers else {}),
                **size,
                **available,
            }
        case "sidecar_files":
            return {**name, **({"fps": 29.97} if rendition.label == "gpmf" else {}), **number, **available}
        case "sprites":
            frame = {"count": 10, "width": 100, "height": 56}
            return {"type": "jpg", "frame": frame, "urls": [url], "heads": [head]}
