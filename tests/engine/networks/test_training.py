"""Claims about the one training loop, on a straight line that any loop must find."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine.networks import training as fit
from engine.networks.training import fit_network
from engine.settings.schema import Fit

pytestmark = pytest.mark.usefixtures("one_thread")


class Line(nn.Module):
    """(n, 3) -> (n,), with a dropout that draws random numbers when training."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.linear, self.dropout = nn.Linear(3, 1), nn.Dropout(dropout)

    def forward(self, batch):
        return self.linear(self.dropout(batch)).squeeze(1)


VALUES = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
TARGET = VALUES @ torch.tensor([1.0, -2.0, 0.5]) + 0.25


def fit_of(**changes) -> Fit:
    settings = {"epochs": 2, "batch_size": 8, "largest_batch": 8, "learning_rate": 0.05, "weight_decay": 0.0}
    return Fit(**{**settings, "schedule": "constant", **changes})


def trained(settings, *, seed=0, rows=64, dropout=0.0, seen=None, make=None) -> nn.Module:
    def batch_of(rows):
        if seen is not None:
            seen.append(rows)
        return VALUES[rows]

    return fit_network(make or (lambda: Line(dropout)), batch_of, TARGET[:rows], settings, seed)


def state(network) -> list[float]:
    return torch.cat([value.flatten() for value in network.state_dict().values()]).tolist()


@pytest.mark.parametrize("schedule", ["constant", "one_cycle", "cosine_restarts"])
@pytest.mark.parametrize("loss", ["smooth_l1", "l1", "mse", "smape"])
def test_a_straight_line_is_learned(schedule, loss):
    network = trained(fit_of(epochs=40, schedule=schedule, loss=loss))
    with torch.inference_mode():
        assert float((network(VALUES) - TARGET).abs().mean()) < 0.1 * float(TARGET.abs().mean())


def test_the_network_is_handed_over_in_evaluation_mode():
    network = trained(fit_of(), dropout=0.5)
    assert not any(module.training for module in network.modules())
    assert torch.equal(network(VALUES), network(VALUES))


def test_it_trains_in_training_mode():
    modes = []

    class Watched(Line):
        def forward(self, batch):
            modes.append(self.training)
            return super().forward(batch)

    trained(fit_of(epochs=1), make=Watched)
    assert set(modes) == {True}


@pytest.mark.parametrize("rows", [2, 16, 23, 64])
def test_every_row_is_seen_once_an_epoch(rows):
    seen = []
    trained(fit_of(epochs=3), rows=rows, seen=seen)
    at_each_epoch = np.concatenate(seen).reshape(3, rows)
    assert all(sorted(epoch) == list(range(rows)) for epoch in at_each_epoch.tolist())
    assert max(map(len, seen)) == min(8, rows)


def test_a_lone_last_row_waits_for_another_epoch():
    seen = []
    trained(fit_of(epochs=20), rows=17, seen=seen)
    assert {len(rows) for rows in seen} == {8}
    assert len(seen) == 2 * 20
    assert set(np.concatenate(seen).tolist()) == set(range(17))


def test_a_catalogue_of_one_row_is_trained_on():
    seen = []
    trained(fit_of(), rows=1, seen=seen)
    assert [rows.tolist() for rows in seen] == [[0], [0]]


def test_the_batch_doubles_after_each_epoch_up_to_the_largest():
    seen = []
    trained(fit_of(epochs=4, batch_size=4, largest_batch=15), seen=seen)
    assert [len(rows) for rows in seen] == [4] * 16 + [8] * 8 + 2 * ([15] * 4 + [64 - 4 * 15])


def test_a_first_batch_above_the_largest_stays_as_it_is():
    seen = []
    trained(fit_of(batch_size=16, largest_batch=8), seen=seen)
    assert {len(rows) for rows in seen} == {16}


def test_each_epoch_has_an_order_of_its_own():
    seen = []
    trained(fit_of(epochs=2, batch_size=64, largest_batch=64), seen=seen)
    assert seen[0].tolist() != seen[1].tolist()


def test_the_same_seed_gives_the_same_network_whatever_was_drawn_before():
    torch.manual_seed(1)
    one = trained(fit_of(), seed=7, dropout=0.5)
    torch.manual_seed(2)
    other = trained(fit_of(), seed=7, dropout=0.5)
    assert state(one) == state(other)
    assert state(one) != state(trained(fit_of(), seed=8, dropout=0.5))


def test_the_seed_decides_the_start_and_the_order_of_the_rows():
    orders, starts = [], []
    for seed in (0, 1):
        seen = []

        class Noted(Line):
            def __init__(self):
                super().__init__()
                starts.append(state(self))

        trained(fit_of(), seed=seed, seen=seen, make=Noted)
        orders.append(np.concatenate(seen).tolist())
    assert orders[0] != orders[1]
    assert starts[0] != starts[1]


def test_the_global_generators_are_left_as_they_were():
    before, before_numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    trained(fit_of(), dropout=0.5)
    assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], before_numpy)


@pytest.mark.parametrize("epochs", range(1, 10))
def test_one_cycle_takes_any_number_of_steps(epochs):
    assert np.isfinite(state(trained(fit_of(epochs=epochs, batch_size=64, schedule="one_cycle")))).all()


def test_one_cycle_warms_up_and_ends_at_rest():
    moved = []

    class Noted(Line):
        def forward(self, batch):
            moved.append(torch.tensor(state(self)))
            return super().forward(batch)

    trained(fit_of(epochs=5, schedule="one_cycle", learning_rate=0.01, loss="l1"), make=Noted)
    steps = torch.stack([(after - before).abs().max() for before, after in itertools.pairwise(moved)])
    assert steps[0] < 0.2 * steps.max()
    assert steps[-1] < 0.2 * steps.max()


def steps_of(settings) -> list[float]:
    """How far each step moved the weight that it moved most: under L1, what the schedule says."""
    moved = []

    class Noted(Line):
        def forward(self, batch):
            moved.append(torch.tensor(state(self)))
            return super().forward(batch)

    network = trained(settings, make=Noted)
    moved.append(torch.tensor(state(network)))
    return [float((after - before).abs().max()) for before, after in itertools.pairwise(moved)]


def test_a_cosine_starts_anew_after_each_cycle():
    steps = steps_of(fit_of(epochs=6, schedule="cosine_restarts", cycle=2, learning_rate=0.01, loss="l1"))
    assert len(steps) == 6 * 8
    for start in (0, 16, 32):
        assert max(steps[start : start + 3]) > 0.003
        assert max(steps[start + 14 : start + 16]) < 0.001


@pytest.mark.parametrize("cycle", [1, 5, 100])
def test_a_cycle_may_have_any_length(cycle):
    network = trained(fit_of(epochs=3, batch_size=64, schedule="cosine_restarts", cycle=cycle))
    assert np.isfinite(state(network)).all()


@pytest.mark.parametrize(
    ("epochs", "share", "first"), [(10, 0.3, 7), (2, 0.5, 1), (1, 0.3, 1), (4, 0.0, 4), (4, 1.0, 0)]
)
def test_the_second_loss_has_the_last_epochs(epochs, share, first):
    settings = fit_of(epochs=epochs, loss="mse", second_loss="l1", second_share=share)
    one, two = torch.zeros(1), torch.full((1,), 3.0)
    losses = [float(loss(one, two)) for loss in fit._losses(settings, 1.0, "mean")]
    assert losses == [9.0] * first + [3.0] * (epochs - first)


def test_two_phases_end_where_the_second_loss_is_least():
    skewed = torch.cat([torch.zeros(40), torch.full((24,), 10.0)])

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.value = nn.Parameter(torch.zeros(1))

        def forward(self, batch):
            return self.value.expand(len(batch))

    mean = fit_of(epochs=800, loss="mse", learning_rate=0.1, batch_size=64, largest_batch=64)
    both = replace(mean, second_loss="l1", second_share=0.8)
    ends = [
        float(fit_network(Constant, lambda rows: VALUES[rows], skewed, each, 0).value.detach()) for each in (mean, both)
    ]
    assert ends[0] == pytest.approx(float(skewed.mean()), abs=0.2)
    assert ends[1] == pytest.approx(0, abs=0.2)


def test_smape_is_told_what_one_of_the_target_is_in_log_price():
    near, far = (
        state(fit_network(Line, lambda rows: VALUES[rows], TARGET, fit_of(loss="smape"), 0, scale=scale))
        for scale in (1.0, 5.0)
    )
    assert near != far


def test_weight_decay_pulls_a_weight_to_zero():
    free, held = (trained(fit_of(epochs=5, weight_decay=decay)).linear.weight.norm() for decay in (0.0, 10.0))
    assert held < free


def test_one_cycle_takes_ten_steps_as_well():
    from torch import nn

    from engine.networks.training import fit_network
    from engine.settings.schema import Fit

    class Line(nn.Linear):
        def forward(self, batch):
            return super().forward(batch).squeeze(1)

    fit = Fit(10, 64, 64, 0.05, 0.0, "one_cycle")
    fit_network(lambda: Line(3, 1), lambda rows: torch.zeros(len(rows), 3), torch.zeros(64), fit, 0)
