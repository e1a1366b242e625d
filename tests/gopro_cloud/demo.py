"""The library of the demonstration: every kind of medium, and what users of such tools suffer from, in 130 MB."""

from __future__ import annotations

from typing import Any

from tests.gopro_cloud.contents import MIB
from tests.gopro_cloud.faults import Drop, StaleUrls
from tests.gopro_cloud.library import Library, Medium, Shape
from tests.gopro_cloud.mp4 import Film
from tests.gopro_cloud.stills import Photograph, RawPhotograph

_SMALL = Film("proxy", 4)

_CHAPTERS = tuple(Film("three chapters", 72 - 12 * chapter, chapter + 1) for chapter in range(3))
_DROPPED = Film("the connection drops", 96)

LIBRARY = Library(
    media=(
        Medium(
            media_id="6a93000000000000000d0001",
            shape=Shape.CHAPTERED,
            contents=_CHAPTERS,
            filename="GX010639.MP4",
            captured_at="2026-08-14T16:02:11Z",
            backwards=True,
            item_numbers=False,
            etag_part_bytes=5 * MIB,
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0002",
            contents=(Film("twins, one", 48),),
            filename="GX010123.MP4",
            captured_at="2026-08-13T09:30:00Z",
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0003",
            contents=(Film("twins, two", 48, 2),),
            filename="GX010123.MP4",
            captured_at="2026-08-13T09:30:00Z",
            camera_model="HERO12 Black",
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0004",
            filename="GX010124.MP4",
            captured_at="2026-08-13T10:05:42Z",
            contents=(Film("gone", 48),),
            gone=True,
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0005",
            contents=(_DROPPED,),
            filename="GX010125.MP4",
            captured_at="2026-08-13T11:17:30Z",
            etag_part_bytes=5 * MIB,
            faults=(Drop(at_bytes=_DROPPED.size // 2, label="source"),),
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0006",
            contents=(Film("an expired URL", 48),),
            filename="GX010126.MP4",
            captured_at="2026-08-12T18:44:09Z",
            faults=(StaleUrls(seconds=60),),
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d0007",
            shape=Shape.PHOTO,
            contents=(Photograph("a photo"),),
            filename="GOPR0130.JPG",
            captured_at="2026-08-12T12:00:00Z",
        ),
        Medium(
            media_id="6a93000000000000000d0008",
            shape=Shape.BURST,
            contents=tuple(Photograph(f"burst, picture {number}", 700_000) for number in range(1, 6)),
            filename="G0010131.JPG",
            captured_at="2026-08-11T15:20:00Z",
        ),
        Medium(
            media_id="6a93000000000000000d0009",
            shape=Shape.PHOTO,
            contents=(Photograph("a photo with its RAW file", 1_200_000),),
            raw=RawPhotograph("a photo with its RAW file", 2048),
            filename="GOPR0132.JPG",
            captured_at="2026-08-11T07:01:59Z",
        ),
        Medium(
            media_id="aB3dE5fG7hJ9k",
            shape=Shape.EDIT,
            contents=(Film("a highlight", 48),),
            filename="",
            captured_at="2026-08-14T20:00:00Z",
            etag_part_bytes=100 * MIB,
            proxy=_SMALL,
        ),
        Medium(
            media_id="Zz0Yy1Xx2Ww3V",
            contents=(Film("listed without a size", 48),),
            filename="GX010127.MP4",
            captured_at="2026-08-10T13:13:13Z",
            listed_size=None,
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d000c",
            contents=(Film("listed as too big", 60),),
            filename="Sunday at the lake.MP4",
            captured_at="2026-08-09T08:08:08Z",
            listed_size=Film("listed as too big", 60).size + 6_144,
            moments=(1_000, 2_100),
            proxy=_SMALL,
        ),
        Medium(
            media_id="6a93000000000000000d000d",
            contents=(Film("only a proxy is left", 48),),
            filename="GX010128.MP4",
            captured_at="2026-08-08T17:55:00Z",
            source_offered=False,
            proxy=_SMALL,
        ),
        Medium(
            media_id="Qq9Ww8Ee7Rr6T",
            contents=(Film("a camera whose clock was reset", 36),),
            filename="GX010001.MP4",
            captured_at="2016-01-01T00:00:27Z",
            created_at="2026-08-08T21:00:00Z",
            camera_model="HERO9 Black",
            etag_part_bytes=None,
            proxy=_SMALL,
        ),
    )
)

_FAILED = {
    "6a93000000000000000d0004": "gone: GoPro lists it, and answers 404 when it is asked for",
    "6a93000000000000000d000d": "no original: GoPro offers nothing but proxies",
}
_STORED = tuple(medium.media_id for medium in LIBRARY.media if medium.media_id not in _FAILED)

EXPECTED: dict[str, Any] = {
    "listed": len(LIBRARY.media),
    "stored": len(_STORED),
    "failed": len(_FAILED),
    "stored_media": _STORED,
    "failed_media": _FAILED,
    "files": sum(one.original for medium in LIBRARY.media if medium.media_id in _STORED for one in medium.renditions()),
    "bytes": sum(
        one.content.size
        for medium in LIBRARY.media
        if medium.media_id in _STORED
        for one in medium.renditions()
        if one.original
    ),
}
"""What a faithful sync of the library comes to: media that end stored and failed (with why), files and bytes stored."""
