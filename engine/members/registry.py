"""Registry of the members that a blend can be made of.

A new one is a class with `fit`, `predict`, `save` and `load`, a section of settings, and an entry here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine.members.member import CrossFit, Fit, FitContext, FoldModels, Loaded, Member, MemberSpec, Range
from engine.members.outliers import without_outliers
from engine.members.per_fold import PerFold
from index.arrays import rows_of
from index.contents import loading
from index.errors import UsageError

if TYPE_CHECKING:
    from engine.features.inputs import Inputs, InputShape
    from engine.features.training_set import TrainingSet
    from engine.members.member import CrossFitted, Out, Predicts
    from engine.settings.schema import Settings
    from index.arrays import Float64
    from index.progress import OnProgress


def _fit_neural(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
    from engine.members.neural import NeuralMember

    return NeuralMember.fit(inputs, log_price, settings, context.seed, name=context.name, age_weight=context.age_weight)


def _neural_together(models: Sequence[Any]) -> Predicts:
    from engine.members.neural_folds import NeuralFolds

    return NeuralFolds(models)


def _boosters_together(models: Sequence[Any]) -> Predicts:
    from engine.members.lightgbm import LightGbmFolds

    return LightGbmFolds(models)


def _load_neural(path: Path, fitted: Mapping[str, Member]) -> Loaded:
    from engine.members.neural import NeuralMember

    return NeuralMember.load(path)


def _cross_fit_kernel(
    training: TrainingSet, outs: Sequence[Out], settings: Settings, seed: int, on_progress: OnProgress
) -> CrossFitted:
    from engine.members.kernel.fits import Rows
    from engine.members.kernel.kernel_ridge import KernelRidge

    rows = Rows(training.inputs, training.log_price, training.fold, training.age_weight, settings.outliers)
    return KernelRidge.cross_fit(rows, outs, settings.kernel, seed=seed, on_progress=on_progress)


def _load_kernel(path: Path, fitted: Mapping[str, Member]) -> Loaded:
    from engine.members.kernel.kernel_ridge import KernelRidge

    return KernelRidge.load(path)


def _fit_finetuned(inputs: Inputs, log_price: Float64, settings: Any, context: FitContext) -> Member:
    from engine.finetune.examples import FrozenActivations
    from engine.members.finetuned import FinetunedMember

    activations = context.shared.setdefault(context.name, FrozenActivations())
    return FinetunedMember.fit(inputs, log_price, settings, seed=context.seed, activations=activations)


def _load_finetuned(path: Path, fitted: Mapping[str, Member]) -> Loaded:
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

    def load(path: Path, fitted: Mapping[str, Member]) -> Loaded:
        member: Loaded = _trees(name).load(path, fitted)
        return member

    return MemberSpec(
        fit,
        load,
        suffix=suffix,
        together=_boosters_together if name == "gbdt" else None,
        package=package,
        beside=True,
        tunable=tunable,
    )


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
AS_LONG = 3.5  # times as long as a fit for one pair of folds, the kernels of all folds take
_DEEP_TREES = {**_TREES, "depth": Range(3, 10, whole=True)}

MEMBERS: dict[str, MemberSpec] = {
    "mlp": MemberSpec(_fit_neural, _load_neural, together=_neural_together, tunable=_NETWORK),
    "lexical": MemberSpec(_fit_neural, _load_neural, together=_neural_together, words_only=True, tunable=_NETWORK),
    "kernel": MemberSpec(None, _load_kernel, _cross_fit_kernel, tunable=_KERNEL),
    "finetuned": MemberSpec(_fit_finetuned, _load_finetuned, words_only=True),
    "gbdt": _tree_spec("gbdt", "txt", {**_TREES, "leaves": Range(7, 127, log=True, whole=True)}),
    "xgboost": _tree_spec("xgboost", "ubj", _DEEP_TREES, package="xgboost"),
    "catboost": _tree_spec("catboost", "cbm", _DEEP_TREES, package="catboost"),
}
"""Every member, in the order in which they must be fitted: trees may read what `mlp` makes of the same rows.

One without `tunable` is never searched: to fine-tune an encoder once takes as long as a search."""


def member_fits(settings: Settings, threads: int = 1, whole: Inputs | None = None) -> dict[str, Fit | CrossFit]:
    """Fits of the members in `settings.members`, in order; `threads` for those fitted beside the others.

    `whole`: inputs of all rows, by which a fit on some may choose what it reads.
    """
    context = partial(FitContext, threads=threads, shared={}, whole=whole)
    return {
        name: _fit_together(spec, settings) if spec.fit is None else _fit_alone(name, spec, settings, context)
        for name, spec in MEMBERS.items()
        if name in settings.members
    }


def _fit_together(spec: MemberSpec, settings: Settings) -> CrossFit:
    """A fit of all models of a member at once."""

    def fit(training: TrainingSet, outs: Sequence[Out], seed: int, on_progress: OnProgress) -> CrossFitted:
        assert spec.cross_fit is not None
        return spec.cross_fit(training, outs, settings, seed, on_progress)

    return CrossFit(fit, AS_LONG)


def _fit_alone(name: str, spec: MemberSpec, settings: Settings, make_context: Callable[..., FitContext]) -> Fit:
    """A fit of one model, on the rows that are given."""

    def fit(
        inputs: Inputs,
        log_price: Float64,
        seed: int,
        fitted: Mapping[str, Member],
        age_weight: Float64 | None = None,
    ) -> Member:
        assert spec.fit is not None
        require_package(spec.package)
        if settings.outliers:  # of what is learned; what is predicted, and may be a neighbour, stays whole
            rows = without_outliers(log_price, settings.outliers)
            inputs, log_price = inputs.take(rows), log_price[rows]
            age_weight = rows_of(age_weight, rows)
        context = make_context(name=name, seed=seed, fitted=fitted, age_weight=age_weight)
        return spec.fit(inputs, log_price, getattr(settings, name), context)

    return fit


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


def load_fold_models(
    member: str, paths: Sequence[Path], before: Mapping[str, FoldModels], shape: InputShape, threads: int
) -> FoldModels:
    """Load what `FoldModels.save` wrote; `before` holds the members that come before it.

    Raises IndexUnusable for contents that no build writes, and for a member of inputs of another shape; UsageError
    where its package is missing.
    """
    if MEMBERS[member].fit is None:
        (path,) = paths
        return cast("FoldModels", load_member(member, path, {}, shape))
    fitted = [
        {name: models.models[fold] for name, models in before.items() if isinstance(models, PerFold)}
        for fold in range(len(paths))
    ]
    with ThreadPoolExecutor(threads) as pool:  # most of a load lets go of the interpreter
        models = pool.map(lambda path, earlier: load_member(member, path, earlier, shape), paths, fitted)
        alone = cast("list[Member]", list(models))
    together = MEMBERS[member].together
    return PerFold(alone, together and together(alone))


def load_member(member: str, path: Path, fitted: Mapping[str, Member], shape: InputShape) -> Loaded:
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
