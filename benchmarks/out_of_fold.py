"""Four experiments on predictions out of fold: what they are worth, and what members and photographs bring by them.

    python benchmarks/out_of_fold.py pair-models INDEX
    python benchmarks/out_of_fold.py queries INDEX
    python benchmarks/out_of_fold.py members INDEX [VARIANT ...]
    python benchmarks/out_of_fold.py modalities CATALOGUE --image-dir DIR --image-encoder pixels
        --image-encoder mobilenet-v2@FILE

`pair-models`: what the correction would seem to gain, were it scored with residuals that already know the answer. It is
scored twice, with the same members, blend, parameters and rows. Once with the neighbours' stored out-of-fold residuals,
as is usual, though the models behind them have seen the row that is being scored. Once as `price evaluate` does it,
with residuals of models that saw neither.

`queries`: what a score out of fold says of stacker and correction holds for queries of an index that never saw them.
Five splits by groups of near-duplicates: four fifths of an index's rows go through the whole of a build, with folds of
their own, and the last fifth is priced as queries, so that every row is a query once. Kernel ridge regression is the
only member, in the MLP's place, which makes it minutes instead of an hour.

`members`: what each setting of a member brings. Each variant is a table in members.toml: the member, and settings
changed from the default. The member is fitted anew on the vectors of an index; its SMAPE alone stands beside that of
its blend with the index's other members, whose predictions stand in the index.

`modalities`: SMAPE from words alone, photographs alone and both, on the rows that have a photograph. One member, the
gated MLP, so that modalities are compared and nothing else; "words" are the text encoder's vectors with unit and
numbers, and a photograph alone comes without either. Intervals of the difference are paired, groups drawn whole.

Each writes results/EXPERIMENT.json.
"""

import argparse
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import pyarrow as pa

from engine.ensemble.blend import blend, fit_weights
from engine.ensemble.correction import shift
from engine.ensemble.out_of_fold import predict_out_of_fold
from engine.ensemble.price_model import PriceModel, load_models
from engine.ensemble.reference import SHOWN, ReferenceSet
from engine.ensemble.train import train_on_members
from engine.features.inputs import Inputs, InputShape, make_inputs
from engine.features.search_vectors import SearchVectorizer
from engine.features.training_set import TrainingSet
from engine.folds import assign_folds
from engine.members.kernel.kernel_ridge import KernelRidge
from engine.members.member import CrossFit, Member
from engine.members.member import Fit as MemberFit
from engine.members.neural import NeuralMember
from engine.members.registry import member_fits
from engine.metrics import row_smape, smape
from engine.serving.scorable import open_scorable_rows
from engine.settings.read import change_settings
from engine.settings.schema import Blend, Settings
from index.embedding.columns import PHOTOGRAPH, modalities
from index.embedding.encode import Encoders
from index.photographs.source import Photographs
from index.progress import silent
from index.search import SLICE
from index.search.neighbours import BandIndex
from index.storage.items_table import ItemStore

FOLDS = 5
VARIANTS = Path(__file__).parent / "members.toml"
Fit = Callable[[Inputs, np.ndarray, int], Any]  # inputs, log price and fold to a fitted member


def predicted(fit: Fit, inputs: Inputs, log_price: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n,) log price of each row by a member that never saw its fold."""
    answer = np.zeros(len(log_price))
    for f, (there, here) in enumerate(measure.by_fold(fold)):
        answer[here] = fit(inputs.take(there), log_price[there], f).predict(inputs.take(here))
    return answer


def score_pair_models(given: argparse.Namespace) -> None:
    rows = open_scorable_rows(given.index)
    oof, log_price = rows.oof, rows.log_price
    parameters = load_models(rows.folder, rows.settings, InputShape.of(rows.manifest))[1]
    weights, correction = parameters.weights, parameters.correction
    price, report = np.exp(log_price), {"correction": asdict(correction)}
    usual, nested = blend(oof.oof, weights), blend(oof.nested(), weights)
    for name, base in (("usual", usual), ("pair models", nested)):
        answer = base.copy()
        for f, (there, here) in enumerate(measure.by_fold(oof.fold)):
            expected = usual if name == "usual" else blend({m: p[f] for m, p in oof.nested_oof.items()}, weights)
            near = BandIndex(rows.search_vectors[there], log_price[there]).search(
                rows.search_vectors[here], base[here], k=correction.k, band=correction.band
            )
            answer[here] += shift(near, (log_price - expected)[there], correction)
        before, after = row_smape(price, np.exp(base)), row_smape(price, np.exp(answer))
        gain = measure.interval(before - after)
        report[name] = {"blend": before.mean(), "corrected": after.mean(), "gain": gain}
        print(f"{name:12} {before.mean():.2f} -> {after.mean():.2f}, gain {measure.shown(gain, '+')}")
    measure.write_results("pair_models", report)


def score_queries(given: argparse.Namespace) -> None:
    rows = open_scorable_rows(given.index)
    settings = replace(rows.settings, blend=Blend(mlp=1.0), members=("mlp",))
    training, items = rows.training_set(), ItemStore.open(rows.folder).items(SHOWN).take(rows.number)
    split = assign_folds(rows.groups, FOLDS, settings.seed + 1, rows.log_price)
    price, gain, answer, expected = np.exp(rows.log_price), np.zeros(len(split)), np.zeros(len(split)), []
    for f, (there, here) in enumerate(measure.by_fold(split)):
        model, vectorizer, promised = build(training, there, items.take(there), settings)
        queries = training.inputs.take(here)
        estimate = model.estimate(queries, vectorizer.vectors(queries))
        answer[here] = row_smape(price[here], np.exp(estimate.answer))
        gain[here] = row_smape(price[here], np.exp(estimate.base.last)) - answer[here]
        expected.append(promised)
        gained = f"the correction gains {gain[here].mean():+.2f}"
        print(f"split {f}: {answer[here].mean():.2f}, {gained}; {promised}", flush=True)
    report = {
        "smape_of_queries": answer.mean(),
        "gain_of_queries": measure.interval(gain, rows.groups, seed=settings.seed),
        "gain_out_of_fold": float(np.mean([promised["gain"] for promised in expected])),
        "smape_out_of_fold": float(np.mean([promised["smape"] for promised in expected])),
    }
    print(report)
    measure.write_results("queries", report)


def build(
    whole: TrainingSet, rows: np.ndarray, items: pa.Table, settings: Settings
) -> tuple[PriceModel, SearchVectorizer, dict[str, float]]:
    """A build of some `rows` of the whole, which `items` are too, and what it says of itself out of fold."""

    def fit(
        inputs: Inputs, log_price: np.ndarray, seed: int, _: Mapping[str, Member], age_weight: np.ndarray | None
    ) -> Any:  # a member but for how it is written, which it is not
        return KernelRidge.fit(inputs, log_price, settings.kernel, seed=seed, age_weight=age_weight)

    inputs, log_price, groups = whole.inputs.take(rows), whole.log_price[rows], whole.groups[rows]
    vectorizer = SearchVectorizer.fit(inputs, settings)
    assert settings.folds is not None  # what a build decided stands in its settings
    fold = assign_folds(groups, settings.folds, settings.seed, log_price)
    training = TrainingSet(inputs, log_price, vectorizer.vectors(inputs), groups, fold)
    oof, models = predict_out_of_fold(training, {"mlp": fit}, seed=settings.seed)
    trained = train_on_members(oof, models, training, settings)
    table = ReferenceSet.build(items, training, trained.residual(log_price)).table
    reference = ReferenceSet(table, SLICE)  # exact, and nothing of it is on the disk
    *_, before, after = (row_smape(np.exp(log_price), np.exp(s)).mean() for s in trained.held_out.stages.values())
    promised = {"smape": round(float(after), 2), "gain": round(float(before - after), 2)}
    return PriceModel(trained.models, trained.parameters, reference, settings.stacker), vectorizer, promised


def fitted_alone(fit: MemberFit, seed: int, inputs: Inputs, log_price: np.ndarray, f: int) -> Member:
    """A member without fold `f`, fitted without others."""
    return fit(inputs, log_price, seed + f, {}, None)


def score_members(given: argparse.Namespace) -> None:
    rows = open_scorable_rows(given.index)
    training, oof, settings, price = rows.training_set(), rows.oof, rows.settings, np.exp(rows.log_price)
    variants, results = tomllib.loads(VARIANTS.read_text(encoding="utf-8")), {}
    for name in given.variants or variants:
        member = variants[name].pop("member")
        members = tuple(dict.fromkeys([*settings.members, member]))
        fit = member_fits(change_settings(settings, {member: variants[name], "members": members}, name))[member]
        started = time.monotonic()
        if isinstance(fit, CrossFit):
            by_out = fit.fit(training, [(f,) for f in range(oof.folds)], settings.seed, silent)[1]
            alone = np.zeros(len(price))
            for f in range(oof.folds):
                alone[oof.fold == f] = by_out[(f,)]
        else:
            alone = predicted(partial(fitted_alone, fit, settings.seed), training.inputs, rows.log_price, oof.fold)
        together = {**{name: oof.oof[name] for name in oof.members}, member: alone}
        weights = fit_weights(together, price)
        results[name] = {
            "alone": round(smape(price, np.exp(alone)), 2),
            "blend": round(smape(price, np.exp(blend(together, weights))), 2),
            "weight": weights[member],
            "seconds_per_fit": round((time.monotonic() - started) / oof.folds, 1),
        }
        print(f"{name:28} {results[name]}", flush=True)
    measure.write_results("members", measure.read_results("members") | results)


def score_modalities(given: argparse.Namespace) -> None:
    settings = Settings(image_encoder=tuple(given.image_encoder), seed=given.seed)
    items, vectors = with_photographs(given.catalogue, given.image_dir, settings)
    log_price, groups = items["log_price"].to_numpy().astype(np.float64), measure.duplicate_groups(items)
    price, fold = np.exp(log_price), assign_folds(groups, FOLDS, settings.seed, log_price)

    def fit(inputs: Inputs, log_price: np.ndarray, f: int) -> NeuralMember:
        return NeuralMember.fit(inputs, log_price, settings.mlp, settings.seed + f)

    columns = modalities(settings.views)
    words = make_inputs(items, {c.name: vectors[c.name] for c in columns if c.view != PHOTOGRAPH})
    inputs = {"words": words}
    for column in (column for column in columns if column.view == PHOTOGRAPH):
        encoder, seen = column.encoder.partition("@")[0], {column.name: vectors[column.name]}
        numbers, unit = np.zeros_like(words.numbers), np.zeros_like(words.unit)
        inputs[f"{encoder} alone"] = replace(words, vectors=seen, numbers=numbers, unit=unit)
        inputs[f"words and {encoder}"] = replace(words, vectors={**words.vectors, **seen})
    answers = {name: predicted(fit, reduced, log_price, fold) for name, reduced in inputs.items()}
    answers["constant median"] = np.array([np.median(log_price[fold != f]) for f in fold])
    losses = {name: row_smape(price, np.exp(answer)) for name, answer in answers.items()}
    report: dict[str, Any] = {"rows": len(price), "seed": settings.seed, "smape": {}}
    for name, loss in losses.items():
        score = measure.interval(loss, groups, digits=2)
        gain = measure.interval(losses["words"] - loss, groups, digits=2)
        report["smape"][name] = {"smape": score, "gain over words": gain}
        print(f"{name:26} {measure.shown(score)}  gain over words {measure.shown(gain)}")
    measure.write_results("modalities", report)


def with_photographs(catalogue: Path, image_dir: Path, settings: Settings) -> tuple[Any, dict[str, np.ndarray]]:
    """The items whose photograph can be read, and their vectors."""
    items, columns = measure.read_items(catalogue), modalities(settings.views)
    references = items["image"].to_pylist()
    items = items.filter([bool(r) and (image_dir / r.rsplit("/", 1)[-1]).is_file() for r in references])
    with tempfile.TemporaryDirectory() as cache:
        vectors = Encoders(columns).encode(items, Photographs(image_dir), Path(cache))[0]
    seen = np.all([vectors[c.name].any(axis=1) for c in columns if c.view == PHOTOGRAPH], axis=0)
    return items.filter(seen), {name: value[seen] for name, value in vectors.items()}


def main() -> None:
    parser = measure.argument_parser(__doc__)
    experiments = parser.add_subparsers(required=True, metavar="EXPERIMENT")
    for name, experiment in (
        ("pair-models", score_pair_models),
        ("queries", score_queries),
        ("members", score_members),
        ("modalities", score_modalities),
    ):
        command = experiments.add_parser(name)
        command.set_defaults(experiment=experiment)
        command.add_argument("catalogue" if name == "modalities" else "index", type=Path)
        if name == "members":
            command.add_argument("variants", nargs="*")
        elif name == "modalities":
            command.add_argument("--image-dir", type=Path, required=True)
            command.add_argument("--image-encoder", action="append", required=True)
            command.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.experiment(given)


if __name__ == "__main__":
    main()
