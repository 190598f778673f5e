"""Losses: what a head is trained to make small, on (standardised) log price.

Each loss takes (predicted, target), both (n,) tensors, and returns a scalar, or where asked a loss for each row. SMAPE
is `200 * mean(tanh(|dlog| / 2))`, a robust L1 on log price, so the losses that behave like L1 predict the median, which
is what SMAPE rewards.

The target is log price everywhere, where the reference systems take log1p(price), which is log(price + 1): the two
differ by 0.18 at a price of 5 and by 0.05 at 20, and of log price alone is SMAPE a function of one difference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from engine.settings.schema import LOSSES
from index.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(name: str, *, beta: float, scale: float = 1.0, reduction: str = "mean") -> Loss:
    """The loss called `name`; with the `reduction` "none" of each row, (n,), in the place of their mean.

    `beta` is SmoothL1's width of the quadratic part, in standardised log price; `scale` what one of it is in log price,
    which smape needs: it is the only one that is not the same on any scale.
    """
    import torch
    from torch.nn import functional

    if name == "smooth_l1":
        return partial(functional.smooth_l1_loss, beta=beta, reduction=reduction)
    if name == "l1":
        return partial(functional.l1_loss, reduction=reduction)
    if name == "mse":
        return partial(functional.mse_loss, reduction=reduction)
    if name == "smape":  # as a share, 0 to 2: source, the second phase of the end-to-end system

        def smape(predicted: Tensor, target: Tensor) -> Tensor:
            distance = torch.tanh((predicted - target).abs() * scale / 2)
            return 2 * (distance.mean() if reduction == "mean" else distance)

        return smape
    if name == "minmax_bce":  # source: the towers-knn system
        return partial(functional.binary_cross_entropy_with_logits, reduction=reduction)
    raise UsageError(f"There is no loss called {name!r}; choose one of {', '.join(LOSSES)}.")
