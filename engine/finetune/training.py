"""Training of the network: batches, rates, early stop; stoppable at any step.

Whatever is random at a step is drawn from the seed and the step's number, so that a run that goes on from any of its
steps ends as one that was never stopped. On a CPU, two runs with as many threads give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.finetune.network import SCALED_ON
from engine.metrics import smape
from engine.networks.losses import make_loss
from index.arrays import chunks
from index.catalogue.money import HIGHEST_PRICE, LOWEST_PRICE
from index.errors import UsageError
from index.progress import OnProgress, silent

if TYPE_CHECKING:
    from torch import Tensor

    from engine.finetune.examples import ExampleBatches
    from engine.finetune.network import PriceNetwork
    from engine.settings.finetuning import FinetuneSettings
    from index.arrays import Float64, Int64
    from index.encoders.device import Device

POOL = 50  # batches that are sorted by length together: enough to save padding, few enough to stay random
PRICED_AT_ONCE = 64  # rows priced in one forward pass
LONGEST_GRADIENT = 1.0  # a longer one is cut to this norm


@dataclass(frozen=True)
class Epoch:
    """Result of one epoch."""

    loss: float  # mean over its steps
    smape: float | None  # of the validation part; None without one


@dataclass(frozen=True)
class TrainingState:
    """Progress of a training: with the tensors beside it, all that it takes to go on."""

    step: int = 0  # steps done
    loss: float = 0.0  # summed over the steps of the epoch that is under way
    curve: tuple[Epoch, ...] = ()

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrainingState:
        """Read what `dataclasses.asdict` made."""
        return cls(document["step"], document["loss"], tuple(Epoch(**epoch) for epoch in document["curve"]))

    @property
    def best(self) -> int:
        """The epoch, from 0, whose weights are taken: that of the least SMAPE, or the last where none is measured."""
        scores = [epoch.smape for epoch in self.curve if epoch.smape is not None]
        return int(np.argmin(scores)) if scores else len(self.curve) - 1

    def finished(self, settings: FinetuneSettings) -> bool:
        """Tell whether nothing is left to do."""
        return len(self.curve) >= settings.epochs or len(self.curve) - 1 - self.best >= settings.patience


class Training:
    """A network, its optimiser, and the best weights so far."""

    def __init__(
        self,
        network: PriceNetwork,
        batches: ExampleBatches,
        rows: tuple[Int64, Int64],  # learned from; and those that say when to stop, which may be none
        settings: FinetuneSettings,
        *,
        seed: int,
        machine: Device,
    ) -> None:
        import torch

        self.network, self.state = network, TrainingState()
        self._batches, (self._rows, self._validation) = batches, rows
        self._settings, self._seed, self._machine = settings, seed, machine
        log_price = batches.examples.log_price
        sample = np.random.default_rng(seed).permutation(self._rows)[:SCALED_ON]
        network.eval()
        network.scale(
            [batches.batch(sample[part]) for part in chunks(len(sample), PRICED_AT_ONCE)],
            batches.examples.numbers[self._rows],
            log_price[self._rows],
        )
        price = torch.from_numpy(log_price.astype(np.float32)).to(machine.device)
        self._target = network.head.price(price[:, None]).squeeze(1)  # (n,) standardised
        self._loss_of = make_loss("smooth_l1", beta=settings.beta)
        self._optimiser = torch.optim.AdamW(network.parameter_groups(settings), fused=True)
        self._best: dict[str, Tensor] = {}

    def run(self, keep: Callable[[bool], None] = lambda turn: None, on_progress: OnProgress = silent) -> None:
        """Learn from where the state stands; `keep(an epoch is over)` is called after every step."""
        import torch

        batches = self._epoch_batches(len(self.state.curve))
        total = self._settings.epochs * len(batches)  # where no early stop saves any
        while not self.state.finished(self._settings):
            done = self.state.step - len(self.state.curve) * len(batches)
            for rows in batches[done:]:
                torch.manual_seed(_mixed(self._seed, self.state.step))
                loss = self._step(rows, total)
                self.state = replace(self.state, step=self.state.step + 1, loss=self.state.loss + loss)
                on_progress(self._stage(), self.state.step, total)
                if self.state.step % len(batches):
                    keep(False)
            self._end_epoch(len(batches))
            keep(True)
            batches = self._epoch_batches(len(self.state.curve))
        self._take_best()

    def tensors(self) -> dict[str, Tensor]:
        """All that learns, what the optimiser remembers of it, and the best so far, by name."""
        trained = self.network.trained()
        tensors = {f"now.{name}": value.detach() for name, value in trained.items()}
        for name, parameter in trained.items():
            tensors |= {f"{key}.{name}": value for key, value in self._optimiser.state.get(parameter, {}).items()}
        return tensors | {f"best.{name}": value for name, value in self._best.items()}

    def restore(self, state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` gave when the state was this."""
        import torch

        self.state = state
        trained = self.network.trained()
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(tensors[f"now.{name}"])
                kept = {key: tensors.get(f"{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")}
                there = {key: value.to(parameter.device) for key, value in kept.items() if value is not None}
                self._optimiser.state[parameter] = there
        self._best = {name: tensors[f"best.{name}"] for name in trained if f"best.{name}" in tensors}

    def _step(self, rows: Int64, total: int) -> float:
        """One step of the optimiser; the mean loss of its rows."""
        import torch

        self.network.train()
        self._optimiser.zero_grad(set_to_none=True)
        loss = 0.0
        for part in np.array_split(rows, min(self._settings.accumulate, len(rows))):
            with self._machine.products():
                predicted = self.network.forward(self._batches.batch(part))
            share = self._loss_of(predicted, self._target[part]) * (len(part) / len(rows))
            share.backward()  # type: ignore[no-untyped-call]
            loss += float(share.detach())
        self._require_finite(loss)
        torch.nn.utils.clip_grad_norm_(self.network.trained().values(), LONGEST_GRADIENT)
        factor = rate_at(self.state.step, total, self._settings.warm_up)
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * factor
        self._optimiser.step()
        return loss

    def _require_finite(self, value: float) -> None:
        if not math.isfinite(value):
            raise UsageError(f"Learning came apart at step {self.state.step:,}: give a lower learning rate.")

    def _end_epoch(self, steps: int) -> None:
        score = None
        if len(self._validation):
            predicted = predict(self.network, self._batches, self._validation, self._machine)
            self._require_finite(float(predicted.sum()))
            score = smape(np.exp(self._batches.examples.log_price[self._validation]), np.exp(predicted))
        epoch = Epoch(self.state.loss / steps, score)
        self.state = replace(self.state, loss=0.0, curve=(*self.state.curve, epoch))
        if score is not None and self.state.best == len(self.state.curve) - 1:
            self._best = {name: value.detach().clone() for name, value in self.network.trained().items()}

    def _take_best(self) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.network.trained().items():
                if name in self._best:
                    parameter.copy_(self._best[name])
        self.network.eval()

    def _epoch_batches(self, epoch: int) -> list[Int64]:
        return batches_of(self._rows, self._batches.lengths(), self._settings.batch_size, _mixed(self._seed, epoch))

    def _stage(self) -> str:
        """The stage that is reported, which changes once an epoch."""
        curve = self.state.curve
        stage = f"fine-tuning, epoch {len(curve) + 1}"
        if curve:
            stage += f" (loss {curve[-1].loss:.3f}"
            stage += f", validation SMAPE {curve[-1].smape:.2f})" if curve[-1].smape is not None else ")"
        return stage


def predict(network: PriceNetwork, batches: ExampleBatches, rows: Int64, machine: Device) -> Float64:
    """Log price of some rows, in that order, within what a catalogue may hold; the longest are priced together."""
    import torch

    network.eval()
    answer = np.empty(len(rows))
    order = np.argsort(batches.lengths()[rows], kind="stable")[::-1]
    for part in chunks(len(order), PRICED_AT_ONCE):
        own = order[part]
        with torch.no_grad(), machine.products():
            predicted = network.head.price.inverse_transform(network.forward(batches.batch(rows[own])))
        answer[own] = predicted.cpu().numpy()
    return np.clip(answer, math.log(LOWEST_PRICE), math.log(HIGHEST_PRICE))


def rate_at(step: int, steps: int, warm_up: float) -> float:
    """The share of its rate with which a step (from 0) is made: up a line, then down a half cosine to 0."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def batches_of(rows: Int64, lengths: Int64, size: int, seed: int) -> list[Int64]:
    """Every row once, in a random order, but those in a batch of about one length. A lone last row is left out."""
    random = np.random.default_rng(seed)
    batches, shuffled = [], random.permutation(rows)
    for part in chunks(len(shuffled), size * POOL):
        pool = shuffled[part]
        longest_first = pool[np.argsort(lengths[pool], kind="stable")[::-1]]
        batches += [longest_first[batch] for batch in chunks(len(pool), size)]
    whole = [batch for batch in batches if len(batch) > 1]
    return [whole[place] for place in random.permutation(len(whole))]


def _mixed(seed: int, number: int) -> int:
    """A seed of its own for each step or epoch."""
    return seed * 1_000_003 + number
