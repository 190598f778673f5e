"""Photographs that requests bring: decoded under the limits before anything is priced, and never read from a path.

A photograph is bytes (an upload, a `data:` URL) or, where fetching is allowed, an address that the guarded fetch asks.
Why an address gave nothing is not told: a stranger could learn which hosts and ports answer.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from index.photographs.decode import decode
from index.photographs.formats import ImageRefused, Reason
from index.photographs.source import Photographs
from web.problems import Busy, Problem

if TYPE_CHECKING:
    from web.settings import Limits

Pixels = npt.NDArray[np.uint8]  # (height, width, 3)
NOT_FETCHED = "The photograph could not be fetched."
HELD = 2.0  # seconds after which those that are here may be priced
_DATA = re.compile(r"data:[A-Za-z0-9.+/-]*;base64,", re.ASCII)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


class GivenPhotographs(Photographs):
    """Photographs that are here already, by the references of a batch's items; there is nothing else to read."""

    def __init__(self, pixels: Mapping[str, Pixels]) -> None:
        super().__init__()
        self._pixels = pixels

    def read(self, reference: str, content: str | None = None) -> Pixels:
        """Return the pixels; raise ImageRefused if there are none. They are named by their content."""
        if reference not in self._pixels:
            raise ImageRefused(Reason.MISSING)
        return self._pixels[reference]


class PhotographReader:
    """Reads what requests bring, a few at a time. `open_web` may fetch; None where nothing is fetched."""

    def __init__(self, limits: Limits, open_web: Photographs | None) -> None:
        self._web, self._places = open_web, asyncio.Semaphore(limits.fetches)
        self._here, self._most = 0, limits.photographs

    @contextmanager
    def room(self, photographs: int) -> Iterator[None]:
        """Keep room for the pixels of so many photographs until they are priced; Busy where there is none."""
        if self._here and self._here + photographs > self._most:
            raise Busy(HELD)
        self._here += photographs
        try:
            yield
        finally:
            self._here -= photographs

    async def read(self, image: str | bytes) -> tuple[str, Pixels]:
        """Return a reference for the item and its pixels. Raises Problem with one sentence."""
        async with self._places:
            if isinstance(image, str) and _ADDRESS.match(image):
                return await asyncio.to_thread(self._fetched, image)
            return await asyncio.to_thread(_uploaded, image)

    def _fetched(self, address: str) -> tuple[str, Pixels]:
        if self._web is None:
            raise Problem(422, "This server fetches no photographs: upload it, or start it with --allow-fetch.")
        try:
            return named(self._web.read_bytes(address))
        except ImageRefused:
            raise Problem(422, NOT_FETCHED) from None


def _uploaded(image: str | bytes) -> tuple[str, Pixels]:
    try:
        return named(image if isinstance(image, bytes) else _decoded_url(image))
    except ImageRefused as refusal:
        detail = f"The photograph could not be used ({refusal.reason}): send a JPEG, PNG, WebP or GIF."
        raise Problem(422, detail) from None


def _decoded_url(image: str) -> bytes:
    match = _DATA.match(image)
    if not match:
        raise Problem(422, "An image is an http(s) address, or a data: URL in base64: paths are not read.")
    try:
        return base64.b64decode(image[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise Problem(422, "The image is no base64 after its comma: encode its bytes again.") from None


def named(data: bytes) -> tuple[str, Pixels]:
    """Return the pixels of a photograph under a name made of its bytes. Raises ImageRefused."""
    return f"given:{hashlib.sha256(data).hexdigest()}", decode(data)
