"""Encode items into every column of an index, by encoders that are opened when they are needed and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from index.arrays import Float32
from index.catalogue.cleaning import clean
from index.catalogue.fields import details, parse_prose
from index.catalogue.further import described
from index.embedding.columns import PAIR, PHOTOGRAPH, TEXT_VIEWS, EncoderRecord, Modality, vector_column
from index.embedding.embed import NO_PHOTOGRAPH, Batch, embed_pairs, embed_photographs, embed_texts
from index.embedding.vector_cache import VectorCache
from index.encoders import open_encoder
from index.encoders.device import AUTO, Runtime, one_thread_each
from index.errors import IndexUnusable
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    import pyarrow as pa

    from index.cluster import Cluster
    from index.encoders import Encoder
    from index.photographs.fingerprints import Fingerprints
    from index.photographs.source import Photographs


class Encoders:
    """The encoders of an index, each opened when it is first needed and kept.

    With the `records` of an index, an encoder whose weights or revision are not those that it was built with is refused
    when it is opened: cosines across encoders mean nothing. With a `cluster`, batches are encoded by its workers.
    """

    def __init__(
        self,
        modalities: list[Modality],
        runtime: Runtime = AUTO,
        records: tuple[EncoderRecord, ...] = (),
        cluster: Cluster | None = None,
    ) -> None:
        self.modalities = modalities
        self._runtime = runtime
        self._cluster = cluster
        self._built = {record.column: record for record in records}
        self._open: dict[str, Encoder] = {}

    def get(self, modality: Modality) -> Encoder:
        """Return the modality's encoder. IndexUnusable if it is not the one that the index was built with."""
        name = modality.encoder
        if name not in self._open:
            encoder = open_encoder(name, **asdict(self._runtime))
            built = self._built.get(vector_column(modality.name))
            if built and (built.identity, built.dim) != (encoder.identity, encoder.dim):
                raise IndexUnusable(
                    f"The index was built with other weights, or another revision, of {name} ({built.identity} of "
                    f"{built.dim} numbers, here {encoder.identity} of {encoder.dim}): bring those back, or build it "
                    "again with `price build-index`."
                )
            if self._cluster:
                given = (name, self._runtime, encoder.identity)
                encoder.elsewhere = partial(_encode_elsewhere, self._cluster, given)
            self._open[name] = encoder
        return self._open[name]

    def records(self) -> tuple[EncoderRecord, ...]:
        """List what the manifest keeps of each column; opens every encoder."""
        encoders = [(modality, self.get(modality)) for modality in self.modalities]
        return tuple(
            EncoderRecord(vector_column(modality.name), modality.encoder, encoder.identity, encoder.dim)
            for modality, encoder in encoders
        )

    def encode(
        self,
        items: pa.Table,
        photographs: Photographs,
        cache: Path | None = None,
        on_progress: OnProgress = silent,
        fingerprints: Fingerprints | None = None,
    ) -> tuple[dict[str, Float32], list[str | None]]:
        """Encode n items of schema `ITEMS` in every modality; `fingerprints` of their photographs spare a reading.

        Returns modality -> (n, dim) unit rows, zero where absent; and (n,) why the photograph is absent, None where
        it is not. Raises what opening an encoder raises, and PriceError for an encoder that answers with anything else.
        """
        images = items["image"].to_pylist()
        vectors: dict[str, Float32] = {}
        absent: list[str | None] = [None] * len(images)
        for modality in self.modalities:
            name, built = modality.name, self._built.get(vector_column(modality.name))
            if name in vectors:  # encoded with another view
                continue
            if built and modality.view == PHOTOGRAPH and not any(images):
                vectors[name] = np.zeros((len(images), built.dim), np.float32)  # no need to open the encoder
                absent = [NO_PHOTOGRAPH] * len(images)
                continue
            encoder = self.get(modality)
            with _open_cache(cache, encoder, on_progress) as kept:
                if modality.view == PHOTOGRAPH:
                    vectors[name], absent = embed_photographs(
                        encoder, images, photographs, kept, on_progress, fingerprints=fingerprints
                    )
                elif modality.view == PAIR:
                    texts = _texts(items, modality)
                    vectors[name], absent = embed_pairs(
                        encoder,
                        texts,
                        images,
                        photographs,
                        cache=kept,
                        on_progress=on_progress,
                        fingerprints=fingerprints,
                    )
                else:
                    vectors |= self._encode_texts(encoder, modality, items, kept, on_progress)
        return {modality.name: vectors[modality.name] for modality in self.modalities}, absent

    def _encode_texts(
        self, encoder: Encoder, modality: Modality, items: pa.Table, cache: VectorCache | None, on_progress: OnProgress
    ) -> dict[str, Float32]:
        """Encode all views of text that this modality's encoder reads, at once: a text that two share but once."""
        views = [view for view in self.modalities if view.encoder == modality.encoder and view.view in TEXT_VIEWS]
        texts = [text for view in views for text in _texts(items, view)]
        rows = embed_texts(encoder, texts, cache, on_progress)
        return {view.name: part for view, part in zip(views, np.split(rows, len(views)), strict=True)}


def _encode_elsewhere(
    cluster: Cluster, given: tuple[str, Runtime, str], batches: Iterable[Batch], most: int
) -> Iterator[tuple[Batch, Float32]]:
    """Batches with their vectors, encoded by workers that have opened the encoder as `given`."""
    name, runtime, identity = given
    gpu = runtime.device.startswith("cuda")
    own = Runtime("cuda", runtime.precision) if gpu else runtime  # a worker sees the GPU that is its own, no other
    lost = f"a batch of {name}"
    return cluster.share_out(_open_worker, (name, own, identity), batches, most=most, lost=lost, gpu=gpu)


def _open_worker(name: str, runtime: Runtime, identity: str) -> Callable[[Batch], Float32]:
    """Return what a worker does with a batch. IndexUnusable if its machine has other weights."""
    encoder = open_encoder(name, device=runtime.device, precision=runtime.precision)
    if encoder.identity != identity:
        raise IndexUnusable(f"A worker of the cluster has other weights of {name}: bring the same to every machine.")

    def encode(batch: Batch) -> Float32:
        with one_thread_each() if encoder.on_cpu else nullcontext():
            return encoder.encode(batch.items)

    return encode


def _texts(items: pa.Table, modality: Modality) -> list[str]:
    """The text of each item in one view, cleaned as its encoder is to read it."""
    if modality.view == "bullets":
        texts = ["\n".join(parse_prose(text).bullets) for text in items["text"].to_pylist()]
    elif modality.view == "details":
        texts = [details(text) for text in items["text"].to_pylist()]
    else:
        texts = items["name"].to_pylist() if modality.view == "name" else described(items)
    return [clean(text, modality.cleaning) for text in texts]


def _open_cache(
    folder: Path | None, encoder: Encoder, on_progress: OnProgress
) -> AbstractContextManager[VectorCache | None]:
    return VectorCache(folder, encoder.identity, encoder.dim, on_progress) if folder else nullcontext()
