"""Open an index, price items: each answer with its interval, how it came about, and the comparables behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.price_model import Bank, PriceModel, load_models
from engine.features.inputs import make_inputs
from engine.features.search_vectors import Space
from engine.serving.reference import OpenComparables, open_comparables
from engine.settings.read import settings_from
from engine.settings.schema import CorrectionParameters, Settings
from index.catalogue.items import make_items
from index.embedding.columns import PAIR, PHOTOGRAPH, Encoders, modalities
from index.encoders.device import AUTO, Runtime
from index.errors import DataRefused
from index.photographs.source import Photographs
from index.storage.generations import Hold, hold_current
from index.storage.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from engine.ensemble.price_model import Estimate


@dataclass(frozen=True)
class Item:
    """What to price: words, a photograph (URL or path), or both."""

    text: str = ""
    image: str | None = None


@dataclass(frozen=True)
class Comparable:
    """A row of the catalogue that the correction heard."""

    item_id: str
    name: str
    price: float
    similarity: float  # cosine, higher is closer
    residual: float  # log price less what the models expected of it, out of fold: 0.1 is about 10 % dearer
    weight: float  # its share of the shift
    image: str | None


@dataclass(frozen=True)
class Quote:
    """A price, in the index's currency. `parts`: each member's, the blend's, the stack's, the correction's."""

    price: float
    low: float
    high: float
    parts: dict[str, float]
    comparables: tuple[Comparable, ...]
    notes: tuple[str, ...]


class Pricer:
    """An open index. Not for several threads at once."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        *,
        settings: Settings,
        rows: OpenComparables,
        model: PriceModel,
        space: Space,
        encoders: Encoders,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.settings = settings
        self.rows = rows
        self.model = model
        self.space = space
        self.encoders = encoders
        self._hold: Hold | None = None

    @classmethod
    def open(cls, index: str | Path, runtime: Runtime = AUTO) -> Self:
        """Open the generation in force. Raises IndexUnusable if it is missing, damaged or of another format.

        It stays on the disk while the pricer lives, whatever is built or added meanwhile.
        """
        hold = hold_current(Path(index))
        pricer = cls.of(hold.folder, runtime)
        pricer._hold = hold
        return pricer

    @classmethod
    def of(cls, folder: Path, runtime: Runtime = AUTO) -> Self:
        """Open a generation that nobody can remove: for who holds the index for writing."""
        manifest = read_manifest(folder)
        settings = settings_from(manifest.settings)
        rows = open_comparables(folder)
        models, fitted = load_models(folder)
        model = PriceModel(
            models, fitted, Bank(rows.index(settings.search), rows.goods, rows.residual), settings.stacker
        )
        space = Space.load(folder, settings)
        encoders = Encoders(modalities(settings.views), runtime, manifest.encoders)
        return cls(folder, manifest, settings=settings, rows=rows, model=model, space=space, encoders=encoders)

    @property
    def knobs(self) -> CorrectionParameters:
        """The index's own k, band, lambda (`decay`) and alpha."""
        return self.model.fitted.knobs

    def price(
        self,
        items: Iterable[Item],
        *,
        knobs: CorrectionParameters | None = None,
        photographs: Photographs | None = None,
    ) -> list[Quote]:
        """A quote for each item, in order.

        `knobs` in the place of the index's own (`dataclasses.replace(pricer.knobs, k=8)`). `photographs` says where
        images may come from, by default any path and any public URL: where strangers name them, give one that allows no
        paths. Raises DataRefused for an item with neither words nor a photograph that can be read.
        """
        asked = list(items)
        if not asked:
            return []
        for place, item in enumerate(asked):
            if not item.text.strip() and not (item.image or "").strip():
                raise DataRefused(f"Item {place + 1} has no text and no photograph: give at least one of them.")
        table = make_items([str(i) for i in range(len(asked))], [i.text for i in asked], [i.image for i in asked])
        vectors, absent = self.encoders.encode(table, photographs or Photographs(allow_paths=True, fetch_missing=True))
        notes = self._photograph_notes(asked, absent)
        estimate = self.estimate(table, vectors, knobs)
        return [self._quote(estimate, row, item, notes[row]) for row, item in enumerate(asked)]

    def estimate(self, table: Any, vectors: dict[str, Any], knobs: CorrectionParameters | None = None) -> Estimate:
        """Items (schema `index.catalogue.items.ITEMS`) and their vectors -> arrays in log price."""
        inputs = make_inputs(table, vectors)
        return self.model.estimate(inputs, self.space.vectors(inputs), knobs)

    def encode(self, table: Any, photographs: Photographs, **options: Any) -> dict[str, Any]:
        """The vectors of items by modality."""
        return self.encoders.encode(table, photographs, **options)[0]

    def _photograph_notes(self, asked: list[Item], absent: list[str | None]) -> list[list[str]]:
        """What must be said of each item's photograph. Raises DataRefused where nothing else was given."""
        looked_at = any(each.view in (PHOTOGRAPH, PAIR) for each in self.encoders.modalities)
        notes: list[list[str]] = [[] for _ in asked]
        for row, item in enumerate(asked):
            if not item.image:
                continue
            if not looked_at:
                notes[row].append("The index has no photographs: the photograph was not looked at.")
                if not item.text.strip():
                    raise DataRefused("The index was built without photographs: describe the item in words.")
            elif absent[row] is not None:
                why = absent[row]
                if not item.text.strip():
                    raise DataRefused(
                        f"The photograph could not be used ({why}) and there are no words: give one of them."
                    )
                notes[row].append(f"The photograph could not be used ({why}): priced by its words alone.")
        return notes

    def _quote(self, estimate: Estimate, row: int, item: Item, notes: list[str]) -> Quote:
        base = estimate.base
        price, uncorrected = float(np.exp(estimate.answer[row])), float(np.exp(base.last[row]))
        rows = estimate.near.rows[row]
        rows = rows[rows >= 0]
        shown = self.rows.shown(rows)
        comparables = tuple(
            Comparable(
                item_id=like["item_id"],
                name=like["name"],
                price=float(np.exp(self.model.bank.goods.log_price[at])),
                similarity=float(estimate.near.similarity[row, place]),
                residual=float(self.model.bank.residual[at]),
                weight=float(estimate.weight[row, place]),
                image=like["image"],
            )
            for place, (at, like) in enumerate(zip(rows, shown, strict=True))
        )
        if not comparables:
            why = "No neighbour lies within the band" if item.text.strip() else "Neighbours are found by words"
            notes = [*notes, f"{why}: the price is the models' alone."]
        stages = {**base.members, "blend": base.blended, **({} if base.stacked is None else {STACKER: base.stacked})}
        parts = {name: float(np.exp(values[row])) for name, values in stages.items()}
        return Quote(
            price=price,
            low=float(np.exp(estimate.low[row])),
            high=float(np.exp(estimate.high[row])),
            parts={**parts, "shift": price - uncorrected},
            comparables=comparables,
            notes=tuple(notes),
        )


def with_overrides(knobs: CorrectionParameters, **given: float | None) -> CorrectionParameters:
    """The index's knobs with those that were given in their place; UsageError for one out of range."""
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(knobs, **changes)
