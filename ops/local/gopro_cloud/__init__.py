"""A fake GoPro Cloud: a real HTTP server for the API and the CDN, scripted per medium. See README.md."""

from ops.local.gopro_cloud.cloud import FakeGoProCloud
from ops.local.gopro_cloud.contents import Content, Generated, Literal, LocalFile, Sample
from ops.local.gopro_cloud.control import Control
from ops.local.gopro_cloud.library import Library, Medium, Series, Shape
from ops.local.gopro_cloud.oauth import DEMO_CREDENTIALS, Account

__all__ = [
    "DEMO_CREDENTIALS",
    "Account",
    "Content",
    "Control",
    "FakeGoProCloud",
    "Generated",
    "Library",
    "Literal",
    "LocalFile",
    "Medium",
    "Sample",
    "Series",
    "Shape",
]
