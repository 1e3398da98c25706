"""A real S3 protocol on loopback: a moto server, and a proxy before it that loses, refuses and delays requests."""

from __future__ import annotations

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

BUCKET = "audits"
FAULTS = ("500", "500 after", "reset", "reset after", "no answer")
"""What may befall a request: refused or cut off, before the store has done it or after; or nothing comes back."""
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@contextmanager
def moto_server() -> Iterator[int]:
    """The port of an S3 with one empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield port
    finally:
        server.stop()


class FaultyProxy:
    """Passes requests on to a port, and spoils some of them.

    Attributes:
        share: of the requests that are spoilt.
        kinds: how, each as likely as the others.
        seen: requests by what befell them; ``ok`` for the others.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.target, self.share, self.kinds, self.seen = target, 0.0, FAULTS, Counter()
        self.silence = 1.5
        self._random, self._lock = random.Random(seed), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def fate(self) -> str:
        with self._lock:
            kind = self._random.choice(self.kinds) if self._random.random() < self.share else "ok"
            self.seen[kind] += 1
        return kind

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        kind = self.fate()
        if kind in ("ok", "500 after", "reset after"):
            status, headers, content = self.forward(request, body)
        if kind == "no answer":
            time.sleep(self.silence)
        if kind.startswith("reset") or kind == "no answer":
            linger = struct.pack("ii", 1, 0)  # close by a reset instead of a farewell
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.connection.close()
            request.close_connection = True
            return
        if kind.startswith("500"):
            status, headers, content = 500, [], b"<Error><Code>InternalError</Code></Error>"
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                request.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(content)))
        request.send_header("Content-Length", length if request.command == "HEAD" else str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.target, timeout=30)
        connection.request(request.command, request.path, body, dict(request.headers))
        answer = connection.getresponse()
        result = answer.status, answer.getheaders(), answer.read()
        connection.close()
        return result
