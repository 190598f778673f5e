"""Is there a better correction behind the same four controls? Spaces, robust means, shrinkage, gates, a learned one.

    python benchmarks/corrections.py INDEX [TRY ...]

Every row is priced without its fold: stacked as the index does it, and corrected by the residuals of other folds' rows
by models that saw neither fold. Each try has knobs of its own, chosen for each fold on the other folds' rows, as the
formula's are. Spaces that learn from prices are those of the fold's own models, which never saw it. Prints each try's
SMAPE out of fold and what it gains over the formula, with its paired interval; writes results/corrections.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from engine.ensemble.cross_fit import answer_out_of_fold
from engine.ensemble.out_of_fold import STACKER
from engine.ensemble.price_model import load_models
from engine.evaluation.scorable import ScoredRows, open_scored_rows
from engine.features.lsa import WordSpace
from engine.features.search_vectors import joined
from engine.metrics import paired_bootstrap, row_smape

BANDS, KS, DECAYS = (0.6, 1.0, 1.5, 2.5), (8, 16, 32, 64), (1.0, 2.0, 5.0, 10.0, 20.0)
ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
MOST = max(KS)


@dataclass
class Near:
    """The MOST nearest rows in the band of one fold's rows, nearest first; a weight of 0 for none."""

    here: Any  # (n,) row numbers
    rows: Any  # (n, MOST) row numbers
    similarity: Any  # (n, MOST)
    found: Any  # (n, MOST)
    residual: Any  # (n, MOST) of models that saw neither fold

    def weights(self, k: int, decay: float) -> Any:
        """(n, k) not yet divided by their sum; the nearest has 1."""
        similarity = self.similarity[:, :k]
        return np.where(self.found[:, :k], np.exp(decay * (similarity - similarity[:, :1])), 0.0)


Likeness = Callable[[int, Any, Any], Any]  # (fold, rows here, rows there) -> (here, there)
Deltas = Iterator[tuple[tuple[Any, ...], Any]]  # knobs, and (n,) the shift at alpha 1


class Scene:
    """The rows, the base to correct, and the neighbours by space."""

    def __init__(self, rows: ScoredRows) -> None:
        self.rows, self.oof, self.log_price = rows, rows.oof, rows.log_price
        self.price = np.exp(rows.log_price)
        self.base, self.bank = rows.oof.held()[STACKER], rows.log_price - rows.oof.without[STACKER]
        self.catalogue = rows.catalogue()
        self.inputs = self.catalogue.inputs
        self.models = load_models(rows.folder)[0].members
        self.words = WordSpace.fit(self.inputs.words, rows.settings.seed).vectors(self.inputs.words)
        self._near: dict[tuple[str, float], list[Near]] = {}

    def near(self, space: str, band: float) -> list[Near]:
        """By fold."""
        if (space, band) not in self._near:
            for each in BANDS:
                self._near[space, each] = []
            for f in range(self.oof.folds):
                here, there = np.flatnonzero(self.oof.fold == f), np.flatnonzero(self.oof.fold != f)
                alike = SPACES[space](self)(f, here, there).astype(np.float32)
                apart = np.abs(self.log_price[there][None, :] - self.base[here][:, None])
                for each in BANDS:
                    self._near[space, each].append(self._nearest(f, here, there, np.where(apart <= each, alike, -9)))
        return self._near[space, band]

    def _nearest(self, f: int, here: Any, there: Any, alike: Any) -> Near:
        some = np.argpartition(-alike, MOST, axis=1)[:, :MOST]
        values = np.take_along_axis(alike, some, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        some, values = (np.take_along_axis(each, order, axis=1) for each in (some, values))
        rows = there[some]
        return Near(here, rows, values.astype(np.float64), values > -9, self.bank[f][rows])


def fixed(vectors: Callable[[Scene], Any]) -> Callable[[Scene], Likeness]:
    """Cosines of unit rows that know no price."""

    def space(scene: Scene) -> Likeness:
        unit = vectors(scene)
        return lambda f, here, there: unit[here] @ unit[there].T

    return space


def view(name: str) -> Callable[[Scene], Any]:
    """A text view of the first encoder."""
    return lambda scene: next(v for key, v in scene.inputs.vectors.items() if key.endswith(f"_{name}"))


def photograph(scene: Scene) -> Any:
    """Photographs and the joined space; without a photograph the latter alone."""
    photos = [v for key, v in scene.inputs.vectors.items() if key.endswith("_photograph")]
    return joined([scene.rows.space, *photos])


def hidden(scene: Scene) -> Likeness:
    """The MLP's last hidden layer, of the fold's own model."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        layer = unit(scene.models["mlp"][f].fused(scene.inputs))
        return layer[here] @ layer[there].T

    return likeness


def leaves(scene: Scene) -> Likeness:
    """The share of LightGBM's trees in which two rows fall into the same leaf."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        from scipy.sparse import csr_matrix

        model = scene.models["gbdt"][f]
        leaf = model._booster.predict(model._table.of(scene.inputs, one_hot=False), pred_leaf=True)
        trees = leaf.shape[1]
        column = (leaf + np.arange(trees) * (leaf.max() + 1)).astype(np.int64)
        starts = np.arange(len(leaf) + 1) * trees
        one_hot = csr_matrix((np.ones(leaf.size, np.float32), column.reshape(-1), starts))
        return np.asarray((one_hot[here] @ one_hot[there].T).todense()) / trees

    return likeness


def kernel(scene: Scene) -> Likeness:
    """The kernel member's own likeness, words scaled by how much prices move with them; divided by the largest."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        model = scene.models["kernel"][f]  # whose landmarks are the rows there, in order
        alike = np.vstack([part for _, part in model._compared(scene.inputs.take(here))])
        assert alike.shape == (len(here), len(there)), "an index of more rows than landmarks"
        return alike / alike.max()

    return likeness


def projection(scene: Scene) -> Likeness:
    """Partial least squares of log price on the joined space, by the other folds' rows: 32 directions."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        from sklearn.cross_decomposition import PLSRegression

        learned = PLSRegression(32, scale=False).fit(scene.rows.space[there], scene.log_price[there])
        places = unit(learned.transform(scene.rows.space))
        return places[here] @ places[there].T

    return likeness


def both(one: str, other: str) -> Callable[[Scene], Likeness]:
    """The mean of two likenesses."""

    def space(scene: Scene) -> Likeness:
        a, b = SPACES[one](scene), SPACES[other](scene)
        return lambda f, here, there: (a(f, here, there) + b(f, here, there)) / 2

    return space


def quantities(scene: Scene) -> Likeness:
    """The joined space, and how near the amounts are: rows of other units are a whole cosine of 0.3 farther."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        space, goods = scene.rows.space, scene.rows.goods
        amount = np.where(np.isnan(goods.log_amount), 0, goods.log_amount)
        apart = np.abs(amount[here][:, None] - amount[there][None, :])
        same = goods.unit[here][:, None] == goods.unit[there][None, :]
        return space[here] @ space[there].T - 0.3 * np.where(same, np.minimum(apart, 1), 1)

    return likeness


def same_unit(scene: Scene) -> Likeness:
    """The joined space among rows that are sold by the same unit."""

    def likeness(f: int, here: Any, there: Any) -> Any:
        same = scene.rows.goods.unit[here][:, None] == scene.rows.goods.unit[there][None, :]
        return np.where(same, scene.rows.space[here] @ scene.rows.space[there].T, -1)

    return likeness


def amount_view(scene: Scene) -> Any:
    """Unit rows whose cosine is 0 across units, and falls with how far apart the amounts are; zero where unknown."""
    goods = scene.rows.goods
    known = np.isfinite(goods.log_amount)
    marks = np.arange(-4.0, 14.0, 0.5)
    bumps = np.exp(-(((np.where(known, goods.log_amount, 0)[:, None] - marks) / 0.5) ** 2))
    wide = np.zeros((len(known), (goods.unit.max() + 1) * len(marks)), np.float32)
    column = goods.unit[:, None] * len(marks) + np.arange(len(marks))
    np.put_along_axis(wide, column, np.where(known[:, None], bumps, 0), axis=1)
    return unit(wide)


def with_amounts(scene: Scene) -> Any:
    """The views of the joined space and the amounts, side by side."""
    return joined([view("name")(scene), view("text")(scene), scene.words, amount_view(scene)])


SPACES: dict[str, Callable[[Scene], Likeness]] = {
    "joined": fixed(lambda scene: scene.rows.space),
    "name": fixed(view("name")),
    "text": fixed(view("text")),
    "words": fixed(lambda scene: scene.words),
    "name and words": fixed(lambda scene: joined([view("name")(scene), scene.words])),
    "joined and photographs": fixed(photograph),
    "last layer": hidden,
    "leaves": leaves,
    "kernel": kernel,
    "projection": projection,
    "joined and leaves": both("joined", "leaves"),
    "joined and kernel": both("joined", "kernel"),
    "joined and last layer": both("joined", "last layer"),
    "joined and amounts": quantities,
    "amounts as a view": fixed(with_amounts),
    "amounts as a view, and leaves": both("amounts as a view", "leaves"),
    "joined, amounts and leaves": both("joined and amounts", "leaves"),
    "same unit": same_unit,
}


def unit(vectors: Any) -> Any:
    """Rows of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def mean_of(near: Near, k: int, decay: float) -> tuple[Any, Any, Any]:
    """(n,) the formula's weighted mean residual, the effective number of neighbours, their spread."""
    weight = near.weights(k, decay)
    total = np.maximum(weight.sum(axis=1), 1e-12)
    mean = (weight * near.residual[:, :k]).sum(axis=1) / total
    spread = np.sqrt((weight * (near.residual[:, :k] - mean[:, None]) ** 2).sum(axis=1) / total)
    return mean, total**2 / np.maximum((weight**2).sum(axis=1), 1e-12), spread


def formula(near: Near) -> Deltas:
    """exp(-lambda d) weighted mean."""
    for k, decay in product(KS, DECAYS):
        yield (k, decay), mean_of(near, k, decay)[0]


def median(near: Near) -> Deltas:
    """The weighted median."""
    for k, decay in product(KS, DECAYS):
        weight, residual = near.weights(k, decay), near.residual[:, :k]
        order = np.argsort(residual, axis=1)
        reached = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
        half = np.argmax(reached >= 0.5 * reached[:, -1:], axis=1)[:, None]
        value = np.take_along_axis(np.take_along_axis(residual, order, axis=1), half, axis=1)[:, 0]
        yield (k, decay), np.where(near.found[:, 0], value, 0)


def clipped(near: Near) -> Deltas:
    """No residual counts for more than a limit."""
    for limit in (0.3, 0.6, 1.0):
        residual = np.clip(near.residual, -limit, limit)
        for k, decay in product(KS, DECAYS):
            weight = near.weights(k, decay)
            yield (limit, k, decay), (weight * residual[:, :k]).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)


def shrunk_by_number(near: Near) -> Deltas:
    """times n / (n + s), n the effective number of neighbours."""
    for s in (1.0, 3.0, 10.0, 30.0):
        for k, decay in product(KS, DECAYS):
            mean, number, _ = mean_of(near, k, decay)
            yield (s, k, decay), mean * number / (number + s)


def shrunk_by_spread(near: Near) -> Deltas:
    """times t / (t + spread^2 / n), as a mean of noisy residuals would be (empirical Bayes)."""
    for t in (0.003, 0.01, 0.03, 0.1):
        for k, decay in product(KS, DECAYS):
            mean, number, spread = mean_of(near, k, decay)
            yield (t, k, decay), mean * t / (t + spread**2 / number)


def gated_by_distance(near: Near) -> Deltas:
    """Closes where the nearest is far."""
    for middle, k, decay in product((0.4, 0.5, 0.6, 0.7), KS, DECAYS):
        gate = 1 / (1 + np.exp(-(near.similarity[:, 0] - middle) / 0.05))
        yield (middle, k, decay), gate * mean_of(near, k, decay)[0]


def gated_by_agreement(near: Near) -> Deltas:
    """Closes where the neighbours' residuals disagree about their sign."""
    for power, k, decay in product((0.5, 1.0, 2.0), KS, DECAYS):
        weight, residual = near.weights(k, decay), near.residual[:, :k]
        total = np.maximum(weight.sum(axis=1), 1e-12)
        agreed = np.abs((weight * np.sign(residual)).sum(axis=1)) / total
        yield (power, k, decay), agreed**power * mean_of(near, k, decay)[0]


RULES: dict[str, Callable[[Near], Deltas]] = {
    "weighted median": median,
    "residuals clipped": clipped,
    "shrunk by number": shrunk_by_number,
    "shrunk by spread": shrunk_by_spread,
    "gate on distance": gated_by_distance,
    "gate on agreement": gated_by_agreement,
}


def chosen_by_fold(scene: Scene, space: str, rule: Callable[[Near], Deltas]) -> tuple[Any, list[Any]]:
    """(n,) log price, each fold with the knobs that are best on the others; those knobs."""
    losses, kept, knobs = [], [], []
    for f in range(scene.oof.folds):
        column, shifts, names = [], [], []
        for band in BANDS:
            near = scene.near(space, band)[f]
            price, base = scene.price[near.here], scene.base[near.here]
            for name, delta in rule(near):
                shifts.append(delta)
                for alpha in ALPHAS:
                    column.append(row_smape(price, np.exp(base + alpha * delta)).sum())
                    names.append((len(shifts) - 1, alpha, (band, *name)))
        losses.append(column)
        kept.append(shifts)
        knobs = names
    loss, answer, picked = np.array(losses), scene.base.copy(), []
    for f in range(scene.oof.folds):
        at, alpha, name = knobs[int((loss.sum(axis=0) - loss[f]).argmin())]
        answer[scene.oof.fold == f] += alpha * kept[f][at]
        picked.append((*name, alpha))
    return answer, picked


def several_spaces(scene: Scene) -> tuple[Any, list[Any]]:
    """A shift from each of three spaces, each with its own alpha; k, band and lambda in common."""
    spaces, alphas = ("name", "words", "kernel"), (0.0, 0.1, 0.2, 0.3)
    tried = list(product((1.0, 2.5), (16, 64), (5.0, 10.0), *[alphas] * 3))
    loss, answer, picked = np.zeros((scene.oof.folds, len(tried))), scene.base.copy(), []

    def shifted(f: int, one: Any) -> Any:
        band, k, decay, *share = one
        return sum(a * means(f, space, band, k, decay) for a, space in zip(share, spaces, strict=True))

    known: dict[Any, Any] = {}

    def means(*key: Any) -> Any:
        if key not in known:
            f, space, band, k, decay = key
            known[key] = mean_of(scene.near(space, band)[f], k, decay)[0]
        return known[key]

    for f in range(scene.oof.folds):
        here = scene.oof.fold == f
        for at, one in enumerate(tried):
            loss[f, at] = row_smape(scene.price[here], np.exp(scene.base[here] + shifted(f, one))).sum()
    for f in range(scene.oof.folds):
        best = tried[int((loss.sum(axis=0) - loss[f]).argmin())]
        answer[scene.oof.fold == f] += shifted(f, best)
        picked.append(best)
    return answer, picked


def learned(scene: Scene) -> tuple[Any, list[Any]]:
    """LightGBM with an L1 objective on what the neighbours missed, in three spaces; for each fold from the others."""
    import lightgbm

    table = np.zeros((len(scene.base), 0))
    for space, band, (k, decay) in product(("joined", "kernel", "words"), (1.0, 2.5), ((8, 10.0), (64, 5.0))):
        part = np.zeros((len(scene.base), 4))
        for near in scene.near(space, band):
            part[near.here] = np.column_stack([*mean_of(near, k, decay), near.similarity[:, 0]])
        table = np.hstack([table, part])
    table = np.column_stack([table, scene.base])
    tried = list(product((25, 50, 100), (4, 8), (0.5, 1.0)))
    how = {"objective": "l1", "learning_rate": 0.03, "min_data_in_leaf": 100, "feature_fraction": 0.5, "verbose": -1}
    how |= {"num_threads": 1, "deterministic": True, "seed": 0}
    shifts = np.zeros((len(tried), len(scene.base)))
    for at, (rounds, depth, share) in enumerate(tried):
        for f in range(scene.oof.folds):
            there, here = np.flatnonzero(scene.oof.fold != f), np.flatnonzero(scene.oof.fold == f)
            data = lightgbm.Dataset(table[there], scene.log_price[there], init_score=scene.base[there])
            booster = lightgbm.train({**how, "num_leaves": depth}, data, rounds)
            shifts[at, here] = share * booster.predict(table[here])
    loss = np.stack([row_smape(scene.price, np.exp(scene.base + each)) for each in shifts])
    answer, picked = scene.base.copy(), []
    for f in range(scene.oof.folds):
        here = scene.oof.fold == f
        best = int(loss[:, ~here].mean(axis=1).argmin())
        answer[here] += shifts[best, here]
        picked.append(tried[best])
    return answer, picked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("tries", nargs="*")
    given = parser.parse_args()
    scene = Scene(open_scored_rows(given.index))
    tries: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
        **{f"space: {space}": lambda space=space: chosen_by_fold(scene, space, formula) for space in SPACES},
        **{rule: lambda each=each: chosen_by_fold(scene, "joined", each) for rule, each in RULES.items()},
        "weighted median, space: kernel": lambda: chosen_by_fold(scene, "kernel", median),
        "several spaces": lambda: several_spaces(scene),
        "learned": lambda: learned(scene),
    }
    rows = scene.rows
    present = answer_out_of_fold(rows.oof, rows.log_price, rows.space, rows.settings).answer
    own = row_smape(scene.price, np.exp(present))
    uncorrected = row_smape(scene.price, np.exp(scene.base))
    print(f"stack {uncorrected.mean():.2f}, the index's own correction {own.mean():.2f}", flush=True)
    path = Path(__file__).parent / "results" / "corrections.json"
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results |= {"uncorrected": uncorrected.mean(), "present": own.mean()}
    for name in given.tries or tries:
        started = time.monotonic()
        answer, picked = tries[name]()
        loss = row_smape(scene.price, np.exp(answer))
        low, high = paired_bootstrap(own, loss, groups=rows.groups, seed=0)
        gain = f"{(own - loss).mean():+.2f} ({low:+.2f} to {high:+.2f})"
        print(f"{name:32} {loss.mean():.2f}  gain {gain}  {time.monotonic() - started:.0f} s  {picked[0]}", flush=True)
        results[name] = {"smape": loss.mean(), "gain": [(own - loss).mean(), low, high], "chosen": picked}
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
