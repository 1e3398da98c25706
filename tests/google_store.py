"""A Google Cloud Storage on loopback: what of its XML interface the client uses, generations and preconditions too."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

CREDENTIALS = {"GOOGLE_BEARER_TOKEN": "token"}
LAST_MODIFIED = "Sun, 22 Nov 2026 10:00:00 GMT"


class _Objects:
    """Objects of one bucket: name => content and generation; uploads in parts: id => parts by number."""

    def __init__(self, bucket: str) -> None:
        self.bucket, self.lock = bucket, threading.Lock()
        self.found: dict[str, tuple[bytes, int]] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self._generations = itertools.count(1_700_000_000_000_000)

    def put(self, name: str, content: bytes, expected: str | None) -> tuple[int, dict[str, str]]:
        if expected is not None and expected != str(self.found.get(name, (b"", 0))[1]):
            return 412, {}
        self.found[name] = content, next(self._generations)
        return 200, self.headers(name)

    def headers(self, name: str) -> dict[str, str]:
        content, generation = self.found[name]
        # As there: the tag is of the content, so that only the generation tells two writings of the same apart.
        tag = hashlib.md5(content).hexdigest()
        return {"ETag": f'"{tag}"', "x-goog-generation": str(generation), "Last-Modified": LAST_MODIFIED}

    def listing(self, prefix: str) -> bytes:
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-11-22T10:00:00.000Z</LastModified>"
            f"<ETag>{self.headers(name)['ETag']}</ETag><Size>{len(self.found[name][0])}</Size></Contents>"
            for name in sorted(self.found)
            if name.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()


def _answer(objects: _Objects, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
    url = urlsplit(request.path)
    query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
    bucket, _, name = url.path[1:].partition("/")
    bucket, name, method = unquote(bucket), unquote(name), request.command
    if request.headers.get("Authorization") != "Bearer token":
        return 401, {}, b""
    if bucket != objects.bucket:
        return 404, {}, b"<Error><Code>NoSuchBucket</Code></Error>"
    if not name:
        return 200, {}, objects.listing(query.get("prefix", ""))
    if method == "POST" and "uploads" in query:
        upload = str(len(objects.uploads))
        objects.uploads[upload] = {}
        return (
            200,
            {},
            f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
        )
    if method == "PUT" and "uploadId" in query:
        objects.uploads[query["uploadId"]][int(query["partNumber"])] = body
        return 200, {"ETag": '"part"'}, b""
    if method == "POST":
        parts = objects.uploads.pop(query["uploadId"])
        status, headers = objects.put(name, b"".join(parts[number] for number in sorted(parts)), None)
        return status, headers, b"<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>"
    if method == "PUT":
        return (*objects.put(name, body, request.headers.get("x-goog-if-generation-match")), b"")
    if name not in objects.found:
        return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
    headers = objects.headers(name)
    if method == "DELETE":
        del objects.found[name]
        return 204, {}, b""
    return 200, headers, objects.found[name][0]


@contextmanager
def google_server(bucket: str) -> Iterator[int]:
    """The port of a store with one empty bucket."""
    objects = _Objects(bucket)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with objects.lock:
                status, headers, content = _answer(objects, self, body)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
