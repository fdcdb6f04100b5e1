"""Servers for tests and benchmarks: pure Python with delays and faults on purpose, nginx, and S3 by moto.

Each is a context manager that yields something with an ``address`` of what it serves. The pure Python one runs
everywhere; `NGINX` is the program or None; `serve_s3` needs moto.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

NGINX = shutil.which("nginx")
LUA = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
_NDK = Path("/usr/lib/nginx/modules/ndk_http_module.so")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")

#: What may go wrong with one answer: nothing, or one of these.
KINDS = ("error", "reset", "short", "stall")


@dataclass
class RangeServer:
    """A folder served by ranges over HTTP/1.1.

    Parameters
    ----------
    folder
        What is served.
    delay
        Seconds before each answer.
    faults
        Given the number of a request (from 0) and its path, one of `KINDS` or None.
    ranges
        Whether ranges are known; without, the whole file is sent.
    stall
        Seconds that a stalled body stops in the middle.
    before
        Called with the number of a request before it is answered: to replace a file in mid-read.
    """

    folder: Path
    delay: float = 0.0
    faults: Callable[[int, str], str | None] = lambda number, path: None
    ranges: bool = True
    stall: float = 3.0
    before: Callable[[int], None] = lambda number: None
    log: list[tuple[str, int, int]] = field(default_factory=list)

    def __enter__(self) -> RangeServer:
        handler = type("Handler", (_Handler,), {"of": self})
        self._lock = threading.Lock()
        self._number = 0
        self._server = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def next_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number - 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    of: RangeServer
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        server = self.of
        number = server.next_number()
        server.before(number)
        if server.delay:
            time.sleep(server.delay)
        name = unquote(urlsplit(self.path).path).lstrip("/")
        fault = server.faults(number, name)
        if fault == "error":
            self._plain(500)
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
            self.close_connection = True
            return
        path = server.folder / name
        if not path.is_file():
            self._plain(404)
            return
        with path.open("rb") as stream:
            about = os.fstat(stream.fileno())
            size = about.st_size
            found = _RANGE.match(self.headers.get("Range", "")) if server.ranges else None
            start, stop = (0, size) if not found else (int(found[1]), min(int(found[2] or size) + 1, size))
            if found and start >= size:
                self._plain(416)
                return
            stream.seek(start)
            raw = stream.read(stop - start)
        with server._lock:
            server.log.append((name, start, stop))
        self.send_response(206 if found else 200)
        self.send_header("ETag", f'"{about.st_ino:x}-{about.st_mtime_ns:x}-{size:x}"')
        self.send_header("Last-Modified", formatdate(about.st_mtime, usegmt=True))
        self.send_header("Content-Length", str(len(raw)))
        if found:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        elif server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if not body:
            return
        if fault in ("short", "stall"):
            self.wfile.write(raw[: len(raw) // 2])
            self.wfile.flush()
            if fault == "stall":
                time.sleep(server.stall)
            self.close_connection = True
            return
        self.wfile.write(raw)

    def _plain(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def seeded_faults(seed: int, share: float, *, kinds: tuple[str, ...] = KINDS) -> Callable[[int, str], str | None]:
    """Faults of ``kinds`` on a ``share`` of the requests, the same ones for a seed."""

    def fault(number: int, path: str) -> str | None:
        rng = random.Random(f"{seed}:{number}")
        return rng.choice(kinds) if rng.random() < share else None

    return fault


@dataclass
class Nginx:
    """A running nginx: its address, and whether it can wait before it answers."""

    address: str
    delays: bool


@contextlib.contextmanager
def serve_nginx(folder: Path, work: Path, *, delay: float = 0.0, rate: int = 0) -> Iterator[Nginx]:
    """Serve a folder by nginx; ``delay`` seconds before each answer where its lua module is there.

    Parameters
    ----------
    folder
        What is served.
    work
        An empty folder for its configuration and its logs.
    delay
        Seconds; needs the lua module.
    rate
        MB/s of one connection; 0 is no limit.
    """
    if NGINX is None:
        msg = "nginx is not installed"
        raise RuntimeError(msg)
    delays = LUA.exists() and _NDK.exists()
    if delay and not delays:
        msg = "this nginx cannot wait: it has no lua module"
        raise RuntimeError(msg)
    modules = f"load_module {_NDK};\nload_module {LUA};\n" if delay else ""
    wait = f"access_by_lua_block {{ ngx.sleep({delay}) }}" if delay else ""
    port = _free_port()
    kept = "\n".join(
        f"  {name}_temp_path {work}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = f"user {os.environ.get('USER', 'root')};\n" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(
        f"{modules}{user}worker_processes 1;\npid {work}/pid;\nerror_log {work}/error.log;\ndaemon off;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n{kept}\n  access_log {work}/access.log;\n  sendfile on;\n"
        f"  tcp_nodelay on;\n  keepalive_requests 1000000;\n"
        f"  server {{ listen 127.0.0.1:{port}; location / {{ root {folder}; {wait} limit_rate {rate}m; }} }}\n}}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [NGINX, "-p", str(work), "-c", str(work / "nginx.conf"), "-e", str(work / "error.log")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield Nginx(f"http://127.0.0.1:{port}", delays)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@contextlib.contextmanager
def serve_s3(bucket: str) -> Iterator[tuple[str, Callable[[str, bytes], None]]]:
    """An empty public bucket on moto's S3 server: its endpoint, and a function that puts a file into it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )

    def put(key: str, content: bytes) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=content, ACL="public-read")

    try:
        client.create_bucket(Bucket=bucket, ACL="public-read")
        yield endpoint, put
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    msg = "the server did not start"
    raise RuntimeError(msg)
