"""Items to unit vectors: each content once, nothing lost to a kill, nothing taken from a damaged cache."""

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from index.embedding import embed as embedding
from index.embedding.embed import embed_pairs, embed_photographs, embed_texts
from index.embedding.vector_cache import VectorCache
from index.encoders import open_encoder
from index.encoders.device import torch_threads
from index.errors import DataRefused, IndexUnusable, PriceError
from index.photographs import fingerprints as fingerprinting
from index.photographs.fingerprints import Fingerprints, read_fingerprints
from index.photographs.formats import ImageRefused, Reason
from index.photographs.source import Photographs

ROOT = Path(__file__).parents[3]
DIM = 8


def vector_of(item: Any) -> np.ndarray:
    """The unit vector that the fakes give an item: no two items share one."""
    data = item.encode() if isinstance(item, str) else item.tobytes()
    numbers = np.frombuffer(hashlib.sha256(data).digest()[:DIM], np.uint8).astype(np.float32) + 1
    return np.asarray(numbers / np.linalg.norm(numbers), np.float32)


class FakeEncoder:
    """Remembers its batches. `on_forward(batch)` runs first and may raise, wait or return other vectors."""

    on_cpu = False
    elsewhere = None

    def __init__(self, batch_size: int = 4) -> None:
        self.spec = cast(Any, SimpleNamespace(name="fake"))
        self.identity = "fake-1"
        self.dim = DIM
        self.batch_size = batch_size
        self.batches: list[list[Any]] = []
        self.preparations = 0
        self.second_is_prepared = threading.Event()
        self.on_forward: Any = lambda batch: None

    def length(self, item: Any) -> int:
        return len(item)

    def prepare(self, batch: Sequence[Any]) -> list[Any]:
        self.preparations += 1
        if self.preparations == 2:
            self.second_is_prepared.set()
        return list(batch)

    def forward(self, prepared: list[Any]) -> np.ndarray:
        answer = self.on_forward(prepared)
        self.batches.append(prepared)
        return cast(np.ndarray, answer) if answer is not None else np.stack([vector_of(item) for item in prepared])

    def encode(self, batch: Sequence[Any]) -> np.ndarray:
        return self.forward(self.prepare(batch))

    @property
    def seen(self) -> list[Any]:
        return [item for batch in self.batches for item in batch]


class FakePhotographs:
    """Photographs by reference: pixels, or the reason why they are refused, at first sight or when decoded."""

    def __init__(self, shelf: dict[str, np.ndarray | Reason], *, truncated: Sequence[str] = ()) -> None:
        self.shelf = shelf
        self.truncated = set(truncated)
        self.asked_log: list[str] = []
        self.read_log: list[str] = []
        self.on_read: Any = lambda reference: None

    def fingerprint(self, reference: str) -> str:
        self.asked_log.append(reference)
        return hashlib.sha256(self.find(reference).tobytes()).hexdigest()

    def read(self, reference: str, content: str | None = None) -> np.ndarray:
        self.read_log.append(reference)
        self.on_read(reference)
        if reference in self.truncated:
            raise ImageRefused(Reason.TRUNCATED)
        return self.find(reference)

    def find(self, reference: str) -> np.ndarray:
        found = self.shelf[reference]
        if isinstance(found, Reason):
            raise ImageRefused(found)
        return found


def photograph(seed: int, side: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def shelf_of(count: int, side: int = 5) -> dict[str, np.ndarray | Reason]:
    return {f"{number}.jpg": photograph(number, side) for number in range(count)}


def embed_all(encoder: FakeEncoder, references: Sequence[str | None], photographs: FakePhotographs, **more: Any) -> Any:
    return embed_photographs(encoder, references, cast(Photographs, photographs), **more)


def has_image(made: Any) -> np.ndarray:
    """(n,) rows whose photograph was used."""
    return np.array([reason is None for reason in made.absent], bool)


def reasons(made: Any) -> Counter[str]:
    """How many rows are without a photograph, by reason."""
    return Counter(reason for reason in made.absent if reason is not None)


def words(count: int, seed: int = 0) -> list[str]:
    """Texts of many lengths, some twice, some empty."""
    chance = np.random.default_rng(seed)
    return [
        "x" * int(chance.integers(0, 9)) + str(chance.integers(0, count)) * int(chance.integers(0, 2))
        for _ in range(count)
    ]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    with VectorCache(tmp_path / "cache", "fake-1", DIM) as opened:
        yield opened


def cache_file(cache: VectorCache) -> Path:
    return cast(Path, cache._path)


class Said(list[tuple[str, int, int | None]]):
    """A report that remembers."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        self.append((stage, done, total))


# --- texts


def test_batched_vectors_agree_with_encoding_one_text_at_a_time(cache: VectorCache) -> None:
    texts = words(200)
    expected = np.stack([vector_of(text) if text else np.zeros(DIM, np.float32) for text in texts])
    for encoder in (FakeEncoder(), FakeEncoder(batch_size=1), FakeEncoder(batch_size=1000)):
        made = embed_texts(encoder, texts)
        assert made.dtype == np.float32 and made.flags.c_contiguous
        np.testing.assert_array_equal(made, expected)
    for _ in range(2):
        np.testing.assert_array_equal(embed_texts(FakeEncoder(), texts, cache), expected)


def test_identical_texts_are_encoded_once() -> None:
    encoder = FakeEncoder()
    embed_texts(encoder, ["b", "a", "b", "b", "a"])
    assert sorted(encoder.seen) == ["a", "b"]


def test_an_empty_text_is_a_zero_row_and_never_reaches_the_encoder() -> None:
    encoder = FakeEncoder()
    made = embed_texts(encoder, ["", "cup", " \n\t"])
    assert encoder.seen == ["cup"]
    assert not made[[0, 2]].any() and made[1].any()


def test_no_texts_are_no_rows() -> None:
    encoder = FakeEncoder()
    assert embed_texts(encoder, []).shape == (0, DIM)
    assert embed_texts(encoder, ["", ""]).shape == (2, DIM)
    assert encoder.batches == []


def test_batches_have_the_encoders_size_and_hold_texts_of_like_length_longest_first() -> None:
    encoder = FakeEncoder(batch_size=3)
    embed_texts(encoder, ["1", "22", "4444", "333", "55555", "7777777", "666666"])
    assert encoder.batches == [["7777777", "666666", "55555"], ["4444", "333", "22"], ["1"]]


def test_a_text_with_a_lone_surrogate_has_a_key_of_its_own(cache: VectorCache) -> None:
    encoder = FakeEncoder()
    encoder.on_forward = lambda batch: np.eye(DIM, dtype=np.float32)[: len(batch)]
    made = embed_texts(encoder, ["cup \udcff", "cup \udcfe"], cache)
    assert not np.array_equal(made[0], made[1])


def test_the_next_batch_is_prepared_while_one_is_in_the_forward_pass() -> None:
    encoder = FakeEncoder(batch_size=1)
    waited = []
    encoder.on_forward = lambda batch: waited.append(encoder.second_is_prepared.wait(60))
    embed_texts(encoder, ["1", "22", "333"])
    assert waited[0], "the second batch was not prepared before the first had passed"


def test_no_thread_is_started_for_what_fits_into_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    encoder, threads = FakeEncoder(batch_size=4), []
    encoder.on_cpu, encoder.on_forward = True, lambda batch: threads.append(torch.get_num_threads())
    with torch_threads(2):
        vectors = embed_texts(encoder, ["1", "333", "22"])
        assert torch.get_num_threads() == 2
    assert (started, threads) == ([], [1])
    np.testing.assert_array_equal(vectors, np.stack([vector_of(text) for text in ["1", "333", "22"]]))


def test_batches_of_a_cpu_pass_at_once_each_on_one_thread_and_come_back_in_order() -> None:
    encoder, together, threads = FakeEncoder(batch_size=1), threading.Barrier(2), []

    def meet(batch: list[Any]) -> None:
        together.wait(60)
        threads.append(torch.get_num_threads())

    encoder.on_cpu, encoder.on_forward = True, meet
    texts = ["4444", "333", "22", "1"]
    with torch_threads(2):
        vectors = embed_texts(encoder, texts)
        assert torch.get_num_threads() == 2
    assert threads == [1] * 4
    np.testing.assert_array_equal(vectors, np.stack([vector_of(text) for text in texts]))


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_vectors_do_not_depend_on_the_number_of_threads(precision: str) -> None:
    encoder = open_encoder("minilm", device="cpu", precision=precision)
    texts = [f"{word} cup, {number} oz" for number in range(20) for word in ("amber", "beryl", "coral")]
    made = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            made.append(embed_texts(encoder, texts))
    assert (made[0] == made[1]).all() and (made[0] == made[2]).all()


def test_what_an_encoder_must_not_return_is_refused_by_its_name_and_not_kept(cache: VectorCache) -> None:
    good = np.stack([vector_of("a"), vector_of("b")])
    bad = {
        "not finite": [good * np.float32("nan"), good * np.float32("inf"), np.where(good == good[1, 0], np.nan, good)],
        r"\(2, 7\) for 2 items of 8": [good[:, :7]],
        r"\(1, 8\) for 2 items": [good[:1]],
        "not of unit length": [good * 2, good * 1.02, good * np.array([[1], [0.5]], np.float32)],
    }
    for message, answers in bad.items():
        for answer in answers:
            encoder = FakeEncoder()
            encoder.on_forward = lambda batch, answer=answer: answer
            with pytest.raises(PriceError, match=f"The encoder fake returned .*{message}"):
                embed_texts(encoder, ["a", "b"], cache)
    encoder = FakeEncoder()
    np.testing.assert_array_equal(embed_texts(encoder, ["a", "b"], cache), good)
    assert len(encoder.seen) == 2


def test_a_zero_vector_from_an_encoder_is_let_through() -> None:
    encoder = FakeEncoder()
    encoder.on_forward = lambda batch: np.zeros((len(batch), DIM), np.float32)
    assert not embed_texts(encoder, ["a"]).any()


def test_progress_counts_distinct_texts_and_starts_with_what_is_kept(cache: VectorCache) -> None:
    said = Said()
    embed_texts(FakeEncoder(batch_size=2), ["a", "b", "c", "a", ""], cache, said)
    assert said == [("texts (fake)", done, 3) for done in (0, 2, 3, 3)]
    said.clear()
    embed_texts(FakeEncoder(batch_size=2), ["a", "b", "c", "d"], cache, said)
    assert said == [("texts (fake)", done, 4) for done in (3, 4, 4)]


# --- resuming


def test_a_second_build_encodes_only_what_is_new(cache: VectorCache) -> None:
    embed_texts(FakeEncoder(), ["a", "b"], cache)
    encoder = FakeEncoder()
    embed_texts(encoder, ["b", "c", "a"], cache)
    assert encoder.seen == ["c"]


def test_a_failure_loses_no_batch_that_was_done(cache: VectorCache) -> None:
    encoder = FakeEncoder(batch_size=2)

    def fail_at_the_third(batch: list[str]) -> None:
        if len(encoder.batches) == 2:
            raise MemoryError

    encoder.on_forward = fail_at_the_third
    texts = list("abcdefgh")
    with pytest.raises(MemoryError):
        embed_texts(encoder, texts, cache)
    again = FakeEncoder(batch_size=2)
    embed_texts(again, texts, cache)
    assert sorted(encoder.seen + again.seen) == texts


KILLED = """
import os, sys
from pathlib import Path
from test_embed import DIM, FakeEncoder, VectorCache, embed_texts

encoder = FakeEncoder(batch_size=5)

def die(batch):
    if len(encoder.batches) == 3:
        print(len(encoder.seen), flush=True)
        os._exit(9)

encoder.on_forward = die
embed_texts(encoder, [str(number) for number in range(100)], VectorCache(Path(sys.argv[1]), "fake-1", DIM))
"""


def test_a_killed_build_loses_at_most_one_batch(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"},
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (9, b"15\n"), run.stderr
    encoder = FakeEncoder(batch_size=5)
    with VectorCache(tmp_path, "fake-1", DIM) as cache:
        embed_texts(encoder, [str(number) for number in range(100)], cache)
    assert len(encoder.seen) in (85, 90)  # the last one done may have been on its way to the cache


# --- the cache


def test_each_encoder_identity_has_a_file_of_its_own_whatever_it_is_called(tmp_path: Path) -> None:
    for identity in ("a", "b", "../../escape", "x" * 5000, "", "a\x00"):
        with VectorCache(tmp_path / "cache", identity, DIM) as cache:
            assert cache.get(b"k" * 32) is None
            cache.put([b"k" * 32], vector_of(identity)[None])
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]
    assert len(list((tmp_path / "cache").iterdir())) == 6
    with VectorCache(tmp_path / "cache", "a", DIM) as cache:
        np.testing.assert_array_equal(cache.get(b"k" * 32), vector_of("a"))


def test_a_batch_is_kept_whole_or_not_at_all(cache: VectorCache) -> None:
    keys = [bytes([number]) * 32 for number in range(3)]
    unkeepable = cast(bytes, SimpleNamespace())
    with contextlib.suppress(Exception):
        cache.put([*keys, unkeepable], np.stack([vector_of(str(number)) for number in range(4)]))
    assert [cache.get(key) for key in keys] == [None] * 3


def test_a_vector_of_another_length_counts_as_absent(cache: VectorCache) -> None:
    cache.put([b"k" * 32], np.ones((1, DIM + 1), np.float32))
    assert cache.get(b"k" * 32) is None


def test_a_flipped_bit_is_encoded_again_and_mended(cache: VectorCache) -> None:
    texts = [f"text {number}" for number in range(20)]
    expected = embed_texts(FakeEncoder(), texts, cache)
    with contextlib.closing(sqlite3.connect(cache_file(cache))) as other, other:
        key, vector = other.execute("SELECT key, vector FROM vectors LIMIT 1").fetchone()
        other.execute("UPDATE vectors SET vector = ? WHERE key = ?", (bytes([vector[0] ^ 1]) + vector[1:], key))
    for encoded in (1, 0):
        encoder = FakeEncoder()
        np.testing.assert_array_equal(embed_texts(encoder, texts, cache), expected)
        assert len(encoder.seen) == encoded


def test_a_vector_that_a_flipped_bit_made_text_costs_the_others_nothing(tmp_path: Path) -> None:
    said = Said()
    with VectorCache(tmp_path, "fake-1", DIM, said) as cache:
        embed_texts(FakeEncoder(), ["a", "b"], cache)
        with contextlib.closing(sqlite3.connect(cache_file(cache))) as other, other:
            (one, vector), (two, _) = other.execute("SELECT key, vector FROM vectors").fetchall()
            other.execute("UPDATE vectors SET vector = CAST(vector AS TEXT) WHERE key = ?", (one,))
        kept = cache.get(one)
        assert kept is None or kept.tobytes() == vector
        assert cache.get(two) is not None and said == []


def test_a_vector_under_anothers_key_is_not_used(cache: VectorCache) -> None:
    embed_texts(FakeEncoder(), ["a", "b"], cache)
    with contextlib.closing(sqlite3.connect(cache_file(cache))) as other, other:
        (one, vector, checksum), (two, *_) = other.execute("SELECT * FROM vectors").fetchall()
        other.execute("UPDATE vectors SET vector = ?, checksum = ? WHERE key = ?", (vector, checksum, two))
    assert cache.get(one) is not None and cache.get(two) is None


def damaged_by(cache: VectorCache, content: bytes) -> None:
    cache.close()
    cache_file(cache).write_bytes(content)


@pytest.mark.parametrize("content", [b"no database" * 999, b"SQLite format 3\x00" + b"\xff" * 9999, b"\x00" * 4096])
def test_a_file_that_is_no_database_is_set_aside_with_a_report_and_made_anew(tmp_path: Path, content: bytes) -> None:
    said = Said()
    with VectorCache(tmp_path, "fake-1", DIM) as cache:
        damaged_by(cache, content)
    with VectorCache(tmp_path, "fake-1", DIM, said) as cache:
        embed_texts(FakeEncoder(), ["a", "b"], cache)
        assert [cache.get(hashlib.sha256(text).digest()) is None for text in (b"a", b"b")] == [False, False]
        assert [stage for stage, _, _ in said] == ["a damaged cache of encodings was set aside: encoding again"]
        assert cache_file(cache).with_suffix(".damaged").read_bytes() == content


def test_an_empty_file_is_a_new_cache(cache: VectorCache) -> None:
    damaged_by(cache, b"")
    embed_texts(FakeEncoder(), ["a"], cache)
    assert not cache_file(cache).with_suffix(".damaged").exists()
    assert cache.get(hashlib.sha256(b"a").digest()) is not None


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 2",
        "DROP TABLE vectors",
        "ALTER TABLE vectors DROP COLUMN checksum",
    ],
)
def test_a_database_of_another_layout_is_set_aside(tmp_path: Path, statement: str) -> None:
    said = Said()
    with VectorCache(tmp_path, "fake-1", DIM) as cache:
        path = cache_file(cache)
    with contextlib.closing(sqlite3.connect(path)) as other, other:
        other.execute(statement)
    with VectorCache(tmp_path, "fake-1", DIM, said) as cache:
        embed_texts(FakeEncoder(), ["a"], cache)
        assert cache.get(hashlib.sha256(b"a").digest()) is not None
    assert len(said) == 1
    assert path.with_suffix(".damaged").exists()


def test_damage_met_in_the_middle_of_a_build_costs_time_and_nothing_else(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(400)]
    said = Said()
    with VectorCache(tmp_path, "fake-1", DIM, said) as cache:
        expected = embed_texts(FakeEncoder(), texts[:300], cache)
        content = bytearray(cache_file(cache).read_bytes())
        content[4096:] = b"\xa5" * (len(content) - 4096)
        damaged_by(cache, bytes(content))
        encoder = FakeEncoder()
        np.testing.assert_array_equal(embed_texts(encoder, texts, cache)[:300], expected)
        assert len(encoder.seen) == 400
        assert len(said) == 1
        again = FakeEncoder()
        embed_texts(again, texts, cache)
        assert again.seen == []


def test_whatever_bytes_are_flipped_or_cut_off_no_wrong_vector_comes_out(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(150)]
    with VectorCache(tmp_path, "fake-1", DIM) as cache:
        expected = embed_texts(FakeEncoder(batch_size=50), texts, cache)
        path = cache_file(cache)
    whole = path.read_bytes()
    chance = np.random.default_rng(0)
    reused = 0
    for round_ in range(60):
        content = bytearray(whole)
        for place in chance.integers(0, len(whole) if round_ % 2 else 200, 1 + round_ % 7):
            content[place] ^= 1 << int(chance.integers(8))
        if round_ % 5 == 0:
            del content[int(chance.integers(len(content))) :]
        path.write_bytes(content)
        encoder = FakeEncoder(batch_size=50)
        with VectorCache(tmp_path, "fake-1", DIM) as cache:
            np.testing.assert_array_equal(embed_texts(encoder, texts, cache), expected)
        reused += len(encoder.seen) < len(texts)
    assert reused > 10


def test_a_cache_folder_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(IndexUnusable, match=r"The cache of encodings in .*file cannot be used .*remove that folder"):
        VectorCache(tmp_path / "file", "fake-1", DIM)
    with VectorCache(tmp_path / "cache", "fake-1", DIM) as cache:
        path = cache_file(cache)
    path.unlink()
    path.mkdir()
    with pytest.raises(IndexUnusable, match=r"unable to open database file"):
        VectorCache(tmp_path / "cache", "fake-1", DIM)


def test_a_full_disk_is_the_disks_fault_and_sets_nothing_aside(cache: VectorCache) -> None:
    cache.put([b"k" * 32], vector_of("kept")[None])
    connection = cast(sqlite3.Connection, cache._open)
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    keys = [hashlib.sha256(bytes([number])).digest() for number in range(250)]
    with pytest.raises(IndexUnusable, match=r"database or disk is full.*make room"):
        cache.put(keys, np.ones((250, DIM), np.float32))
    assert cache.get(b"k" * 32) is not None
    assert not cache_file(cache).with_suffix(".damaged").exists()


def test_threads_may_share_one_cache(cache: VectorCache) -> None:
    def work(number: int) -> bool:
        texts = [f"{number} {item}" for item in range(20)]
        return np.array_equal(embed_texts(FakeEncoder(), texts, cache), np.stack([vector_of(text) for text in texts]))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


WRITER = """
import hashlib, sys
from pathlib import Path
import numpy as np
from index.embedding.vector_cache import VectorCache

sys.stdin.readline()
for round_ in range(40):
    with VectorCache(Path(sys.argv[1]), "fake-1", 8) as cache:
        keys = [hashlib.sha256(f"{sys.argv[2]} {round_} {item}".encode()).digest() for item in range(10)]
        cache.put(keys, np.full((10, 8), round_, np.float32))
"""


def test_processes_may_share_one_file_from_its_very_making(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", WRITER, str(tmp_path), str(writer)],
                    cwd=ROOT,
                    env={"PYTHONPATH": str(ROOT)},
                    stdin=subprocess.PIPE,
                )
            )
            for writer in range(3)
        ]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"go\n")
            writer.stdin.close()
        assert [writer.wait() for writer in writers] == [0, 0, 0]
    said = Said()
    with VectorCache(tmp_path, "fake-1", 8, said) as cache:
        for writer, round_, item in np.ndindex(3, 40, 10):
            vector = cache.get(hashlib.sha256(f"{writer} {round_} {item}".encode()).digest())
            assert vector is not None and vector[0] == round_
    assert said == []


# --- photographs


def test_photographs_agree_with_encoding_one_at_a_time(cache: VectorCache) -> None:
    shelf = shelf_of(30)
    references = [f"{number}.jpg" for number in np.random.default_rng(0).integers(0, 30, 80)]
    expected = np.stack([vector_of(shelf[reference]) for reference in references])
    for kept in (None, cache, cache):
        made = embed_all(FakeEncoder(), references, FakePhotographs(shelf), cache=kept)
        np.testing.assert_array_equal(made.vectors, expected)
        assert made.vectors.dtype == np.float32
        assert has_image(made).dtype == bool and has_image(made).all()
        assert reasons(made) == Counter()


def test_every_row_without_a_photograph_is_masked_and_counted_by_its_reason(cache: VectorCache) -> None:
    shelf = {**shelf_of(3), "gone": Reason.NOT_FOUND, "html": Reason.NOT_AN_IMAGE}
    references = ["0.jpg", None, "gone", "1.jpg", "html", "1.jpg", "gone", None, "2.jpg"]
    for kept in (None, cache):
        made = embed_all(FakeEncoder(), references, FakePhotographs(shelf, truncated=["1.jpg"]), cache=kept)
        assert has_image(made).tolist() == [True, False, False, False, False, False, False, False, True]
        assert not made.vectors[~has_image(made)].any()
        np.testing.assert_array_equal(made.vectors[8], vector_of(shelf["2.jpg"]))
        assert reasons(made) == {"no photograph given": 2, "not found": 2, "truncated": 2, "not an image": 1}
        assert {type(reason) for reason in reasons(made)} == {str}
        assert reasons(made).total() + has_image(made).sum() == len(references)


def test_a_catalogue_without_photographs_never_calls_the_encoder() -> None:
    encoder = FakeEncoder()
    made = embed_all(encoder, [None] * 3, FakePhotographs({}))
    assert made.vectors.shape == (3, DIM) and not made.vectors.any() and not has_image(made).any()
    assert encoder.batches == []
    assert embed_all(encoder, [], FakePhotographs({})).vectors.shape == (0, DIM)


def test_the_same_photograph_under_two_names_is_read_and_encoded_once(cache: VectorCache) -> None:
    shelf = shelf_of(1)
    photographs = FakePhotographs({**shelf, "copy.jpg": shelf["0.jpg"]})
    encoder = FakeEncoder()
    made = embed_all(encoder, ["copy.jpg", "0.jpg", "copy.jpg"], photographs, cache=cache)
    assert sorted(photographs.asked_log) == ["0.jpg", "copy.jpg"]
    assert photographs.read_log == ["copy.jpg"]
    assert len(encoder.seen) == 1
    assert has_image(made).all() and len(np.unique(made.vectors, axis=0)) == 1


def test_without_a_cache_a_photograph_is_asked_for_once_in_all() -> None:
    photographs = FakePhotographs(shelf_of(2))
    made = embed_all(FakeEncoder(), ["0.jpg", "1.jpg", "0.jpg"], photographs)
    assert photographs.asked_log == [] and sorted(photographs.read_log) == ["0.jpg", "1.jpg"]
    np.testing.assert_array_equal(made.vectors[0], made.vectors[2])


def test_fingerprints_that_are_known_spare_a_reading_and_change_no_vector_and_no_reason(cache: VectorCache) -> None:
    shelf = {**shelf_of(3), "gone.jpg": Reason.MISSING, "same.jpg": photograph(0), "others.jpg": photograph(9)}
    references = ["0.jpg", None, "gone.jpg", "cut.jpg", "same.jpg", "2.jpg", "0.jpg"]
    photographs = FakePhotographs({**shelf, "cut.jpg": photograph(7)}, truncated=["cut.jpg"])
    expected = embed_all(FakeEncoder(), references, photographs, cache=cache)
    fingerprints = read_fingerprints(cast(Photographs, photographs), [*references, "others.jpg"])
    photographs.asked_log.clear()
    for kept in (None, cache):
        found = embed_all(FakeEncoder(), references, photographs, cache=kept, fingerprints=fingerprints)
        np.testing.assert_array_equal(found.vectors, expected.vectors)
        assert found.absent == expected.absent
    assert photographs.asked_log == []
    assert "others.jpg" not in photographs.read_log


def test_a_photograph_that_is_kept_is_not_decoded_again_and_a_broken_one_is_tried_again(cache: VectorCache) -> None:
    photographs = FakePhotographs(shelf_of(3), truncated=["1.jpg"])
    for _ in range(2):
        photographs.read_log.clear()
        made = embed_all(FakeEncoder(), ["0.jpg", "1.jpg", "2.jpg"], photographs, cache=cache)
        assert has_image(made).tolist() == [True, False, True]
    assert photographs.read_log == ["1.jpg"]


def test_batches_of_photographs_are_full_and_in_order_whatever_is_broken_between() -> None:
    shelf = shelf_of(25)
    encoder = FakeEncoder(batch_size=4)
    embed_all(encoder, list(shelf), FakePhotographs(shelf, truncated=["3.jpg", "11.jpg", "24.jpg"]))
    usable = [pixels for name, pixels in shelf.items() if name not in ("3.jpg", "11.jpg", "24.jpg")]
    assert [len(batch) for batch in encoder.batches] == [4, 4, 4, 4, 4, 2]
    assert all(np.array_equal(one, two) for one, two in zip(encoder.seen, usable, strict=True))


def test_work_goes_on_across_the_chunks_in_which_photographs_are_asked_for(
    cache: VectorCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprinting, "_CHUNK", 7)
    shelf = shelf_of(30)
    encoder = FakeEncoder(batch_size=4)
    said = Said()
    made = embed_all(encoder, list(shelf), FakePhotographs(shelf), cache=cache, on_progress=said)
    np.testing.assert_array_equal(made.vectors, np.stack([vector_of(pixels) for pixels in shelf.values()]))
    assert [len(batch) for batch in encoder.batches] == [4] * 7 + [2]
    assert [done for stage, done, total in said if stage == "reading photographs"] == [7, 14, 21, 28, 30]
    assert said[-1] == ("photographs (fake)", 30, 30)


def test_decoding_runs_ahead_of_the_forward_pass() -> None:
    shelf = shelf_of(16)
    photographs = FakePhotographs(shelf)
    third_batch_is_read = threading.Event()
    photographs.on_read = lambda reference: third_batch_is_read.set() if reference == "11.jpg" else None
    encoder = FakeEncoder(batch_size=4)
    waited = []
    encoder.on_forward = lambda batch: waited.append(third_batch_is_read.wait(60))
    embed_all(encoder, list(shelf), photographs)
    assert waited[0], "no photograph was decoded while the first batch was in the forward pass"


class AtOnce(ThreadPoolExecutor):
    """Does everything where it is submitted, but for forward passes: each of these begins when it is waited for."""

    def submit(self, task: Any, /, *given: Any, **_: Any) -> Future[Any]:
        if task is not embedding._forward:
            done: Future[Any] = Future()
            done.set_result(task(*given))
            return done
        waited_for = threading.Event()
        future = super().submit(lambda: waited_for.wait(600) and task(*given))
        result = future.result

        def wait_for(timeout: float | None = None) -> Any:
            waited_for.set()
            return result(timeout)

        future.result = wait_for  # type: ignore[method-assign]
        return future


def test_no_more_photographs_are_in_memory_than_three_batches_hold_whatever_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A forward pass begins when nobody reads, prepares or hands over any more until it has ended."""
    monkeypatch.setattr(embedding, "ThreadPoolExecutor", AtOnce)
    shelf = shelf_of(80)
    photographs = FakePhotographs(shelf)
    encoder = FakeEncoder(batch_size=5)
    in_memory: list[int] = []
    encoder.on_forward = lambda batch: in_memory.append(len(photographs.read_log) - len(encoder.seen))
    embed_all(encoder, list(shelf), photographs)
    # With the encoder: one in the forward pass, one prepared. Waiting: one. The rest are not yet read.
    assert max(in_memory) == 15


def test_an_encoder_that_fails_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    encoder = FakeEncoder(batch_size=2)

    def fail(batch: list[np.ndarray]) -> None:
        raise MemoryError

    encoder.on_forward = fail
    with pytest.raises(MemoryError) as kept_alive:
        embed_all(encoder, list(shelf_of(50)), FakePhotographs(shelf_of(50)))
    for thread in set(threading.enumerate()) - before:
        thread.join(60)  # none is waited for, and none waits for anything
    assert set(threading.enumerate()) <= before, kept_alive


def test_an_error_that_is_no_refusal_is_not_swallowed() -> None:
    photographs = FakePhotographs(shelf_of(9))

    def break_down(reference: str) -> None:
        if reference == "5.jpg":
            raise ZeroDivisionError

    photographs.on_read = break_down
    with pytest.raises(ZeroDivisionError):
        embed_all(FakeEncoder(), list(shelf_of(9)), photographs)
    with pytest.raises(KeyError):
        embed_all(FakeEncoder(), ["not on the shelf"], photographs)


class Pairs:
    spec = SimpleNamespace(name="pairs")
    identity, dim, batch_size, on_cpu, elsewhere = "pairs 1", 2, 4, False, None

    def length(self, item):
        return 1

    def prepare(self, batch):
        return batch

    def forward(self, prepared):
        return np.tile(np.array([1, 0], np.float32), (len(prepared), 1))


class Broken:
    def read(self, reference, content=None):
        from index.photographs.formats import ImageRefused, Reason

        raise ImageRefused(Reason.TRUNCATED)

    def fingerprint(self, reference):
        return "00" * 32


def test_an_item_without_text_whose_photograph_is_broken_is_a_zero_row():
    from index.embedding.embed import embed_pairs

    assert not embed_pairs(Pairs(), [""], ["cut.jpg"], Broken()).vectors.any()


def test_a_broken_photograph_of_a_pair_is_counted_in_the_second_build_too(tmp_path):
    from index.embedding.embed import embed_pairs
    from index.embedding.vector_cache import VectorCache

    counts = []
    for _ in range(2):
        with VectorCache(tmp_path, "pairs 1", 2) as cache:
            counts.append(reasons(embed_pairs(Pairs(), ["tea"], ["cut.jpg"], Broken(), cache=cache)))
    assert counts[0] == counts[1]


def test_a_pair_takes_fingerprints_that_are_known_and_keeps_its_reasons():
    from index.embedding.embed import embed_pairs

    class Unread(Broken):
        def fingerprint(self, reference):
            raise AssertionError("was read again")

    fingerprints = Fingerprints({"cut.jpg": "00" * 32}, {"gone.jpg": "missing"})
    items = ["tea", "cup", ""], ["cut.jpg", "gone.jpg", None]
    embedded = embed_pairs(Pairs(), *items, Unread(), fingerprints=fingerprints)
    assert embedded.absent == ["truncated", "missing", "no photograph given"]
    assert embedded.vectors.any(1).tolist() == [True, True, False]


def save(path: Path, colour: str) -> None:
    Image.new("RGB", (64, 64), colour).save(path)


def test_a_photograph_that_is_replaced_during_a_build_leaves_no_wrong_vector(tmp_path: Path) -> None:
    save(tmp_path / "a.png", "red")
    photographs, cache = Photographs(base_dir=tmp_path), tmp_path / "cache"
    fingerprints = read_fingerprints(photographs, ["a.png"])
    encoder = open_encoder("pixels")
    save(tmp_path / "a.png", "blue")
    with VectorCache(cache, encoder.identity, encoder.dim) as kept:
        changed = embed_photographs(encoder, ["a.png"], photographs, kept, fingerprints=fingerprints)
        assert changed.absent == ["changed while it was read"] and not changed.vectors.any()
        save(tmp_path / "a.png", "red")
        again = embed_photographs(encoder, ["a.png"], photographs, kept, fingerprints=fingerprints)
    np.testing.assert_array_equal(again.vectors, embed_photographs(encoder, ["a.png"], photographs).vectors)


def test_a_photograph_of_a_pair_that_goes_during_a_build_ends_it_in_one_sentence(tmp_path: Path) -> None:
    pairs = Pairs()
    names = [f"{place}.png" for place in range(pairs.batch_size + 1)]
    for place, name in enumerate(names):
        save(tmp_path / name, f"#{place:06x}")
    photographs = Photographs(base_dir=tmp_path)
    fingerprints = read_fingerprints(photographs, names)
    read = photographs.read

    def read_once(reference: str, content: str | None = None) -> np.ndarray:
        pixels = read(reference, content)
        if reference == names[-1]:
            save(tmp_path / names[0], "red")
        return pixels

    photographs.read = read_once  # type: ignore[method-assign]
    with pytest.raises(DataRefused, match=r"0\.png cannot be read any more .changed while it was read.: start again"):
        embed_pairs(pairs, ["tea"] * len(names), names, photographs, fingerprints=fingerprints)
