"""Other corrections behind the same four controls: likenesses, robust means, shrinkage, gates, a learned one.

    python benchmarks/corrections.py INDEX [TRY ...]

Every row is priced without its fold: stacked as the index does it, and corrected by the residuals of other folds' rows
by models that saw neither fold. Each try has parameters of its own, chosen for each fold on the other folds' rows, as
the formula's are. Likenesses that learn from prices are by the fold's own models, which never saw it. Prints each
try's SMAPE out of fold and what it gains over the formula, with its paired interval; writes results/corrections.json.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import measure
import numpy as np

from engine.ensemble.cross_fit import answer_out_of_fold
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.price_model import load_models
from engine.features.inputs import InputShape
from engine.features.lsa import Lsa
from engine.features.search_vectors import joined
from engine.metrics import row_smape
from engine.serving.scorable import ScorableRows, open_scorable_rows
from index.arrays import unit_rows

BANDS, KS, DECAYS = (0.6, 1.0, 1.5, 2.5), (8, 16, 32, 64), (1.0, 2.0, 5.0, 10.0, 20.0)
ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
MOST = max(KS)
NONE = -9  # below any similarity


@dataclass
class Near:
    """The MOST nearest rows in the band of one fold's rows, nearest first."""

    here: Any  # (n,) row numbers
    similarity: Any  # (n, MOST)
    found: Any  # (n, MOST)
    residual: Any  # (n, MOST) of models that saw neither fold

    def weights(self, k: int, decay: float) -> Any:
        """(n, k) not yet divided by their sum; the nearest has 1, none has 0."""
        similarity = self.similarity[:, :k]
        return np.where(self.found[:, :k], np.exp(decay * (similarity - similarity[:, :1])), 0.0)

    def mean(self, k: int, decay: float, residual: Any = None) -> tuple[Any, Any, Any]:
        """(n,) the formula's weighted mean residual, the effective number of neighbours, their spread."""
        residual = (self.residual if residual is None else residual)[:, :k]
        weight = self.weights(k, decay)
        total = np.maximum(weight.sum(axis=1), 1e-12)
        mean = (weight * residual).sum(axis=1) / total
        spread = np.sqrt((weight * (residual - mean[:, None]) ** 2).sum(axis=1) / total)
        return mean, total**2 / np.maximum((weight**2).sum(axis=1), 1e-12), spread


class Scene:
    """The rows, the base to correct, and the neighbours by likeness."""

    def __init__(self, rows: ScorableRows) -> None:
        training = rows.training_set()
        self.inputs, self.unit, self.log_amount = training.inputs, training.unit, training.log_amount
        self.search_vectors, self.log_price, self.price = rows.search_vectors, rows.log_price, np.exp(rows.log_price)
        self.base, self.residual = rows.oof.nested()[STACKER], rows.log_price - rows.oof.nested_oof[STACKER]
        self.folds = list(measure.by_fold(rows.oof.fold))
        self.words = Lsa.fit(self.inputs.words, rows.settings.seed).vectors(self.inputs.words)
        shape = InputShape.of(rows.manifest)
        self.models: dict[str, Any] = dict(load_models(rows.folder, rows.settings, shape)[0].members)
        self._near: dict[tuple[str, float], list[Near]] = {}

    def vectors(self, view: str) -> list[Any]:
        """Vectors of every encoder that has this view, each (n, dim) unit rows."""
        return [vectors for name, vectors in self.inputs.vectors.items() if name.endswith(f"_{view}")]

    def near(self, likeness: str, band: float) -> list[Near]:
        """Neighbours by fold."""
        if (likeness, band) not in self._near:
            self._near |= {(likeness, width): [] for width in BANDS}
            for f, (there, here) in enumerate(self.folds):
                similarity = similarities(self, likeness, f).astype(np.float32)
                distance = np.abs(self.log_price[there][None, :] - self.base[here][:, None])
                for width in BANDS:
                    in_band = np.where(distance <= width, similarity, NONE)
                    self._near[likeness, width].append(self._nearest(f, in_band))
        return self._near[likeness, band]

    def _nearest(self, f: int, similarity: Any) -> Near:
        there, here = self.folds[f]
        columns = np.argpartition(-similarity, MOST, axis=1)[:, :MOST]
        values = np.take_along_axis(similarity, columns, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        columns, values = (np.take_along_axis(part, order, axis=1) for part in (columns, values))
        return Near(here, values.astype(np.float64), values > NONE, self.residual[f][there[columns]])

    def corrected(self, shifts: Callable[[int, int], Any], loss: Any, tried: Sequence[Any]) -> tuple[Any, list[Any]]:
        """(n,) log price, each fold shifted by what of `tried` is best on the others, and that; `loss` (folds, tried).

        `shifts` takes a fold and the number of a try.
        """
        answer, chosen = self.base.copy(), []
        for f, (_, here) in enumerate(self.folds):
            best = int((loss.sum(axis=0) - loss[f]).argmin())
            answer[here] += shifts(f, best)
            chosen.append(tried[best])
        return answer, chosen

    def loss(self, here: Any, shift: Any) -> float:
        """The sum of SMAPE over some rows."""
        return float(row_smape(self.price[here], np.exp(self.base[here] + shift)).sum())


# Likenesses that are a cosine: a scene and a fold to (n, dim) unit rows.


def hidden(scene: Scene, f: int) -> Any:
    """The MLP's last hidden layer, of the fold's own model."""
    return unit_rows(scene.models["mlp"].models[f].fused(scene.inputs))


def projection(scene: Scene, f: int) -> Any:
    """Partial least squares of log price on the search vectors, by the other folds' rows: 32 directions."""
    from sklearn.cross_decomposition import PLSRegression

    there, _ = scene.folds[f]
    directions = PLSRegression(32, scale=False).fit(scene.search_vectors[there], scene.log_price[there])
    return unit_rows(directions.transform(scene.search_vectors))


def with_amounts(scene: Scene, _: int) -> Any:
    """The views of the search vectors and the amounts, side by side."""
    return joined([scene.vectors("name")[0], scene.vectors("text")[0], scene.words, amount_view(scene)])


def amount_view(scene: Scene) -> Any:
    """Unit rows whose cosine is 0 across units, and falls with the difference of the amounts; zero where unknown."""
    known = np.isfinite(scene.log_amount)
    marks = np.arange(-4.0, 14.0, 0.5)
    bumps = np.exp(-(((np.where(known, scene.log_amount, 0)[:, None] - marks) / 0.5) ** 2))
    wide = np.zeros((len(known), (scene.unit.max() + 1) * len(marks)), np.float32)
    column = scene.unit[:, None] * len(marks) + np.arange(len(marks))
    np.put_along_axis(wide, column, np.where(known[:, None], bumps, 0), axis=1)
    return unit_rows(wide)


VECTORS: dict[str, Callable[[Scene, int], Any]] = {
    "joined": lambda scene, f: scene.search_vectors,
    "name": lambda scene, f: scene.vectors("name")[0],
    "text": lambda scene, f: scene.vectors("text")[0],
    "words": lambda scene, f: scene.words,
    "name and words": lambda scene, f: joined([scene.vectors("name")[0], scene.words]),
    "joined and photographs": lambda scene, f: joined([scene.search_vectors, *scene.vectors("photograph")]),
    "last layer": hidden,
    "projection": projection,
    "amounts as a view": with_amounts,
}

# Other likenesses: a scene and a fold to the similarity of its rows to the others, (here, there).


def leaves(scene: Scene, f: int) -> Any:
    """The share of LightGBM's trees in which two rows fall into the same leaf."""
    from scipy.sparse import csr_matrix

    model, (there, here) = scene.models["gbdt"].models[f], scene.folds[f]
    leaf = model._booster.predict(model._table.of(scene.inputs, one_hot=False), pred_leaf=True)
    trees = leaf.shape[1]
    column = (leaf + np.arange(trees) * (leaf.max() + 1)).astype(np.int64)
    starts = np.arange(len(leaf) + 1) * trees
    one_hot = csr_matrix((np.ones(leaf.size, np.float32), column.reshape(-1), starts))
    return np.asarray((one_hot[here] @ one_hot[there].T).todense()) / trees


def kernel(scene: Scene, f: int) -> Any:
    """The kernel member's own similarity, words scaled by how much prices move with them; divided by the largest."""
    models, (there, here) = scene.models["kernel"], scene.folds[f]
    weighing = models._weighings[models._weighing_of[f]]
    similarity = models._landmarks.kernels(scene.inputs.take(here), [weighing])[0]
    assert similarity.shape == (len(here), len(scene.inputs)), "an index of more rows than landmarks"
    return similarity[:, there] / similarity[:, there].max()  # the landmarks are all rows, in order


def quantities(scene: Scene, f: int) -> Any:
    """The search vectors, and how near the amounts are: rows of other units are a whole cosine of 0.3 farther."""
    there, here = scene.folds[f]
    amount = np.where(np.isnan(scene.log_amount), 0, scene.log_amount)
    distance = np.minimum(np.abs(amount[here][:, None] - amount[there][None, :]), 1)
    return similarities(scene, "joined", f) - 0.3 * np.where(of_one_unit(scene, f), distance, 1)


def same_unit(scene: Scene, f: int) -> Any:
    """The search vectors among rows that are sold by the same unit."""
    return np.where(of_one_unit(scene, f), similarities(scene, "joined", f), -1)


def of_one_unit(scene: Scene, f: int) -> Any:
    there, here = scene.folds[f]
    return scene.unit[here][:, None] == scene.unit[there][None, :]


def mean_of(scene: Scene, f: int, pair: tuple[str, str]) -> Any:
    """The mean of two likenesses."""
    first, second = (similarities(scene, likeness, f) for likeness in pair)
    return (first + second) / 2


SIMILARITIES: dict[str, Callable[[Scene, int], Any]] = {
    "leaves": leaves,
    "kernel": kernel,
    "joined and leaves": partial(mean_of, pair=("joined", "leaves")),
    "joined and kernel": partial(mean_of, pair=("joined", "kernel")),
    "joined and last layer": partial(mean_of, pair=("joined", "last layer")),
    "joined and amounts": quantities,
    "amounts as a view, and leaves": partial(mean_of, pair=("amounts as a view", "leaves")),
    "joined, amounts and leaves": partial(mean_of, pair=("joined and amounts", "leaves")),
    "same unit": same_unit,
}


def similarities(scene: Scene, likeness: str, f: int) -> Any:
    """(here, there) of one fold's rows to the others."""
    if likeness in SIMILARITIES:
        return SIMILARITIES[likeness](scene, f)
    vectors, (there, here) = VECTORS[likeness](scene, f), scene.folds[f]
    return vectors[here] @ vectors[there].T


Rule = Callable[..., Any]  # neighbours, k, lambda and the rule's own parameter to (n,) the shift at alpha 1


def formula(near: Near, k: int, decay: float) -> Any:
    """The mean weighted by exp(-lambda d)."""
    return near.mean(k, decay)[0]


def median(near: Near, k: int, decay: float) -> Any:
    """The weighted median."""
    weight, residual = near.weights(k, decay), near.residual[:, :k]
    order = np.argsort(residual, axis=1)
    reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    half = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)[:, None]
    value = np.take_along_axis(np.take_along_axis(residual, order, axis=1), half, axis=1)[:, 0]
    return np.where(near.found[:, 0], value, 0)


def clipped(near: Near, k: int, decay: float, limit: float) -> Any:
    """Mean of residuals that are cut off at a limit."""
    return near.mean(k, decay, np.clip(near.residual, -limit, limit))[0]


def shrunk_by_number(near: Near, k: int, decay: float, prior: float) -> Any:
    """Mean times n / (n + prior), n the effective number of neighbours."""
    mean, number, _ = near.mean(k, decay)
    return mean * number / (number + prior)


def shrunk_by_spread(near: Near, k: int, decay: float, variance: float) -> Any:
    """times v / (v + spread^2 / n), as a mean of noisy residuals would be (empirical Bayes)."""
    mean, number, spread = near.mean(k, decay)
    return mean * variance / (variance + spread**2 / number)


def gated_by_distance(near: Near, k: int, decay: float, middle: float) -> Any:
    """Closes where the nearest is far."""
    gate = 1 / (1 + np.exp(-(near.similarity[:, 0] - middle) / 0.05))
    return gate * near.mean(k, decay)[0]


def gated_by_agreement(near: Near, k: int, decay: float, power: float) -> Any:
    """Closes where the neighbours' residuals disagree about their sign."""
    agreement = np.abs(near.mean(k, decay, np.sign(near.residual))[0])
    return agreement**power * near.mean(k, decay)[0]


RULES: dict[str, tuple[Rule, tuple[float, ...]]] = {  # with the values of its own parameter
    "weighted median": (median, ()),
    "residuals clipped": (clipped, (0.3, 0.6, 1.0)),
    "shrunk by number": (shrunk_by_number, (1.0, 3.0, 10.0, 30.0)),
    "shrunk by spread": (shrunk_by_spread, (0.003, 0.01, 0.03, 0.1)),
    "gate on distance": (gated_by_distance, (0.4, 0.5, 0.6, 0.7)),
    "gate on agreement": (gated_by_agreement, (0.5, 1.0, 2.0)),
}


def by_rule(scene: Scene, likeness: str, rule: Rule, values: tuple[float, ...] = ()) -> tuple[Any, list[Any]]:
    """One rule by one likeness; what is chosen is (band, its own parameter, k, lambda, alpha)."""
    extras: list[tuple[float, ...]] = [(value,) for value in values] or [()]
    tried = [(band, *extra, k, decay) for band, extra, k, decay in product(BANDS, extras, KS, DECAYS)]
    known = [
        [rule(scene.near(likeness, band)[f], k, decay, *extra) for band, *extra, k, decay in tried]
        for f in range(len(scene.folds))
    ]
    loss = [
        [scene.loss(here, alpha * shift) for shift in shifts for alpha in ALPHAS]
        for shifts, (_, here) in zip(known, scene.folds, strict=True)
    ]
    chosen = [(*parameters, alpha) for parameters in tried for alpha in ALPHAS]
    return scene.corrected(lambda f, at: chosen[at][-1] * known[f][at // len(ALPHAS)], np.array(loss), chosen)


def several_likenesses(scene: Scene) -> tuple[Any, list[Any]]:
    """A shift by each of three likenesses, with an alpha each; k, band and lambda in common."""
    likenesses, alphas = ("name", "words", "kernel"), (0.0, 0.1, 0.2, 0.3)
    common = list(product((1.0, 2.5), (16, 64), (5.0, 10.0)))
    tried = [(*parameters, *shares) for parameters in common for shares in product(*[alphas] * 3)]
    means: dict[tuple[Any, ...], Any] = {
        (f, likeness, band, k, decay): scene.near(likeness, band)[f].mean(k, decay)[0]
        for f, likeness, (band, k, decay) in product(range(len(scene.folds)), likenesses, common)
    }

    def shift(f: int, at: int) -> Any:
        *parameters, a, b, c = tried[at]
        shares = zip((a, b, c), likenesses, strict=True)
        return sum(alpha * means[f, likeness, *parameters] for alpha, likeness in shares)

    loss = [[scene.loss(here, shift(f, at)) for at in range(len(tried))] for f, (_, here) in enumerate(scene.folds)]
    return scene.corrected(shift, np.array(loss), tried)


def boosted(scene: Scene) -> tuple[Any, list[Any]]:
    """LightGBM with an L1 objective on what the neighbours missed by three likenesses; each fold from the others."""
    import lightgbm

    columns = []
    for likeness, band, (k, decay) in product(("joined", "kernel", "words"), (1.0, 2.5), ((8, 10.0), (64, 5.0))):
        part = np.zeros((len(scene.base), 4))
        for near in scene.near(likeness, band):
            part[near.here] = np.column_stack([*near.mean(k, decay), near.similarity[:, 0]])
        columns.append(part)
    table = np.column_stack([*columns, scene.base])
    tried = list(product((25, 50, 100), (4, 8), (0.5, 1.0)))
    how = {"objective": "l1", "learning_rate": 0.03, "min_data_in_leaf": 100, "feature_fraction": 0.5, "verbose": -1}
    how |= {"num_threads": 1, "deterministic": True, "seed": 0}

    def predicted(f: int, rounds: int, num_leaves: int, share: float) -> Any:
        there, here = scene.folds[f]
        data = lightgbm.Dataset(table[there], scene.log_price[there], init_score=scene.base[there])
        return share * np.asarray(lightgbm.train({**how, "num_leaves": num_leaves}, data, rounds).predict(table[here]))

    shifts = [[predicted(f, *settings) for settings in tried] for f in range(len(scene.folds))]
    loss = [[scene.loss(here, shift) for shift in part] for part, (_, here) in zip(shifts, scene.folds, strict=True)]
    return scene.corrected(lambda f, at: shifts[f][at], np.array(loss), tried)


def main() -> None:
    parser = measure.argument_parser(__doc__, "index")
    parser.add_argument("tries", nargs="*")
    given = parser.parse_args()
    rows = open_scorable_rows(given.index)
    scene = Scene(rows)
    tries: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
        **{f"space: {name}": partial(by_rule, scene, name, formula) for name in (*VECTORS, *SIMILARITIES)},
        **{name: partial(by_rule, scene, "joined", *rule) for name, rule in RULES.items()},
        "weighted median, space: kernel": partial(by_rule, scene, "kernel", median),
        "several spaces": partial(several_likenesses, scene),
        "learned": partial(boosted, scene),
    }
    present = answer_out_of_fold(
        rows.oof, rows.log_price, rows.search_vectors, rows.settings, age_weight=rows.age_weight
    ).answer
    own = row_smape(scene.price, np.exp(present))
    uncorrected = row_smape(scene.price, np.exp(scene.base))
    print(f"stacker {uncorrected.mean():.2f}, the index's own correction {own.mean():.2f}", flush=True)
    results = measure.read_results("corrections") | {"uncorrected": uncorrected.mean(), "present": own.mean()}
    for name in given.tries or tries:
        started = time.monotonic()
        answer, chosen = tries[name]()
        loss = row_smape(scene.price, np.exp(answer))
        gain = measure.interval(own - loss, rows.groups)
        spent = f"{time.monotonic() - started:.0f} s"
        print(f"{name:32} {loss.mean():.2f}  gain {measure.shown(gain, '+')}  {spent}  {chosen[0]}", flush=True)
        results[name] = {"smape": loss.mean(), "gain": gain, "chosen": chosen}
        measure.write_results("corrections", results)


if __name__ == "__main__":
    main()
