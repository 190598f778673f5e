"""Registry of the members that a blend can be made of.

A new one is a class with `fit`, `predict`, `save` and `load`, a section of settings, and an entry here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.members.member import Fit, FitContext, LoadedMember, Member, MemberSpec, Range
from engine.members.outliers import without_outliers
from index.arrays import rows_of
from index.contents import loading
from index.errors import UsageError

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.settings.schema import Settings
    from index.arrays import Float64


def _fit_neural(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
    from engine.members.neural import NeuralMember

    return NeuralMember.fit(inputs, log_price, settings, context.seed, name=context.name, age_weight=context.age_weight)


def _load_neural(path: Path, fitted: Mapping[str, Member]) -> LoadedMember:
    from engine.members.neural import NeuralMember

    return NeuralMember.load(path)


def _fit_kernel(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
    from engine.members.kernel_ridge import KernelRidge

    return KernelRidge.fit(inputs, log_price, settings, seed=context.seed, age_weight=context.age_weight)


def _load_kernel(path: Path, fitted: Mapping[str, Member]) -> LoadedMember:
    from engine.members.kernel_ridge import KernelRidge

    return KernelRidge.load(path)


def _fit_finetuned(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
    from engine.finetune.examples import FrozenActivations
    from engine.members.finetuned import FinetunedMember

    activations = context.shared.setdefault(context.name, FrozenActivations())
    return FinetunedMember.fit(inputs, log_price, settings, seed=context.seed, activations=activations)


def _load_finetuned(path: Path, fitted: Mapping[str, Member]) -> LoadedMember:
    from engine.finetune.examples import FrozenActivations
    from engine.members.finetuned import FinetunedMember

    return FinetunedMember.load(path, FrozenActivations(capacity=0))


def _trees(name: str) -> Any:
    """The class of one kind of trees, whose library is imported with it."""
    if name == "gbdt":
        from engine.members.lightgbm import LightGbm

        return LightGbm
    if name == "xgboost":
        from engine.members.xgboost import XgBoost

        return XgBoost
    from engine.members.catboost import CatBoost

    return CatBoost


def _tree_spec(name: str, suffix: str, tunable: Mapping[str, Range], package: str = "") -> MemberSpec:
    def fit(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
        member: Member = _trees(name).fit(inputs, log_price, settings, context)
        return member

    def load(path: Path, fitted: Mapping[str, Member]) -> LoadedMember:
        member: LoadedMember = _trees(name).load(path, fitted)
        return member

    return MemberSpec(fit, load, suffix, package=package, beside=True, tunable=tunable)


_NETWORK = {
    "dropout": Range(0.0, 0.5),
    "fit.epochs": Range(3, 30, log=True, whole=True),
    "fit.learning_rate": Range(3e-4, 1e-2, log=True),
    "fit.weight_decay": Range(0.0, 0.3),
}
_KERNEL = {
    "ridge": Range(0.1, 10.0, log=True),
    "product": Range(0.3, 10.0, log=True),
    "vectors": Range(0.0, 4.0),
    "numbers": Range(0.0, 6.0),
}
_TREES = {"rounds": Range(100, 1000, log=True, whole=True), "learning_rate": Range(0.02, 0.2, log=True)}
_DEEP_TREES = {**_TREES, "depth": Range(3, 10, whole=True)}

MEMBERS: dict[str, MemberSpec] = {
    "mlp": MemberSpec(_fit_neural, _load_neural, tunable=_NETWORK),
    "lexical": MemberSpec(_fit_neural, _load_neural, words_only=True, tunable=_NETWORK),
    "kernel": MemberSpec(_fit_kernel, _load_kernel, tunable=_KERNEL),
    "finetuned": MemberSpec(_fit_finetuned, _load_finetuned, words_only=True),
    "gbdt": _tree_spec("gbdt", "txt", {**_TREES, "leaves": Range(7, 127, log=True, whole=True)}),
    "xgboost": _tree_spec("xgboost", "ubj", _DEEP_TREES, package="xgboost"),
    "catboost": _tree_spec("catboost", "cbm", _DEEP_TREES, package="catboost"),
}
"""Every member, in the order in which they must be fitted: trees may read what `mlp` makes of the same rows.

One without `tunable` is never searched: to fine-tune an encoder once takes as long as a search."""


def member_fits(settings: Settings, threads: int = 1) -> dict[str, Fit]:
    """Fit functions of the members in `settings.members`, in order; `threads` for those fitted beside the others."""
    shared: dict[str, Any] = {}

    def fit_of(name: str, spec: MemberSpec) -> Fit:
        def fit(
            inputs: Inputs,
            log_price: Float64,
            seed: int,
            fitted: Mapping[str, Member],
            age_weight: Float64 | None = None,
        ) -> Member:
            require_package(spec.package)
            if settings.outliers:  # of what is learned; what is predicted, and may be a neighbour, stays whole
                rows = without_outliers(log_price, settings.outliers)
                inputs, log_price = inputs.take(rows), log_price[rows]
                age_weight = rows_of(age_weight, rows)
            context = FitContext(name, seed, threads, fitted, shared, age_weight)
            return spec.fit(inputs, log_price, getattr(settings, name), context)

        return fit

    return {name: fit_of(name, spec) for name, spec in MEMBERS.items() if name in settings.members}


def require_members(settings: Settings) -> None:
    """Raise UsageError, before anything is encoded, for a member that cannot be fitted or whose package is missing."""
    for name in settings.members:
        require_package(MEMBERS[name].package)
    if "finetuned" in settings.members:
        from engine.members.finetuned import require_finetuned

        require_finetuned(settings.finetuned)


def require_package(package: str) -> None:
    """Raise UsageError where XGBoost or CatBoost is not installed: they come with an extra."""
    if package and importlib.util.find_spec(package) is None:
        raise UsageError(
            f"The member {package} needs a package that is not installed: pip install 'price-engine[trees]'."
        )


def load_member(member: str, path: Path, fitted: Mapping[str, Member], shape: InputShape) -> Member:
    """Load what its `save` wrote; `fitted` holds the members of the same fold that come before it.

    Raises IndexUnusable for contents that no build writes, and for a member of inputs of another shape; UsageError
    where its package is missing.
    """
    spec = MEMBERS[member]
    require_package(spec.package)
    with loading(path):
        loaded = spec.load(path, fitted)
        loaded.expect_inputs(shape)
        return loaded
