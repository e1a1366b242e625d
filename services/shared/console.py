"""Addresses of pages in the AWS console."""

from collections.abc import Mapping
from urllib.parse import quote

DOMAIN = "console.aws.amazon.com"
OTHER_DOMAINS: Mapping[str, str] = {
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
    "aws-eusc": "console.amazonaws-eusc.eu",
}
"""The console's domains outside the partition `aws`."""


def console_link(bucket: str, key: str, *, near: str) -> str:
    """Return the address of an object's page in the console, from which its reader can open it.

    `near`: the ARN of any resource in the bucket's partition and region, of a service whose ARNs name a region.
    """
    _, partition, _, region, *_ = near.split(":")
    domain = OTHER_DOMAINS.get(partition, DOMAIN)
    return f"https://{region}.{domain}/s3/object/{quote(bucket)}?region={region}&prefix={quote(key, safe='')}"
