"""Copies files of awkward sizes into an S3 that stores them, and compares what it gives back, byte by byte.

Writes a line of JSON for each size.
"""

import argparse
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from services.downloader.transfer import S3_CONFIG, Bucket, ConnectionPool, Limits, Origin, open_source
from tools.bench.kit import BUCKET, file_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK_BYTES = 1 << 20


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("source")
    arguments.add_argument("files", type=Path, help="the folder that the source serves")
    arguments.add_argument("endpoint")
    arguments.add_argument("authority")
    arguments.add_argument("sizes", type=int, nargs="+")
    options = arguments.parse_args()
    s3 = boto3.client("s3", config=S3_CONFIG, endpoint_url=options.endpoint)
    s3.create_bucket(Bucket=BUCKET)
    with ConnectionPool(cafile=options.authority) as connections:
        for size in options.sizes:
            try:
                key, parts = _copy(f"{options.source}/{file_name(size)}", s3, connections)
            except Exception as error:  # noqa: BLE001  # measure the other sizes all the same
                found: dict[str, object] = {"same": False, "parts": 0, "why": f"{type(error).__name__}: {error}"}
            else:
                same = _sum_of_object(s3, key) == _sum_of_file(options.files / file_name(size))
                found = {"same": same, "parts": parts, "why": "" if same else "other bytes were stored"}
            print(json.dumps({"size": size, **found}), flush=True)


def _copy(url: str, s3: "S3Client", connections: ConnectionPool) -> tuple[str, int]:
    bucket, limits = Bucket(s3, BUCKET), Limits()
    key = url.rpartition("/")[2]
    with open_source(Origin(url, renew=lambda: url, connections=connections)) as source:
        upload = bucket.begin(key, source.version, limits=limits)
        source.copy(bucket, upload, limits=limits)
    return key, upload.part_count


def _sum_of_object(s3: "S3Client", key: str) -> str:
    return _sum(s3.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(CHUNK_BYTES))


def _sum_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return _sum(iter(lambda: file.read(CHUNK_BYTES), b""))


def _sum(chunks: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for chunk in chunks:
        whole.update(chunk)
    return whole.hexdigest()


if __name__ == "__main__":
    main()
