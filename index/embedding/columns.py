"""Columns of vectors: which views of an item go through which encoders, the same for a build and for a query.

A modality is one view of an item (its name, its bullet points, its whole text, its photograph) through one encoder,
and has a column of its own in an index.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from index.arrays import Float32
from index.catalogue.cleaning import clean
from index.catalogue.fields import details, parse_fields
from index.embedding.embed import NO_PHOTOGRAPH, embed_pairs, embed_photographs, embed_texts
from index.embedding.vector_cache import VectorCache
from index.encoders import find_spec, open_encoder
from index.encoders.device import AUTO, Runtime
from index.errors import IndexUnusable, UsageError
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    import pyarrow as pa

    from index.encoders import Encoder
    from index.photographs.fingerprints import Fingerprints
    from index.photographs.source import Photographs

TEXT_VIEWS = ("name", "bullets", "text", "details")
PHOTOGRAPH, PAIR = "photograph", "pair"


VECTOR_PREFIX = "vector_"


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of an item that are encoded, and the encoders of each: NAME or NAME@PATH."""

    text_encoders: tuple[str, ...]
    image_encoders: tuple[str, ...]
    text_views: tuple[str, ...]  # of TEXT_VIEWS: parts of an item that each text encoder encodes, a vector for each
    cleaning: tuple[str, ...] = ()  # of what text encoders read: see `index.catalogue.cleaning`


@dataclass(frozen=True)
class Modality:
    """One column of vectors."""

    name: str  # of the column and of the models' input: `minilm_name`
    encoder: str  # NAME or NAME@PATH
    view: str  # name, bullets, text, details, photograph, or pair: text and photograph together
    cleaning: tuple[str, ...] = ()  # of the text, before it is encoded


@dataclass(frozen=True)
class EncoderRecord:
    """One vector column of an index, and what must encode a query for it."""

    column: str
    name: str
    identity: str
    dim: int
    finetuned_rows: int | None = 0
    """Number of the generation's rows that the encoder was fine-tuned on; None where that is not known."""


def vector_column(name: str) -> str:
    """Return the column of vectors by name: those of `qwen3-0.6b` are `vector_qwen3_0_6b`, for Lance allows no dot."""
    return VECTOR_PREFIX + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)


def modalities(views: Views) -> list[Modality]:
    """List the columns of a build. UsageError for an encoder that cannot read what it is named for."""
    texts = [(encoder, view) for encoder in views.text_encoders for view in _views(encoder, "text", views.text_views)]
    images = [(encoder, view) for encoder in views.image_encoders for view in _views(encoder, "image", (PHOTOGRAPH,))]
    columns = [_modality(encoder, view, views.cleaning) for encoder, view in texts + images]
    if len({column.name for column in columns}) < len(columns):
        names = ", ".join(dict.fromkeys(column.encoder for column in columns))
        raise UsageError(f"An encoder is named twice among {names}: an index holds one version of each.")
    return columns


def space_columns(views: Views, space: tuple[str, ...]) -> list[str]:
    """List the columns whose cosines the correction's search averages: those views of the first text encoder."""
    first = views.text_encoders[0]
    return [
        _modality(first, view).name for view in _views(first, "text", views.text_views) if view in space or view == PAIR
    ]


def _views(encoder: str, kind: Literal["text", "image"], views: tuple[str, ...]) -> tuple[str, ...]:
    """Views that an encoder has a column for where it is named for words ("text") or photographs ("image")."""
    spec = find_spec(encoder)
    if spec.family == "none":
        return ()
    if kind in spec.modalities:
        return views
    if "pair" in spec.modalities:
        return (PAIR,)
    what = {"text": "words", "image": "photographs"}
    raise UsageError(f"{spec.name} does not encode {what[kind]}; `price encoders` lists which encoder reads what.")


def _modality(encoder: str, view: str, cleaning: tuple[str, ...] = ()) -> Modality:
    """Name a column: `qwen3-0.6b@weights/` and name -> `qwen3_0_6b_name`; columns and torch's modules allow no dot."""
    name = re.sub(r"[^a-z0-9]", "_", encoder.partition("@")[0].lower())
    return Modality(f"{name}_{view}", encoder, view, cleaning)


class Encoders:
    """The encoders of an index, each opened when it is first needed and kept.

    With the `records` of an index, an encoder whose weights or revision are not those that it was built with is refused
    when it is opened: cosines across encoders mean nothing.
    """

    def __init__(
        self, modalities: list[Modality], runtime: Runtime = AUTO, records: tuple[EncoderRecord, ...] = ()
    ) -> None:
        self.modalities = modalities
        self._runtime = runtime
        self._built = {record.column: record for record in records}
        self._open: dict[str, Encoder] = {}

    def get(self, modality: Modality) -> Encoder:
        """Return the modality's encoder. IndexUnusable if it is not the one that the index was built with."""
        name = modality.encoder
        if name not in self._open:
            encoder = open_encoder(name, device=self._runtime.device, precision=self._runtime.precision)
            built = self._built.get(vector_column(modality.name))
            if built and (built.identity, built.dim) != (encoder.identity, encoder.dim):
                raise IndexUnusable(
                    f"The index was built with other weights, or another revision, of {name} ({built.identity} of "
                    f"{built.dim} numbers, here {encoder.identity} of {encoder.dim}): bring those back, or build it "
                    "again with `price build-index`."
                )
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
                    vectors[name] = embed_texts(encoder, _texts(items, modality), kept, on_progress)
        return vectors, absent


def _texts(items: pa.Table, modality: Modality) -> list[str]:
    """The text of each item in one view, cleaned as its encoder is to read it."""
    if modality.view == "bullets":
        texts = ["\n".join(parse_fields(text).bullets) for text in items["text"].to_pylist()]
    elif modality.view == "details":
        texts = [details(text) for text in items["text"].to_pylist()]
    else:
        texts = items["name" if modality.view == "name" else "text"].to_pylist()
    return [clean(text, modality.cleaning) for text in texts]


def _open_cache(
    folder: Path | None, encoder: Encoder, on_progress: OnProgress
) -> AbstractContextManager[VectorCache | None]:
    return VectorCache(folder, encoder.identity, encoder.dim, on_progress) if folder else nullcontext()
