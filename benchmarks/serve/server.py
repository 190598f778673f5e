"""A server of an index as a process of its own, watched from outside: its address, memory and open files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    f"{brand} {kind}, {taste}, {ounces} oz (Pack of {pack})"
    for brand in ("Mockwell", "Fauxberry", "Bogusta")
    for kind in ("Olive Oil", "Ground Coffee", "Green Tea", "Dog Food", "Shampoo")
    for taste in ("Sunny Lemon", "Smoky Hazelnut", "Plain")
    for ounces, pack in ((12, 2), (16, 1), (8, 6))
]


@dataclass(frozen=True)
class Server:
    """A server at work."""

    address: str
    process: subprocess.Popen[str]

    @property
    def memory(self) -> float:
        """Megabytes in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def cpu_seconds(self) -> float:
        """CPU seconds that the server has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def open_files(self) -> int:
        """Count of open files, sockets included."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextlib.contextmanager
def serving(index: Path, *options: str) -> Iterator[Server]:
    """Yield a server of an index that answers, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "import cli; cli.main()",
        "serve",
        "--index",
        f"measured={index}",
        "--port",
        str(port),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL, text=True)
    try:
        server = Server(f"http://127.0.0.1:{port}", process)
        while not _answers(server.address):
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def show(what: str, figures: dict[str, Any]) -> None:
    """Print the figures of a measurement on a line."""
    print(json.dumps({"what": what, **figures}), flush=True)
