"""A server between us and an object store, which can refuse, err, wait, cut an answer short, or change a byte of it.

It answers GET and HEAD as S3 does: from a real store, whose signatures it passes on, or from a folder of this machine.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

Answer = tuple[int, dict[str, str], bytes]
Source = Callable[[str, str, Mapping[str, str]], Answer]
"""(GET or HEAD, path, headers) -> status, headers, body."""

OF_BODIES = ("slow", "cut", "reset", "stall", "flip")  # faults that a request for a header alone does not meet
FOREVER = 3600  # seconds
PAUSE = 2  # seconds of a slow answer
_OURS = ("connection", "transfer-encoding", "date", "server")  # headers that each connection has anew


@dataclass
class Fault:
    """Fault of the requests whose path ends in `path`; `times` None for all of them.

    `kind` is a status, or one of: silent, slow, cut, reset, stall, flip, hook (which calls `hook` and answers).
    """

    kind: str
    path: str = ""
    times: int | None = None
    hook: Callable[[], None] = lambda: None

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether a request is struck, and count it."""
        if (method == "HEAD" and self.kind in OF_BODIES) or self.times == 0:
            return False
        if not path.partition("?")[0].endswith(self.path):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class FaultyServer(ThreadingHTTPServer):
    """A server of a source, as far as its `fault` lets it."""

    daemon_threads = True

    def __init__(self, source: Source, fault: Fault | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.source, self.fault = source, fault
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


def of_store(port: int) -> Source:
    """A store on this machine."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        store = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        store.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            store.putheader(name, value)
        store.endheaders()
        given = store.getresponse()
        body = given.read()
        store.close()
        return given.status, {name: value for name, value in given.getheaders() if name.lower() not in _OURS}, body

    return answer


def of_folder(folder: Path) -> Source:
    """A folder, as a bucket of any name."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Answer:
        file = folder / unquote(path.partition("?")[0].strip("/").partition("/")[2])
        if not file.is_file():
            return 404, {"Content-Length": "0"}, b""
        body = file.read_bytes()
        tag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        about = {"Content-Length": str(len(body)), "ETag": f'"{tag}"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        return 200, about, b"" if method == "HEAD" else body

    return answer


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyServer

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        fault = self.server.fault
        kind = fault.kind if fault and fault.strikes(self.command, self.path) else ""
        if fault and kind == "hook":
            fault.hook()
        if kind == "silent":
            time.sleep(FOREVER)
        if kind.isdecimal():
            status, headers, body = int(kind), {"Content-Length": "0"}, b""
        else:
            status, headers, body = self.server.source(self.command, self.path, dict(self.headers.items()))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self._write(body, kind)

    def _write(self, body: bytes, kind: str) -> None:
        middle = len(body) // 2
        if kind == "flip":
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self.wfile.write(body[:middle])
        if kind in ("slow", "cut", "reset", "stall"):
            self.wfile.flush()
        if kind in ("slow", "stall"):
            time.sleep(PAUSE if kind == "slow" else FOREVER)
        if kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if kind in ("cut", "reset"):
            self.connection.shutdown(socket.SHUT_RDWR) if kind == "cut" else self.connection.close()
            self.close_connection = True
        else:
            self.wfile.write(body[middle:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""
