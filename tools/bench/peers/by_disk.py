"""The file written to disk first, and uploaded from there."""

import tempfile

import boto3
import requests

from tools.bench.laps import parser, run

CHUNK_BYTES = 1 << 20


def main() -> None:
    options = parser(__doc__).parse_args()
    session = requests.Session()
    s3 = boto3.client("s3", endpoint_url=options.endpoint)

    def copy(url: str, key: str) -> int:
        with tempfile.NamedTemporaryFile() as file:
            with session.get(url, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                for chunk in answer.iter_content(CHUNK_BYTES):
                    file.write(chunk)
            file.flush()
            s3.upload_file(file.name, options.bucket, key)
            return file.tell()

    run(options, copy)


if __name__ == "__main__":
    main()
