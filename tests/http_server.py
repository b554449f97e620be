"""A local HTTP server that misbehaves as told, for tests of downloads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock


@dataclass
class Server:
    """What it serves, and what it was asked.

    files: path -> content; anything else is answered 404.
    faults: path -> what happens to its next requests, one after another; afterwards it is served well. One of
        a status code; ("retry", code, value of Retry-After); ("redirect", address); ("truncate", bytes);
        ("stall", bytes): that many, then silence until the server closes.
    ranges: whether parts of files are served. etag: what validates files; "" sends none.
    requests: (path, value of Range or ""), in order. sent: bytes of bodies.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    ranges: bool = True
    etag: str = '"v1"'
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on a free local port, past any proxy."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with mock.patch.dict(os.environ, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"):
            yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, state: Server) -> None:
    path, wanted = handler.path, handler.headers.get("Range", "")
    state.requests.append((path, wanted))
    waiting = state.faults.get(path)
    fault = waiting.pop(0) if waiting else None
    kind = fault[0] if isinstance(fault, tuple) else fault
    if isinstance(kind, int):
        return _send(handler, state, kind, b"")
    if kind == "retry":
        return _send(handler, state, fault[1], b"", {"Retry-After": fault[2]})
    if kind == "redirect":
        return _send(handler, state, 302, b"", {"Location": fault[1]})
    if path not in state.files:
        return _send(handler, state, 404, b"")
    body = state.files[path]
    headers = {"ETag": state.etag} if state.etag else {}
    start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
    if not state.ranges or handler.headers.get("If-Range", state.etag) != state.etag:
        start = 0
    if start >= len(body) > 0:
        return _send(handler, state, 416, b"", {"Content-Range": f"bytes */{len(body)}"})
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    most = fault[1] if kind in ("truncate", "stall") else None
    _send(handler, state, 206 if start else 200, body[start:], headers, most)
    if kind == "stall":
        state.closing.wait(10)
    if most is not None:
        handler.close_connection = True
    return None


def _send(
    handler: BaseHTTPRequestHandler,
    state: Server,
    status: int,
    body: bytes,
    headers: dict[str, str] | None = None,
    most: int | None = None,
) -> None:
    """Announce the whole body and send at most `most` bytes of it."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    # Counted first: who has received it may look at once.
    state.sent += len(body[:most])
    handler.wfile.write(body[:most])
    handler.wfile.flush()
