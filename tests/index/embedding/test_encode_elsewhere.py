"""Claims about batches that workers of a cluster encode: the vectors are those of this process, and are kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from index.cluster import Cluster
from index.embedding import encode as encoding
from index.embedding.columns import Modality
from index.embedding.encode import Encoders
from index.errors import IndexUnusable, PriceError
from index.photographs.source import Photographs

TEXTS = [f"Tea pot number {n}" for n in range(150)]
ITEMS = pa.table({"name": TEXTS, "image": pa.nulls(len(TEXTS), pa.string())})


@pytest.fixture
def on_cluster(fake_ray: Any, tiny_minilm: str) -> Any:
    modality = Modality("minilm_name", tiny_minilm, "name")

    def encode(cache: Path | None = None, *, here: bool = False) -> np.ndarray:
        encoders = Encoders([modality], cluster=None if here else Cluster())
        return encoders.encode(ITEMS, Photographs(None, Path("none"), Path("none")), cache)[0]["minilm_name"]

    return encode


def test_workers_give_the_vectors_of_this_process_and_the_cache_keeps_them(
    fake_ray: Any, on_cluster: Any, tmp_path: Path
) -> None:
    here, there = on_cluster(here=True), on_cluster(tmp_path)
    np.testing.assert_array_equal(there, here)
    assert len(fake_ray.tasks) > 1
    fake_ray.tasks.clear()
    np.testing.assert_array_equal(on_cluster(tmp_path), here)
    assert fake_ray.tasks == []


def test_what_was_encoded_before_workers_died_is_kept(fake_ray: Any, on_cluster: Any, tmp_path: Path) -> None:
    fake_ray.dies = lambda batch: batch is not None and TEXTS[7] in batch.items
    with pytest.raises(PriceError, match=r"A worker died 3 times over a batch of minilm"):
        on_cluster(tmp_path)
    begun = len(fake_ray.tasks)
    fake_ray.dies = lambda batch: False
    fake_ray.tasks.clear()
    on_cluster(tmp_path)
    assert len(fake_ray.tasks) < begun


def test_a_worker_with_other_weights_is_refused(
    fake_ray: Any, on_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    open_encoder = encoding.open_encoder

    def open_other(*given: Any, **how: Any) -> Any:
        opened.append(open_encoder(*given, **how))
        opened[-1].identity += str(len(opened))
        return opened[-1]

    monkeypatch.setattr(encoding, "open_encoder", open_other)
    with pytest.raises(IndexUnusable, match=r"A worker of the cluster has other weights of minilm@.*to every machine"):
        on_cluster()
