"""Inputs taken away before the members are fitted anew: what an index would be worth had they seen less of each item.

Text alone, photographs alone and both are the experiments that the reference systems published, by one network: here
by the member mlp, without the other members and the stacker, corrected by search vectors of what it sees.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.features.inputs import NUMBERS
from engine.features.search_vectors import SearchVectorizer, joined
from engine.members.member import CrossFit
from engine.members.registry import MEMBERS, member_fits
from engine.settings.schema import Blend, StackerSettings
from index.arrays import Float32, rows_of
from index.catalogue.units import NONE, UNITS
from index.embedding.columns import PAIR, PHOTOGRAPH, TEXT_VIEWS, Modality, modalities
from index.progress import silent

if TYPE_CHECKING:
    from engine.features.inputs import Inputs
    from engine.features.training_set import TrainingSet
    from engine.members.member import Member
    from engine.settings.schema import Settings

TEXT, IMAGE, BOTH = "text", "photographs", "text and photographs"
LENGTHS = {"log_name_length": 0.0, "log_text_length": 0.0, "log_lines": 0.0}  # of an item that says nothing
UNKNOWN = {"log_amount": 0.0, "amount_unknown": 1.0, "log_pack": 0.0, "log_amount_each": 0.0}
"""What `engine.features.inputs` makes of an item that says no amount: zeros alone would be exactly one gram."""


@dataclass(frozen=True)
class Refit:
    """A variant whose members are fitted anew."""

    part: str
    name: str
    members: tuple[str, ...]
    sees: str | None = None  # TEXT, IMAGE or BOTH, of the vectors; None for all there is
    words: bool = True  # and how many there are
    quantities: bool = True  # amount, pack and unit

    def reduced(self, training: TrainingSet, settings: Settings) -> tuple[TrainingSet, Settings]:
        """Reduce the inputs to what is left, with search vectors of that; and the settings to train on them."""
        from scipy.sparse import csr_matrix

        inputs = training.inputs
        kept = [column.name for column in modalities(settings.views) if self._keeps(column)]
        seen = replace(inputs, vectors={name: inputs.vectors[name] for name in kept})
        if not self.words:
            nothing = csr_matrix(inputs.words.shape, dtype=np.float32)
            seen = replace(seen, words=nothing, numbers=_with(seen.numbers, LENGTHS))
        if not self.quantities:
            unit = np.full_like(inputs.unit, UNITS.index(NONE))
            seen = replace(seen, numbers=_with(seen.numbers, UNKNOWN), unit=unit)
        stacker = settings.stacker if self.sees is None else StackerSettings(rounds=0)
        changed = replace(settings, members=self.members, blend=Blend(), stacker=stacker)
        return replace(training, inputs=seen, search_vectors=self._search_vectors(seen, settings)), changed

    def _keeps(self, modality: Modality) -> bool:
        """Tell whether a modality stays. A pair of text and photograph through one encoder is neither of them alone."""
        views = {None: (), BOTH: (), TEXT: (PHOTOGRAPH, PAIR), IMAGE: (*TEXT_VIEWS, PAIR)}
        return modality.view not in views[self.sees]

    def _search_vectors(self, seen: Inputs, settings: Settings) -> Float32:
        if self.sees == IMAGE:
            return joined(list(seen.vectors.values()))
        return SearchVectorizer.fit(seen, settings).vectors(seen)


def _with(numbers: Float32, values: Mapping[str, float]) -> Float32:
    """A copy with some of NUMBERS the same for all n items."""
    changed = numbers.copy()
    for name, value in values.items():
        changed[:, NUMBERS.index(name)] = value
    return changed


def refits_of(settings: Settings) -> list[Refit]:
    """Refits that leave out something that this index has."""
    views = {column.view for column in modalities(settings.views)}
    found = []
    if PHOTOGRAPH in views and views & set(TEXT_VIEWS):
        found += [
            Refit("modalities", f"mlp alone, of {TEXT}", ("mlp",), TEXT),
            Refit("modalities", f"mlp alone, of {IMAGE}", ("mlp",), IMAGE, words=False, quantities=False),
            Refit("modalities", f"mlp alone, of {BOTH}", ("mlp",), BOTH),
        ]
    if wordless := tuple(member for member in settings.members if not MEMBERS[member].words_only):
        found.append(Refit("words", "without words, but for encoders", wordless, words=False))
    return [*found, Refit("quantities", "without amount, pack and unit", settings.members, quantities=False)]


def fitting_seconds(training: TrainingSet, settings: Settings, refits: Sequence[Refit]) -> float:
    """Estimate the seconds that all `refits` take, from one fit of each member."""
    rows = np.flatnonzero(training.fold > 1)  # as most are fitted: without two of the folds
    inputs, log_price = training.inputs.take(rows), training.log_price[rows]
    age_weight = rows_of(training.age_weight, rows)
    folds = int(training.fold.max()) + 1
    seconds: dict[str, float] = {}
    before: dict[str, Member] = {}
    needed = tuple(dict.fromkeys(member for refit in refits for member in refit.members))
    for member, fit in member_fits(replace(settings, members=needed, blend=Blend())).items():
        started = time.monotonic()
        if isinstance(fit, CrossFit):
            fit.fit(training, [(0,), (0, 1)], settings.seed, silent)
            seconds[member] = fit.parts * (time.monotonic() - started)
        else:
            before[member] = fit(inputs, log_price, settings.seed, before, age_weight)
            seconds[member] = folds * (folds + 1) / 2 * (time.monotonic() - started)
    return sum(seconds[member] for refit in refits for member in refit.members)
