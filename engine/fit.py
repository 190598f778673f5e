"""The one training loop: batches, schedule, seed.

It knows neither what a network is made of nor where its inputs come from: `batch_of(rows)` makes each
batch. Randomness is the caller's seed alone; the global generator is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from engine.losses import make_loss

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from engine.heads.batch import Batch
    from engine.settings import Fit


def fit_network(
    make_network: Callable[[], nn.Module],
    batch_of: Callable[[NDArray[np.int64]], Batch],
    target: Tensor,
    settings: Fit,
    seed: int,
) -> nn.Module:
    """A network trained on `target` (n,) standardised log price, in evaluation mode."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network()
        loss_of = make_loss(settings.loss, beta=settings.beta)
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        batches = list(_batches(len(target), settings, np.random.default_rng(seed)))
        schedule = _schedule(optimiser, settings, len(batches))
        network.train()
        for rows in batches:
            optimiser.zero_grad(set_to_none=True)
            loss_of(network(batch_of(rows)), target[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return network.eval()


def _batches(n: int, settings: Fit, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Every row once an epoch, in a new order; the batch doubles after each epoch up to `largest_batch`.

    A growing batch does what a falling learning rate does, at a lower price (Smith et al., 2018).
    """
    size = settings.batch_size
    for _ in range(settings.epochs):
        order = random.permutation(n)
        for start in range(0, n, size):
            if n - start > 1 or n == 1:  # a last batch of one row teaches nothing but noise
                yield order[start : start + size]
        size = max(size, min(2 * size, settings.largest_batch))


def _schedule(optimiser: Optimizer, settings: Fit, steps: int) -> LRScheduler:
    from torch.optim import lr_scheduler

    if settings.schedule == "one_cycle":
        # The rise takes a tenth of the steps, but always part of one: torch divides by what is over a whole step.
        rise = min(0.9, max(0.1, 1.5 / max(steps, 1)))
        return lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=max(steps, 1), pct_start=rise)
    assert settings.schedule == "constant", settings.schedule
    return lr_scheduler.ConstantLR(optimiser, factor=1.0)
