"""Every knob of a fine-tuning."""

from dataclasses import dataclass

from index.errors import UsageError

TRAIN = ("whole", "last", "lora")
VIEWS = ("name", "text")
DEFAULT_LAYERS = 2  # of `last`
RANGES: dict[str, tuple[float, float]] = {
    "rank": (1, 512),
    "epochs": (1, 1000),
    "batch_size": (2, 4096),
    "accumulate": (1, 1024),
    "learning_rate": (0, 1),
    "head_learning_rate": (0, 1),
    "layer_decay": (0.01, 1),
    "weight_decay": (0, 100),
    "warm_up": (0, 1),
    "width": (1, 65536),
    "dropout": (0, 0.99),
    "beta": (1e-6, 100),
    "validation": (0, 0.5),
    "patience": (1, 1000),
}


@dataclass(frozen=True)
class FinetuneSettings:
    """How an encoder is fine-tuned."""

    encoder: str = "minilm"  # of words: NAME or NAME@PATH
    image_encoder: str = "none"  # of photographs, trained beside it
    view: str = "name"  # what of an item is read: its name, or its whole text
    train: str = "last"  # whole, last (the last `layers`) or lora
    layers: int | None = None  # of `last`, 2 where None; 0 trains the head alone, which is the control
    rank: int = 8  # of lora
    epochs: int = 5
    batch_size: int = 32  # rows that a step learns from
    accumulate: int = 1  # parts in which they are computed, one after the other, to save memory
    learning_rate: float = 1e-4  # of the encoder's last layer
    layer_decay: float = 0.9  # each layer below learns this much slower than the one above it
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.1  # share of the steps over which the rates rise; then they fall to 0
    width: int = 256  # of the head
    dropout: float = 0.2  # of the head
    beta: float = 0.3  # where SmoothL1 turns from square to line, in standardised log price
    validation: float = 0.1  # share of the rows, twins together, by which the best epoch is chosen; 0 for the last one
    patience: int = 2  # epochs without a gain after which training stops
    recompute: bool = False  # gradient checkpointing: activations are computed twice, to save memory

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}: give a number from {low:,} to {high:,}.")
        for name, choices in (("train", TRAIN), ("view", VIEWS)):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} is {getattr(self, name)!r}: choose from {', '.join(choices)}.")
        if self.layers is not None and self.train != "last":
            raise UsageError(f"layers is {self.layers}, and train is {self.train!r}: layers goes with train last.")
        if self.layers is not None and self.layers < 0:
            raise UsageError(f"layers is {self.layers}: give a whole number of layers.")
        if self.accumulate > self.batch_size:
            raise UsageError(f"accumulate is {self.accumulate}: a batch of {self.batch_size} has no more parts.")

    @property
    def last_layers(self) -> int:
        """How many `last` trains."""
        return DEFAULT_LAYERS if self.layers is None else self.layers
