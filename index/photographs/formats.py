"""Formats of photographs, and the reasons why one is refused.

The reasons are a closed set, so that a build can count what it left out. The four formats are told by their first
bytes: neither a file's name nor a server's Content-Type is believed.
"""

from enum import StrEnum

MAX_BYTES = 10_000_000
"""Bytes of one photograph, from a file or from the web."""

HEAD_BYTES = 1024
"""Bytes at the start of a file that `identify` looks at."""


class Reason(StrEnum):
    """Reason why a photograph could not be had. The phrases are stable: reports count by them."""

    # of the reference
    MISSING = "missing"
    NOT_FETCHED = "not fetched"
    OUTSIDE_FOLDER = "outside the folder"
    PATH_NOT_ALLOWED = "path not allowed"
    UNREADABLE = "unreadable file"
    BAD_URL = "malformed URL"
    SCHEME = "scheme not allowed"
    CREDENTIALS = "credentials in the URL"
    # of the content
    EMPTY = "empty"
    CHANGED = "changed while it was read"
    TOO_LARGE = "too large"
    NOT_AN_IMAGE = "not an image"
    UNSUPPORTED_FORMAT = "unsupported format"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_MANY_PIXELS = "too many pixels"
    TOO_MANY_SCANS = "too many scans"
    # of the fetch
    BLOCKED_ADDRESS = "blocked address"
    HOST_NOT_FOUND = "host not found"
    CONNECTION_FAILED = "connection failed"
    HOST_SILENT = "host gave no answer"
    CERTIFICATE_REFUSED = "certificate refused"
    TIMED_OUT = "timed out"
    CUT_SHORT = "transfer cut short"
    TOO_MANY_REDIRECTS = "too many redirects"
    NOT_FOUND = "not found"
    REFUSED_BY_SERVER = "refused by the server"
    TOO_MANY_REQUESTS = "too many requests"
    SERVER_ERROR = "server error"
    BAD_RESPONSE = "malformed response"


class ImageRefused(Exception):
    """A photograph that cannot be had; `reason` says why, `detail` adds what was seen (never a remote's own words)."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)


# Images that we know by sight and do not decode: their decoders run programs (EPS), fetch (SVG) or are seldom met.
_UNSUPPORTED = (
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIF"),
    (4, b"ftypmif1", "HEIF"),
    (0, b"qoif", "QOI"),
)
_MARKUP_STARTS = (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")


def identify(head: bytes) -> str:
    """Name the format of a file that starts with `head`: JPEG, PNG, WEBP or GIF. Raises ImageRefused for any other."""
    if not head:
        raise ImageRefused(Reason.EMPTY)
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    for offset, magic, name in _UNSUPPORTED:
        if head[offset : offset + len(magic)] == magic:
            raise ImageRefused(Reason.UNSUPPORTED_FORMAT, name)
    if _looks_like_svg(head):
        raise ImageRefused(Reason.UNSUPPORTED_FORMAT, "SVG")
    raise ImageRefused(Reason.NOT_AN_IMAGE)


def _looks_like_svg(head: bytes) -> bool:
    text = head[:HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith(_MARKUP_STARTS) and b"<svg" in text
