"""The downloader's engine by itself, in a process that has just begun or that has been copying before."""

import boto3

from bench.laps import parser, run
from services.downloader.transfer import S3_CONFIG, Bucket, Limits, Origin, WirePool, copy


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--authority", help="what to trust, as PEM")
    arguments.add_argument("--connections", type=int, required=True)
    arguments.add_argument("--part-memory", type=int, required=True, metavar="BYTES")
    options = arguments.parse_args()
    limits = Limits(connections=options.connections, memory_bytes=options.part_memory)
    bucket = Bucket(boto3.client("s3", config=S3_CONFIG, endpoint_url=options.endpoint), options.bucket)

    with WirePool(cafile=options.authority) as wires:

        def copy_one(url: str, key: str) -> int:
            origin = Origin(url, renew=lambda: url, wires=wires)
            copied = copy(origin, bucket, lambda version: bucket.begin(key, version, limits=limits), limits=limits)
            assert copied is not None
            return copied.object.size

        run(options, copy_one)


if __name__ == "__main__":
    main()
