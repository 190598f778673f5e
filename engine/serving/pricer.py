"""Open an index and price items: each answer with its interval, how it came about, and the comparables behind it.

`Pricer.price_items` is the one chain from items to estimates: a query, a file, a labelled file and the server call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from engine.ensemble.parts import expect_reference, index_settings
from engine.ensemble.price_model import PriceModel, load_models
from engine.ensemble.reference import ReferenceSet
from engine.ensemble.uncertainty.expected_price import MEDIAN, require_answer
from engine.features.inputs import Inputs, InputShape, make_inputs
from engine.features.search_vectors import SearchVectorizer
from engine.features.tabular import UNKNOWN, KnownCategories
from engine.serving.arguing.explain import Explanation, explained, variants_of
from engine.serving.arguing.selection import EVERYTHING, Selection
from engine.serving.audit.audit import audit_rows
from engine.serving.priced_items import ItemFeatures, PricedItems, make_quotes
from engine.serving.quote import (
    NO_PHOTOGRAPHS,
    Comparable,
    Item,
    Quote,
    further_cells,
    photograph_notes,
    refusal,
    require_items,
    require_quote,
    unpriced,
)
from engine.serving.review.decisions import suggest
from engine.serving.review.frames import audit_frame, item_cells, review_frame
from engine.serving.review.own_cells import OwnColumns
from engine.serving.scorable import scorable_rows
from engine.settings.rules import NO_RULES, Rules
from engine.settings.schema import CorrectionParameters, Settings
from index.arrays import Bool
from index.catalogue.further import CATEGORY, with_further
from index.catalogue.item_table import NOTHING_GIVEN, make_items
from index.contents import expect, loading
from index.embedding.columns import PAIR, PHOTOGRAPH, modalities
from index.embedding.encode import Encoders
from index.encoders.device import AUTO, Runtime
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.shortage import require_memory
from index.storage.generations import GenerationLease, lease_generation
from index.storage.layout import REFERENCE, memory_of
from index.storage.manifest import Manifest, read_manifest
from index.threads import limited_products, one_thread

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from threadpoolctl import ThreadpoolController

    from index.photographs.fingerprints import Fingerprints

FEW_ITEMS = 4
__all__ = ["Comparable", "Item", "Pricer", "Quote", "Selection"]


class Pricer:
    """An open index. Not for several threads at once."""

    def __init__(self, folder: Path, runtime: Runtime = AUTO, threads: int | None = None) -> None:
        """Open a generation that nobody can remove: for who holds the index for writing. Otherwise see `open`.

        `threads`: of the products after the encoding, all where None; with another number of them a product's last
        digits are others.
        """
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        require_memory(*memory_of(folder))
        self.settings: Settings = index_settings(folder, self.manifest)
        self.reference = ReferenceSet.open(folder, self.settings.search)
        expect_reference(folder, self.reference, self.manifest, self.settings)
        shape = InputShape.of(self.manifest)
        models, parameters = load_models(folder, self.settings, shape)
        self.model = PriceModel(models, parameters, self.reference, self.settings.stacker)
        self.search_vectorizer = SearchVectorizer.load(folder, self.settings, shape)
        with loading(folder / REFERENCE):
            width = self.search_vectorizer.width(shape)
            expect(self.reference.dim == width, f"its vectors have {self.reference.dim:,} numbers of {width:,}")
        self.encoders = Encoders(modalities(self.settings.views), runtime, self.manifest.encoders)
        self._threads = threads
        self._lease: GenerationLease | None = None

    @classmethod
    def open(
        cls,
        index_dir: str | Path,
        runtime: Runtime = AUTO,
        threads: int | None = None,
        *,
        generation: str | None = None,
    ) -> Self:
        """Open the current generation, or that of a number or a name that is kept.

        Raises IndexUnusable if it is missing, damaged or of another format.

        It stays on the disk while the pricer lives, whatever is built or added meanwhile.
        """
        lease = lease_generation(Path(index_dir), generation)
        pricer = cls(lease.folder, runtime, threads)
        pricer._lease = lease
        return pricer

    @property
    def correction(self) -> CorrectionParameters:
        """The index's own k, band, lambda (`decay`) and alpha."""
        return self.model.parameters.correction

    @property
    def looks_at_photographs(self) -> bool:
        """Tell whether any encoder of the index reads photographs."""
        return any(column.view in (PHOTOGRAPH, PAIR) for column in self.encoders.modalities)

    def price(
        self,
        items: Iterable[Item],
        *,
        correction: CorrectionParameters | None = None,
        photographs: Photographs | None = None,
        answer: str = MEDIAN,
        selection: Selection = EVERYTHING,
    ) -> list[Quote]:
        """A quote for each item, in order: by the median of what it may cost, or by its mean, the expected price.

        `correction` in the place of the index's own (`dataclasses.replace(pricer.correction, k=8)`). `photographs` says
        where images may come from, by default any path and any public URL: where strangers name them, give one that
        allows no paths. `selection` leaves out comparables or pins them; a quote then says what the price was before.
        Raises DataRefused for an item with neither words nor a photograph that can be read and for an id that the index
        has not, UsageError for a further column that it has not.
        """
        items = list(items)
        if not items:
            return []
        require_items(items)
        answers = self._answers(items, photographs, correction=correction, answer=answer, selection=selection)
        return [require_quote(quote) for quote in answers]

    def _answers(
        self,
        items: Sequence[Item],
        photographs: Photographs | None,
        *,
        correction: CorrectionParameters | None,
        answer: str,
        selection: Selection,
    ) -> list[Quote | str]:
        """A quote for each item, in order, or the refusal of one that cannot be priced; arguments as of `price`."""
        table, cells = self._table(items)
        photographs = photographs or Photographs(allow_paths=True, fetch_missing=True)
        result = self.price_items(table, photographs, correction=correction, answer=answer, selection=selection)
        absent = result.features.absent
        further_notes = self._further_notes(result.features.inputs, cells)
        general = selection.notes((correction or self.correction).k)
        notes = [
            [*photograph_notes(item, why), *of_item, *general]
            for item, why, of_item in zip(items, absent, further_notes, strict=True)
        ]
        whys = self.model.reasons(result.estimate) if result.estimate else []
        quotes = iter(make_quotes(result, self.reference, items, notes, whys, answer=answer))
        return [next(quotes) if priced else refusal(why) for priced, why in zip(result.priced, absent, strict=True)]

    def _table(self, items: Sequence[Item]) -> tuple[pa.Table, dict[str, list[Any]]]:
        """Items of the schema `ITEMS`, and their cells of each further column of the index."""
        ids, texts = [str(n) for n in range(len(items))], [item.text for item in items]
        cells = further_cells(items, self.manifest.further)
        table = make_items(ids, texts, [item.image for item in items], further=cells)
        return self.manifest.shared.applied(table), cells

    def _further_notes(self, inputs: Inputs, cells: Mapping[str, Sequence[Any]]) -> list[list[str]]:
        """Notes on each item's further columns: what is not given, and categories that the build has not seen."""
        notes: list[list[str]] = [[] for _ in range(len(inputs))]
        for row, of_item in enumerate(notes):
            absent = [column.partition(":")[2] for column, given in cells.items() if given[row] is None]
            if absent:
                of_item.append(f"Not given, and read by the index: {', '.join(absent)}.")
        for column, unseen in self.unseen(inputs).items():
            name = column.partition(":")[2]
            for of_item, cell, new in zip(notes, cells[column], unseen, strict=True):
                if new:
                    of_item.append(f"No item of the index has {name} {cell!r}: priced as if it were unknown.")
        return notes

    def explain(
        self,
        item: Item,
        *,
        correction: CorrectionParameters | None = None,
        photographs: Photographs | None = None,
        answer: str = MEDIAN,
        selection: Selection = EVERYTHING,
    ) -> Explanation:
        """Price an item, the same without each of its parts, and with twice the amount, all at once.

        Arguments and errors as of `price`.
        """
        require_items([item])
        shared = self.manifest.shared
        text = shared.applied(make_items(["0"], [item.text], [None]))["text"][0].as_py()
        variants, twice = variants_of(
            item, text, shared.lines, self.reference.names_beginning, photograph=self.looks_at_photographs
        )
        items = [item, *(variant.item for variant in (*variants, *([twice] if twice else ())) if variant.item)]
        quote, *rest = self._answers(items, photographs, correction=correction, answer=answer, selection=selection)
        prices = [None if isinstance(of_variant, str) else of_variant.price for of_variant in rest]
        return explained(require_quote(quote), prices, variants, twice)

    def unseen(self, inputs: Inputs) -> dict[str, Bool]:
        """Category of the index -> (n,) whether an item has a value of it that no item of the build has."""
        categories = [column for column in self.manifest.further if column.startswith(CATEGORY)]
        if inputs.tabular is None or not categories:
            return {}
        places = self._known_categories.places(inputs.tabular)
        return {column: places[:, at] == UNKNOWN for at, column in enumerate(categories)}

    @cached_property
    def _known_categories(self) -> KnownCategories:
        return KnownCategories.load(self.folder)

    def price_frame(self, frame: pd.DataFrame, *, text: str = "text", image: str = "image") -> pd.DataFrame:
        """A row of prices for each row of `frame`, under its index: price, low, high, confidence, parts as `part_NAME`.

        `text` and `image` name its columns; one of them may be missing. Those that are called like a further column of
        the index are read as such. Raises what `price` raises.
        """
        import pandas as pd

        rows = [
            {"price": quote.price, "low": quote.low, "high": quote.high, "confidence": quote.confidence}
            | {f"part_{name}": value for name, value in quote.parts.items()}
            for quote in self.price(self._frame_items(frame, text, image))
        ]
        return pd.DataFrame(rows, index=frame.index)

    def _frame_items(self, frame: pd.DataFrame, text: str, image: str) -> list[Item]:
        further = [column.partition(":")[2] for column in self.manifest.further]
        return [Item(*cells) for cells in item_cells(frame, text, image, further)]

    def review(
        self, frame: pd.DataFrame, rules: Rules = NO_RULES, *, weight: str | None = None, group: str | None = None
    ) -> pd.DataFrame:
        """Review a price list as `price review` does, under its index: its columns text, image, price, and of rules.

        `rules` in the place of the index's own, which stay where none is given. `weight` and `group` name columns of
        quantities and categories. UsageError for a column that the list has not.
        """
        given = self._frame_items(frame, "text", "image")
        items, _ = self._table(given)
        result = self.price_items(items, Photographs(allow_paths=True, fetch_missing=True))
        priced = np.flatnonzero(result.priced)
        inputs = result.features.inputs.take(priced)
        suggestions = suggest(result.estimate, inputs, self.model, priced, len(frame))
        own = OwnColumns(replace(self.settings.rules, **rules.given), weight, group)
        reasons = [
            "" if has_price else unpriced(why) if item.text.strip() or item.image else NOTHING_GIVEN
            for item, has_price, why in zip(given, result.priced, result.features.absent, strict=True)
        ]
        names, currency = items["name"].to_pylist(), self.manifest.currency
        return review_frame(frame, suggestions, own, names=names, reasons=reasons, currency=currency)

    def audit(self) -> pd.DataFrame:
        """Rows of the index whose own price lies outside what models say that never saw it, the worst first."""
        assert self._lease is not None, "opened for writing"
        return audit_frame(audit_rows(scorable_rows(self._lease), self.reference, self.model.parameters))

    def price_items(
        self,
        items: pa.Table,
        photographs: Photographs,
        *,
        correction: CorrectionParameters | None = None,
        answer: str = MEDIAN,
        selection: Selection = EVERYTHING,
        cache: Path | None = None,
        on_progress: OnProgress = silent,
    ) -> PricedItems:
        """Price n items (schema `index.catalogue.item_table.ITEMS`): encode, predict, blend, search, stack, correct.

        Further columns that they lack are missing; those that the index has not are passed over. UsageError for an
        `answer` that is neither MEDIAN nor MEAN, DataRefused for a `selection` of rows that the index has not.
        `cache` keeps encodings by content.
        """
        require_answer(answer)
        selected = selection.rows(self.folder, self.manifest, self.reference) if selection else None
        with self._one_thread(items.num_rows):
            features = self.features(items, photographs, cache=cache, on_progress=on_progress)
            priced = np.array(
                [
                    bool(text.strip()) or why is None
                    for text, why in zip(items["text"].to_pylist(), features.absent, strict=True)
                ],
                bool,
            )
            if not priced.any():
                return PricedItems(priced, features, None)
            on_progress("models", 0, None)
            inputs, search_vectors = features.inputs, features.search_vectors
            if not priced.all():
                inputs, search_vectors = inputs.take(np.flatnonzero(priced)), search_vectors[priced]
            with self._limited():
                estimate, before = self.model.estimate(inputs, search_vectors, correction, answer=answer), None
                if selected:
                    before = estimate
                    members = estimate.base.members if selected.fold is None else None
                    estimate = self.model.estimate(
                        inputs, search_vectors, correction, answer=answer, selected=selected, members=members
                    )
            return PricedItems(priced, features, estimate, before)

    def features(
        self,
        items: pa.Table,
        photographs: Photographs,
        *,
        cache: Path | None = None,
        fingerprints: Fingerprints | None = None,
        on_progress: OnProgress = silent,
    ) -> ItemFeatures:
        """Encode n items and read what their words say; `cache` keeps encodings by content, for which `fingerprints`
        of the photographs spare hashing them again."""
        items = with_further(items, self.manifest.further)
        vectors, absent = self.encoders.encode(items, photographs, cache, on_progress, fingerprints)
        if not self.looks_at_photographs:
            absent = [NO_PHOTOGRAPHS] * items.num_rows
        on_progress("features", 0, None)
        with self._limited():
            inputs = make_inputs(items, vectors)
            return ItemFeatures(vectors, absent, inputs, self.search_vectorizer.vectors(inputs))

    def _one_thread(self, items: int) -> AbstractContextManager[object]:
        """A context in which few items are priced on one thread: several wait for each other longer than they work."""
        return one_thread(self._pools) if items <= FEW_ITEMS else nullcontext()

    @cached_property
    def _pools(self) -> ThreadpoolController:
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()  # of the libraries that are loaded: with the models, all are

    def _limited(self) -> AbstractContextManager[object]:
        """A context in which matrix products run on so many threads."""
        return nullcontext() if self._threads is None else limited_products(self._pools, self._threads)
