"""The trained whole. `estimate` is the only place that chains base, blend, correction and interval."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from engine.blend import blend
from engine.correction import Knobs, shift, weights
from engine.interval import Interval
from index.neighbours import BandIndex, Neighbours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.cross_fit import Fitted
    from engine.features import Inputs

    Float32 = NDArray[np.float32]
    Float64 = NDArray[np.float64]

MEMBERS = ("mlp", "gbdt", "lexical")
FOLDER, SETTINGS = "models", "price_model.json"


class Model(Protocol):
    """A member of the blend: `engine.network.Network`, `engine.gbdt.Gbdt`."""

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""

    def save(self, path: Path) -> None:
        """Without pickle."""


@dataclass(frozen=True)
class Estimate:
    """n items, in log price."""

    members: dict[str, Float64]  # member -> (n,), each the mean of its folds' models
    blended: Float64  # (n,)
    shift: Float64  # (n,) the correction; 0 where nobody is in the band
    answer: Float64  # (n,) blended + shift
    low: Float64  # (n,)
    high: Float64  # (n,)
    near: Neighbours  # rows of the catalogue
    weight: Float64  # (n, k) the neighbours' shares of the shift


class PriceModel:
    """Models, and the residuals of the catalogue's rows: what a price is made of."""

    def __init__(
        self,
        models: Mapping[str, list[Model]],
        fitted: Fitted,
        space: Float32,
        *,
        log_price: Float64,
        residual: Float64,
    ) -> None:
        """`space` (m, dim), `log_price` (m,), `residual` (m,) out of fold: the rows that may be neighbours."""
        self.models = models
        self.fitted = fitted
        self.residual = residual
        self.log_price = log_price
        self._index = BandIndex(space, log_price)

    def estimate(self, inputs: Inputs, space: Float32, knobs: Knobs | None = None) -> Estimate:
        """Price n items; `space` (n, dim) as the catalogue's. `knobs` in the place of the fitted ones."""
        knobs = knobs or self.fitted.knobs
        members = {
            name: np.mean([model.predict(inputs) for model in each], axis=0) for name, each in self.models.items()
        }
        blended = blend(members, self.fitted.weights)
        near = self._index.search(space, blended, k=knobs.k, band=knobs.band)
        moved = shift(near, self.residual, knobs)
        answer = blended + moved
        low, high = self.fitted.interval.bounds(answer)
        return Estimate(members, blended, moved, answer, low, high, near, weights(near, knobs.decay))

    def neighbours_alone(self, space: Float32, knobs: Knobs) -> Float64:
        """(n,) the weighted mean of the nearest rows' log prices, without a model: a stage to compare with."""
        near = self._index.search(space, np.zeros(len(space)), k=knobs.k, band=np.inf)
        mean = (weights(near, knobs.decay) * self.log_price[near.rows]).sum(axis=1)
        return np.where(near.found[:, 0], mean, np.median(self.log_price))


def save_models(folder: Path, models: Mapping[str, list[Model]], fitted: Fitted) -> None:
    """Everything but the rows, below `folder`/models."""
    models_folder = folder / FOLDER
    models_folder.mkdir()
    for member, each in models.items():
        for fold, model in enumerate(each):
            model.save(models_folder / _file(member, fold))
    document = {
        "members": list(models),
        "folds": len(next(iter(models.values()))),
        "weights": fitted.weights,
        "knobs": asdict(fitted.knobs),
        "mlp_knobs": asdict(fitted.mlp_knobs),
        "interval": asdict(fitted.interval),
    }
    (models_folder / SETTINGS).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def load_models(folder: Path) -> tuple[dict[str, list[Model]], Fitted]:
    """What `save_models` wrote; the manifest has checked the files before."""
    from engine.cross_fit import Fitted
    from engine.gbdt import Gbdt
    from engine.network import Network

    models_folder = folder / FOLDER
    document = json.loads((models_folder / SETTINGS).read_text(encoding="utf-8"))
    load: dict[str, Callable[[Path], Model]] = {"mlp": Network.load, "gbdt": Gbdt.load, "lexical": Network.load}
    models = {
        member: [load[member](models_folder / _file(member, fold)) for fold in range(document["folds"])]
        for member in document["members"]
    }
    interval = Interval(**{name: tuple(value) for name, value in document["interval"].items()})
    knobs, mlp_knobs = Knobs(**document["knobs"]), Knobs(**document["mlp_knobs"])
    return models, Fitted(document["weights"], knobs, mlp_knobs, interval)


def _file(member: str, fold: int) -> str:
    return f"{member}-{fold}.{'txt' if member == 'gbdt' else 'safetensors'}"
