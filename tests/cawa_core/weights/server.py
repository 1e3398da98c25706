"""A file server on the loopback interface that can be told to fail."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves one content at every path.

    ``failures`` holds what goes wrong with the next requests, one each: a status to answer with, or the
    bytes after which to hang up as a negative number; 0 for nothing.
    """

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.tag: str | None = '"first"'
        self.knows_ranges = True
        self.failures: list[int] = []
        self.seconds = 0.0
        self.range_offset = 0
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.bin"

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [headers.get("Range") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.asked.append(dict(self.headers))
        failure = self.server.failures.pop(0) if self.server.failures else 0
        time.sleep(self.server.seconds)
        if failure > 0:
            self.send_error(failure)
            return
        body = self._start()
        self.wfile.write(body[:-failure] if failure else body)
        self.close_connection = True

    def _start(self) -> bytes:
        content, start = self.server.content, self._asked_start()
        if start >= len(content):
            self.send_error(416)
            return b""
        self.send_response(206 if start else 200)
        if start:
            first = start + self.server.range_offset
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return content[start:]

    def _asked_start(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") in (None, self.server.tag)
        return int(asked[1]) if asked and is_same and self.server.knows_ranges else 0

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(content: bytes) -> Iterator[FileServer]:
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
