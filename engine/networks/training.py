"""The one training loop: batches, phases, schedule, seed.

It knows neither what a network is made of nor where its inputs come from: `batch_of(rows)` makes each
batch. Randomness is the caller's seed alone; the global generator is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from engine.networks.losses import make_loss
from index.arrays import chunks

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from engine.networks.batch import Batch
    from engine.networks.losses import Loss
    from engine.settings.schema import Fit
    from index.arrays import Int64

Network = TypeVar("Network", bound="nn.Module")


def fit_network(
    make_network: Callable[[], Network],
    batch_of: Callable[[Int64], Batch],
    target: Tensor,
    settings: Fit,
    seed: int,
    *,
    scale: float = 1.0,
    weight: Tensor | None = None,
) -> Network:
    """A network trained on `target` (n,), in evaluation mode; `scale` is what one of it is in log price.

    `weight` (n,): what each row counts for, where they do not all count the same. A batch of rows that count little
    moves the network little: the weights are not scaled anew in each.
    """
    import torch

    if weight is not None:
        weight = (weight / weight.mean()).to(target.dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network()
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        epochs = list(_epochs(len(target), settings, np.random.default_rng(seed)))
        schedule = _schedule(optimiser, settings, sum(map(len, epochs)))
        network.train()
        losses = _losses(settings, scale, "mean" if weight is None else "none")
        for batches, loss_of in zip(epochs, losses, strict=True):
            for rows in batches:
                optimiser.zero_grad(set_to_none=True)
                loss = loss_of(network(batch_of(rows)), target[rows])
                if weight is not None:
                    loss = (loss * weight[rows]).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
    return network.eval()


def _epochs(n: int, settings: Fit, random: np.random.Generator) -> Iterator[list[Int64]]:
    """Each epoch's batches: every row once, in a new order; the batch doubles after each epoch up to `largest_batch`.

    A growing batch does what a falling learning rate does, at a lower price (Smith et al., 2018).
    """
    size = settings.batch_size
    for _ in range(settings.epochs):
        order = random.permutation(n)
        batches = [order[rows] for rows in chunks(n, size)]
        # A last batch of one row teaches nothing but noise.
        yield batches[:-1] if n > 1 and len(batches[-1]) == 1 else batches
        size = max(size, min(2 * size, settings.largest_batch))


def _losses(settings: Fit, scale: float, reduction: str) -> list[Loss]:
    """The loss of each epoch: the second, where there is one, has the last `second_share` of them."""
    names = [settings.loss] * settings.epochs
    if settings.second_loss is not None:
        turn = round(settings.epochs * (1 - settings.second_share))
        names[turn:] = [settings.second_loss] * (settings.epochs - turn)
    return [make_loss(name, beta=settings.beta, scale=scale, reduction=reduction) for name in names]


def _schedule(optimiser: Optimizer, settings: Fit, steps: int) -> LRScheduler:
    from torch.optim import lr_scheduler

    if settings.schedule == "one_cycle":
        # The rise takes a tenth of the steps, but always part of one: torch divides by what is over a whole step.
        rise = min(0.9, max(0.1, 1.5 / max(steps, 1)))
        return lr_scheduler.OneCycleLR(optimiser, settings.learning_rate, total_steps=max(steps, 1), pct_start=rise)
    if settings.schedule == "cosine_restarts":  # Loshchilov and Hutter, 2017, with cycles of one length
        cycle = max(1, round(steps * settings.cycle / settings.epochs))
        return lr_scheduler.CosineAnnealingWarmRestarts(optimiser, cycle)
    assert settings.schedule == "constant", settings.schedule
    return lr_scheduler.ConstantLR(optimiser, factor=1.0)
