"""A neural member of the blend: networks of different seeds, averaged; fitted, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from engine.features.inputs import NUMBERS, known_columns
from engine.features.tabular import KnownCategories
from engine.networks.tensor_file import read_tensor_file, tensor_bytes
from engine.networks.training import fit_network
from engine.settings.schema import BOUNDED
from index.arrays import chunks
from index.catalogue.units import UNITS
from index.contents import expect
from index.errors import UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from torch import Tensor

    from engine.features.inputs import Inputs, InputShape
    from engine.networks.batch import Batch
    from engine.networks.fused_head import FusedHead
    from engine.networks.scaling import PriceRange, Standardise
    from engine.networks.words import WordsHead
    from engine.settings.schema import NetworkSettings
    from index.arrays import Float32, Float64, Int64

    Head = FusedHead | WordsHead

LEAST_ROWS = 2  # a word or category that fewer training rows have can only be learned by heart
WORDS_NORM = 4.0  # an item's words share this norm, so that a long text does not shout
ROWS_AT_ONCE = 4096  # priced in one forward pass
ROWS_CHECKED = 1024  # after training
MOST_CHECKED = 2**16  # weights of a layer that are looked at when it is read: in a larger one, NaN shows in answers
NO_PRICE = 100.0  # a log price that is farther from 0 is none


@dataclass(frozen=True)
class Shape:
    """Shape that a head is built from, beside the number of its words."""

    head: str
    dims: dict[str, int]  # modality -> width of its vectors, of those that it reads
    numbers: int
    width: int
    dropout: float
    bounded: bool  # it answers the logit of a place between the cheapest and the dearest training row
    categories: list[int] = field(default_factory=list)  # of further columns: number of places of each
    further_numbers: int = 0  # further columns

    @classmethod
    def of(cls, inputs: Inputs, settings: NetworkSettings, known: KnownCategories) -> Self:
        """Shape of a head that is fitted on `inputs`, of whose categories these values are known."""
        return cls(
            settings.head,
            {} if settings.head == "words" else _modalities(inputs),
            inputs.numbers.shape[1],
            settings.width,
            settings.dropout,
            settings.fit.loss in BOUNDED,
            known.sizes,
            0 if inputs.tabular is None else inputs.tabular.numbers.shape[1],
        )


class NeuralMember:
    """Heads of one shape; `predict` averages them."""

    def __init__(self, heads: list[Head], shape: Shape, columns: Int64, known: KnownCategories) -> None:
        self.heads = heads
        self.shape = shape
        self.columns = columns  # of Inputs.words: those that are known
        self._known = known  # values of categories; of none where there are none

    @classmethod
    def fit(
        cls,
        inputs: Inputs,
        log_price: Float64,
        settings: NetworkSettings,
        seed: int,
        *,
        name: str = "mlp",
        age_weight: Float64 | None = None,
    ) -> Self:
        """Train on all of `inputs`; `log_price` (n,), `age_weight` (n,) where rows do not all count the same.

        Raises UsageError, with the member's `name`, if it diverges.
        """
        import torch

        from engine.networks.batch import Rows
        from engine.networks.words import Int8WordTable, WordsHead

        tabular = inputs.tabular
        known = KnownCategories(()) if tabular is None else KnownCategories.fit(tabular, LEAST_ROWS)
        shape = Shape.of(inputs, settings, known)
        columns = inputs.frequent_words(LEAST_ROWS) if settings.head == "words" else np.empty(0, np.int64)
        words = _weighted(inputs.words, columns)
        rows = Rows(inputs, shape.dims, words, None if tabular is None else known.places(tabular))
        price = np.asarray(log_price, np.float32)[:, None]

        def make_head() -> Head:
            head = _make_head(shape, len(columns))
            head.fit_scales(inputs)
            head.price.fit(price)
            return head

        scale = _price_scale(shape)
        scale.fit(price)
        target = scale(torch.from_numpy(price)).squeeze(1)
        course = settings.fit
        if tabular is not None:
            course = replace(course, epochs=max(1, round(course.epochs * course.further_factor)))
        heads = [
            fit_network(
                make_head,
                rows.batch,
                target,
                course,
                seed * 1000 + network,
                scale=float(scale.scale),
                weight=None if age_weight is None else torch.from_numpy(age_weight),
            )
            for network in range(settings.members)
        ]
        for head in heads:
            if isinstance(head, WordsHead):  # its largest part by far
                head.words = Int8WordTable.of(head.words.weight.detach())
        member = cls(heads, shape, columns, known)
        member._refuse_diverged(inputs, settings, name)
        return member

    def predict(self, inputs: Inputs) -> Float64:
        """Log price (n,)."""
        import torch

        def mean(batch: Batch) -> Tensor:
            return torch.stack([head.price.inverse_transform(head(batch)) for head in self.heads]).mean(dim=0)

        return self._in_batches(mean, inputs).astype(np.float64)

    def fused(self, inputs: Inputs) -> Float32:
        """(n, last width) what the last hidden layer makes of n items: that of the first network.

        Networks of other seeds lay the same out in directions of their own, whose mean would be of none.
        """
        from engine.networks.fused_head import FusedHead

        head = self.heads[0]
        assert isinstance(head, FusedHead), self.shape.head
        return self._in_batches(head.fused, inputs)

    def _in_batches(self, forward: Callable[[Batch], Tensor], inputs: Inputs) -> Float32:
        """Outputs of `forward` for all of `inputs`, a few thousand rows at a time."""
        import torch

        from engine.networks.batch import Rows

        places = None if inputs.tabular is None else self._known.places(inputs.tabular)
        rows = Rows(inputs, self.shape.dims, _weighted(inputs.words, self.columns), places)
        with torch.inference_mode():
            parts = [forward(rows.batch(part)).numpy() for part in chunks(len(inputs), ROWS_AT_ONCE)]
        return np.concatenate(parts)

    def _refuse_diverged(self, inputs: Inputs, settings: NetworkSettings, name: str) -> None:
        """Raise UsageError where predictions for some training rows are no prices."""
        predicted = self.predict(inputs.take(np.arange(min(len(inputs), ROWS_CHECKED))))
        if not (np.abs(predicted) < NO_PRICE).all():  # nor is NaN
            raise UsageError(
                f"The member {name} (head {settings.head}) came apart while it learned, at learning_rate "
                f"{settings.fit.learning_rate:g} of [{name}.fit]: give a lower one."
            )

    @property
    def fused_width(self) -> int:
        """Width of what `fused` gives."""
        import torch

        layers = (layer for layer in self.heads[0].modules() if isinstance(layer, torch.nn.Linear))
        return next(layer.in_features for layer in layers if layer.out_features == 1)

    def expect_inputs(self, shape: InputShape) -> None:
        """Raise WrongContents unless the heads read inputs of this shape, with weights that are numbers."""
        import torch

        from engine.networks.words import WordsHead

        own = self.shape
        expect(own.dims.items() <= shape.dims.items(), "its vectors are of other lengths")
        expect(own.numbers == len(NUMBERS), "it reads other numbers")
        expect(own.further_numbers == shape.numbers, "it reads other further columns")
        self._known.expect_columns(shape.categories)
        expect(own.categories == self._known.sizes, "its categories have other values")
        expect(known_columns(self.columns, shape.word_columns), "a word's column is out of range")
        expect(len(self.heads), "it has no network")
        for head in self.heads:
            words = head.words.weight if isinstance(head, WordsHead) else None
            expect(words is None or len(words) == len(self.columns), "it has a vocabulary of another size")
            for value in head.state_dict().values():
                if value.numel() <= MOST_CHECKED:
                    expect(torch.isfinite(value).all(), "a weight is no number")

    def save(self, path: Path) -> None:
        """Save as safetensors; what the heads are built from stands in the metadata."""
        import torch

        state = {"columns": torch.from_numpy(self.columns.astype(np.int32))}
        state |= {f"category.{at}": torch.from_numpy(values) for at, values in enumerate(self._known.values)}
        for i, head in enumerate(self.heads):
            state |= {f"{i}.{name}": value for name, value in head.state_dict().items()}
        document = json.dumps({"members": len(self.heads), "shape": asdict(self.shape)})
        path.write_bytes(tensor_bytes(state, "network", document))  # save_file would let nobody else read it

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a member as it was saved."""
        import torch

        from engine.networks.words import Int8WordTable, WordsHead

        document, state = read_tensor_file(path, "network")
        shape, columns = Shape(**document["shape"]), state.pop("columns").numpy().astype(np.int64)
        known = KnownCategories(tuple(state.pop(f"category.{at}").numpy() for at in range(len(shape.categories))))
        heads = []
        for i in range(document["members"]):
            own = {name.removeprefix(f"{i}."): value for name, value in state.items() if name.startswith(f"{i}.")}
            # Not on the meta device, whose random numbers bring in torch's compiler, two seconds of it.
            with torch.random.fork_rng(devices=[]):
                head = _make_head(shape, words=0)
            if isinstance(head, WordsHead):
                head.words = Int8WordTable(*own["words.weight"].shape)
            head.load_state_dict(own, assign=True)
            heads.append(head.eval())
        return cls(heads, shape, columns, known)


def _modalities(inputs: Inputs) -> dict[str, int]:
    """Widths of the vectors that some row has, or of all where no row has any.

    What no row has teaches nothing: a query's photograph would go through weights that are still what they were drawn.
    """
    seen = {name: vectors.shape[1] for name, vectors in inputs.vectors.items() if vectors.any()}
    return seen or {name: vectors.shape[1] for name, vectors in inputs.vectors.items()}


def _price_scale(shape: Shape) -> Standardise | PriceRange:
    """Scale that turns log price into the target, and a prediction into log price."""
    from engine.networks.scaling import PriceRange, Standardise

    return PriceRange() if shape.bounded else Standardise(1)


def _make_head(shape: Shape, words: int) -> Head:
    from engine.networks.batch import HeadShape
    from engine.networks.cross_attention import CrossAttentionHead
    from engine.networks.fusion import FusionHead
    from engine.networks.gated import GatedHead
    from engine.networks.mlp import MlpHead
    from engine.networks.towers import TowersHead
    from engine.networks.words import WordsHead

    heads: dict[str, Callable[[HeadShape], Head]] = {
        "gated": GatedHead,
        "fusion": FusionHead,
        "towers": TowersHead,
        "cross_attention": CrossAttentionHead,
        "mlp": MlpHead,
        "words": WordsHead,
    }
    sizes = HeadShape(
        shape.dims,
        words,
        shape.numbers,
        len(UNITS),
        shape.width,
        shape.dropout,
        tuple(shape.categories),
        shape.further_numbers,
    )
    head = heads[shape.head](sizes)
    head.price = _price_scale(shape)
    return head


def _weighted(words: csr_matrix, columns: Int64) -> csr_matrix:
    """(n, known words): the known words of each item, each row of the norm WORDS_NORM."""
    known = words[:, columns]
    count = np.diff(known.indptr)
    known.data = np.repeat(WORDS_NORM / np.sqrt(np.maximum(count, 1)), count).astype(np.float32)
    return known
