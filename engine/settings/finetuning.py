"""Settings of a fine-tuning."""

from dataclasses import dataclass
from typing import Annotated

from engine.settings.ranges import Beta, Between, Checked, Epochs, Share, Width, one_of
from index.errors import UsageError

DEFAULT_LAYERS = 2  # of `last`


@dataclass(frozen=True)
class FinetuneSettings(Checked):
    """Settings of fine-tuning an encoder."""

    encoder: str = "minilm"  # of words: NAME or NAME@PATH
    image_encoder: str = "none"  # of photographs, trained beside it
    view: Annotated[str, one_of("name", "text")] = "name"  # what of an item is read: its name, or its whole text
    train: Annotated[str, one_of("whole", "last", "lora")] = "last"  # whole, last (the last `layers`) or lora
    # Of `last`, 2 where None; 0 trains the head alone, which is the control
    layers: Annotated[int | None, Between(0, 1000)] = None
    rank: Annotated[int, Between(1, 512)] = 8  # of lora
    epochs: Epochs = 5
    batch_size: Annotated[int, Between(2, 4096)] = 32  # rows that a step learns from
    # Parts in which they are computed, one after the other, to save memory
    accumulate: Annotated[int, Between(1, 1024)] = 1
    learning_rate: Share = 1e-4  # of the encoder's last layer
    # Each layer below learns this much slower than the one above it
    layer_decay: Annotated[float, Between(0.01, 1)] = 0.9
    head_learning_rate: Share = 1e-3
    weight_decay: Annotated[float, Between(0, 100)] = 0.01
    warm_up: Share = 0.1  # share of the steps over which the rates rise; then they fall to 0
    width: Width = 256  # of the head
    dropout: Annotated[float, Between(0, 0.99)] = 0.2  # of the head
    # Where SmoothL1 turns from square to line, in standardised log price
    beta: Beta = 0.3
    # Share of the rows, near-duplicates together, by which the best epoch is chosen; 0 for the last one
    validation: Annotated[float, Between(0, 0.5)] = 0.1
    patience: Epochs = 2  # epochs without a gain after which training stops
    recompute: bool = False  # gradient checkpointing: activations are computed twice, to save memory

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and self.train != "last":
            raise UsageError(f"layers is {self.layers}, and train is {self.train!r}: layers goes with train last.")
        if self.accumulate > self.batch_size:
            raise UsageError(f"accumulate is {self.accumulate}: a batch of {self.batch_size} has no more parts.")

    @property
    def last_layers(self) -> int:
        """Number of layers that `last` trains."""
        return DEFAULT_LAYERS if self.layers is None else self.layers
