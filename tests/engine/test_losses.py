"""Claims about the losses, against the formulas written out."""

import numpy as np
import pytest
import torch

from engine.losses import LOSSES, make_loss
from index.errors import UsageError


def by_hand(name: str, predicted, target, beta: float) -> float:
    total = 0.0
    for one, other in zip(predicted, target, strict=True):
        missed = abs(one - other)
        if name == "l1":
            total += missed
        elif name == "mse":
            total += missed**2
        else:
            total += missed**2 / (2 * beta) if missed < beta else missed - beta / 2
    return total / len(predicted)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("beta", [0.1, 0.3, 1.0])
def test_every_loss_is_its_formula(name, beta):
    predicted, target = np.random.default_rng(0).normal(size=(2, 50))
    loss = make_loss(name, beta=beta)(torch.from_numpy(predicted), torch.from_numpy(target))
    assert loss.shape == ()
    assert float(loss) == pytest.approx(by_hand(name, predicted, target, beta))


@pytest.mark.parametrize("name", LOSSES)
def test_no_error_is_no_loss_and_an_even_slope(name):
    predicted = torch.zeros(3, requires_grad=True)
    loss = make_loss(name, beta=0.3)(predicted, torch.zeros(3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("name", "best"), [("l1", np.median), ("smooth_l1", np.median), ("mse", np.mean)])
def test_the_best_constant_is_the_median_but_for_mse_the_mean(name, best):
    target = torch.tensor([0.0, 1.0, 2.0, 3.0, 1000.0])
    loss = make_loss(name, beta=0.01)
    tried = torch.linspace(0, 1000, 10_001)
    least = min(tried, key=lambda constant: float(loss(constant.expand(5), target)))
    assert float(least) == pytest.approx(best(target.numpy()), abs=0.11)


def test_an_unknown_loss_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'huber'.*smooth_l1, l1, mse"):
        make_loss("huber", beta=0.3)
