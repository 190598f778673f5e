"""Hub files: asked for by their commit, found again offline, and given up at once when they cannot be had."""

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.encoders import ENCODERS
from index.encoders import hub as hub_module
from index.encoders.hub import is_here
from index.errors import DownloadNeeded

ROOT = Path(__file__).parents[3]
LOCATE = """
import sys, time
from dataclasses import replace
from index.encoders import ENCODERS
from index.encoders.hub import is_here, locate
from index.errors import PriceError
name = sys.argv[1]
time.sleep = lambda seconds: sys.exit(f"waited {seconds} s to try again")
if "unpinned" in sys.argv:
    ENCODERS[name] = replace(ENCODERS[name], revision=None)
print(is_here(name))
try:
    print(sorted(path.name for path in locate(ENCODERS[name], None).iterdir()))
except PriceError as error:
    print(type(error).__name__, error)
print(is_here(name))
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves any file of any repository, and keeps what it was asked for."""

    asked: list[str]
    refuses = False

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        content = (
            b'{"weight_map": {"a": "part-1.safetensors"}}' if self.path.endswith("index.json") else b"weights" * 99
        )
        self.send_response(404 if self.refuses and "resolve" in self.path else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{abs(hash(self.path)):x}"')
        self.send_header("X-Repo-Commit", self.path.split("/")[4] if "resolve" in self.path else "")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[type[Hub]]:
    """A hub on this machine alone; `address` is set on the class that is handed over."""
    handler = type("Handler", (Hub,), {"asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.address = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def locate(name: str, home: Path, endpoint: str, *, offline: bool = False, unpinned: bool = False) -> list[str]:
    """What a fresh process says of the named encoder: here before, its files or the error, here after."""
    environment = {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower() and not key.startswith("HF_")},
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "1" if offline else "0",
    }
    command = [sys.executable, "-c", LOCATE, name, *(["unpinned"] if unpinned else [])]
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()


def test_files_are_asked_for_by_commit_and_found_again_offline(hub: type[Hub], tmp_path: Path) -> None:
    spec = ENCODERS["qwen3-0.6b"]
    before, files, after = locate(spec.name, tmp_path, hub.address)  # type: ignore[attr-defined]
    assert (before, after) == ("False", "True")
    assert files == str(sorted(name for name, _ in spec.files))
    asked = [path for path in hub.asked if "resolve" in path]
    assert asked
    assert {path.rsplit("/", 1)[0] for path in asked} == {f"/Qwen/Qwen3-Embedding-0.6B/resolve/{spec.revision}"}
    hub.asked.clear()
    assert locate(spec.name, tmp_path, hub.address, offline=True) == ["True", files, "True"]  # type: ignore[attr-defined]
    assert hub.asked == []


def test_the_shards_of_an_index_are_fetched_too(hub: type[Hub], tmp_path: Path) -> None:
    _, files, _ = locate("qwen3-4b", tmp_path, hub.address)  # type: ignore[attr-defined]
    assert "part-1.safetensors" in files


def test_a_hub_that_refuses_is_one_sentence(hub: type[Hub], tmp_path: Path) -> None:
    hub.refuses = True
    _, said, _ = locate("marqo-b", tmp_path, hub.address)  # type: ignore[attr-defined]
    assert said.startswith("DownloadNeeded marqo-b needs open_clip_model.safetensors of Marqo/")


def test_a_hub_that_does_not_answer_is_given_up_after_one_try(tmp_path: Path) -> None:
    _, said, _ = locate("mobilenet-v2", tmp_path, "http://127.0.0.1:9")
    assert said.startswith("DownloadNeeded mobilenet-v2 needs model.safetensors of timm/mobilenetv2_100.ra_in1k")
    assert "does not answer" in said
    assert said.endswith("in one folder and say mobilenet-v2@FOLDER wherever mobilenet-v2 stands (--image-encoder).")


def test_a_transfer_that_breaks_off_is_one_sentence_that_names_all_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        """As of a library that is not known here."""

    def download(*_: object, **__: object) -> str:
        raise Broken("connection reset\nin the middle")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
    monkeypatch.setattr(hub_module, "_require_answer", lambda *_: None)
    monkeypatch.setattr(hub_module, "_cached", lambda *_: None)
    with pytest.raises(DownloadNeeded, match=r"cannot be fetched .connection reset.: bring open_clip_model\.safe"):
        hub_module.locate(ENCODERS["clip-vit-b-32"], None)
    with pytest.raises(DownloadNeeded, match=r"and the files that the first lists .*\(--text-encoder\)"):
        hub_module.locate(ENCODERS["qwen3-4b"], None)


def test_an_encoder_whose_shards_are_missing_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"x": "part-1.safetensors"}}')
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).touch()
    monkeypatch.setattr(hub_module, "_cached", lambda _, file: tmp_path / file if (tmp_path / file).exists() else None)
    assert not hub_module.is_here("qwen3-4b")
    (tmp_path / "part-1.safetensors").touch()
    assert hub_module.is_here("qwen3-4b")


@pytest.mark.parametrize("name", ["marqo-b", "mobilenet-v2"])
def test_what_no_commit_pins_is_never_downloaded(hub: type[Hub], tmp_path: Path, name: str) -> None:
    before, said, after = locate(name, tmp_path, hub.address, unpinned=True)  # type: ignore[attr-defined]
    assert said.startswith(f"DownloadNeeded {name} ")
    assert "not pinned" in said
    assert (before, after) == ("False", "False")
    assert hub.asked == []


def test_what_comes_with_a_package_or_needs_nothing_is_here() -> None:
    assert is_here("minilm")
    assert is_here("pixels")
    assert is_here("none")
