"""Claims about a neural member of the blend: it learns, repeats by its seed, and comes back from the disk the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.sparse import csr_matrix

from engine.features.inputs import InputShape
from engine.members import neural as network
from engine.members.neural import NeuralMember
from engine.members.registry import member_fits
from engine.networks.batch import Rows
from engine.networks.words import Int8WordTable
from engine.settings.schema import FUSED_HEADS, LOSSES, Fit, NetworkSettings, Settings
from index.contents import WrongContents
from index.errors import UsageError

GATED = NetworkSettings("gated", members=1, width=8, dropout=0.1, fit=Fit(2, 16, 32, 0.01, 0.01, "one_cycle"))
WORDS = NetworkSettings("words", members=1, width=8, dropout=0.1, fit=Fit(2, 16, 32, 0.01, 0.01, "constant"))
pytestmark = pytest.mark.usefixtures("one_thread")
OTHERS = [replace(GATED, head=head, fit=replace(GATED.fit, epochs=4)) for head in FUSED_HEADS if head != "gated"]
both = pytest.mark.parametrize("settings", [GATED, WORDS], ids=["gated", "words"])
every = pytest.mark.parametrize("settings", [GATED, WORDS, *OTHERS], ids=lambda settings: settings.head)
of_vectors = pytest.mark.parametrize("settings", [GATED, *OTHERS], ids=lambda settings: settings.head)


def stored(path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def without_photographs(inputs):
    return replace(inputs, vectors={**inputs.vectors, "photo": np.zeros_like(inputs.vectors["photo"])})


@every
def test_an_easy_law_is_learned_better_than_the_best_constant(make_items, settings):
    inputs, log_price = make_items(300, seed=1)
    unseen, truth = make_items(100, seed=2)
    fitted = NeuralMember.fit(inputs, log_price, replace(settings, width=16, fit=replace(settings.fit, epochs=20)), 0)
    missed = np.abs(fitted.predict(unseen) - truth).mean()
    assert missed < 0.5 * np.abs(np.median(log_price) - truth).mean()


@every
def test_a_saved_network_prices_as_it_did(make_items, settings, tmp_path):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, replace(settings, members=2), 0)
    fitted.save(tmp_path / "member.safetensors")
    loaded = NeuralMember.load(tmp_path / "member.safetensors")
    unseen = make_items(20, seed=3)[0]
    np.testing.assert_allclose(loaded.predict(unseen), fitted.predict(unseen), rtol=1e-6)


@every
def test_the_same_seed_prices_the_same_and_another_seed_otherwise(make_items, settings):
    inputs, log_price = make_items(60)
    one, same, other = (NeuralMember.fit(inputs, log_price, settings, seed).predict(inputs) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3


@both
def test_loading_and_predicting_draw_no_random_numbers(make_items, settings, tmp_path):
    inputs, log_price = make_items(60)
    NeuralMember.fit(inputs, log_price, settings, 0).save(tmp_path / "member.safetensors")
    before = torch.random.get_rng_state()
    NeuralMember.load(tmp_path / "member.safetensors").predict(inputs)
    assert torch.equal(torch.random.get_rng_state(), before)


@both
def test_the_price_is_the_mean_of_the_members(make_items, settings):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, replace(settings, members=3), 0)
    alone = [NeuralMember([head], fitted.shape, fitted.columns, fitted._known).predict(inputs) for head in fitted.heads]
    np.testing.assert_allclose(fitted.predict(inputs), np.mean(alone, axis=0), rtol=1e-5)
    assert min(np.abs(alone[one] - alone[one - 1]).max() for one in range(3)) > 1e-3


@both
def test_members_of_neighbouring_seeds_are_different_networks(make_items, settings):
    inputs, log_price = make_items(60)
    fits = [NeuralMember.fit(inputs, log_price, replace(settings, members=2), seed) for seed in (0, 1)]
    heads = [head for fitted in fits for head in fitted.heads]
    assert len({tuple(head.fields.state_dict().popitem()[1].flatten().tolist()) for head in heads}) == 4


@every
def test_a_query_of_one_is_priced_as_in_a_batch_and_a_batch_as_in_pieces(make_items, settings, monkeypatch):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, settings, 0)
    together = fitted.predict(inputs)
    assert together.dtype == np.float64
    assert together.shape == (60,)
    alone = np.concatenate([fitted.predict(inputs.take(np.array([row]))) for row in range(60)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    monkeypatch.setattr(network, "ROWS_AT_ONCE", 7)
    np.testing.assert_allclose(fitted.predict(inputs), together, atol=1e-5)


@both
def test_fitting_and_predicting_leave_the_inputs_as_they_were(make_items, settings):
    (inputs, log_price), (copy, copied_price) = make_items(60), make_items(60)
    NeuralMember.fit(inputs, log_price, settings, 0).predict(inputs)
    np.testing.assert_array_equal(inputs.words.toarray(), copy.words.toarray())
    np.testing.assert_array_equal(inputs.numbers, copy.numbers)
    np.testing.assert_array_equal(log_price, copied_price)


def test_rows_without_a_photograph_do_not_move_the_scale_of_photographs(make_items, tmp_path):
    inputs, log_price = make_items(60)
    NeuralMember.fit(inputs, log_price, GATED, 0).save(tmp_path / "member.safetensors")
    photographs = inputs.vectors["photo"]
    present = photographs[photographs.any(axis=1)]
    assert 0 < len(present) < 60
    mean = stored(tmp_path / "member.safetensors")[0]["0.scaled_vectors.photo.mean"]
    np.testing.assert_allclose(mean, present.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("at", ["fit", "query"])
def test_a_photograph_that_no_row_had_or_no_query_has_is_no_hindrance(make_items, at):
    inputs, log_price = make_items(60)
    bare = without_photographs(inputs)
    fitted = NeuralMember.fit(bare if at == "fit" else inputs, log_price, GATED, 0)
    assert np.isfinite(fitted.predict(inputs)).all()
    assert np.abs(fitted.predict(bare) - log_price).mean() < 1.5 * np.abs(np.median(log_price) - log_price).mean()


def test_a_photograph_counts_where_there_is_one_and_nowhere_else(make_items):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, GATED, 0)
    changed = np.abs(fitted.predict(inputs) - fitted.predict(without_photographs(inputs))) > 1e-5
    np.testing.assert_array_equal(changed, inputs.vectors["photo"].any(axis=1))


def test_what_was_learned_of_photographs_changes_no_price_without_one(make_items):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, GATED, 0)
    before = fitted.predict(inputs)
    with torch.no_grad():
        for weight in fitted.heads[0].projections["photo"].parameters():
            weight.add_(1)
    np.testing.assert_array_equal(fitted.predict(inputs) != before, inputs.vectors["photo"].any(axis=1))


def test_a_word_that_one_training_row_had_is_not_learned_by_heart(make_items):
    inputs, log_price = make_items(60)
    words = inputs.words.toarray()
    words[:, 2] = 0
    words[0, 2] = 1
    once = replace(inputs, words=csr_matrix(words))
    words[:, 2] = 1
    everywhere = replace(inputs, words=csr_matrix(words))
    fitted = NeuralMember.fit(once, log_price, WORDS, 0)
    np.testing.assert_array_equal(fitted.predict(once), fitted.predict(everywhere))
    words[:, 2] = 0
    words[:2, 2] = 1
    fitted = NeuralMember.fit(replace(inputs, words=csr_matrix(words)), log_price, WORDS, 0)
    assert not np.array_equal(fitted.predict(once), fitted.predict(everywhere))


def test_words_that_are_all_unknown_leave_a_price_by_the_fields(make_items):
    inputs, log_price = make_items(30)
    apart = replace(inputs, words=csr_matrix(np.eye(30, 40, dtype=np.float32)))
    assert np.isfinite(NeuralMember.fit(apart, log_price, WORDS, 0).predict(inputs)).all()


def test_a_long_text_does_not_shout_and_each_of_its_words_says_less():
    words = csr_matrix(np.array([[1, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32))
    short, long, silent = network._weighted(words, np.array([0, 1, 2, 3])).toarray()
    assert np.linalg.norm(short) == pytest.approx(np.linalg.norm(long))
    assert len(set(long.tolist())) == 1
    assert not silent.any()
    assert network._weighted(words, np.array([3, 1])).toarray()[1].tolist() == pytest.approx([np.sqrt(8), np.sqrt(8)])


def test_the_word_table_is_kept_in_int8_and_moves_no_price_by_a_thousandth(make_items, tmp_path, monkeypatch):
    inputs, log_price = make_items(60)
    rounded = NeuralMember.fit(inputs, log_price, WORDS, 0)
    rounded.save(tmp_path / "member.safetensors")
    tensors, metadata = stored(tmp_path / "member.safetensors")
    assert {name for name, value in tensors.items() if value.dtype == torch.int8} == {"0.words.weight"}
    assert json.loads(metadata["network"])["shape"]["head"] == "words"
    learned = []
    monkeypatch.setattr(network, "fit_network", noting(network.fit_network, learned))
    monkeypatch.setattr(Int8WordTable, "of", lambda table: learned[-1].words)
    whole = NeuralMember.fit(inputs, log_price, WORDS, 0)
    difference = np.abs(whole.predict(inputs) - rounded.predict(inputs)).max()
    assert 0 < difference < 1e-3


def noting(fit, heads):
    """A `fit_network` that notes what it has trained."""

    def noted(*arguments, **more):
        heads.append(fit(*arguments, **more))
        return heads[-1]

    return noted


@of_vectors
def test_a_modality_that_no_training_row_had_moves_no_price(make_items, settings, tmp_path):
    inputs, log_price = make_items(60)
    bare = without_photographs(inputs)
    fitted = NeuralMember.fit(bare, log_price, settings, 0)
    np.testing.assert_array_equal(fitted.predict(inputs), fitted.predict(bare))
    fitted.save(tmp_path / "member.safetensors")
    loaded = NeuralMember.load(tmp_path / "member.safetensors")
    loaded.expect_inputs(InputShape({"name": 6, "photo": 5}))
    with pytest.raises(WrongContents, match="vectors"):
        loaded.expect_inputs(InputShape({"name": 7, "photo": 5}))


@both
@pytest.mark.parametrize("rows", [np.array([7, 0, 7, 30]), np.arange(0), slice(5, 9)], ids=["some", "none", "run"])
def test_a_batch_is_the_inputs_of_its_rows(make_items, settings, rows):
    inputs = make_items(40)[0]
    columns = np.array([1, 4, 5, 30]) if settings.head == "words" else np.empty(0, np.int64)
    words = network._weighted(inputs.words, columns)
    batch = Rows(inputs, ["photo"], words, None).batch(rows)
    taken = inputs.take(rows)
    assert list(batch.vectors) == ["photo"]
    np.testing.assert_array_equal(batch.vectors["photo"], taken.vectors["photo"])
    np.testing.assert_array_equal(batch.present, taken.vectors["photo"].any(axis=1, keepdims=True))
    np.testing.assert_array_equal(batch.numbers, taken.numbers)
    np.testing.assert_array_equal(batch.unit, taken.unit)
    bags = batch.word_weights.numpy(), batch.words.numpy(), np.append(batch.word_starts, len(batch.words))
    of_rows = network._weighted(taken.words, columns).toarray()
    np.testing.assert_array_equal(csr_matrix(bags, shape=of_rows.shape).toarray(), of_rows)


def test_every_price_is_fitted_as_log_price_and_handed_back_as_log_price(make_items):
    inputs, log_price = make_items(60)
    here, dearer = (NeuralMember.fit(inputs, log_price + more, GATED, 0).predict(inputs) for more in (0.0, 3.0))
    np.testing.assert_allclose(dearer, here + 3, atol=1e-3)


def test_fitting_a_network_leaves_the_global_generator_as_it_was(make_items):
    inputs, log_price = make_items(30)
    before = torch.random.get_rng_state()
    NeuralMember.fit(inputs, log_price, NetworkSettings("gated", 1, 4, 0.1, Fit(1, 16, 16, 0.01, 0.0, "constant")), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


@of_vectors
def test_the_last_hidden_layer_is_the_first_networks_and_comes_back_from_the_disk(make_items, settings, tmp_path):
    inputs, log_price = make_items(60)
    fitted = NeuralMember.fit(inputs, log_price, replace(settings, members=2), 0)
    fused = fitted.fused(inputs)
    assert fused.shape[0] == 60
    assert fused.dtype == np.float32
    alone = NeuralMember(fitted.heads[:1], fitted.shape, fitted.columns, fitted._known)
    np.testing.assert_array_equal(alone.fused(inputs), fused)
    fitted.save(tmp_path / "member.safetensors")
    np.testing.assert_allclose(
        NeuralMember.load(tmp_path / "member.safetensors").fused(inputs), fused, rtol=1e-5, atol=1e-6
    )


@of_vectors
@pytest.mark.parametrize("absent", ["one", "all"])
def test_a_modality_that_no_row_has_leaves_every_head_a_price(make_items, settings, absent):
    inputs, log_price = make_items(60)
    bare = without_photographs(inputs)
    if absent == "all":
        bare = replace(bare, vectors={name: np.zeros_like(vectors) for name, vectors in bare.vectors.items()})
    predicted = NeuralMember.fit(bare, log_price, settings, 0).predict(inputs)
    assert np.isfinite(predicted).all()
    assert np.abs(NeuralMember.fit(bare, log_price, settings, 0).predict(bare) - np.median(log_price)).max() < 5


@pytest.mark.parametrize("rows", [1, 2, 17])
@every
def test_any_number_of_rows_is_learned_from(make_items, settings, rows):
    inputs, log_price = make_items(rows)
    assert np.isfinite(NeuralMember.fit(inputs, log_price, settings, 0).predict(make_items(5, seed=1)[0])).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("prices", ["alike", "one of a million"])
def test_prices_that_are_all_alike_or_one_of_a_million_break_no_loss(make_items, loss, prices):
    inputs, log_price = make_items(60)
    odd = np.full(60, 2.0) if prices == "alike" else np.append(log_price[1:], np.log(1e6))
    settings = replace(GATED, fit=replace(GATED.fit, loss=loss, epochs=8))
    predicted = NeuralMember.fit(inputs, odd, settings, 0).predict(inputs)
    assert np.isfinite(predicted).all()
    assert odd.min() - 2 < np.median(predicted) < np.median(odd) + 4


def bounded(epochs=20):
    return replace(GATED, width=16, fit=replace(GATED.fit, loss="minmax_bce", epochs=epochs))


def test_a_place_between_the_cheapest_and_the_dearest_is_learned_and_undone(make_items, tmp_path):
    inputs, log_price = make_items(300, seed=1)
    unseen, truth = make_items(100, seed=2)
    fitted = NeuralMember.fit(inputs, log_price, bounded(), 0)
    predicted = fitted.predict(unseen)
    assert np.abs(predicted - truth).mean() < 0.5 * np.abs(np.median(log_price) - truth).mean()
    assert log_price.min() <= predicted.min() <= predicted.max() <= log_price.max()
    fitted.save(tmp_path / "member.safetensors")
    np.testing.assert_allclose(NeuralMember.load(tmp_path / "member.safetensors").predict(unseen), predicted, rtol=1e-6)


def test_two_phases_are_trained_as_the_settings_say(make_items):
    inputs, log_price = make_items(300, seed=1)
    fit = replace(GATED.fit, epochs=20, loss="smooth_l1", second_loss="smape", second_share=0.5)
    two = NeuralMember.fit(inputs, log_price, replace(GATED, width=16, fit=fit), 0)
    one = NeuralMember.fit(inputs, log_price, replace(GATED, width=16, fit=replace(fit, second_loss=None)), 0)
    assert np.abs(two.predict(inputs) - log_price).mean() < 0.5 * np.abs(np.median(log_price) - log_price).mean()
    assert np.abs(two.predict(inputs) - one.predict(inputs)).max() > 1e-3


@pytest.mark.parametrize(("loss", "scale"), [("smape", np.std), ("minmax_bce", np.ptp)])
def test_the_loop_is_told_what_one_of_the_target_is_in_log_price(make_items, monkeypatch, loss, scale):
    told, fit = [], network.fit_network

    def listen(*arguments, scale, **more):
        told.append((arguments[2], scale))
        return fit(*arguments, scale=scale, **more)

    monkeypatch.setattr(network, "fit_network", listen)
    inputs, log_price = make_items(60)
    NeuralMember.fit(inputs, log_price, replace(GATED, fit=replace(GATED.fit, loss=loss)), 0)
    assert told[0][1] == pytest.approx(scale(log_price), rel=1e-4)
    np.testing.assert_allclose(np.ptp(told[0][0].numpy()) * told[0][1], np.ptp(log_price), rtol=1e-4)


@pytest.mark.parametrize("settings", [GATED, WORDS, *OTHERS], ids=lambda settings: settings.head)
def test_a_photograph_unlike_the_few_of_training_carries_no_price_away(make_items, settings):
    inputs, log_price = make_items(200)
    photographs = inputs.vectors["photo"]
    alike = np.zeros_like(photographs)
    alike[:2] = [[1, 0, 0, 0, 0], [1, 1e-4, 0, 0, 0]]  # unit vectors in float32
    vectors = {**inputs.vectors, "photo": alike}
    long = replace(settings, width=16, fit=replace(settings.fit, epochs=12))
    fitted = NeuralMember.fit(replace(inputs, vectors=vectors), log_price, long, 0)
    priced = fitted.predict(inputs)
    assert log_price.min() - 3 < priced.min() and priced.max() < log_price.max() + 3


@pytest.mark.parametrize(("member", "settings"), [("mlp", GATED), ("mlp", OTHERS[-1]), ("lexical", WORDS)])
def test_a_network_that_diverges_is_refused_by_name_with_its_rate(make_items, member, settings):
    inputs, log_price = make_items(60)
    wild = replace(settings, fit=replace(settings.fit, learning_rate=1000.0, epochs=12))
    fit = member_fits(Settings(members=("mlp", "lexical"), **{member: wild}))[member]
    said = rf"member {member} \(head {settings.head}\) .* learning_rate 1000 of \[{member}\.fit\]"
    with pytest.raises(UsageError, match=said):
        fit(inputs, log_price, 0, {})


def test_a_network_whose_weights_are_no_numbers_is_refused(make_items, monkeypatch):
    inputs, log_price = make_items(60)
    own = network.fit_network

    def broken(*arguments, **more):
        head = own(*arguments, **more)
        torch.nn.init.constant_(head.layers[-1].weight, float("nan"))
        return head

    monkeypatch.setattr(network, "fit_network", broken)
    with pytest.raises(UsageError, match="came apart"):
        NeuralMember.fit(inputs, log_price, WORDS, 0)
