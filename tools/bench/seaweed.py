"""SeaweedFS: an S3 that stores and verifies its uploads."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bench.servers import free_ports, server

WEED = Path(sys.executable).with_name("weed")
ACCESS_KEY, SECRET_KEY = "bench", "not-a-secret"


@contextmanager
def seaweed(folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> Iterator[str]:
    """Run SeaweedFS while the context lasts, and yield its endpoint.

    The endpoint is https when a certificate is given. The folder, which must exist, holds the data and the log.
    """
    services = ("master", "volume", "filer", "s3")
    ports = iter(free_ports(2 * len(services) + 1))
    # Each of the four servers also listens on a second port.
    listening = {f"{name}.port{kind}": next(ports) for name in services for kind in ("", ".grpc")}
    port, tls = listening["s3.port"], []
    if certificate and key:
        port = next(ports)
        tls = [f"-s3.port.https={port}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}"]
    command = [
        os.fspath(WEED),
        "-logtostderr",
        "server",
        "-s3",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder}",
        f"-filer.localSocket={folder}/filer.sock",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=256",
        "-volume.max=1000",  # each bucket takes several volumes
        *(f"-{name}={number}" for name, number in listening.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *tls,
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.fspath(folder),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    with server("weed", command, port=port, folder=folder, environment=environment, patience_seconds=60):
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
