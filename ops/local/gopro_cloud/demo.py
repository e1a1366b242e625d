"""The library of the demonstration: every kind of medium, and what users of such tools suffer from, in 90 MB."""

from typing import Any

from ops.local.gopro_cloud.contents import MIB, Sample
from ops.local.gopro_cloud.faults import Drop, StaleUrls
from ops.local.gopro_cloud.library import Library, Medium, Shape


def _video(title: str, size: int = 5_500_000) -> Sample:
    return Sample("video1.mp4", size, title)


def _photo(title: str, size: int) -> Sample:
    return Sample("photo.jpg", size, title)


LIBRARY = Library(
    media=(
        Medium(
            media_id="6a93000000000000000d0001",
            shape=Shape.CHAPTERED,
            contents=(
                Sample("video1.mp4", 8_300_000, "three chapters"),
                Sample("video2.mp4", 6_900_000, "three chapters"),
                Sample("video3.mp4", 5_500_000, "three chapters"),
            ),
            filename="GX010639.MP4",
            captured_at="2026-08-14T16:02:11Z",
            backwards=True,
            item_numbers=False,
            etag_part_bytes=5 * MIB,
        ),
        Medium(
            media_id="6a93000000000000000d0002",
            contents=(_video("twins, one"),),
            filename="GX010123.MP4",
            captured_at="2026-08-13T09:30:00Z",
        ),
        Medium(
            media_id="6a93000000000000000d0003",
            contents=(_video("twins, two"),),
            filename="GX010123.MP4",
            captured_at="2026-08-13T09:30:00Z",
            camera_model="HERO12 Black",
        ),
        Medium(
            media_id="6a93000000000000000d0004",
            contents=(_video("gone"),),
            filename="GX010124.MP4",
            captured_at="2026-08-13T10:05:42Z",
            gone=True,
        ),
        Medium(
            media_id="6a93000000000000000d0005",
            contents=(_video("the connection drops", 11_100_000),),
            filename="GX010125.MP4",
            captured_at="2026-08-13T11:17:30Z",
            etag_part_bytes=5 * MIB,
            faults=(Drop(at_bytes=5_500_000),),
        ),
        Medium(
            media_id="6a93000000000000000d0006",
            contents=(_video("an expired URL"),),
            filename="GX010126.MP4",
            captured_at="2026-08-12T18:44:09Z",
            faults=(StaleUrls(seconds=60),),
        ),
        Medium(
            media_id="6a93000000000000000d0007",
            shape=Shape.PHOTO,
            contents=(_photo("a photo", 1_500_000),),
            filename="GOPR0130.JPG",
            captured_at="2026-08-12T12:00:00Z",
        ),
        Medium(
            media_id="6a93000000000000000d0008",
            shape=Shape.BURST,
            contents=tuple(_photo(f"burst, picture {number}", 700_000) for number in range(1, 6)),
            filename="G0010131.JPG",
            captured_at="2026-08-11T15:20:00Z",
        ),
        Medium(
            media_id="6a93000000000000000d0009",
            shape=Shape.PHOTO,
            contents=(_photo("a photo with its RAW file", 1_200_000),),
            raw=Sample("raw.gpr", 4_200_000, "a RAW file"),
            filename="GOPR0132.JPG",
            captured_at="2026-08-11T07:01:59Z",
        ),
        Medium(
            media_id="aB3dE5fG7hJ9k",
            shape=Shape.EDIT,
            contents=(_video("a highlight"),),
            filename="",
            captured_at="2026-08-14T20:00:00Z",
            etag_part_bytes=100 * MIB,
        ),
        Medium(
            media_id="Zz0Yy1Xx2Ww3V",
            contents=(_video("listed without a size"),),
            filename="GX010127.MP4",
            captured_at="2026-08-10T13:13:13Z",
            listed_size=None,
        ),
        Medium(
            media_id="6a93000000000000000d000c",
            contents=(_video("listed as too big", 6_900_000),),
            filename="Sunday at the lake.MP4",
            captured_at="2026-08-09T08:08:08Z",
            listed_size=6_906_144,
        ),
        Medium(
            media_id="6a93000000000000000d000d",
            contents=(_video("only a proxy is left"),),
            filename="GX010128.MP4",
            captured_at="2026-08-08T17:55:00Z",
            source_offered=False,
        ),
        Medium(
            media_id="Qq9Ww8Ee7Rr6T",
            contents=(_video("a camera whose clock was reset", 4_200_000),),
            filename="GX010001.MP4",
            captured_at="2016-01-01T00:00:27Z",
            created_at="2026-08-08T21:00:00Z",
            camera_model="HERO9 Black",
            etag_part_bytes=None,
        ),
    )
)

_FAILED = {
    "6a93000000000000000d0004": "gone: GoPro lists it, and answers 404 when it is asked for",
    "6a93000000000000000d000d": "no original: GoPro offers nothing but proxies",
}
_STORED = [medium for medium in LIBRARY.media if medium.media_id not in _FAILED]
_FILES = [original for medium in _STORED for original in medium.originals()]

EXPECTED: dict[str, Any] = {
    "listed": len(LIBRARY.media),
    "stored": len(_STORED),
    "failed": len(_FAILED),
    "stored_media": [medium.media_id for medium in _STORED],
    "failed_media": _FAILED,
    "files": len(_FILES),
    "bytes": sum(file.content.size for file in _FILES),
}
"""The outcome of a faithful sync: media that end stored and failed (with why), files and bytes stored."""
