"""Bring an index that is named by a URI from its object store to this machine, once.

`s3://`, `gs://`, `abfss://`, `hdfs://` and `file://` by Arrow's own file systems; credentials are looked for where they
look (environment, profile, the machine's role). Only the current generation is brought, file by file as its manifest
names them, each checked by its sha256 while it is written; what is here already is not brought again, unless it is
damaged: a process checks a copy once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.contents import MOST_JSON, WrongContents, expect, parse_json
from index.errors import DownloadNeeded, IndexUnusable, UsageError
from index.files import PARTIAL, NotRegular, fsync_tree, require_regular, sha256_files
from index.shortage import shortage
from index.storage.layout import CURRENT, MANIFEST, is_file_of_generation

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CACHE_VARIABLE = "PRICE_CACHE"
"""Environment variable that names the folder for indexes copied from object stores."""
CHUNK = 2**23  # bytes
ABANDONED = 24 * 3600  # seconds without a byte after which nobody is bringing an index any more
ATTEMPTS = 5  # to bring an index that is replaced in the store while it is brought
_GENERATION = re.compile(r"gen-[0-9]{6,}")
_checked: set[Path] = set()
"""Copies that this process has found whole."""


def local_index(index: str | Path) -> Path:
    """The folder of an index: a path as it is, the index of a URI after it has been brought here.

    DownloadNeeded where the store does not give it, IndexUnusable where what it gives is no index, UsageError where it
    cannot be kept on this machine.
    """
    if isinstance(index, Path) or "://" not in index:
        return Path(index)
    shown = without_secrets(index)
    with _refusals(shown):
        store, root = _open(index)
    folder = _folder(shown)
    with _local_refusals(folder):
        return _brought(store, root, folder, shown)


def without_secrets(uri: str) -> str:
    """A URI that may be shown: without a user, a password, and options, which may be keys."""
    scheme, _, rest = uri.partition("://")
    place = rest.partition("?")[0].partition("#")[0].rstrip("/")
    # The last @, for a password that should have been percent-encoded may hold a slash; a file has no user.
    return f"{scheme}://{place if scheme == 'file' else place.rpartition('@')[2]}"


def _open(uri: str) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem

    store, root = FileSystem.from_uri(uri)
    return store, root.rstrip("/")


def _folder(shown: str) -> Path:
    """Folder in which this machine keeps the index of a URI."""
    if given := os.environ.get(CACHE_VARIABLE):
        cache = Path(given)
    elif given := os.environ.get("XDG_CACHE_HOME"):
        cache = Path(given) / "price-engine"
    else:
        try:
            cache = Path.home() / ".cache" / "price-engine"
        except RuntimeError:
            raise UsageError(f"This user has no home folder to keep an index in: set {CACHE_VARIABLE}.") from None
    return cache / "indexes" / hashlib.sha256(shown.encode()).hexdigest()[:32]


def _brought(store: FileSystem, root: str, folder: Path, shown: str) -> Path:
    """Copy the index here; where it is replaced there meanwhile, the one that took its place.

    Several processes may do so at once, side by side, and the first to be done wins.
    """
    for attempt in range(ATTEMPTS):
        name, manifest = _current(store, root, shown), b""
        try:
            manifest = _read(store, f"{root}/{name}/{MANIFEST}", shown)
            # Two indexes that were built alike both begin with gen-000001: the manifest tells them apart.
            here = folder / hashlib.sha256(manifest).hexdigest()[:32]
            if not _is_whole(here, name, manifest, shown):
                _remove(here)
                _bring_generation(store, f"{root}/{name}", manifest, here, shown)
            break
        except IndexUnusable:
            newer = _current(store, root, shown)
            same = newer == name and _read(store, f"{root}/{newer}/{MANIFEST}", shown) == manifest
            if same or attempt == ATTEMPTS - 1:
                raise
    return here


def _is_whole(here: Path, name: str, manifest: bytes, shown: str) -> bool:
    """Tell whether a copy is there and holds the bytes that were brought; what they mean is for who opens it."""
    if here in _checked:
        return (here / CURRENT).exists()
    files = {f"{name}/{path}": sha256 for path, sha256 in _files(manifest, shown).items()}
    own = {CURRENT: _current_file(name), f"{name}/{MANIFEST}": manifest}
    files |= {path: hashlib.sha256(content).hexdigest() for path, content in own.items()}
    try:
        whole = sha256_files(here, files) == files
    except OSError as error:
        if shortage(error):
            raise
        return False
    if whole:
        _checked.add(here)
    return whole


def _remove(here: Path) -> None:
    """Remove a damaged copy, if there is one, out of its place at once: nobody sees a half of it."""
    if here.exists():
        aside = Path(tempfile.mkdtemp(dir=here.parent, suffix=PARTIAL))
        with contextlib.suppress(FileNotFoundError):  # another process is mending it
            here.rename(aside / here.name)
        shutil.rmtree(aside, ignore_errors=True)


def _current_file(name: str) -> bytes:
    return f"{name}\n".encode("ascii")


def _current(store: FileSystem, root: str, shown: str) -> str:
    """Name of the generation that is current in the store."""
    name = _read(store, f"{root}/{CURRENT}", shown).decode("ascii", "replace").strip()
    if not _GENERATION.fullmatch(name):
        raise IndexUnusable(f"{shown} names no generation ({name[:40]!r}): copy the index there again.")
    return name


def _bring_generation(store: FileSystem, generation: str, manifest: bytes, here: Path, shown: str) -> None:
    """Copy every file that a manifest names from the store's folder `generation` to `here`: all or nothing."""
    files, name = _files(manifest, shown), generation.rpartition("/")[2]
    here.parent.mkdir(parents=True, exist_ok=True)
    _sweep(here.parent)
    partial = Path(tempfile.mkdtemp(dir=here.parent, suffix=PARTIAL))
    whole = partial / here.name  # within, for the outer one is nobody's but its owner's, whatever the umask says
    try:
        (whole / name).mkdir(parents=True)
        for path, sha256 in files.items():
            _bring(store, f"{generation}/{path}", whole / name / path, sha256, shown)
        (whole / name / MANIFEST).write_bytes(manifest)
        (whole / CURRENT).write_bytes(_current_file(name))
        fsync_tree(whole)  # or a power cut leaves empty files under their names
        _put(whole, here)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put(whole: Path, here: Path) -> None:
    try:
        whole.rename(here)
    except OSError:
        if not (here / CURRENT).exists():  # else another process was first, with the same bytes
            raise


def _sweep(folder: Path) -> None:
    """Remove what killed processes left; who is at it has written something within the day."""
    for partial in folder.glob(f"*{PARTIAL}"):
        with contextlib.suppress(OSError):  # another process is removing it
            if max(path.stat().st_mtime for path in (partial, *partial.rglob("*"))) < time.time() - ABANDONED:
                shutil.rmtree(partial, ignore_errors=True)


def _files(manifest: bytes, shown: str) -> dict[str, str]:
    """Read path -> sha256 from the manifest; refuse paths that are not a generation's."""
    try:
        files: dict[str, Any] = parse_json(manifest)["files"]
        expect(isinstance(files, dict) and all(map(is_file_of_generation, files)), "its paths lead elsewhere")
    except (WrongContents, KeyError) as error:
        raise IndexUnusable(f"The {MANIFEST} at {shown} is damaged: copy the index there again.") from error
    return files


def _read(store: FileSystem, path: str, shown: str) -> bytes:
    """Read a small file whole, and of one that is not small no more than its beginning."""
    content = bytearray()
    for chunk in _chunks(store, path, shown):
        content += chunk
        if len(content) > MOST_JSON:
            raise IndexUnusable(f"{path.rpartition('/')[2]} at {shown} is too large: copy the index there again.")
    return bytes(content)


def _chunks(store: FileSystem, path: str, shown: str) -> Iterator[bytes]:
    """Yield what the store gives; its errors are kept distinct from those of this machine's disk, raised outside."""
    from pyarrow.fs import LocalFileSystem

    with _refusals(shown), contextlib.ExitStack() as opened:
        if isinstance(store, LocalFileSystem):
            require_regular(path)
        file = opened.enter_context(store.open_input_stream(path))
        while chunk := file.read(CHUNK):
            yield chunk


def _bring(store: FileSystem, path: str, to: Path, sha256: str, shown: str) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with to.open("wb") as target:
        for chunk in _chunks(store, path, shown):
            digest.update(chunk)
            target.write(chunk)
    if digest.hexdigest() != sha256:
        raise IndexUnusable(
            f"{to.name} came with other bytes than the store's manifest says: copy the index there again."
        )


@contextlib.contextmanager
def _refusals(shown: str) -> Iterator[None]:
    """Replace Arrow's errors by ours: its messages may hold keys and signed addresses, so none is passed on."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise IndexUnusable(f"There is no index at {shown}: copy one there, or name another with --index.") from None
    except NotRegular as error:
        raise IndexUnusable(f"A file of the index at {shown} {error.strerror}: copy the index there again.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if shortage(error):
            raise
        raise DownloadNeeded(
            f"The index at {shown} cannot be had ({type(error).__name__}): check the address, the credentials and the "
            "network, or bring the index here and name its folder with --index."
        ) from None


@contextlib.contextmanager
def _local_refusals(folder: Path) -> Iterator[None]:
    """Turn errors of this machine's disk, such as a full one or no permission, into UsageError."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"The index cannot be kept in {folder} ({error.strerror or error}): mend that, or name another folder with "
            f"the environment's {CACHE_VARIABLE}."
        ) from error
