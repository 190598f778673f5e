"""What would the index be worth had its members seen less of each item? Their inputs, taken away before a fit.

Text alone, photographs alone and both are the experiments that the reference systems published, by one network: here
by the member mlp, without the other members and the stack, corrected in the space of what it sees.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.ensemble.out_of_fold import OutOfFold, predict_out_of_fold
from engine.ensemble.stacker import Catalogue, Goods, amounts
from engine.features.inputs import NUMBERS
from engine.features.search_vectors import Space, joined
from engine.members.registry import BESIDE, member_fits
from engine.settings.schema import Blend, StackerSettings
from index.catalogue.units import NONE, UNITS
from index.embedding.columns import PAIR, PHOTOGRAPH, TEXT_VIEWS, Modality, modalities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.members.registry import Model
    from engine.settings.schema import Settings

    Float32 = NDArray[np.float32]

TEXT, IMAGE, BOTH = "text", "photographs", "text and photographs"
WORDLESS = ("lexical", "finetuned")  # members that see words alone, and have nothing left without them
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

    def world(self, catalogue: Catalogue, settings: Settings) -> tuple[Catalogue, Settings]:
        """What is left to see, with where neighbours are looked for, and the settings that it is learned by."""
        from scipy.sparse import csr_matrix

        (inputs, goods, _), alone = catalogue, self.sees is not None
        kept = [each.name for each in modalities(settings.views) if self._keeps(each)]
        seen = replace(inputs, vectors={name: inputs.vectors[name] for name in kept})
        if not self.words:
            nothing = csr_matrix(inputs.words.shape, dtype=np.float32)
            seen = replace(seen, words=nothing, numbers=_with(seen.numbers, LENGTHS))
        if not self.quantities:
            unit = np.full_like(inputs.unit, UNITS.index(NONE))
            seen = replace(seen, numbers=_with(seen.numbers, UNKNOWN), unit=unit)
            goods = Goods(goods.log_price, unit, amounts(seen))  # or the stack would compare known amounts with unknown
        changed = replace(
            settings,
            members=self.members,
            blend=Blend(),
            stacker=StackerSettings(rounds=0) if alone else settings.stacker,
        )
        return Catalogue(seen, goods, self._space(seen, settings)), changed

    def fit(self, seen: Catalogue, fold: NDArray[np.int8], settings: Settings) -> OutOfFold:
        """The members' predictions."""
        return predict_out_of_fold(
            seen.inputs, seen.goods.log_price, fold, member_fits(settings), seed=settings.seed, aside=BESIDE
        )[0]

    def _keeps(self, modality: Modality) -> bool:
        """A pair of text and photograph through one encoder is neither of them alone."""
        views = {None: (), BOTH: (), TEXT: (PHOTOGRAPH, PAIR), IMAGE: (*TEXT_VIEWS, PAIR)}
        return modality.view not in views[self.sees]

    def _space(self, seen: Inputs, settings: Settings) -> Float32:
        if self.sees == IMAGE:
            return joined(list(seen.vectors.values()))
        return Space.fit(seen, settings).vectors(seen)


def _with(numbers: Float32, told: Mapping[str, float]) -> Float32:
    """A copy with some of NUMBERS the same for all n items."""
    changed = numbers.copy()
    for name, value in told.items():
        changed[:, NUMBERS.index(name)] = value
    return changed


def refits_of(settings: Settings) -> list[Refit]:
    """Those that this index has something to leave out for."""
    views = {each.view for each in modalities(settings.views)}
    found = []
    if PHOTOGRAPH in views and views & set(TEXT_VIEWS):
        found += [
            Refit("modalities", f"mlp alone, of {TEXT}", ("mlp",), TEXT),
            Refit("modalities", f"mlp alone, of {IMAGE}", ("mlp",), IMAGE, words=False, quantities=False),
            Refit("modalities", f"mlp alone, of {BOTH}", ("mlp",), BOTH),
        ]
    wordless = tuple(member for member in settings.members if member not in WORDLESS)
    return [
        *found,
        Refit("words", "without words, but for encoders", wordless, words=False),
        Refit("quantities", "without amount, pack and unit", settings.members, quantities=False),
    ]


def members_of(oof: OutOfFold, members: Sequence[str]) -> OutOfFold:
    """The predictions of some members, without a stack."""
    own, without = ({member: each[member] for member in members} for each in (oof.own, oof.without))
    return OutOfFold(oof.fold, own, without)


def fitting_seconds(catalogue: Catalogue, fold: NDArray[np.int8], settings: Settings, refits: Sequence[Refit]) -> float:
    """How long the fits of all `refits` take, from one of each member."""
    rows = np.flatnonzero(fold > 1)  # as most are fitted: without two of the folds
    some, log_price = catalogue.inputs.take(rows), catalogue.goods.log_price[rows]
    seconds: dict[str, float] = {}
    before: dict[str, Model] = {}
    for member, fit in member_fits(settings).items():
        if any(member in each.members for each in refits):
            started = time.monotonic()
            before[member] = fit(some, log_price, settings.seed, before)
            seconds[member] = time.monotonic() - started
    folds = int(fold.max()) + 1
    return folds * (folds + 1) / 2 * sum(seconds[member] for each in refits for member in each.members)
