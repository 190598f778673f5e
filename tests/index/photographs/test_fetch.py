"""One fetch: hostile URLs that must reach nobody, servers that misbehave, and the limits that hold them."""

import io
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from index.photographs.addresses import check_address
from index.photographs.fetch import (
    FetchRefused,
    Limits,
    Network,
    Target,
    fetch,
    read_url,
    system_connect,
    system_resolve,
)
from index.photographs.formats import ImageRefused, Reason

PUBLIC = "93.184.216.34"
BLOCKED, UNKNOWN = Reason.BLOCKED_ADDRESS, Reason.HOST_NOT_FOUND


def photograph(size: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    return buffer.getvalue().ljust(size, b"\0")


PHOTOGRAPH = photograph()

# --- a server that does as it is told --------------------------------------------------------------------------------

Step = bytes | float | str
"""What a server does next: sends bytes, waits seconds, or `"reset"`."""


def answer(body: bytes = PHOTOGRAPH, status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body) if length is None else length}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status, f"Location: {location}")


@dataclass
class Server:
    """Listens on the loopback; answers each path by its script; keeps every request it got."""

    scripts: dict[str, Sequence[Step]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> "Server":
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.socket = socket.create_server((self.host, 0), family=family)
        self.port = self.socket.getsockname()[1]
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        with suppress(OSError):
            socket.create_connection((self.host, self.port), timeout=60).close()
        self.thread.join()
        self.socket.close()

    def _listen(self) -> None:
        workers = []
        while True:
            connection, _ = self.socket.accept()
            if self.closing.is_set():
                connection.close()
                break
            workers.append(threading.Thread(target=self._serve, args=(connection,)))
            workers[-1].start()
        for worker in workers:
            worker.join()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            with connection:
                connection.settimeout(60)
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        asked = b""
        while b"\r\n\r\n" not in asked and not asked.startswith(b"\x16") and (block := connection.recv(65_536)):
            asked += block
        self.requests.append(asked.decode("latin-1"))
        path = asked.decode("latin-1").partition(" ")[2].partition(" ")[0]
        for step in self.scripts.get(path, [answer(b"", "404 Not Found")]):
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float):
                self.closing.wait(step)
            else:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def url(self, path: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"


OWN = Limits(seconds=60, allow_private_addresses=True)  # for servers that do not stall: a busy machine is no failure


def fetched(*steps: Step, limits: Limits = OWN) -> bytes:
    with Server({"/a.jpg": steps}) as server:
        return fetch(server.url("/a.jpg"), limits=limits)


def refused(*steps: Step, limits: Limits = OWN) -> ImageRefused:
    with pytest.raises(ImageRefused) as refusal:
        fetched(*steps, limits=limits)
    return refusal.value


# --- nobody is reached -----------------------------------------------------------------------------------------------


def numeric(host: str, port: int) -> list[str]:
    """The system's reading of a number, in any of its spellings; a name is not looked up, for that needs a server."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(entry[4][0]) for entry in found]


NAMES = {
    "localhost": ["127.0.0.1"],
    "localhost.localdomain": ["127.0.0.1", "::1"],
    "ip6-localhost": ["::1"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "router.test": ["192.168.1.1"],
    "intranet": ["10.1.2.3"],
    "rebound.test": [PUBLIC, "127.0.0.1"],
    "rebound6.test": ["2606:2800:220:1::1", "::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "translated.test": ["64:ff9b::7f00:1"],
    "scoped.test": ["fe80::1%lo"],
    "nonsense.test": ["not an address"],
    "nobody.test": [],
}


def resolve(host: str, port: int) -> Sequence[str]:
    name = host.rstrip(".")
    return NAMES[name] if name in NAMES else numeric(host, port)


HOSTS_BLOCKED = [
    # loopback, in the spellings that inet_aton reads
    *["127.0.0.1", "127.0.0.2", "127.1", "127.0.1", "127.255.255.254", "127.000.000.001", "2130706433", "2130706434"],
    *[
        "017700000001",
        "0177.0.0.1",
        "0177.0.0.01",
        "00000177.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7f.1",
        "0X7F.0X0.0X0.0X1",
    ],
    *["0x7f.0.1", "0177.0x0.1", "127.0x1", "127.65534", "0x0000007f.0.0.1", "0177.0.1", "127.0.0x1", "127.0.0.01"],
    *["１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "127.0.0｡1"],  # full-width, ideographic, circled
    # this host
    *["0.0.0.0", "0", "0x0", "00", "0.1", "0.0.0.1", "0.255.255.255"],  # noqa: S104
    # private, shared, link-local
    *["10.0.0.1", "10.1", "012.0.0.1", "0xa.0.0.1", "167772161", "10.255.255.255", "172.16.0.1", "172.31.255.255"],
    *["0xac.0x10.1", "2886729729", "192.168.0.1", "192.168.257", "0xc0a80001", "3232235521", "0300.0250.0.1"],
    *["100.64.0.1", "100.100.100.200", "100.127.255.255", "169.254.169.254", "169.254.0.1", "2852039166", "0xa9fea9fe"],
    *["0251.0376.0251.0376", "169.16689662", "168.63.129.16"],
    # documentation, benchmarking, protocol, multicast, reserved, broadcast
    *["192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7"],
    *["203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "4294967295", "0xffffffff"],
    # IPv6
    *["[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::0:1]", "[::]", "[0::0]"],
    *["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0.0.0.0]"],
    *[
        "[::ffff:10.0.0.1]",
        "[::ffff:192.168.0.1]",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[::ffff:100.64.0.1]",
    ],
    *["[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::0.0.0.0]"],
    *["[64:ff9b:1::7f00:1]", "[64:ff9b:1::1]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[::10.0.0.1]"],
    *["[2002:7f00:1::]", "[2002:a00:1::1]", "[2002:c0a8:1::]", "[2001::1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]"],
    *["[2001:10::1]", "[2001:2::1]", "[2001:db8::1]", "[3fff::1]", "[fc00::1]", "[fd00:ec2::254]", "[fdff::1]"],
    *[
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fe80::a9fe:a9fe]",
        "[febf::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[ff0e::1]",
        "[100::1]",
    ],
    *["[4000::1]", "[5f00::1]", "[8000::1]", "[e000::1]"],
    # names
    *["localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "127.0.0.1.nip.test"],
    *["metadata.google.internal", "router.test", "intranet", "rebound.test", "rebound6.test", "mapped.test"],
    *["translated.test", "scoped.test", "nonsense.test", "lOcAlHoSt", "ｌｏｃａｌｈｏｓｔ"],
]

OTHER_SCHEMES = ("ftp", "gopher", "file", "dict", "ldap", "ws", "sftp", "tftp", "smb", "rtsp", "httpx", "h")
URLS_REFUSED = [
    *(
        (f"{scheme}://127.0.0.1:PORT/a.jpg", Reason.SCHEME)
        for scheme in ("ftp", "gopher", "file", "dict", "ldap", "ws")
    ),
    *((f"{scheme}://127.0.0.1:PORT/a.jpg", Reason.SCHEME) for scheme in ("sftp", "tftp", "smb", "rtsp", "httpx", "h")),
    ("file:///etc/hostname", Reason.SCHEME),
    ("data:image/png;base64,iVBORw0KGgo=", Reason.SCHEME),
    ("javascript:fetch('http://127.0.0.1:PORT/')", Reason.SCHEME),
    ("jar:http://127.0.0.1:PORT/!/a.jpg", Reason.SCHEME),
    ("view-source:http://127.0.0.1:PORT/", Reason.SCHEME),
    ("url:http://127.0.0.1:PORT/", Reason.SCHEME),
    ("blob:http://127.0.0.1:PORT/", Reason.SCHEME),
    ("//127.0.0.1:PORT/a.jpg", Reason.SCHEME),
    ("127.0.0.1:PORT/a.jpg", Reason.SCHEME),
    ("a.jpg", Reason.SCHEME),
    ("", Reason.SCHEME),
    ("http://user@127.0.0.1:PORT/", Reason.CREDENTIALS),
    ("http://user:word@127.0.0.1:PORT/", Reason.CREDENTIALS),
    ("http://@127.0.0.1:PORT/", Reason.CREDENTIALS),
    (f"http://{PUBLIC}@127.0.0.1:PORT/", Reason.CREDENTIALS),
    (f"http://{PUBLIC}:80@127.0.0.1:PORT/", Reason.CREDENTIALS),
    (f"http://127.0.0.1:PORT@{PUBLIC}/", Reason.CREDENTIALS),
    (f"http://{PUBLIC}%40@127.0.0.1:PORT/", Reason.CREDENTIALS),
    (f"http://{PUBLIC}&@127.0.0.1:PORT#@{PUBLIC}/", Reason.CREDENTIALS),
    (f"http://{PUBLIC}\\@127.0.0.1:PORT/", Reason.BAD_URL),
    (f"http://127.0.0.1:PORT\\@{PUBLIC}/", Reason.BAD_URL),
    ("http:\\\\127.0.0.1:PORT\\a.jpg", Reason.BAD_URL),
    ("http://127.0.0.1\t:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1:PORT/\r\nHost: x", Reason.BAD_URL),
    ("ht\ntp://127.0.0.1:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1:PORT/\0", Reason.BAD_URL),
    ("http://127.0.0.1 :PORT/", Reason.BAD_URL),
    (f"http://127.0.0.1:PORT {PUBLIC}/", Reason.BAD_URL),
    ("http://%31%32%37.0.0.1:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1%00:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1%2f:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1:PORT:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1:-1/", Reason.BAD_URL),
    ("http://127.0.0.1:0/", Reason.BAD_URL),
    ("http://127.0.0.1:99999/", Reason.BAD_URL),
    ("http://127.0.0.1:http/", Reason.BAD_URL),
    ("http://[::1:PORT/", Reason.BAD_URL),
    ("http://::1:PORT/", Reason.BAD_URL),
    ("http://[127.0.0.1]:PORT/", Reason.BAD_URL),
    ("http://[v1.127.0.0.1]:PORT/", Reason.BAD_URL),
    ("http:///127.0.0.1:PORT/", Reason.BAD_URL),
    ("http:127.0.0.1:PORT/", Reason.BAD_URL),
    ("http://", Reason.BAD_URL),
    ("http://?127.0.0.1", Reason.BAD_URL),
    ("http://..:PORT/", Reason.BAD_URL),
    ("http://127..0.1:PORT/", Reason.BAD_URL),
    (f"http://{'a' * 64}.test:PORT/", Reason.BAD_URL),
    ("http://127.0.0.1℀:PORT/", Reason.BAD_URL),
    (f"http://127.0.0.1:PORT/{'a' * 9000}", Reason.BAD_URL),
    ("http://127.0.0.1:PORT/\ud800", Reason.BAD_URL),
    ("http://256.0.0.1:PORT/", UNKNOWN),
    ("http://127.0.0.0.1:PORT/", UNKNOWN),
    ("http://0x7g.1:PORT/", UNKNOWN),
    ("http://nobody.test:PORT/", UNKNOWN),
    ("http://unheard-of.test:PORT/", UNKNOWN),
]

HOSTILE = [
    *((f"http://{host}:PORT/a.jpg", BLOCKED) for host in HOSTS_BLOCKED),
    *((f"https://{host}:PORT/a.jpg", BLOCKED) for host in HOSTS_BLOCKED[::6]),
    ("HTTP://127.0.0.1:PORT/a.jpg", BLOCKED),
    (" http://127.0.0.1:PORT/a.jpg ", BLOCKED),
    ("http://127.0.0.1:PORT?a.jpg", BLOCKED),
    (f"http://127.0.0.1:PORT#@{PUBLIC}/", BLOCKED),
    ("http://127.0.0.1./a.jpg", UNKNOWN),
    *URLS_REFUSED,
]


@pytest.fixture(scope="module")
def listener() -> Iterator[Server]:
    """Whoever gets through, gets through to here."""
    with Server() as server:
        yield server


def connect_at_home(address: str, port: int, seconds: float) -> socket.socket:
    """Let through, for the listener to see, what a broken check would let through; and nothing off this machine."""
    meant = ip_address(address)
    if meant.is_loopback or meant.is_unspecified:
        return system_connect(address, port, min(seconds, 1))
    raise AssertionError(f"would have connected to {address}")


@pytest.mark.parametrize(("url", "reason"), HOSTILE, ids=[ascii(url)[:60] for url, _ in HOSTILE])
def test_a_hostile_url_ends_in_a_reason_and_reaches_nobody(url: str, reason: Reason, listener: Server) -> None:
    with pytest.raises(ImageRefused) as refusal:
        fetch(url.replace("PORT", str(listener.port)), network=Network(resolve, connect_at_home))
    assert refusal.value.reason is reason
    assert listener.requests == []


def test_there_are_two_hundred_hostile_urls() -> None:
    assert len({url for url, _ in HOSTILE}) >= 200


def test_the_listener_would_have_noticed() -> None:
    with Server() as server, pytest.raises(ImageRefused):
        fetch(server.url("/a.jpg"), limits=OWN, network=Network(resolve, connect_at_home))
    assert len(server.requests) == 1


REDIRECTED = [*HOSTILE[::3], ("http://[::1]:PORT/", BLOCKED), ("/\\127.0.0.1:PORT/", Reason.BAD_URL)]


@pytest.fixture(scope="module")
def open_redirect() -> Iterator[Server]:
    """A public server, played on the loopback, that sends its visitors wherever they say."""
    with Server() as server:
        yield server


def public_and_home(public: Server) -> Callable[[str, int, float], socket.socket]:
    """PUBLIC is played by a server of ours; any other address is for the listener to see."""

    def connect(address: str, port: int, seconds: float) -> socket.socket:
        if address == PUBLIC:
            return system_connect(public.host, public.port, seconds)
        return connect_at_home(address, port, seconds)

    return connect


@pytest.mark.parametrize(("url", "reason"), REDIRECTED, ids=[ascii(url)[:60] for url, _ in REDIRECTED])
def test_a_redirect_is_judged_like_the_first_url(
    url: str, reason: Reason, listener: Server, open_redirect: Server
) -> None:
    location = url.replace("PORT", str(listener.port)).encode("utf-8", "replace").decode("latin-1")
    open_redirect.scripts["/"] = [redirect(location)]
    open_redirect.requests.clear()
    with pytest.raises(ImageRefused) as refusal:
        fetch(f"http://{PUBLIC}/", network=Network(resolve, public_and_home(open_redirect)))
    if re.match(r"[a-z]+://[^/\s]", url):  # any other is a path on the server that names it
        assert refusal.value.reason is reason
    assert len(open_redirect.requests) >= 1  # the first hop was made, so the second was truly judged
    assert listener.requests == []


def test_a_name_that_is_rebound_between_hops_is_judged_again(listener: Server) -> None:
    answers = [[PUBLIC], ["127.0.0.1"]]
    with Server({"/": [redirect(f"http://twice.test:{listener.port}/")]}) as public:
        network = Network(lambda host, port: answers.pop(0), public_and_home(public))
        with pytest.raises(ImageRefused, match="blocked address"):
            fetch("http://twice.test/", network=network)
    assert answers == []
    assert listener.requests == []


def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    """A name server that answers differently each time is asked once for a connection, and its answer is used."""
    asked: list[str] = []
    connected: list[str] = []

    def flutter(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    with Server({"/": [answer()]}) as public:

        def connect(address: str, port: int, seconds: float) -> socket.socket:
            connected.append(address)
            return system_connect(public.host, public.port, seconds)

        assert fetch("http://flutter.test/", network=Network(flutter, connect)) == PHOTOGRAPH
    assert (asked, connected) == (["flutter.test"], [PUBLIC])


@pytest.mark.parametrize(
    "address",
    [
        *["93.184.216.34", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255"],
        *["2606:2800:220:1::1", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
    ],
)
def test_a_public_address_is_let_through(address: str) -> None:
    assert check_address(address) == ip_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00::1", "::ffff:127.0.0.1"])
def test_a_users_own_server_is_open_when_private_addresses_are_allowed(address: str) -> None:
    assert check_address(address, allow_private=True) == ip_address(address)


METADATA = {
    "169.254.169.254": "nearly all clouds",
    "169.254.170.2": "Amazon, containers",
    "169.254.170.23": "Amazon, pods",
    "169.254.0.23": "Tencent",
    "100.100.100.200": "Alibaba",
    "168.63.129.16": "Azure",
    "192.0.0.192": "Oracle",
    "fd00:ec2::254": "Amazon",
    "fd00:ec2::23": "Amazon, pods",
    "fd20:ce::254": "Google",
    "fd00:c1::a9fe:a9fe": "Oracle",
    "fe80::a9fe:a9fe": "OpenStack",
    "fe80::a9fe:a9fe%1": "with a scope",
    "fd00:ec2::254%1": "with a scope",
    "::ffff:169.254.169.254": "mapped",
    "::ffff:100.100.100.200": "mapped",
    "::ffff:0:100.100.100.200": "translated",
    "::100.100.100.200": "compatible",
    "64:ff9b::100.100.100.200": "NAT64",
    "64:ff9b::169.254.169.254": "NAT64",
    "64:ff9b:1::169.254.169.254": "NAT64 of one's own",
    "fd12:3456::100.100.100.200": "NAT64 under a private prefix",
    "fd12:3456::5efe:168.63.129.16": "ISATAP",
    "2002:a9fe:a9fe::1": "6to4",
    "2002:6464:64c8::1": "6to4",
    "2001:0:1:2::a9fe:a9fe": "Teredo",
}


@pytest.mark.parametrize("address", METADATA)
def test_no_option_opens_the_metadata_service_of_a_cloud(address: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(ImageRefused, match="blocked address"):
            check_address(address, allow_private=allow_private)


@pytest.mark.parametrize("address", ["100.100.100.199", "fd00:ec3::254", "fd12:3456::a9fe:a9ff", "10.168.63.129"])
def test_what_lies_beside_a_metadata_service_is_a_users_own(address: str) -> None:
    assert check_address(address, allow_private=True) == ip_address(address)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.1.2.3", "224.0.0.1", "fe80::1", "::", "255.255.255.255"])
def test_no_option_opens_link_local_or_multicast(address: str) -> None:
    with pytest.raises(ImageRefused, match="blocked address"):
        check_address(address, allow_private=True)


def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch, listener: Server) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, listener.url(""))
    assert fetched(answer()) == PHOTOGRAPH
    assert listener.requests == []


# --- what a fetch sends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("http://a.test", Target(False, "a.test", 80, "/"), "a.test"),
        ("https://A.test:443/x?y=1#z", Target(True, "a.test", 443, "/x?y=1"), "a.test"),
        ("https://a.test:80/x", Target(True, "a.test", 80, "/x"), "a.test:80"),
        ("http://a.test/two words/ü+%20.jpg", Target(False, "a.test", 80, "/two%20words/%C3%BC+%20.jpg"), "a.test"),
        ("http://bücher.test/", Target(False, "xn--bcher-kva.test", 80, "/"), "xn--bcher-kva.test"),
        ("http://[2a00::1]:8080/", Target(False, "2a00::1", 8080, "/"), "[2a00::1]:8080"),
        ("http://a.test?q=a b", Target(False, "a.test", 80, "/?q=a%20b"), "a.test"),
    ],
)
def test_a_url_is_sent_in_ascii(url: str, target: Target, authority: str) -> None:
    assert read_url(url) == target
    assert target.authority == authority


def test_the_request_names_the_host_and_asks_for_no_compression() -> None:
    with Server({"/a.jpg?x": [answer()]}) as server:
        network = Network(resolve=lambda host, port: ["127.0.0.1"])
        fetch(f"http://photographs.test:{server.port}/a.jpg?x", limits=OWN, network=network)
    lines = server.requests[0].split("\r\n")
    assert lines[0] == "GET /a.jpg?x HTTP/1.1"
    assert f"Host: photographs.test:{server.port}" in lines
    assert "Accept-Encoding: identity" in lines
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in lines)


def test_the_second_address_is_tried_when_the_first_is_dead() -> None:
    with Server({"/": [answer()]}) as server:

        def connect(address: str, port: int, seconds: float) -> socket.socket:
            if address == "127.0.0.9":
                raise ConnectionRefusedError
            return system_connect(address, port, seconds)

        network = Network(lambda host, port: ["127.0.0.9", "127.0.0.1"], connect)
        assert fetch(f"http://two.test:{server.port}/", limits=OWN, network=network) == PHOTOGRAPH


def test_ipv6_is_spoken() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with Server({"/a.jpg": [answer()]}, host="::1") as server:
        assert fetch(server.url("/a.jpg"), limits=OWN) == PHOTOGRAPH


def test_the_systems_resolver_reads_a_number() -> None:
    assert system_resolve("2130706433", 80) == ["127.0.0.1"]


# --- servers that misbehave ------------------------------------------------------------------------------------------


def chunked(*parts: bytes, size: str | None = None) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(f"{size or format(len(part), 'x')}\r\n".encode() + part + b"\r\n" for part in parts)


def test_a_photograph_is_fetched_however_it_is_framed() -> None:
    assert fetched(answer()) == PHOTOGRAPH
    assert fetched(chunked(PHOTOGRAPH[:10], PHOTOGRAPH[10:], b"")) == PHOTOGRAPH
    assert fetched(b"HTTP/1.0 200 OK\r\n\r\n" + PHOTOGRAPH) == PHOTOGRAPH
    assert fetched(answer()[:30], 0.05, answer()[30:]) == PHOTOGRAPH


def test_ten_megabytes_are_fetched_and_not_a_byte_more() -> None:
    limit = OWN.size
    assert limit == 10_000_000
    assert len(fetched(answer(photograph(limit)))) == limit
    more = photograph(limit + 1)
    assert refused(answer(more)).reason is Reason.TOO_LARGE
    assert refused(chunked(more, b"")).reason is Reason.TOO_LARGE
    assert refused(b"HTTP/1.0 200 OK\r\n\r\n" + more).reason is Reason.TOO_LARGE


SMALL = Limits(seconds=60, size=100_000, allow_private_addresses=True)
FLOOD = [photograph(65_536)] * 400

MISBEHAVIOUR: dict[str, tuple[Sequence[Step], Reason]] = {
    "declares too much": ([answer(length=10**12)], Reason.TOO_LARGE),
    "sends without end": ([b"HTTP/1.0 200 OK\r\n\r\n", *FLOOD], Reason.TOO_LARGE),
    "chunk of a negative size": ([chunked(b"", size="-1"), *FLOOD], Reason.TOO_LARGE),
    "chunk of an enormous size": ([chunked(PHOTOGRAPH, size="f" * 30), *FLOOD], Reason.TOO_LARGE),
    "header without end": ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000], Reason.BAD_RESPONSE),
    "headers without end": ([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 1000] * 20], Reason.BAD_RESPONSE),
    "continues without end": ([b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000], Reason.TOO_LARGE),
    "body cut short": ([answer(length=len(PHOTOGRAPH) + 1)], Reason.CUT_SHORT),
    "body missing": ([answer(b"", length=10)], Reason.CUT_SHORT),
    "chunk cut short": ([chunked(PHOTOGRAPH)], Reason.CUT_SHORT),
    "chunk of no size": ([chunked(PHOTOGRAPH, size="photograph")], Reason.CUT_SHORT),
    "empty": ([answer(b"")], Reason.EMPTY),
    "hangs up": ([], Reason.CONNECTION_FAILED),
    "resets": (["reset"], Reason.CONNECTION_FAILED),
    "resets in the middle": ([answer(length=10**5), 0.05, "reset"], Reason.CONNECTION_FAILED),
    "speaks another language": ([b"SSH-2.0-OpenSSH_9.2\r\n"], Reason.BAD_RESPONSE),
    "status of nine digits": ([b"HTTP/1.1 200000000 OK\r\n\r\n"], Reason.BAD_RESPONSE),
    "web page": ([answer(b"<html>" * 1000, "200 OK", "Content-Type: image/jpeg")], Reason.NOT_AN_IMAGE),
    "svg": ([answer(b"<svg/>", "200 OK", "Content-Type: image/svg+xml")], Reason.UNSUPPORTED_FORMAT),
    "compresses unasked": (
        [answer(b"\x1f\x8b\x08" + bytes(90), "200 OK", "Content-Encoding: gzip")],
        Reason.NOT_AN_IMAGE,
    ),
    "no content": ([answer(b"", "204 No Content")], Reason.BAD_RESPONSE),
    "a part unasked": ([answer(PHOTOGRAPH, "206 Partial Content")], Reason.BAD_RESPONSE),
    "not modified": ([answer(b"", "304 Not Modified")], Reason.BAD_RESPONSE),
    "redirect to nowhere": ([answer(b"", "302 Found")], Reason.BAD_RESPONSE),
    "redirect to a broken host": ([redirect("http://[::")], Reason.BAD_URL),
    "redirect to itself": ([redirect("/a.jpg")], Reason.TOO_MANY_REDIRECTS),
    "redirect to a file": ([redirect("file:///etc/hostname")], Reason.SCHEME),
    "redirect with credentials": ([redirect("http://me@127.0.0.1/")], Reason.CREDENTIALS),
    "gone": ([answer(b"", "410 Gone")], Reason.NOT_FOUND),
    "forbidden": ([answer(b"", "403 Forbidden")], Reason.REFUSED_BY_SERVER),
    "broken": ([answer(b"", "500 Internal Server Error")], Reason.SERVER_ERROR),
    "slow to ask": ([answer(b"", "408 Request Timeout")], Reason.SERVER_ERROR),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_a_server_that_misbehaves_gets_its_reason(name: str) -> None:
    steps, reason = MISBEHAVIOUR[name]
    assert refused(*steps, limits=SMALL).reason is reason


def test_what_is_no_photograph_is_broken_off_at_once() -> None:
    """Who waited for the rest would find that it does not come: another reason."""
    refusal = refused(answer(b"<html>" * 10_000, length=90_000), 30.0, limits=SMALL)
    assert refusal.reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_three_redirects_are_followed_and_a_fourth_is_not(status: str) -> None:
    hops = {f"/{hop}": [redirect(f"../{hop + 1}", status)] for hop in range(4)}
    with Server({**hops, "/4": [answer()]}) as server:
        assert fetch(server.url("/1"), limits=OWN) == PHOTOGRAPH
        with pytest.raises(ImageRefused, match="too many redirects"):
            fetch(server.url("/0"), limits=OWN)


@pytest.mark.parametrize("location", ["/caf\u00e9.jpg", "/caf%C3%A9.jpg"])
def test_a_redirect_in_utf8_is_followed_as_it_is_meant(location: str) -> None:
    on_the_wire = location.encode().decode("latin-1")
    with Server({"/": [redirect(on_the_wire)], "/caf%C3%A9.jpg": [answer()]}) as server:
        assert fetch(server.url("/"), limits=OWN) == PHOTOGRAPH


BRIEF = Limits(seconds=0.25, allow_private_addresses=True)
DRIP: list[Step] = [step for byte in PHOTOGRAPH for step in (bytes([byte]), 0.05)]
ONE_CHUNK: list[Step] = [b"1\r\nx\r\n", 0.05]
STALLS: dict[str, Sequence[Step]] = {
    "never answers": [60.0],
    "never ends its headers": [b"HTTP/1.1 200 OK\r\n", 60.0],
    "drips its headers": DRIP,
    "drips its body": [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", *DRIP],
    "drips its chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *ONE_CHUNK * 1000],
    "drips a redirect": [0.15, redirect("/a.jpg")],
}


@pytest.mark.parametrize("name", STALLS)
def test_the_time_limit_holds_for_the_whole_of_a_fetch(name: str) -> None:
    """Every wait is for what is left of the limit when it begins: less than the wait before it had."""
    waits: list[float] = []

    class Watched(socket.socket):
        def settimeout(self, seconds: float | None) -> None:
            assert seconds is not None
            waits.append(seconds)
            super().settimeout(seconds)

    def connect(address: str, port: int, seconds: float) -> socket.socket:
        waits.append(seconds)
        return Watched(fileno=system_connect(address, port, seconds).detach())

    with Server({"/a.jpg": STALLS[name]}) as server, pytest.raises(ImageRefused) as refusal:
        fetch(server.url("/a.jpg"), limits=BRIEF, network=Network(connect=connect))
    assert refusal.value.reason is Reason.TIMED_OUT
    assert all(left < before for before, left in pairwise([BRIEF.seconds, *waits]))


def test_a_stalled_name_server_is_not_waited_for() -> None:
    over = threading.Event()
    answered: list[str] = []

    def stall(host: str, port: int) -> list[str]:
        over.wait(60)
        answered.append(host)
        return ["127.0.0.1"]

    with pytest.raises(ImageRefused, match="timed out"):
        fetch("http://slow.test/", limits=BRIEF, network=Network(stall, connect_at_home))
    assert answered == []
    over.set()


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        *[("7", 7.0), ("0", 0.0), ("soon", None), ("", None), ("-1", None), ("²", None), ("9" * 400, float("inf"))],
        (formatdate(0, usegmt=True), 0.0),
    ],
)
def test_a_server_may_say_when_to_come_back(header: str, wait: float | None) -> None:
    assert asked_to_come_back(header) == wait


def asked_to_come_back(header: str) -> float | None:
    refusal = refused(answer(b"", "429 Too Many Requests", f"Retry-After: {header}"))
    assert refusal.reason is Reason.TOO_MANY_REQUESTS
    assert isinstance(refusal, FetchRefused)
    return refusal.retry_after


def test_a_server_may_name_the_moment_to_come_back() -> None:
    moment = int(time.time()) + 3600  # the header's moments are whole seconds
    before = time.time()
    wait = asked_to_come_back(formatdate(moment, usegmt=True))
    assert wait is not None
    assert moment - time.time() <= wait <= moment - before


# --- https -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for photographs.test and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "both.pem"
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            *["-subj", "/CN=photographs.test", "-addext", "subjectAltName=DNS:photographs.test", "-days", "2"],
            *["-keyout", "key.pem", "-out", "certificate.pem"],
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    made.write_text((folder / "key.pem").read_text() + (folder / "certificate.pem").read_text())
    return made


@pytest.fixture
def secure(certificate: Path) -> Iterator[tuple[Server, list[Any], Callable[[], ssl.SSLContext]]]:
    """A server with that certificate, the names that it was asked for, and a client's trust in it."""
    asked: list[Any] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda connection, name, _: asked.append(name)
    with Server({"/a.jpg": [answer()]}, tls=context) as server:
        yield server, asked, lambda: ssl.create_default_context(cafile=str(certificate))


def test_the_name_of_the_url_is_the_name_in_the_handshake(
    secure: tuple[Server, list[Any], Callable[[], ssl.SSLContext]],
) -> None:
    server, asked, trust = secure
    network = Network(lambda host, port: ["127.0.0.1"], system_connect, trust)
    assert fetch(f"https://photographs.test:{server.port}/a.jpg", limits=OWN, network=network) == PHOTOGRAPH
    assert asked == ["photographs.test"]
    assert f"Host: photographs.test:{server.port}" in server.requests[0]


def test_a_certificate_for_another_name_or_from_nobody_is_refused(
    secure: tuple[Server, list[Any], Callable[[], ssl.SSLContext]],
) -> None:
    server, _, trust = secure
    for host, tls in (("other.test", trust), ("photographs.test", ssl.create_default_context)):
        network = Network(lambda host, port: ["127.0.0.1"], system_connect, tls)
        with pytest.raises(ImageRefused, match="certificate refused"):
            fetch(f"https://{host}:{server.port}/a.jpg", limits=OWN, network=network)
    assert server.requests == []


def test_a_server_without_tls_is_a_failed_connection() -> None:
    with Server({"/a.jpg": [answer()]}) as server, pytest.raises(ImageRefused, match="connection failed"):
        fetch(server.url("/a.jpg").replace("http:", "https:"), limits=OWN)
