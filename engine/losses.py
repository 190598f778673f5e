"""What a head is trained to make small, on (standardised) log price.

Each loss takes (predicted, target), both (n,) tensors, and returns a scalar. SMAPE is `200 * mean(tanh(|dlog| / 2))`,
a robust L1 on log price, so the losses that behave like L1 predict the median, which is what SMAPE rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from index.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]

LOSSES = ("smooth_l1", "l1", "mse")


def make_loss(name: str, *, beta: float) -> Loss:
    """The loss called `name`; `beta` is SmoothL1's width of the quadratic part, in standardised log price."""
    from torch.nn import functional

    if name == "smooth_l1":
        return lambda predicted, target: functional.smooth_l1_loss(predicted, target, beta=beta)
    if name == "l1":
        return functional.l1_loss
    if name == "mse":
        return functional.mse_loss
    raise UsageError(f"There is no loss called {name!r}; choose one of {', '.join(LOSSES)}.")
