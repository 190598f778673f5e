"""Fetching of one photograph from the web, safely.

A URL comes from a catalogue or a query, so it may be anyone's. One request, on one connection that is made here:

- http and https only, no credentials in the URL, at most three redirects, each judged like the first URL;
- the name is looked up once, every answer must be a public address, and the connection goes to an address that was
  judged: there is no second look-up for a rebinding name server to answer differently;
- ten seconds in all, from the look-up to the last byte: every read on the socket gets what is left of them;
- ten megabytes, counted where bytes leave the socket, below any decoding; no compression is asked for and none undone;
- the environment's proxies are not used: a proxy would do the look-up that is judged here;
- what arrives must start like a JPEG, PNG, WebP or GIF, or the transfer is broken off.

Built on the standard library's http.client, because the check must live where the socket is opened: subclassing its
`connect` is documented and does it in one place, while pooled clients (urllib3, httpx2) keep connections, retries and
redirects of their own that each would have to be shown harmless. The cost is a new connection for each photograph.
"""

import contextlib
import email.utils
import functools
import http.client
import io
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from index.photographs.addresses import check_address
from index.photographs.formats import HEAD_BYTES, MAX_BYTES, ImageRefused, Reason, identify

BLOCK = 16_384
OVERHEAD = 262_144
"""Bytes that headers and chunk marks may take beside the photograph."""
LONGEST_URL = 8_192
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {
    "User-Agent": "price-engine",
    "Accept": "image/jpeg, image/png, image/webp, image/gif",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


@dataclass(frozen=True)
class Limits:
    """Limits of one fetch."""

    seconds: float = 10.0  # in all, redirects included
    size: int = MAX_BYTES
    redirects: int = 3
    allow_private_addresses: bool = False  # for a user's own server; link-local and multicast stay shut


LIMITS = Limits()


class FetchRefused(ImageRefused):
    """A server's refusal, with the wait that it asked for: `retry_after` in seconds, None if it named none."""

    def __init__(self, reason: Reason, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after = retry_after


def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the numeric addresses of a name, in the system's order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def system_connect(address: str, port: int, seconds: float) -> socket.socket:
    """Open a connection to a numeric address."""
    return socket.create_connection((address, port), timeout=seconds)


@functools.cache
def system_tls() -> ssl.SSLContext:
    """The system's trusted authorities, read once: it takes some 20 ms."""
    return ssl.create_default_context()


@dataclass(frozen=True)
class Network:
    """Ways from a name to addresses, to a connection, and to an encrypted one; tests put their own here."""

    resolve: Callable[[str, int], Sequence[str]] = system_resolve
    connect: Callable[[str, int, float], socket.socket] = system_connect
    tls: Callable[[], ssl.SSLContext] = system_tls


SYSTEM = Network()


def fetch(url: str, *, limits: Limits = LIMITS, network: Network = SYSTEM) -> bytes:
    """Return the bytes of the photograph at `url`; raise ImageRefused, whatever the reason."""
    deadline = Deadline(limits.seconds)
    with _refusals():
        for _ in range(limits.redirects + 1):
            connection = CheckedConnection(read_url(url), limits, network, deadline)
            with contextlib.closing(connection), connection.ask_for_page() as response:
                if response.status not in REDIRECTS:
                    return _photograph(response, limits)
                url = _next(url, response)
    raise FetchRefused(Reason.TOO_MANY_REDIRECTS)


def _next(url: str, response: http.client.HTTPResponse) -> str:
    location = response.headers.get("Location")
    if not location:
        raise FetchRefused(Reason.BAD_RESPONSE, "a redirect to nowhere")
    with contextlib.suppress(UnicodeError):  # headers are read as Latin-1; a server that writes UTF-8 means it
        location = location.encode("latin-1").decode("utf-8")
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise FetchRefused(Reason.BAD_URL) from error


@dataclass(frozen=True)
class Target:
    """A URL taken apart: `host` in ASCII, `request` the path and query as they go over the wire."""

    secure: bool
    host: str
    port: int
    request: str

    @property
    def authority(self) -> str:
        """The Host header: the port stands in it only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def read_url(url: str) -> Target:
    """Take a URL apart; refuse what cannot be, or may not be, asked for."""
    url = url.strip()
    # urlsplit drops tabs and line breaks silently; a URL that needs that is not one.
    if len(url) > LONGEST_URL or re.search(r"[\x00-\x1f\x7f\\]", url):
        raise ImageRefused(Reason.BAD_URL)
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ImageRefused(Reason.SCHEME)
        if "@" in parts.netloc:
            raise ImageRefused(Reason.CREDENTIALS)
        return _target(parts)
    except ValueError as error:  # UnicodeError is one of them
        raise ImageRefused(Reason.BAD_URL) from error


def _target(parts: SplitResult) -> Target:
    """Spell host, port and request in ASCII; raises ValueError where that cannot be done."""
    host = parts.hostname or ""
    if "[" in parts.netloc:
        host = str(IPv6Address(host))
    else:
        host = host.encode("idna").decode("ascii").lower()
        if not re.fullmatch(r"[a-z0-9._-]+", host):
            raise ValueError(host)
    if parts.port == 0:
        raise ValueError(parts.port)
    secure = parts.scheme == "https"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    return Target(secure, host, parts.port or (443 if secure else 80), f"{path}?{query}" if query else path)


class Deadline:
    """A moment by which all must be done."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain; raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class CheckedConnection(http.client.HTTPConnection):
    """A connection that looks its host up, judges every address, and then connects to one that was judged."""

    def __init__(self, target: Target, limits: Limits, network: Network, deadline: Deadline) -> None:
        super().__init__(target.host, target.port)
        self.target, self.limits, self.network, self.deadline = target, limits, network, deadline

    def connect(self) -> None:
        """Open the socket, as http.client asks: the only place of this project that opens one."""
        plain = self._open(self._judged_addresses())
        plain.settimeout(self.deadline.left())
        stream = self._encrypt(plain) if self.target.secure else plain
        # http.client asks its socket for sendall, makefile and close, and for nothing else.
        self.sock = cast(socket.socket, _BoundedSocket(stream, self.deadline, self.limits.size + OVERHEAD))

    def ask_for_page(self) -> http.client.HTTPResponse:
        """Send the request and read the headers of its answer."""
        self.request("GET", self.target.request, headers={"Host": self.target.authority, **HEADERS})
        return self.getresponse()

    def _judged_addresses(self) -> list[str]:
        answers = _look_up(self.network.resolve, self.target, self.deadline)
        if not answers:
            raise FetchRefused(Reason.HOST_NOT_FOUND)
        allow_private = self.limits.allow_private_addresses
        return [str(check_address(answer, allow_private=allow_private)) for answer in answers]

    def _open(self, addresses: list[str]) -> socket.socket:
        """Try the addresses in turn; each gets its share of the time, so that one that does not answer leaves some."""
        failure: OSError | None = None
        for tried, address in enumerate(addresses):
            try:
                return self.network.connect(address, self.target.port, self.deadline.left() / (len(addresses) - tried))
            except OSError as error:
                failure = error
        assert failure is not None, "no address to try"
        raise failure

    def _encrypt(self, plain: socket.socket) -> ssl.SSLSocket:
        try:
            return self.network.tls().wrap_socket(plain, server_hostname=self.target.host.rstrip("."))
        except BaseException:
            plain.close()
            raise


class _BoundedSocket:
    """A socket whose every wait ends with the deadline, and which gives no more bytes than it was allowed."""

    def __init__(self, stream: socket.socket, deadline: Deadline, allowed: int) -> None:
        self._stream, self._deadline, self._allowed = stream, deadline, allowed

    def sendall(self, data: bytes) -> None:
        self._stream.settimeout(self._deadline.left())
        self._stream.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        assert mode == "rb", mode
        return io.BufferedReader(_BoundedReader(self._stream, self._deadline, self._allowed))

    def close(self) -> None:
        self._stream.close()


class _BoundedReader(io.RawIOBase):
    """A reader that counts bytes below http.client, which a chunk size of -1 makes read without end (Python 3.11)."""

    def __init__(self, stream: socket.socket, deadline: Deadline, allowed: int) -> None:
        self._stream, self._deadline, self._allowed = stream, deadline, allowed
        self._file = stream.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._stream.settimeout(self._deadline.left())
        count = self._file.readinto(buffer)
        self._allowed -= count or 0
        if self._allowed < 0:
            raise FetchRefused(Reason.TOO_LARGE)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _look_up(resolve: Callable[[str, int], Sequence[str]], target: Target, deadline: Deadline) -> Sequence[str]:
    """Look a name up within the deadline. The system's call cannot be interrupted: it has a thread, which is let go."""
    if _is_address(target.host):
        return [target.host]
    answer: queue.SimpleQueue[Sequence[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def send() -> None:
        try:
            answer.put(resolve(target.host, target.port))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=send, daemon=True).start()
    try:
        found = answer.get(timeout=deadline.left())
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(found, OSError | UnicodeError):
        raise FetchRefused(Reason.HOST_NOT_FOUND) from found
    return found


def _photograph(response: http.client.HTTPResponse, limits: Limits) -> bytes:
    """Read the body, counted, and broken off as soon as it is known not to be wanted."""
    if response.status != 200:
        raise _status_refusal(response)
    declared = response.length
    if declared is not None and declared > limits.size:
        raise FetchRefused(Reason.TOO_LARGE)
    body = bytearray()
    while block := response.read(BLOCK):
        if len(body) < HEAD_BYTES <= len(body) + len(block):
            identify(bytes(body + block[:HEAD_BYTES]))
        body += block
        if len(body) > limits.size:
            raise FetchRefused(Reason.TOO_LARGE)
    if declared is not None and len(body) < declared:
        raise FetchRefused(Reason.CUT_SHORT)
    identify(bytes(body[:HEAD_BYTES]))
    return bytes(body)


def _status_refusal(response: http.client.HTTPResponse) -> FetchRefused:
    status, detail = response.status, f"HTTP {response.status}"
    wait = _retry_after(response.headers.get("Retry-After", ""))
    if status in (404, 410):
        return FetchRefused(Reason.NOT_FOUND, detail)
    if status == 429:
        return FetchRefused(Reason.TOO_MANY_REQUESTS, detail, wait)
    if status in (408, 425) or status >= 500:
        return FetchRefused(Reason.SERVER_ERROR, detail, wait)
    return FetchRefused(Reason.REFUSED_BY_SERVER if status >= 400 else Reason.BAD_RESPONSE, detail)


def _retry_after(text: str) -> float | None:
    """Seconds to wait, from either spelling of the header (RFC 9110, 10.2.3)."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Give every failure of the network its reason."""
    try:
        yield
    except TimeoutError as error:
        raise FetchRefused(Reason.TIMED_OUT) from error
    except ssl.SSLCertVerificationError as error:
        raise FetchRefused(Reason.CERTIFICATE_REFUSED) from error
    except http.client.IncompleteRead as error:
        raise FetchRefused(Reason.CUT_SHORT) from error
    except OSError as error:
        raise FetchRefused(Reason.CONNECTION_FAILED, type(error).__name__) from error
    except http.client.HTTPException as error:
        raise FetchRefused(Reason.BAD_RESPONSE, type(error).__name__) from error
