"""Claims about the losses, against the formulas written out."""

import math

import numpy as np
import pytest
import torch

from engine.metrics import smape
from engine.networks.losses import make_loss
from engine.settings.schema import BOUNDED, LOSSES
from index.errors import UsageError


def by_hand(name: str, predicted, target, beta: float, scale: float = 1.0) -> float:
    total = 0.0
    for one, other in zip(predicted, target, strict=True):
        missed = abs(one - other)
        if name == "smape":
            low, high = math.exp(one * scale), math.exp(other * scale)
            total += abs(low - high) / ((low + high) / 2)
            continue
        if name == "minmax_bce":
            place = 1 / (1 + math.exp(-one))
            total -= other * math.log(place) + (1 - other) * math.log(1 - place)
            continue
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
    if name in BOUNDED:
        target = np.random.default_rng(1).random(50)
    loss = make_loss(name, beta=beta)(torch.from_numpy(predicted), torch.from_numpy(target))
    assert loss.shape == ()
    assert float(loss) == pytest.approx(by_hand(name, predicted, target, beta))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_smape_on_standardised_log_price_is_the_one_on_prices(scale):
    predicted, target = np.random.default_rng(0).normal(size=(2, 50))
    loss = make_loss("smape", beta=0.3, scale=scale)(torch.from_numpy(predicted), torch.from_numpy(target))
    assert float(loss) == pytest.approx(by_hand("smape", predicted, target, 0.3, scale))
    assert 100 * float(loss) == pytest.approx(smape(np.exp(target * scale), np.exp(predicted * scale)))


def test_the_cross_entropy_is_least_at_the_logit_of_the_target():
    logits = torch.linspace(-6, 6, 1201)
    loss = make_loss("minmax_bce", beta=0.3)
    for target in (0.1, 0.5, 0.8):
        each = [float(loss(logit.expand(1), torch.tensor([target]))) for logit in logits]
        assert float(logits[int(np.argmin(each))].sigmoid()) == pytest.approx(target, abs=0.005)


@pytest.mark.parametrize("name", sorted({*LOSSES} - BOUNDED))
def test_no_error_is_no_loss_and_an_even_slope(name):
    predicted = torch.zeros(3, requires_grad=True)
    loss = make_loss(name, beta=0.3)(predicted, torch.zeros(3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert predicted.grad is not None
    assert predicted.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "best"), [("l1", np.median), ("smooth_l1", np.median), ("smape", np.median), ("mse", np.mean)]
)
def test_the_best_constant_is_the_median_but_for_mse_the_mean(name, best):
    target = torch.tensor([0.0, 1.0, 2.0, 3.0, 1000.0])
    loss = make_loss(name, beta=0.01)
    tried = torch.linspace(0, 1000, 10_001)
    least = min(tried, key=lambda constant: float(loss(constant.expand(5), target)))
    assert float(least) == pytest.approx(best(target.numpy()), abs=0.11)


def test_an_unknown_loss_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"'huber'.*smooth_l1, l1, mse, smape, minmax_bce"):
        make_loss("huber", beta=0.3)
