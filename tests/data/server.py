"""A real HTTP server on loopback that can be told to misbehave."""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FAULTS = (
    "cut", "cut at once", "too long", "too short", "corrupt", "redirect", "loop", "404", "416", "416 short", "429",
    "503", "500", "no ranges", "wrong range", "html", "chunked cut", "other version", "extra bytes", "empty", "gzip",
)  # fmt: skip


@dataclass
class Site:
    """Files by path, and what goes wrong with the coming requests, in order."""

    files: dict[str, bytes]
    faults: list[str] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    validators: bool = True
    ranges: bool = True
    address: str = ""
    seed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self) -> str:
        with self.lock:
            return self.faults.pop(0) if self.faults else "none"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        site = self.site
        with site.lock:
            site.asked.append((self.path, dict(self.headers)))
        path = self.path.partition("?moved")[0]
        if path not in site.files:
            self._say(404)
            return
        fault = site.next_fault()
        rng = random.Random(f"{site.seed} {len(site.asked)}")
        body = site.files[path]
        if fault in ("404", "429", "503", "500"):
            self._say(int(fault), {"Retry-After": "0"})
        elif fault == "redirect" and "?moved" not in self.path:
            self._say(302, {"Location": f"{site.address}{path}?moved"})
            site.faults.insert(0, "none")
        elif fault == "loop":
            self._say(302, {"Location": f"{site.address}{path}"})
            site.faults[:0] = ["loop"] if len(site.asked) % 12 else []
        elif fault == "html":
            self._body(200, b"<html>log in</html>", {"Content-Type": "text/html"})
        elif fault == "416":
            self._say(416, {"Content-Range": f"bytes */{len(body)}"})
        elif fault == "416 short":
            start = self._start(body)
            self._say(416, {"Content-Range": f"bytes */{start}"})
        else:
            self._send(body, fault, rng)

    def _start(self, body: bytes) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(asked[1]) if asked else 0

    def _send(self, body: bytes, fault: str, rng: random.Random) -> None:
        site = self.site
        etag = f'"{len(body)}"' if fault != "other version" else '"other"'
        headers = {"ETag": etag} if site.validators else {}
        start, status = 0, 200
        use_ranges = site.ranges and fault not in ("no ranges", "other version")
        fresh = self.headers.get("If-Range", etag) == etag
        if "Range" in self.headers and use_ranges and fresh:
            start, status = self._start(body), 206
            if start >= len(body):
                self._say(416, {"Content-Range": f"bytes */{len(body)}"})
                return
            start += 1 if fault == "wrong range" else 0
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        if fault == "gzip":
            headers["Content-Encoding"] = "gzip"
        if fault == "corrupt" and rest:
            rest = _damaged(rest, rng)
        if fault == "chunked cut":
            self._chunked_cut(status, rest[: rng.randrange(len(rest) + 1)], headers)
            return
        sent, length = _cut(rest, fault, rng)
        self._body(status, sent, headers, length)
        if len(sent) != length:
            self.close_connection = True

    def _body(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in {
            **headers,
            "Content-Length": str(len(body) if length is None else length),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _chunked_cut(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(f"{len(body) + 10:x}\r\n".encode() + body)
        self.close_connection = True

    def _say(self, status: int, headers: dict[str, str] | None = None) -> None:
        self._body(status, b"", headers or {})


def _damaged(body: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(body)
    damaged[rng.randrange(len(body))] ^= 0x55
    return bytes(damaged)


def _cut(rest: bytes, fault: str, rng: random.Random) -> tuple[bytes, int]:
    """What is sent, and the length that is said."""
    half = max(1, len(rest) // 2)
    return {
        "cut": (rest[: rng.randrange(len(rest) + 1)], len(rest)),
        "cut at once": (b"", len(rest)),
        "empty": (b"", 0),
        "too long": (rest, len(rest) + 1000),
        "too short": (rest[:half], half),
        "extra bytes": (rest + b"x" * 100, len(rest) + 100),
    }.get(fault, (rest, len(rest)))


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing when a client hangs up."""


@contextmanager
def serving(files: dict[str, bytes], **options: object) -> Iterator[Site]:
    """Serve files on loopback inside a ``with`` block."""
    site = Site(files, **options)
    handler = type("Handler", (_Handler,), {"site": site})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
