"""Which vectors does an item have, and under which names? The same for a build and for a query.

A modality is one view of an item (its name, its bullet points, its whole text, its photograph) through one encoder.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.settings.schema import TEXT_VIEWS
from index.catalogue.cleaning import clean
from index.catalogue.fields import details, parse_fields
from index.embedding.embed import NO_PHOTOGRAPH, embed_pairs, embed_photographs, embed_texts
from index.embedding.vector_cache import VectorCache
from index.encoders import find_spec, open_encoder
from index.encoders.device import AUTO, Runtime
from index.errors import IndexUnusable, UsageError
from index.progress import Report, silent
from index.storage.items_table import vector_column
from index.storage.manifest import EncoderRecord

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.settings.schema import Settings
    from index.encoders import Encoder
    from index.photographs.source import Photographs

PHOTOGRAPH, PAIR = "photograph", "pair"


@dataclass(frozen=True)
class Modality:
    """One column of vectors."""

    name: str  # of the column and of the models' input: `minilm_name`
    encoder: str  # NAME or NAME@PATH
    view: str  # name, bullets, text, details, photograph, or pair: text and photograph together
    cleaning: tuple[str, ...] = ()  # of the text, before it is encoded


def modalities(settings: Settings) -> list[Modality]:
    """The columns of a build. UsageError for an encoder that cannot read what it is named for."""
    texts = [_modality(e, view) for e in settings.text_encoder for view in _views(e, "text", settings.text_views)]
    images = [_modality(e, view) for e in settings.image_encoder for view in _views(e, "image", (PHOTOGRAPH,))]
    wanted = [replace(each, cleaning=settings.cleaning) for each in texts + images]
    if len({each.name for each in wanted}) < len(wanted):
        names = ", ".join(dict.fromkeys(each.encoder for each in wanted))
        raise UsageError(f"An encoder is named twice among {names}: an index holds one version of each.")
    return wanted


def space_columns(settings: Settings) -> list[str]:
    """The columns whose cosines the correction's search averages: views of the first text encoder."""
    first = settings.text_encoder[0]
    views = _views(first, "text", settings.text_views)
    return [_modality(first, view).name for view in views if view in settings.correction.search_vectors or view == PAIR]


def _views(encoder: str, kind: Literal["text", "image"], views: tuple[str, ...]) -> tuple[str, ...]:
    """Which columns an encoder makes where it is named for words ("text") or photographs ("image")."""
    spec = find_spec(encoder)
    if spec.family == "none":
        return ()
    if kind in spec.modalities:
        return views
    if "pair" in spec.modalities:
        return (PAIR,)
    what = {"text": "words", "image": "photographs"}
    raise UsageError(f"{spec.name} does not encode {what[kind]}; `price encoders` lists which encoder reads what.")


def _modality(encoder: str, view: str) -> Modality:
    """`qwen3-0.6b@weights/` and name -> `qwen3_0_6b_name`: columns, and torch's module names, allow no dot."""
    return Modality(f"{re.sub(r'[^a-z0-9]', '_', encoder.partition('@')[0].lower())}_{view}", encoder, view)


class Encoders:
    """The encoders of an index, each opened when it is first needed and kept.

    With the `records` of an index, an encoder whose weights or revision are not those that it was built with is refused
    when it is opened: cosines across encoders mean nothing.
    """

    def __init__(
        self, wanted: list[Modality], runtime: Runtime = AUTO, records: tuple[EncoderRecord, ...] = ()
    ) -> None:
        self.modalities = wanted
        self._runtime = runtime
        self._built = {record.column: record for record in records}
        self._open: dict[str, Encoder] = {}

    def get(self, modality: Modality) -> Encoder:
        """The modality's encoder. IndexUnusable if it is not the one that the index was built with."""
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
        """What the manifest keeps of each column."""
        opened = [(each, self.get(each)) for each in self.modalities]
        return tuple(EncoderRecord(vector_column(m.name), m.encoder, e.identity, e.dim) for m, e in opened)

    def encode(
        self,
        items: pa.Table,
        photographs: Photographs,
        cache: Path | None = None,
        report: Report = silent,
    ) -> tuple[dict[str, NDArray[np.float32]], list[str | None]]:
        """modality -> (n, dim) unit rows, zero where absent; and (n,) why the photograph is absent, None where not."""
        images = items["image"].to_pylist()
        vectors: dict[str, NDArray[np.float32]] = {}
        absent: list[str | None] = [None] * len(images)
        for each in self.modalities:
            built = self._built.get(vector_column(each.name))
            if built and each.view == PHOTOGRAPH and not any(images):
                vectors[each.name] = np.zeros((len(images), built.dim), np.float32)  # no need to open the encoder
                absent = [NO_PHOTOGRAPH] * len(images)
                continue
            encoder = self.get(each)
            with _cache(cache, encoder, report) as kept:
                if each.view in TEXT_VIEWS:
                    vectors[each.name] = embed_texts(encoder, _texts(items, each), kept, report)
                    continue
                if each.view == PAIR:
                    seen = embed_pairs(encoder, _texts(items, each), images, photographs, cache=kept, report=report)
                else:
                    seen = embed_photographs(encoder, images, photographs, kept, report)
                vectors[each.name], absent = seen.vectors, seen.absent
        return vectors, absent


def _texts(items: pa.Table, modality: Modality) -> list[str]:
    """What is said of each item in one view, cleaned as its encoder is to read it."""
    if modality.view == "bullets":
        said = ["\n".join(parse_fields(text).bullets) for text in items["text"].to_pylist()]
    elif modality.view == "details":
        said = [details(text) for text in items["text"].to_pylist()]
    else:
        said = items["name" if modality.view == "name" else "text"].to_pylist()
    return [clean(text, modality.cleaning) for text in said]


def _cache(folder: Path | None, encoder: Encoder, report: Report) -> AbstractContextManager[VectorCache | None]:
    return VectorCache(folder, encoder.identity, encoder.dim, report) if folder else nullcontext()
