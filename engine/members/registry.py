"""Which models can a blend be made of? How each is fitted, and read back.

A member is fitted on some rows and asked about others; it never learns what for. A new one is a class with `fit`,
`predict`, `save` and `load`, a section of settings, and a line in each of the tables here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engine.members.outliers import without_outliers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.features.inputs import Inputs
    from engine.settings.schema import Settings

    Float64 = NDArray[np.float64]

TREES = ("gbdt", "xgboost", "catboost")
BESIDE = frozenset(TREES)  # fitted in a thread of their own: they let go of the interpreter, and share no seed


class Model(Protocol):
    """A fitted member."""

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""

    def save(self, path: Path) -> None:
        """Without pickle."""


Fit = Callable[["Inputs", "Float64", int, Mapping[str, Model]], Model]
"""(inputs, log price (n,), seed, the members that were fitted before it on the same rows) -> a fitted member."""


def member_fits(settings: Settings) -> dict[str, Fit]:
    """How each member of `settings.members` is fitted, in the order in which they must be.

    The trees grow beside the others, each on its share of the cores.
    """
    import os

    import torch

    from engine.finetune.examples import States
    from engine.members.catboost import Catboost
    from engine.members.finetuned import FinetunedMember
    from engine.members.kernel_ridge import Kernel
    from engine.members.lightgbm import Gbdt
    from engine.members.neural import NeuralMember
    from engine.members.xgboost import Xgboost

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tree_threads = max(1, cores // 2)
    torch.set_num_threads(max(1, cores - tree_threads))

    states = States()
    fits: dict[str, Fit] = {
        "mlp": lambda inputs, log_price, seed, _: NeuralMember.fit(inputs, log_price, settings.mlp, seed, name="mlp"),
        "lexical": lambda inputs, log_price, seed, _: NeuralMember.fit(
            inputs, log_price, settings.lexical, seed, name="lexical"
        ),
        "kernel": lambda inputs, log_price, seed, _: Kernel.fit(inputs, log_price, settings.kernel, seed=seed),
        "finetuned": lambda inputs, log_price, seed, _: FinetunedMember.fit(
            inputs, log_price, settings.finetuned, seed=seed, states=states
        ),
        "gbdt": lambda inputs, log_price, seed, fitted: Gbdt.fit(
            inputs, log_price, settings.gbdt, seed=seed, threads=tree_threads, fitted=fitted
        ),
        "xgboost": lambda inputs, log_price, seed, fitted: Xgboost.fit(
            inputs, log_price, settings.xgboost, seed=seed, threads=tree_threads, fitted=fitted
        ),
        "catboost": lambda inputs, log_price, seed, fitted: Catboost.fit(
            inputs, log_price, settings.catboost, seed=seed, threads=tree_threads, fitted=fitted
        ),
    }
    wanted = {member: fit for member, fit in fits.items() if member in settings.members}
    return {member: _less_outliers(fit, settings.outliers) for member, fit in wanted.items()}


def _less_outliers(fit: Fit, share: float) -> Fit:
    """The same, fitted on fewer rows; who is predicted, and who may be a neighbour, is no matter of a fit."""
    if not share:
        return fit

    def fit_less(inputs: Inputs, log_price: Float64, seed: int, fitted: Mapping[str, Model]) -> Model:
        rows = without_outliers(log_price, share)
        return fit(inputs.take(rows), log_price[rows], seed, fitted)

    return fit_less


def require_members(settings: Settings) -> None:
    """UsageError for a member whose package is not installed: said before anything is encoded."""
    from engine.members.tree_features import require_trees

    for member in {"xgboost", "catboost"} & set(settings.members):
        require_trees(member)
    if "finetuned" in settings.members:
        from engine.members.finetuned import require_finetuned

        require_finetuned(settings.finetuned)


def load_member(member: str, path: Path, fitted: Mapping[str, Model]) -> Model:
    """What its `save` wrote; `fitted` holds the members of the same fold that come before it."""
    from engine.finetune.examples import States
    from engine.members.catboost import Catboost
    from engine.members.finetuned import FinetunedMember
    from engine.members.kernel_ridge import Kernel
    from engine.members.lightgbm import Gbdt
    from engine.members.neural import NeuralMember
    from engine.members.xgboost import Xgboost

    load: dict[str, Callable[[], Model]] = {
        "mlp": lambda: NeuralMember.load(path),
        "lexical": lambda: NeuralMember.load(path),
        "kernel": lambda: Kernel.load(path),
        "finetuned": lambda: FinetunedMember.load(path, States(room=0)),
        "gbdt": lambda: Gbdt.load(path, fitted),
        "xgboost": lambda: Xgboost.load(path, fitted),
        "catboost": lambda: Catboost.load(path, fitted),
    }
    return load[member]()


def file_of(member: str, fold: int) -> str:
    """The name of the file that the model of a fold is kept in; also of the stack's."""
    return f"{member}-{fold}.{SUFFIX.get(member, 'safetensors')}"


SUFFIX = {"gbdt": "txt", "stacker": "txt", "xgboost": "ubj", "catboost": "cbm"}
