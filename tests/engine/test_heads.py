"""Claims about the networks: scaling, the gate and its mask, and the words against a dense product."""

import numpy as np
import pytest
import torch

from engine.heads.batch import Batch
from engine.heads.gated import GatedHead
from engine.heads.standardise import Standardise
from engine.heads.words import WordsHead

pytestmark = pytest.mark.usefixtures("one_thread")
DIMS, NUMBERS, UNITS, WORDS = {"name": 6, "photo": 5}, 3, 4, 30


def batch_of(rows=7, seed=0) -> Batch:
    """Every third row without a photograph, and the first without words."""
    random = np.random.default_rng(seed)
    vectors = {name: random.normal(size=(rows, dim)).astype(np.float32) for name, dim in DIMS.items()}
    vectors["photo"][::3] = 0
    said = [random.choice(WORDS, size=row % 5, replace=False) for row in range(rows)]
    return Batch(
        vectors={name: torch.from_numpy(each) for name, each in vectors.items()},
        present=torch.tensor([[True, bool(row % 3)] for row in range(rows)]),
        numbers=torch.from_numpy(random.normal(size=(rows, NUMBERS)).astype(np.float32)),
        unit=torch.from_numpy(random.integers(0, UNITS, rows)),
        words=torch.from_numpy(np.concatenate(said).astype(np.int64)),
        word_starts=torch.from_numpy(np.concatenate([[0], np.cumsum([len(each) for each in said])[:-1]])),
        word_weights=torch.from_numpy(random.random(sum(map(len, said))).astype(np.float32)),
    )


def row_of(batch: Batch, row: int) -> Batch:
    """One item of a batch, as a batch."""
    ends = [*batch.word_starts.tolist(), len(batch.words)]
    said = slice(ends[row], ends[row + 1])
    return Batch(
        vectors={name: each[row : row + 1] for name, each in batch.vectors.items()},
        present=batch.present[row : row + 1],
        numbers=batch.numbers[row : row + 1],
        unit=batch.unit[row : row + 1],
        words=batch.words[said],
        word_starts=torch.tensor([0]),
        word_weights=batch.word_weights[said],
    )


def head_of(kind, seed=0, dropout=0.5):
    torch.manual_seed(seed)
    return kind(dims=DIMS, words=WORDS, numbers=NUMBERS, units=UNITS, width=8, dropout=dropout)


@pytest.fixture(params=[GatedHead, WordsHead])
def head(request):
    with torch.random.fork_rng(devices=[]):
        return head_of(request.param).eval()


@pytest.fixture
def gated():
    with torch.random.fork_rng(devices=[]):
        return head_of(GatedHead).eval()


@pytest.fixture
def words_head():
    with torch.random.fork_rng(devices=[]):
        head = head_of(WordsHead).eval()
        torch.nn.init.normal_(head.words.weight)  # at its first spread, words would hardly be heard
    return head


def test_an_item_has_one_finite_price_which_is_the_same_alone_as_in_a_batch(head):
    batch = batch_of()
    with torch.inference_mode():
        together = head(batch)
        alone = torch.cat([head(row_of(batch, row)) for row in range(7)])
    assert together.shape == (7,)
    assert together.std() > 1e-3
    torch.testing.assert_close(together, alone)


def test_dropout_is_at_work_in_training_alone(head):
    batch = batch_of()
    with torch.random.fork_rng(devices=[]):
        assert torch.equal(head(batch), head(batch))
        head.train()
        assert not torch.equal(head(batch), head(batch))


@pytest.mark.parametrize("kind", [GatedHead, WordsHead])
@pytest.mark.parametrize("wrong", [{"width": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_a_width_or_dropout_that_cannot_be_is_our_mistake(kind, wrong):
    sizes = {"dims": DIMS, "words": WORDS, "numbers": NUMBERS, "units": UNITS, "width": 8, "dropout": 0.0}
    with pytest.raises(AssertionError):
        kind(**{**sizes, **wrong})


def test_what_stands_in_an_absent_photograph_changes_no_price(gated):
    batch = batch_of()
    other = batch._replace(vectors={**batch.vectors, "photo": batch.vectors["photo"] + 100})
    with torch.inference_mode():
        changed = (gated(batch) != gated(other)).tolist()
    assert changed == batch.present[:, 1].tolist()


def test_what_the_head_has_learned_of_photographs_changes_no_price_without_one(gated):
    batch = batch_of()
    with torch.inference_mode():
        before = gated(batch)
        for weight in [*gated.projections["photo"].parameters(), gated.scaled_vectors["photo"].mean]:
            weight.add_(1)
        changed = (gated(batch) != before).tolist()
    assert changed == batch.present[:, 1].tolist()


def test_an_absent_photograph_has_no_share_however_much_photographs_are_trusted(gated):
    batch = batch_of()
    with torch.inference_mode():
        before = gated(batch)
        gated.gate[-1].bias[1] += 20  # of name, photograph and fields
        changed = (gated(batch) != before).tolist()
    assert changed == batch.present[:, 1].tolist()


def test_rows_without_a_photograph_teach_nothing_of_photographs(gated):
    gated(row_of(batch_of(), 0)).sum().backward()
    assert all(not weight.grad.any() for weight in gated.projections["photo"].parameters())
    gated(row_of(batch_of(), 1)).sum().backward()
    assert any(weight.grad.any() for weight in gated.projections["photo"].parameters())


def test_an_absent_photograph_is_not_a_present_one_of_zeros(gated):
    batch = batch_of()
    all_present = batch._replace(present=torch.ones_like(batch.present))
    with torch.inference_mode():
        changed = (gated(batch) != gated(all_present)).tolist()
    assert changed == (~batch.present[:, 1]).tolist()


def test_an_item_with_neither_name_nor_photograph_is_priced_by_its_fields(gated):
    batch = batch_of()
    bare = batch._replace(present=torch.zeros_like(batch.present))
    nameless = {name: torch.zeros_like(each) for name, each in batch.vectors.items()}
    with torch.inference_mode():
        price = gated(bare)
        torch.testing.assert_close(price, gated(bare._replace(vectors=nameless)))
    assert torch.isfinite(price).all()
    assert price.std() > 1e-4


@pytest.mark.parametrize("field", ["numbers", "unit"])
def test_numbers_and_unit_are_heard(head, field):
    batch = batch_of()
    moved = batch._replace(numbers=batch.numbers + 1) if field == "numbers" else batch._replace(unit=3 - batch.unit)
    with torch.inference_mode():
        assert (head(batch) != head(moved)).sum() >= 6


def test_words_agree_with_a_dense_product(words_head):
    batch = batch_of()
    dense = torch.zeros(7, WORDS)
    ends = [*batch.word_starts.tolist(), len(batch.words)]
    for row in range(7):
        for place in range(ends[row], ends[row + 1]):
            dense[row, batch.words[place]] = batch.word_weights[place]
    with torch.inference_mode():
        fields = torch.cat(
            [batch.numbers, words_head.unit(batch.unit)], dim=1
        )  # nothing is scaled: nothing was learned
        slow = words_head.layers(dense @ words_head.words.weight + words_head.fields(fields)).squeeze(1)
        torch.testing.assert_close(words_head(batch), slow)


def test_words_are_heard_and_an_item_without_any_is_priced_by_its_fields(words_head):
    batch = batch_of()
    silent = batch._replace(
        words=torch.zeros(0, dtype=torch.int64),
        word_starts=torch.zeros(7, dtype=torch.int64),
        word_weights=torch.zeros(0),
    )
    with torch.inference_mode():
        heard = (words_head(batch) - words_head(silent)).abs() > 1e-6
    assert heard.tolist() == [row % 5 > 0 for row in range(7)]


def test_a_word_table_in_half_precision_says_the_same_to_a_thousandth(words_head):
    batch = batch_of()
    with torch.inference_mode():
        whole = words_head(batch)
        words_head.words.half()
        halved = words_head(batch)
    assert halved.dtype == torch.float32
    assert 0 < (whole - halved).abs().max() < 2e-3 * whole.abs().max()


def test_standardised_training_rows_have_mean_0_and_spread_1():
    rows = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 10, 0.01] + [5, -3, 0]).astype(np.float32)
    scaled = Standardise(3)
    scaled.learn(rows)
    values = scaled(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(scaled.undo(torch.from_numpy(values)).numpy(), rows, rtol=1e-4, atol=1e-4)


def test_a_shared_scale_keeps_the_lengths_of_directions():
    rows = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 4] + 5).astype(np.float32)
    scaled = Standardise(3, shared=True)
    scaled.learn(rows)
    values = scaled(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(
        values.std(axis=0) / values.std(axis=0)[0], rows.std(axis=0) / rows.std(axis=0)[0], rtol=1e-4
    )
    assert values.std() == pytest.approx(1, rel=1e-3)


def test_a_constant_column_becomes_zero_and_never_infinite():
    scaled = Standardise(2)
    scaled.learn(np.array([[3, 1], [3, 2]], np.float32))
    assert scaled(torch.tensor([[3.0, 1.0], [4.0, 1.0]]))[:, 0].tolist() == [0, 1]


def test_nothing_is_scaled_where_no_row_was_seen():
    scaled = Standardise(2)
    scaled.learn(np.empty((0, 2), np.float32))
    assert scaled(torch.tensor([[3.0, 4.0]])).tolist() == [[3, 4]]


def test_undo_takes_prices_in_one_dimension():
    scaled = Standardise(1)
    scaled.learn(np.array([[1], [3]], np.float32))
    assert scaled.undo(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [1, 2, 3]


def test_scaling_is_saved_with_the_network():
    scaled, loaded = Standardise(2), Standardise(2)
    scaled.learn(np.array([[1, 5], [3, 9]], np.float32))
    loaded.load_state_dict(scaled.state_dict())
    assert loaded(torch.tensor([[1.0, 9.0]])).tolist() == [[-1, 1]]


@pytest.mark.parametrize("rows", [1000, 7051])
def test_a_column_that_is_constant_over_many_rows_is_not_scaled(rows):
    from engine.heads.standardise import Standardise

    scaled = Standardise(3)
    scaled.learn(np.full((rows, 3), np.log1p(2), np.float32))
    assert scaled.scale.tolist() == [1, 1, 1]


def test_a_number_far_beyond_the_training_rows_carries_no_price_away(head):
    head.scaled_numbers.learn(np.eye(NUMBERS, dtype=np.float32)[:1].repeat(500, axis=0) + np.eye(500, NUMBERS) * 0.01)
    batch = batch_of()
    with torch.inference_mode():
        far = head(batch._replace(numbers=torch.full_like(batch.numbers, 5.0)))
        farther = head(batch._replace(numbers=torch.full_like(batch.numbers, 500.0)))
    torch.testing.assert_close(far, farther)
