"""Which vectors does an item have, and under which names? The same for a build and for a query.

A modality is one view of an item (its name, its whole text, its photograph) through one encoder.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index.embedding import VectorCache, embed_photographs, embed_texts
from index.encoders import open_encoder
from index.errors import IndexUnusable
from index.manifest import EncoderRecord
from index.progress import Report, silent
from index.store import vector_column

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from engine.settings import Settings
    from index.encoders import Encoder
    from index.images import Photographs

TEXT_VIEWS = ("name", "text")


@dataclass(frozen=True)
class Modality:
    """One column of vectors."""

    name: str  # of the column and of the models' input: `minilm_name`
    encoder: str  # NAME or NAME@PATH
    view: str  # name, text or photograph


def modalities(settings: Settings) -> list[Modality]:
    """The columns of a build."""
    texts = [Modality(f"{_plain(e)}_{view}", e, view) for e in settings.text_encoder for view in TEXT_VIEWS]
    images = [Modality(f"{_plain(e)}_photograph", e, "photograph") for e in settings.image_encoder if e != "none"]
    return texts + images


def space_columns(settings: Settings) -> list[str]:
    """The columns whose cosines the correction's search averages."""
    return [f"{_plain(settings.text_encoder[0])}_{view}" for view in settings.correction.space]


def _plain(encoder: str) -> str:
    """`qwen3-0.6b@weights/` -> `qwen3_0_6b`: columns, and torch's module names, allow no dot."""
    return re.sub(r"\W", "_", encoder.partition("@")[0])


class Encoders:
    """The encoders of an index, each opened when it is first needed and kept."""

    def __init__(self, wanted: list[Modality], device: str = "auto") -> None:
        self.modalities = wanted
        self._device = device
        self._open: dict[str, Encoder] = {}

    def get(self, name: str) -> Encoder:
        """The encoder NAME or NAME@PATH."""
        if name not in self._open:
            self._open[name] = open_encoder(name, device=self._device)
        return self._open[name]

    def records(self) -> tuple[EncoderRecord, ...]:
        """What the manifest keeps of each column."""
        return tuple(
            EncoderRecord(
                vector_column(each.name), each.encoder, self.get(each.encoder).identity, self.get(each.encoder).dim
            )
            for each in self.modalities
        )

    def check(self, records: tuple[EncoderRecord, ...], rebuild: str) -> None:
        """Refuse an index whose vectors other weights made: cosines across encoders mean nothing."""
        for record in records:
            found = self.get(record.name).identity
            if found != record.identity:
                raise IndexUnusable(
                    f"The index was built with other weights or another revision of {record.name} "
                    f"({record.identity}, here {found}): build it again with `{rebuild}`."
                )

    def encode(
        self,
        items: pa.Table,
        photographs: Photographs,
        cache: Path | None = None,
        report: Report = silent,
    ) -> tuple[dict[str, NDArray[np.float32]], Counter[str]]:
        """modality -> (n, dim) unit rows, zero where absent; and why photographs are absent, by reason."""
        vectors, reasons = {}, Counter[str]()
        for each in self.modalities:
            encoder = self.get(each.encoder)
            kept = VectorCache(cache, encoder.identity, encoder.dim, report) if cache else None
            try:
                if each.view == "photograph":
                    seen = embed_photographs(encoder, items["image"].to_pylist(), photographs, kept, report)
                    vectors[each.name], reasons = seen.vectors, seen.reasons
                else:
                    vectors[each.name] = embed_texts(encoder, items[each.view].to_pylist(), kept, report)
            finally:
                if kept:
                    kept.close()
        return vectors, reasons
