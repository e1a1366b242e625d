"""A fake GoPro Cloud: a real HTTP server for the API and the CDN, scripted per medium. See README.md."""

from tests.gopro_cloud.cloud import FakeGoProCloud
from tests.gopro_cloud.contents import Content, Flipped, Generated, Literal, LocalFile
from tests.gopro_cloud.control import Control
from tests.gopro_cloud.library import Library, Medium, Series, Shape
from tests.gopro_cloud.mp4 import Film
from tests.gopro_cloud.oauth import DEMO_CREDENTIALS, Account
from tests.gopro_cloud.stills import Photograph, RawPhotograph

__all__ = [
    "DEMO_CREDENTIALS",
    "Account",
    "Content",
    "Control",
    "FakeGoProCloud",
    "Film",
    "Flipped",
    "Generated",
    "Library",
    "Literal",
    "LocalFile",
    "Medium",
    "Photograph",
    "RawPhotograph",
    "Series",
    "Shape",
]
