"""Settings of the server: which indexes it serves, where it listens, whom it lets in, and its limits.

It knows no socket and no request.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from index.encoders.device import Runtime
from index.errors import UsageError

MOST_ITEMS = 100  # of one request
LONGEST_TEXT = 20_000  # characters of an item
MOST_FURTHER = 64  # columns that an item may bring
MOST_RULES = 7  # there are no more
LEAST_TOKEN = 16  # characters
ENVIRONMENT = "PRICE_SERVE_SETTINGS"  # where a worker process finds the settings
TOKEN = "PRICE_TOKEN"  # noqa: S105  # the variable's name
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Limits:
    """Limits of what is taken in. Beyond them the answer is 413, 408 or 429, never a queue without end."""

    body_bytes: int = 15_000_000  # of a request: a photograph of 10 MB in base64 is 13.3
    file_bytes: int = 100_000_000  # of an upload to be priced as a file
    arriving_bytes: int = 400_000_000  # of all bodies that are arriving
    seconds: float = 30.0  # from a request's first byte to its answer, and as long again for its body
    concurrent: int = 512  # requests whose body is here
    waiting_items: int = 256  # that wait for a batch
    batch_items: int = 32  # priced together
    fetches: int = 8  # photographs fetched or decoded at a time
    photographs: int = 128  # that are decoded and not priced yet: some 3 MB each

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 < value < 1e12:
                raise UsageError(f"The limit {name} is {value}: give a number above 0.")


@dataclass(frozen=True)
class ServeSettings:
    """Settings of one server. `token` is None where whoever reaches the port may ask."""

    indexes: tuple[tuple[str, str], ...]  # name, folder; the first is the one meant where none is named
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()  # names by which the server is called, beside addresses and this machine's
    token: str | None = None
    allow_fetch: bool = False  # photographs by URL
    image_dir: str | None = None  # of the comparables
    log_items: bool = False  # texts of items may stand in the log
    device: str = "auto"  # of the encoders, as `index.encoders.device.Runtime` has them
    precision: str = "auto"
    jobs_dir: str | None = None  # where uploaded files lie; a folder of its own where None
    limits: Limits = field(default_factory=Limits)

    @property
    def default_index(self) -> str:
        """Name of the index that is meant where none is named."""
        return self.indexes[0][0]

    @property
    def runtime(self) -> Runtime:
        """Device and precision of the encoders."""
        return Runtime(self.device, self.precision)

    def to_environment(self) -> None:
        """Leave the settings to worker processes. The token is not among them: they have the variable itself."""
        os.environ[ENVIRONMENT] = json.dumps({**asdict(self), "token": self.token is not None})

    @classmethod
    def from_environment(cls) -> ServeSettings:
        """Return what `to_environment` left."""
        given = json.loads(os.environ[ENVIRONMENT])
        given["indexes"] = tuple((name, folder) for name, folder in given["indexes"])
        given |= {"hosts": tuple(given["hosts"]), "limits": Limits(**given["limits"])}
        given["token"] = os.environ[TOKEN] if given["token"] else None
        return cls(**given)


def named_indexes(given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return name and folder of each `NAME=DIR`; a DIR alone is named by its last part. UsageError for no name."""
    indexes: dict[str, str] = {}
    for entry in given:
        name, sign, folder = entry.partition("=")
        if not sign or "/" in name:
            name, folder = Path(entry).absolute().name, entry
        if not folder or not _NAME.fullmatch(name):
            raise UsageError(
                f"--index {entry!r:.80} gives no name of letters, digits, dots and dashes: write NAME=DIR."
            )
        if name in indexes:
            raise UsageError(f"Two indexes are named {name!r}: give one of them another, as NAME=DIR.")
        indexes[name] = str(Path(folder).absolute())
    return tuple(indexes.items())


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def required_token(host: str, token: str | None, *, to_all: bool) -> str | None:
    """Return the token that requests must bring, None where they need none.

    UsageError where the port can be reached from elsewhere and there is no token, unless it is open `to_all`; and for a
    token that could be guessed.
    """
    if to_all:
        return None
    if not token:
        if not is_loopback(host):
            raise UsageError(
                f"Others can reach {host}: set {TOKEN} to a secret of {LEAST_TOKEN} characters or more that requests "
                "must bring, or say --open to let everyone in."
            )
        return None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(f"{TOKEN} must have {LEAST_TOKEN} or more printable ASCII characters: choose another.")
    return token
