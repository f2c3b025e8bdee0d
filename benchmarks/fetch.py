"""How fast science assets are fetched over loopback, hashed on the way, and in how much memory.

The bytes come from a server in a process of its own that sends one block of memory over and over, and go to a
file on the disk of the temporary folder.  The rate counts all: answer, hash, file and final name.
"""

import json
import multiprocessing
import os
import platform
import resource
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import requests

from cmbml.exchange.transfer import Patience, Transfer, Wanted

RESULT = Path(__file__).parent / "results" / "fetch.json"
BLOCK = os.urandom(1 << 20)
SMALL, LARGE = 128, 2048  # MiB
RUNS = 3


def serve(listener: socket.socket) -> None:
    """Answer every request for /N with N MiB."""
    while True:
        connection, _ = listener.accept()
        with connection:
            while asked := connection.recv(65536).decode():
                blocks = int(asked.split()[1].strip("/"))
                length = blocks * len(BLOCK)
                if f"bytes={length}-" in asked:
                    head = f"HTTP/1.1 416 x\r\nContent-Range: bytes */{length}\r\nContent-Length: 0\r\n\r\n"
                    connection.sendall(head.encode())
                    continue
                head = f'HTTP/1.1 200 OK\r\nETag: "{blocks}"\r\nContent-Length: {length}\r\n\r\n'
                connection.sendall(head.encode())
                for _ in range(blocks):
                    connection.sendall(BLOCK)


def fetch(address: str, blocks: int) -> dict[str, float]:
    """Fetch once, in a process of its own; wall and processor seconds, and growth of memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_fetch, (address, blocks))


def _fetch(address: str, blocks: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, requests.Session() as session:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, worked = time.perf_counter(), time.process_time()
        wanted = Wanted(Path(folder) / "map.fits", (f"{address}/{blocks}",))
        Transfer(wanted, session, Patience(), lambda _: None).run(lambda *_: None)
        seconds, cpu = time.perf_counter() - started, time.process_time() - worked
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert wanted.path.stat().st_size == blocks * len(BLOCK)
    return {"seconds": seconds, "cpu_seconds": cpu, "grown_mb": grown * 1024 / 1e6}


def measure() -> dict[str, Any]:
    """Best of a few runs for a small and a large file."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    server.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        runs = {blocks: [fetch(address, blocks) for _ in range(RUNS)] for blocks in (SMALL, LARGE)}
    finally:
        server.terminate()
    best = min(runs[LARGE], key=lambda run: run["seconds"])
    megabytes = LARGE * len(BLOCK) / 1e6
    return {
        "megabytes": megabytes,
        "mb_per_second": round(megabytes / best["seconds"]),
        "mb_per_cpu_second": round(megabytes / min(run["cpu_seconds"] for run in runs[LARGE])),
        "grown_mb_small": round(max(run["grown_mb"] for run in runs[SMALL]), 1),
        "grown_mb_large": round(max(run["grown_mb"] for run in runs[LARGE]), 1),
        "load_at_start": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


if __name__ == "__main__":
    result = measure()
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
