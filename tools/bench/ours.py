"""The downloader's engine by itself, in a process that has just begun or that has been copying before."""

import boto3

from services.downloader.transfer import S3_CONFIG, Bucket, ConnectionPool, Limits, Origin, open_source
from tools.bench.laps import parser, run


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--authority", help="what to trust, as PEM")
    arguments.add_argument("--connections", type=int, required=True)
    arguments.add_argument("--begin", type=int, required=True, help="how many connections to begin with")
    arguments.add_argument("--part-memory", type=int, required=True, metavar="BYTES")
    options = arguments.parse_args()
    limits = Limits(connections=options.connections, memory_bytes=options.part_memory)
    bucket = Bucket(boto3.client("s3", config=S3_CONFIG, endpoint_url=options.endpoint), options.bucket)

    def copy_one(url: str, key: str) -> int:
        # As the downloader does: each medium has connections of its own.
        with (
            ConnectionPool(
                cafile=options.authority,
                connections=options.connections,
                begin=options.begin,
                memory_bytes=options.part_memory,
            ) as connections,
            open_source(Origin(url, renew=lambda: url, connections=connections)) as source,
        ):
            upload = bucket.begin(key, source.version, limits=limits)
            return source.copy(bucket, upload, limits=limits).size

    run(options, copy_one)


if __name__ == "__main__":
    main()
