"""Copy a file within a limit on the address space of this process, and print the memory that it took.

    python -m tests.contract.bounded_copy ENDPOINT BUCKET SMALL_URL URL CONNECTIONS MEMORY_BYTES SPACE_BYTES

`SPACE_BYTES`: what the copy may take on top of what the process has when everything is imported and warm.
"""

import json
import re
import resource
import sys
import threading
from pathlib import Path

import boto3

from ops.local.emulator import REGION
from services.downloader.transfer import S3_CONFIG, Bucket, ConnectionPool, Limits, Origin, Upload, open_source
from tools.bench.seaweed import ACCESS_KEY, SECRET_KEY


def used(what: str) -> int:
    """Bytes, by a field of /proc/self/status."""
    found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def main() -> None:
    endpoint, name, small, url, connections, memory, space = sys.argv[1:]
    threading.stack_size(1 << 20)  # stacks are reserved, not used: the usual 8 MiB each would hide what the parts take
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    bucket = Bucket(session.client("s3", endpoint_url=endpoint, config=S3_CONFIG), name)
    limits = Limits(connections=int(connections), memory_bytes=int(memory))
    # As many as are allowed are used from the start: they take the most memory.
    with ConnectionPool(connections=limits.connections, begin=limits.connections, memory_bytes=int(memory)) as pool:

        def store(key: str, url: str) -> Upload:
            with open_source(Origin(url, lambda: url, connections=pool)) as source:
                upload = bucket.begin(key, source.version, limits=limits)
                source.copy(bucket, upload, limits=limits)
            return upload

        store("small", small)
        allowed = used("VmSize") + int(space)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        upload = store("large", url)
    print(json.dumps({"peak_rss_bytes": used("VmHWM"), "size": upload.version.size, "parts": upload.part_count}))


if __name__ == "__main__":
    main()
