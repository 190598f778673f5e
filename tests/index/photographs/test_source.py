"""References that lead to photographs, and references that try to leave their folder."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from index.errors import UsageError
from index.photographs.cache import PhotographCache
from index.photographs.fetch import Network
from index.photographs.formats import MAX_BYTES, ImageRefused, Reason
from index.photographs.source import Photographs

# --- where a reference leads -----------------------------------------------------------------------------------------


def encoded(width: int, height: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


PHOTOGRAPH = encoded(64, 48, "JPEG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`photos/` holds what may be read; the secret lies beside it."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for name in ("a.jpg", "51+PFEe-w-L.jpg", "two words.jpg", "deep/b.jpg"):
        (photos / name).write_bytes(PHOTOGRAPH)
    (tmp_path / "secret.jpg").write_bytes(PHOTOGRAPH)
    (photos / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (photos / "up").symlink_to(tmp_path)
    (photos / "in.jpg").symlink_to(photos / "a.jpg")
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    (photos / "empty.jpg").touch()
    (photos / "large.jpg").write_bytes(PHOTOGRAPH.ljust(MAX_BYTES + 1, b"\0"))
    os.mkfifo(photos / "pipe.jpg")
    return photos


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/x/y/a.jpg",
        "http://example.com/a.jpg?width=300#top",
        "https://example.com/51+PFEe-w-L.jpg",
        "https://example.com/two%20words.jpg",
        "https://example.com/in.jpg",
        "a.jpg",
        "deep/b.jpg",
        " deep/../a.jpg ",
        "https://example.com/deep/b.jpg",
        "https://example.com/A.JPG",
        "Deep/B.jpg",
        "/deep/b.jpg",
        "/media/product/a.jpg",
        "/p/A.JPG?v=17",
        "a.jpg?v=17",
        "//cdn.example.com/files/a.jpg?v=17",
        "a.jpg|51+PFEe-w-L.jpg",
        "https://example.com/a.jpg;https://example.com/absent.jpg",
    ],
)
def test_a_reference_finds_its_file_below_the_image_folder(folder: Path, reference: str) -> None:
    photographs = Photographs(image_dir=folder)
    assert photographs.read(reference).shape == (48, 64, 3)
    assert photographs.fingerprint(reference) == hashlib.sha256(PHOTOGRAPH).hexdigest()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("", Reason.MISSING),
        ("https://example.com/", Reason.MISSING),
        ("https://example.com/absent.jpg", Reason.MISSING),
        ("https://example.com/..", Reason.OUTSIDE_FOLDER),
        ("https://example.com/%2e%2e%2fsecret.jpg", Reason.OUTSIDE_FOLDER),
        ("https://example.com/..%2Fphotos%2F..%2Fsecret.jpg", Reason.OUTSIDE_FOLDER),
        ("https://example.com/%2Fetc%2Fpasswd", Reason.OUTSIDE_FOLDER),
        ("https://example.com/out.jpg", Reason.OUTSIDE_FOLDER),
        ("https://example.com/up%2Fsecret.jpg", Reason.OUTSIDE_FOLDER),
        ("https://example.com/a.jpg%00.png", Reason.MISSING),
        ("https://example.com/" + "a" * 5000, Reason.UNREADABLE),
        ("https://[broken/a.jpg", Reason.BAD_URL),
        ("../secret.jpg", Reason.OUTSIDE_FOLDER),
        ("up/secret.jpg", Reason.OUTSIDE_FOLDER),
        ("out.jpg", Reason.OUTSIDE_FOLDER),
        ("loop.jpg", Reason.UNREADABLE),
        ("a.jpg/b.jpg", Reason.MISSING),
        (".", Reason.UNREADABLE),
        ("deep", Reason.UNREADABLE),
        ("pipe.jpg", Reason.UNREADABLE),
        ("empty.jpg", Reason.EMPTY),
        ("large.jpg", Reason.TOO_LARGE),
        ("/etc/hostname", Reason.MISSING),
        ("/../secret.jpg", Reason.MISSING),
        ("/up/secret.jpg", Reason.MISSING),
        ("/UP/SECRET.JPG", Reason.MISSING),
        ("UP/secret.jpg", Reason.MISSING),
        ("DEEP/../../SECRET.jpg", Reason.OUTSIDE_FOLDER),
        ("file:///etc/hostname", Reason.PATH_NOT_ALLOWED),
        ("FILE:a.jpg", Reason.PATH_NOT_ALLOWED),
        ("ftp://example.com/a.jpg", Reason.SCHEME),
        ("data:image/png;base64,AAAA", Reason.SCHEME),
        ("javascript:alert(1)", Reason.SCHEME),
    ],
)
def test_a_reference_never_leaves_its_folder(folder: Path, reference: str, reason: Reason) -> None:
    with pytest.raises(ImageRefused) as refusal:
        Photographs(image_dir=folder).read(reference)
    assert refusal.value.reason is reason


def test_a_name_in_its_own_case_wins_and_a_folder_is_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["p1.jpg", "P1.jpg", *(f"q{number}.jpg" for number in range(20))]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes([number]))
    listings: list[Path] = []
    iterdir = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listings.append(folder) or iterdir(folder))
    photographs = Photographs(image_dir=tmp_path)
    assert [photographs.read_bytes(name)[0] for name in names] == list(range(22))
    assert listings == []
    assert [photographs.read_bytes(name.upper())[0] for name in names[2:]] == list(range(2, 22))
    assert photographs.read_bytes("P1.JPG") == photographs.read_bytes("P1.jpg")  # of two, the first in order
    assert listings == [tmp_path]


def test_of_folders_with_the_same_names_the_one_of_the_url_is_taken(tmp_path: Path) -> None:
    for folder in ("000", "001"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.jpg").write_bytes(folder.encode())
    (tmp_path / "0.jpg").write_bytes(b"flat")
    photographs = Photographs(image_dir=tmp_path)
    for folder, found in (("000", b"000"), ("001", b"001"), ("002", b"flat")):
        assert photographs.read_bytes(f"https://shop.invalid/media/{folder}/0.jpg") == found


@pytest.mark.parametrize("name", ["61%2BhWhoJ.jpg", "61+hWhoJ.jpg"])
def test_a_file_may_be_named_as_its_url_spells_it_or_as_that_is_meant(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PHOTOGRAPH)
    assert Photographs(image_dir=tmp_path).read_bytes("https://shop.invalid/i/61%2BhWhoJ.jpg?v=1") == PHOTOGRAPH


def test_the_catalogues_own_folder_is_looked_in_second(folder: Path, tmp_path: Path) -> None:
    photographs = Photographs(image_dir=folder / "deep", base_dir=tmp_path)
    assert photographs.read("b.jpg").shape == photographs.read("photos/a.jpg").shape
    with pytest.raises(ImageRefused, match="missing"):
        photographs.read("a.jpg")


def test_a_path_is_open_to_the_command_line_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Photographs(allow_paths=True)
    monkeypatch.chdir(folder)
    spaced = f"file://{folder}/two%20words.jpg"
    for reference in (str(folder / "a.jpg"), f"file://{folder}/a.jpg", spaced, "../secret.jpg", "out.jpg"):
        assert named.read(reference).shape == (48, 64, 3)
        with pytest.raises(ImageRefused):
            Photographs().read(reference)
    for reference, reason in (("absent.jpg", "missing"), ("/dev/zero", "unreadable"), ("file://host/x", "not allowed")):
        with pytest.raises(ImageRefused, match=reason):
            named.read(reference)


def test_an_image_folder_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no folder"):
        Photographs(image_dir=tmp_path / "absent")


# --- the cache and the web -------------------------------------------------------------------------------------------

URL = "https://photographs.test/a.jpg"


def no_network() -> Network:
    def forbidden(*_: object) -> Any:
        raise AssertionError("asked the network")

    return Network(resolve=forbidden, connect=forbidden, tls=forbidden)


def settle(folder: Path, url: str, outcome: bytes | Reason) -> PhotographCache:
    cache = PhotographCache(folder)
    links = cache.connect()
    if isinstance(outcome, bytes):
        cache.record(links, url, cache.write(outcome))
    else:
        cache.record_refusal(links, url, outcome)
    links.close()
    return cache


def test_a_fetched_photograph_is_read_from_the_cache(tmp_path: Path) -> None:
    settle(tmp_path, URL, PHOTOGRAPH)
    photographs = Photographs(cache_dir=tmp_path, fetch_missing=True, network=no_network())
    assert photographs.read(URL).shape == photographs.read(f"{URL}#large").shape == (48, 64, 3)


def test_a_photograph_of_the_cache_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(tmp_path, URL, PHOTOGRAPH)
    hashed: list[bytes] = []
    sha256 = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda data: hashed.append(data) or sha256(data))
    assert Photographs(cache_dir=tmp_path).fingerprint(URL) == sha256(PHOTOGRAPH).hexdigest()
    assert hashed == [PHOTOGRAPH]


def test_a_url_is_not_fetched_unless_that_was_asked_for(tmp_path: Path) -> None:
    photographs = Photographs(cache_dir=tmp_path / "cache", network=no_network())
    with pytest.raises(ImageRefused, match="not fetched"):
        photographs.read(URL)
    assert not (tmp_path / "cache").exists()


def test_a_remembered_refusal_is_not_asked_again(tmp_path: Path) -> None:
    settle(tmp_path, URL, Reason.NOT_FOUND)
    photographs = Photographs(cache_dir=tmp_path, fetch_missing=True, network=no_network())
    with pytest.raises(ImageRefused, match="not found"):
        photographs.read(URL)


def test_a_blocked_address_is_asked_again_once_private_ones_are_allowed(tmp_path: Path) -> None:
    settle(tmp_path, URL, Reason.BLOCKED_ADDRESS)

    def refused(address: str, port: int, seconds: float) -> Any:
        raise ConnectionRefusedError(address)

    network = Network(resolve=lambda host, port: ["192.168.0.7"], connect=refused)
    for allowed, reason in ((False, "blocked"), (True, "connection failed")):
        photographs = Photographs(
            cache_dir=tmp_path, fetch_missing=True, allow_private_addresses=allowed, network=network
        )
        with pytest.raises(ImageRefused, match=reason):
            photographs.read(URL)


def test_a_flipped_bit_in_the_cache_is_a_photograph_not_had(tmp_path: Path) -> None:
    cache = settle(tmp_path, URL, PHOTOGRAPH)
    digest = hashlib.sha256(PHOTOGRAPH).hexdigest()
    path = tmp_path / digest[:2] / digest
    path.write_bytes(PHOTOGRAPH[:-1] + b"\0")
    with pytest.raises(ImageRefused, match="not fetched"):
        Photographs(cache_dir=tmp_path).read(URL)
    assert not path.exists() and cache.read(digest) is None


def test_a_damaged_photograph_that_cannot_be_deleted_is_not_had_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system")

    cache = settle(tmp_path, URL, PHOTOGRAPH)
    digest = hashlib.sha256(PHOTOGRAPH).hexdigest()
    (tmp_path / digest[:2] / digest).write_bytes(b"other")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert cache.read(digest) is None


def test_the_image_folder_comes_before_the_cache(folder: Path, tmp_path: Path) -> None:
    other = encoded(20, 10, "PNG")
    settle(tmp_path / "cache", URL, other)
    settle(tmp_path / "cache", "https://photographs.test/elsewhere.jpg", other)
    photographs = Photographs(image_dir=folder, cache_dir=tmp_path / "cache")
    assert photographs.read(URL).shape == (48, 64, 3)
    assert photographs.read("https://photographs.test/elsewhere.jpg").shape == (10, 20, 3)


def test_a_lookup_that_fails_is_refused_and_not_remembered(tmp_path: Path) -> None:
    def nobody(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    photographs = Photographs(cache_dir=tmp_path, fetch_missing=True, network=Network(resolve=nobody))
    with pytest.raises(ImageRefused, match="host not found"):
        photographs.read(URL)
    assert PhotographCache(tmp_path).find(URL) is None
