"""The test bed of a transfer: a source of files, and sinks for them, on loopback with TLS."""

import http.client
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.bench.servers import Unusable, free_ports, server

MIB = 1 << 20
BUCKET = "bench"

LANE_MEGABITS = 50  # per second: a typical rate of one CDN connection
LANE_BYTES_PER_SECOND = LANE_MEGABITS * 1_000_000 // 8
_LANE_BUFFER = LANE_BYTES_PER_SECOND // 1000 * 16  # nginx pauses for whole milliseconds, so this size is exact
FIRST_BYTE_MILLISECONDS = 50
SINK_DELAY_MILLISECONDS = 30

_HERE = Path(__file__).resolve().parent
INSTALL = "apt-get install nginx libnginx-mod-http-echo gcc libssl-dev openssl curl"
_NEEDED = ("nginx", "gcc", "openssl")
_MODULE_FOLDERS = ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules", "/usr/share/nginx/modules")
_ECHO_MODULE = "ngx_http_echo_module.so"

_NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
{user}
load_module {echo};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    types {{ }}
    default_type application/octet-stream;
    tcp_nodelay on;
    keepalive_requests 1000000;
    keepalive_timeout 600;
    client_body_temp_path {folder}/nginx-tmp;
    proxy_temp_path {folder}/nginx-tmp;
    fastcgi_temp_path {folder}/nginx-tmp;
    uwsgi_temp_path {folder}/nginx-tmp;
    scgi_temp_path {folder}/nginx-tmp;
    ssl_certificate {folder}/cert.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{port} ssl;
        location /fast/ {{ alias {folder}/files/; }}
        location /lane/ {{ internal; alias {folder}/files/; limit_rate {rate}; output_buffers 1 {buffer}; }}
        location ~ ^/slow/(.*)$ {{ echo_sleep {first_byte}; echo_exec /lane/$1; }}
    }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class Kit:
    """A running source and two running sinks. Files are at `{fast,slow}/{file_name(size)}`."""

    folder: Path
    authority: Path  # the trusted authority, as PEM
    certificate: Path
    certificate_key: Path
    fast: str  # as fast as this machine serves
    slow: str  # limited per connection, with a delayed first byte
    sink: str
    slow_sink: str  # with a delay before each answer
    relay: Path  # the C relay, the practical lower bound

    def file(self, size: int) -> Path:
        return self.folder / "files" / file_name(size)

    def add_file(self, size: int) -> None:
        """Create a file of random bytes, so that every file has a different checksum."""
        path = self.file(size)
        if path.exists():
            return
        with path.open("wb") as out:
            for _ in range(size // MIB):
                out.write(os.urandom(MIB))
            out.write(os.urandom(size % MIB))

    def stored_size(self, sink: str, key: str) -> int | None:
        """Return how many bytes a discarding sink received for a key."""
        with _connection(sink, self.authority) as connection:
            connection.request("HEAD", f"/{BUCKET}/{key}")
            answer = connection.getresponse()
            return int(answer.headers["Content-Length"]) if answer.status == http.HTTPStatus.OK else None

    def lane_rate(self, size: int) -> float:
        """Measure the bytes per second of one connection to the slow source, after its first bytes."""
        with _connection(self.slow, self.authority) as connection:
            connection.request("GET", f"/slow/{file_name(size)}")
            answer = connection.getresponse()
            got = len(answer.read(MIB))
            started = time.monotonic()
            while chunk := answer.read(MIB):
                got += len(chunk)
            return (got - MIB) / (time.monotonic() - started)


def file_name(size: int) -> str:
    return f"{size}.bin"


def require_tools() -> None:
    """Check that the required tools are installed. Raises `Unusable`, which says what to install."""
    missing = [tool for tool in _NEEDED if not shutil.which(tool)]
    if not missing and _echo_module() is None:
        missing = ["nginx's echo module"]
    if missing:
        raise Unusable(f"The bench needs {', '.join(missing)}. On Debian and Ubuntu: {INSTALL}")


@contextmanager
def kit(folder: Path) -> Iterator[Kit]:
    """Start the source and the discarding sinks in an empty folder. Raises `Unusable`."""
    require_tools()
    (folder / "files").mkdir()
    (folder / "nginx-tmp").mkdir()
    make_certificates(folder)
    for name in ("nullsink", "crelay"):
        _compile(name, folder)
    source, sink, slow_sink = free_ports(3)
    _configure_source(folder, source)
    with ExitStack() as servers:
        servers.enter_context(
            server(
                "nginx",
                ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.err"],
                port=source,
                folder=folder,
            )
        )
        for name, port, delay in (("sink", sink, 0), ("slow-sink", slow_sink, SINK_DELAY_MILLISECONDS)):
            command: list[str | Path] = [folder / "nullsink", str(port), "cert.pem", "key.pem", str(delay)]
            servers.enter_context(server(name, command, port=port, folder=folder))
        yield Kit(
            folder=folder,
            authority=folder / "ca.pem",
            certificate=folder / "cert.pem",
            certificate_key=folder / "key.pem",
            fast=f"https://127.0.0.1:{source}/fast",
            slow=f"https://127.0.0.1:{source}/slow",
            sink=f"https://127.0.0.1:{sink}",
            slow_sink=f"https://127.0.0.1:{slow_sink}",
            relay=folder / "crelay",
        )


def _configure_source(folder: Path, port: int) -> None:
    text = _NGINX.format(
        folder=folder,
        port=port,
        rate=LANE_BYTES_PER_SECOND,
        buffer=_LANE_BUFFER,
        first_byte=FIRST_BYTE_MILLISECONDS / 1000,
        echo=_echo_module(),
        # When root starts the server, its workers would run as another user, who can't read the folder.
        user="user root;" if os.geteuid() == 0 else "",
    )
    (folder / "nginx.conf").write_text(text)


def make_certificates(folder: Path) -> None:
    """Create a certificate authority for this bench, and a certificate from it for this machine."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    # Python 3.13 verifies chains strictly: the authority needs a key usage, the certificate its authority's key id.
    authority = ["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-subj", "/CN=bench-ca"]
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    for command in (
        ["req", "-x509", *key, *authority, "-days", "30", "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", *key, "-subj", "/CN=127.0.0.1", "-keyout", "key.pem", "-out", "request.pem"],
        ["x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
         "-days", "30", "-extfile", "names", "-out", "cert.pem"],
    ):  # fmt: skip
        _run(["openssl", *command], folder, "openssl makes no certificate")


def _compile(name: str, folder: Path) -> None:
    command = ["gcc", "-O2", "-o", name, str(_HERE / f"{name}.c"), "-lssl", "-lcrypto", "-lpthread"]
    _run(command, folder, f"gcc can't compile {name}.c. On Debian and Ubuntu: {INSTALL}")


def _run(command: list[str], folder: Path, otherwise: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unusable(f"{otherwise}\n{done.stderr.strip()}")


def _echo_module() -> Path | None:
    return next((path for folder in _MODULE_FOLDERS if (path := Path(folder) / _ECHO_MODULE).exists()), None)


@contextmanager
def _connection(url: str, authority: Path) -> Iterator[http.client.HTTPSConnection]:
    host = url.removeprefix("https://").split("/")[0]
    context = ssl.create_default_context(cafile=str(authority))
    connection = http.client.HTTPSConnection(host, timeout=60, context=context)
    try:
        yield connection
    finally:
        connection.close()
