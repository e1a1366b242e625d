"""The answer's body handed to boto3 as it comes."""

import boto3
import requests

from tools.bench.laps import parser, run


def main() -> None:
    options = parser(__doc__).parse_args()
    session = requests.Session()
    s3 = boto3.client("s3", endpoint_url=options.endpoint)

    def copy(url: str, key: str) -> int:
        with session.get(url, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            s3.upload_fileobj(answer.raw, options.bucket, key)  # type: ignore[arg-type]  # what the stubs allow is narrower
            return int(answer.headers["Content-Length"])

    run(options, copy)


if __name__ == "__main__":
    main()
