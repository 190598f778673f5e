"""Claims about the networks: scaling, the mask, the gate, and the words against a dense product."""

import numpy as np
import pytest
import torch

from engine.networks import words as words_module
from engine.networks.batch import Batch, HeadShape
from engine.networks.cross_attention import CrossAttentionHead
from engine.networks.fused_head import Dropout, PresentNorm
from engine.networks.fusion import FusionHead
from engine.networks.gated import GatedHead
from engine.networks.mlp import MlpHead
from engine.networks.scaling import PriceRange, Standardise
from engine.networks.towers import TowersHead
from engine.networks.words import Int8WordTable, WordsHead, WordTable, sum_of_rows

pytestmark = pytest.mark.usefixtures("one_thread")
DIMS, NUMBERS, UNITS, WORDS = {"name": 6, "photo": 5}, 3, 4, 30
VECTOR_HEADS = [GatedHead, FusionHead, TowersHead, CrossAttentionHead, MlpHead]
DEAF = [FusionHead, MlpHead]  # to numbers and unit


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
    return kind(HeadShape(DIMS, WORDS, NUMBERS, UNITS, width=8, dropout=dropout))


@pytest.fixture(params=[*VECTOR_HEADS, WordsHead])
def head(request):
    with torch.random.fork_rng(devices=[]):
        return ready(head_of(request.param))


@pytest.fixture(params=VECTOR_HEADS)
def vector_head(request):
    with torch.random.fork_rng(devices=[]):
        return ready(head_of(request.param))


def ready(head):
    """Ready to be asked, and where it normalises batches, as after some training."""
    for norm in (module for module in head.modules() if isinstance(module, PresentNorm)):
        torch.nn.init.uniform_(norm.running_mean, -0.2, 0.2)
        torch.nn.init.uniform_(norm.bias, -0.2, 0.2)
    return head.eval()


def of_photographs(head) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in head.named_parameters() if ".photo." in name}


@pytest.fixture
def gated():
    with torch.random.fork_rng(devices=[]):
        return head_of(GatedHead).eval()


@pytest.fixture
def words_head():
    with torch.random.fork_rng(devices=[]):
        head = head_of(WordsHead).eval()
        torch.nn.init.normal_(head.words.weight)  # at its first spread, words would hardly count
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


@pytest.mark.parametrize("wrong", [{"width": 0}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_a_width_or_dropout_that_cannot_be_is_our_mistake(wrong):
    sizes = {"dims": DIMS, "words": WORDS, "numbers": NUMBERS, "units": UNITS, "width": 8, "dropout": 0.0}
    with pytest.raises(AssertionError):
        HeadShape(**{**sizes, **wrong})


def test_a_width_that_does_not_part_among_the_attentions_is_our_mistake():
    with pytest.raises(AssertionError):
        CrossAttentionHead(HeadShape(DIMS, WORDS, NUMBERS, UNITS, width=10, dropout=0.0))


def test_what_stands_in_an_absent_photograph_changes_no_price(vector_head):
    batch = batch_of()
    other = batch._replace(vectors={**batch.vectors, "photo": batch.vectors["photo"] + 100})
    with torch.inference_mode():
        changed = (vector_head(batch) != vector_head(other)).tolist()
    assert changed == batch.present[:, 1].tolist()


def test_what_stands_in_an_absent_photograph_teaches_nothing(vector_head):
    """In training too: not through the batch's own mean either."""
    batch = batch_of()
    other = batch._replace(vectors={**batch.vectors, "photo": batch.vectors["photo"].clone()})
    other.vectors["photo"][~batch.present[:, 1]] += 100
    gradients = []
    for each in (batch, other):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            vector_head.train().zero_grad()
            vector_head(each).square().sum().backward()
            gradients.append(torch.cat([weight.grad.flatten() for weight in vector_head.parameters()]))
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_the_price_is_read_off_the_last_hidden_layer(vector_head):
    batch = batch_of()
    with torch.inference_mode():
        fused = vector_head.fused(batch)
        torch.testing.assert_close(vector_head.out(fused).squeeze(1), vector_head(batch))
    assert fused.shape[0] == 7
    assert fused.std(dim=0).max() > 1e-3


def test_a_last_batch_of_one_row_is_trained_on(head):
    price = head.train()(row_of(batch_of(), 1))
    price.sum().backward()
    assert torch.isfinite(price).all()
    gradients = [weight.grad for weight in head.parameters() if weight.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_a_batch_in_which_nobody_has_a_photograph_is_trained_on(vector_head):
    batch = batch_of()
    nothing = {**batch.vectors, "photo": torch.zeros(7, 5)}
    price = vector_head.train()(batch._replace(present=torch.tensor([[True, False]] * 7), vectors=nothing))
    price.sum().backward()
    assert torch.isfinite(price).all()
    assert all(weight.grad is None or not weight.grad.any() for weight in of_photographs(vector_head).values())


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


def test_rows_without_a_photograph_teach_nothing_of_photographs(vector_head):
    vector_head(row_of(batch_of(), 0)).sum().backward()
    assert of_photographs(vector_head)
    assert all(weight.grad is None or not weight.grad.any() for weight in of_photographs(vector_head).values())
    vector_head(row_of(batch_of(), 1)).sum().backward()
    assert any(weight.grad.any() for weight in of_photographs(vector_head).values())


def test_an_absent_photograph_is_not_a_present_one_of_zeros(vector_head):
    batch = batch_of()
    all_present = batch._replace(present=torch.ones_like(batch.present))
    with torch.inference_mode():
        changed = (vector_head(batch) != vector_head(all_present)).tolist()
    assert changed == (~batch.present[:, 1]).tolist()


@pytest.mark.parametrize("kind", [GatedHead, FusionHead, MlpHead])
def test_an_absent_photograph_is_not_a_present_one_that_is_projected_to_zeros(kind):
    with torch.random.fork_rng(devices=[]):
        head = ready(head_of(kind))
    batch = batch_of()
    with torch.inference_mode():
        for weight in of_photographs(head).values():
            weight.zero_()
        changed = (head(batch) != head(batch._replace(present=torch.ones_like(batch.present)))).tolist()
    assert changed == (~batch.present[:, 1]).tolist()


def test_an_item_with_neither_name_nor_photograph_is_priced_by_its_fields_or_like_all_such(vector_head):
    batch = batch_of()
    bare = batch._replace(present=torch.zeros_like(batch.present))
    nameless = {name: torch.zeros_like(each) for name, each in batch.vectors.items()}
    with torch.inference_mode():
        price = vector_head(bare)
        torch.testing.assert_close(price, vector_head(bare._replace(vectors=nameless)))
    assert torch.isfinite(price).all()
    assert (price.std() > 1e-5) == (type(vector_head) not in DEAF)


@pytest.mark.parametrize("field", ["numbers", "unit"])
def test_numbers_and_unit_are_read_but_by_the_heads_of_vectors_alone(head, field):
    batch = batch_of()
    moved = batch._replace(numbers=batch.numbers + 1) if field == "numbers" else batch._replace(unit=3 - batch.unit)
    with torch.inference_mode():
        changed = int((head(batch) != head(moved)).sum())
    assert changed == 0 if type(head) in DEAF else changed >= 6


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


def test_words_are_read_and_an_item_without_any_is_priced_by_its_fields(words_head):
    batch = batch_of()
    silent = batch._replace(
        words=torch.zeros(0, dtype=torch.int64),
        word_starts=torch.zeros(7, dtype=torch.int64),
        word_weights=torch.zeros(0),
    )
    with torch.inference_mode():
        changed = (words_head(batch) - words_head(silent)).abs() > 1e-6
    assert changed.tolist() == [row % 5 > 0 for row in range(7)]


def test_the_gradient_of_a_word_table_is_that_of_torchs_embedding_bag():
    random = torch.Generator().manual_seed(0)
    batch, table = batch_of(9), torch.randn(WORDS, 4, generator=random)
    slope = torch.randn(9, 4, generator=random)
    ours, theirs = WordTable(WORDS, 4), torch.nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum")
    ours.weight.data.copy_(table)
    summed = ours(batch), theirs(batch.words, batch.word_starts, per_sample_weights=batch.word_weights)
    torch.testing.assert_close(*summed)
    for values in summed:
        values.backward(slope)
    assert not ours.weight.grad.any(dim=1).all()  # some word was never said
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    narrow = batch._replace(words=batch.words.int(), word_starts=batch.word_starts.int())
    ours.weight.grad = None
    ours(narrow).backward(slope)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


@pytest.mark.parametrize("rows", [0, 1], ids=["no items", "no words"])
def test_items_or_words_that_are_not_there_have_an_even_slope(rows):
    table = WordTable(WORDS, 4)
    nowhere = torch.zeros(0, dtype=torch.int64)
    starts = torch.zeros(rows, dtype=torch.int64)
    batch = batch_of()._replace(words=nowhere, word_starts=starts, word_weights=torch.zeros(0))
    table(batch).sum().backward()
    assert table.weight.grad is not None and not table.weight.grad.any()


def test_a_word_table_in_int8_is_off_by_half_a_step_at_most_and_sums_few_words_as_many(words_head, monkeypatch):
    batch = batch_of()
    learned = words_head.words.weight.detach().clone()
    learned[3] = 0  # a word that says nothing
    table = Int8WordTable.of(learned)
    whole = table.weight * table.scale
    step = learned.abs().amax(dim=1, keepdim=True) / 127
    assert ((whole - learned).abs() <= 0.501 * step).all()
    assert not whole[3].any()
    few, many = (
        batch,
        batch._replace(
            words=batch.words.repeat(4),
            word_starts=batch.word_starts,
            word_weights=torch.cat([batch.word_weights, torch.zeros(3 * len(batch.words))]),
        ),
    )
    assert len(few.words) < WORDS < len(many.words)
    torch.testing.assert_close(table(few), sum_of_rows(whole, few.words, few.word_starts, few.word_weights))
    torch.testing.assert_close(table(many), table(few))
    monkeypatch.setattr(words_module, "ITEMS_AT_ONCE", 3)  # of 7
    torch.testing.assert_close(table(few), table(many))


def test_dropout_drops_its_share_and_scales_up_the_rest():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for share in (0.1, 0.5, 0.9):
            dropped = Dropout(share)(torch.ones(1001, 999))
            left = dropped[dropped > 0]
            assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.003)
            torch.testing.assert_close(left, torch.full_like(left, 1 / (1 - share)), rtol=1e-4, atol=0)
        by_column = (Dropout(0.5)(torch.ones(10_000, 7)) == 0).float().mean(dim=0)
        assert float((by_column - 0.5).abs().max()) < 0.03


def test_dropout_repeats_by_the_seed_and_drops_the_slope_with_the_value():
    values = torch.ones(50, 3, requires_grad=True)
    with torch.random.fork_rng(devices=[]):
        one, same = ((torch.manual_seed(3), Dropout(0.5)(values))[1] for _ in range(2))
        other = Dropout(0.5)(values)
    torch.testing.assert_close(one, same)
    assert not torch.equal(one, other)
    one.sum().backward()
    torch.testing.assert_close(values.grad, one.detach())


def test_dropout_of_nothing_or_in_evaluation_leaves_values_and_generator_alone():
    values, before = torch.ones(5, 3), torch.random.get_rng_state()
    assert Dropout(0.0)(values) is values
    assert Dropout(0.5).eval()(values) is values
    assert torch.equal(torch.random.get_rng_state(), before)


def test_standardised_training_rows_have_mean_0_and_spread_1():
    rows = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 10, 0.01] + [5, -3, 0]).astype(np.float32)
    scaled = Standardise(3)
    scaled.fit(rows)
    values = scaled(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(values.std(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(scaled.inverse_transform(torch.from_numpy(values)).numpy(), rows, rtol=1e-4, atol=1e-4)


def test_a_shared_scale_keeps_the_lengths_of_directions():
    rows = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 2, 4] + 5).astype(np.float32)
    scaled = Standardise(3, shared=True)
    scaled.fit(rows)
    values = scaled(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(
        values.std(axis=0) / values.std(axis=0)[0], rows.std(axis=0) / rows.std(axis=0)[0], rtol=1e-4
    )
    assert values.std() == pytest.approx(1, rel=1e-3)


def test_a_constant_column_becomes_zero_and_never_infinite():
    scaled = Standardise(2)
    scaled.fit(np.array([[3, 1], [3, 2]], np.float32))
    assert scaled(torch.tensor([[3.0, 1.0], [4.0, 1.0]]))[:, 0].tolist() == [0, 1]


def test_a_spread_below_the_least_counts_as_that_and_one_above_as_it_is():
    rows = np.array([[1.0, 0.0], [-1.0, 0.001]])
    scaled = Standardise(2, least=0.1)
    scaled.fit(rows)
    np.testing.assert_allclose(scaled.scale, [1.0, 0.1])
    shared = Standardise(2, shared=True, least=5.0)
    shared.fit(rows)
    np.testing.assert_allclose(shared.scale, [5.0])


def test_nothing_is_scaled_where_no_row_was_seen():
    scaled = Standardise(2)
    scaled.fit(np.empty((0, 2), np.float32))
    assert scaled(torch.tensor([[3.0, 4.0]])).tolist() == [[3, 4]]


def test_undo_takes_prices_in_one_dimension():
    scaled = Standardise(1)
    scaled.fit(np.array([[1], [3]], np.float32))
    assert scaled.inverse_transform(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [1, 2, 3]


def test_scaling_is_saved_with_the_network():
    scaled, loaded = Standardise(2), Standardise(2)
    scaled.fit(np.array([[1, 5], [3, 9]], np.float32))
    loaded.load_state_dict(scaled.state_dict())
    assert loaded(torch.tensor([[1.0, 9.0]])).tolist() == [[-1, 1]]


@pytest.mark.parametrize("rows", [1000, 7051])
def test_a_column_that_is_constant_over_many_rows_is_not_scaled(rows):
    from engine.networks.scaling import Standardise

    scaled = Standardise(3)
    scaled.fit(np.full((rows, 3), np.log1p(2), np.float32))
    assert scaled.scale.tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", [kind for kind in [*VECTOR_HEADS, WordsHead] if kind not in DEAF])
def test_a_number_far_beyond_the_training_rows_carries_no_price_away(kind):
    with torch.random.fork_rng(devices=[]):
        head = ready(head_of(kind))
    head.scaled_numbers.fit(np.eye(NUMBERS, dtype=np.float32)[:1].repeat(500, axis=0) + np.eye(500, NUMBERS) * 0.01)
    batch = batch_of()
    with torch.inference_mode():
        far = head(batch._replace(numbers=torch.full_like(batch.numbers, 5.0)))
        farther = head(batch._replace(numbers=torch.full_like(batch.numbers, 500.0)))
    torch.testing.assert_close(far, farther)


def test_what_is_normalised_is_what_is_present():
    values = torch.from_numpy(np.random.default_rng(0).normal(3, 2, (9, 4)).astype(np.float32))
    present = torch.arange(9) % 3 > 0
    norm, plain = PresentNorm(4), torch.nn.BatchNorm1d(4)
    there = norm(values, present)
    torch.testing.assert_close(there[present], plain(values[present]))
    assert not there[~present].any()
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.eval()(values, present)[present], plain.eval()(values[present]))


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_rows_than_have_a_spread_are_scaled_by_what_was_learned_and_teach_nothing(rows):
    norm = PresentNorm(4)
    norm(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) + 5)
    before = norm.running_mean.clone()
    values, present = torch.ones(3, 4), torch.arange(3) < rows
    scaled = norm(values, present)
    torch.testing.assert_close(norm.running_mean, before)
    torch.testing.assert_close(scaled, norm.eval()(values, present))
    assert scaled.any(dim=1).tolist() == present.tolist()


def test_a_place_in_the_range_of_prices_is_undone_from_its_logit():
    scaled = PriceRange()
    price = np.array([[1.0], [2.0], [5.0]], np.float32)
    scaled.fit(price)
    place = scaled(torch.from_numpy(price)).squeeze(1)
    assert place.tolist() == [0, 0.25, 1]
    again = scaled.inverse_transform(torch.logit(place, eps=1e-6))
    torch.testing.assert_close(again, torch.tensor([1.0, 2.0, 5.0]), atol=1e-4, rtol=0)


def test_prices_that_are_all_alike_have_no_range_and_no_infinity():
    scaled = PriceRange()
    scaled.fit(np.full((4, 1), 2.5, np.float32))
    assert scaled(torch.full((4, 1), 2.5)).tolist() == [[0]] * 4
    assert float(scaled.inverse_transform(torch.tensor([-20.0]))) == pytest.approx(2.5, abs=1e-6)
