"""Variants of an index: each is the index with one part left out, and priced as honestly as the index itself."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from engine.ensemble import train
from engine.ensemble.cross_fit import answer_out_of_fold, cross_fit
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.ensemble.stacker import EVIDENCE, features
from engine.ensemble.train import with_stacker
from engine.evaluation import ablation
from engine.evaluation import refit_ablation as refits
from engine.evaluation.ablation import PARTS, Variant, Whole, ablate, median_shift, variants
from engine.evaluation.evaluate import evaluate_index
from engine.evaluation.refit_ablation import Refit, fitting_seconds, refits_of
from engine.features.inputs import NUMBERS, WORD_KINDS, Inputs, make_inputs
from engine.features.training_set import TrainingSet
from engine.metrics import smape
from engine.serving.scorable import ScorableRows, open_scorable_rows
from engine.settings.schema import Blend, Correction, CorrectionParameters, Settings, StackerSettings
from index.catalogue.item_table import make_items
from index.errors import IndexUnusable, UsageError
from index.search.neighbours import BandIndex, Neighbours

ROWS, FOLDS = 120, 4  # of three folds, two left out leave the stacker no neighbour to read
SETTINGS = Settings(
    folds=FOLDS,
    members=("mlp", "lexical", "gbdt"),
    blend=Blend(mlp=0.5, lexical=0.2, gbdt=0.3),
    stacker=StackerSettings(rounds=20, leaves=4, least_rows_in_leaf=5, k=5),
    correction=Correction(("name", "text", "words"), k=5, band=1.5, decay=3.0, alpha=0.6),
)
VARIANTS = {
    each.name: each
    for each in variants(SETTINGS, OutOfFold(np.zeros(1, np.int8), dict.fromkeys((*SETTINGS.members, STACKER)), {}))  # type: ignore[arg-type]
}
REFITS = {each.name: each for each in refits_of(SETTINGS)}


@pytest.fixture
def inputs(make_items: Any) -> Inputs:
    items, _ = make_items(ROWS, seed=3)
    name, photo = items.vectors.values()
    text = np.roll(name, 1, axis=1)
    wide = csr_matrix((items.words.data, items.words.indices, items.words.indptr), (ROWS, WORD_KINDS["opening"].stop))
    return replace(items, words=wide, vectors={"minilm_name": name, "minilm_text": text, "pixels_photograph": photo})


def whole_of(inputs: Inputs, log_price: Any, settings: Settings = SETTINGS) -> Whole:
    """Members that miss by chance and by kind; the stacker on them is a real one."""
    random = np.random.default_rng(1)
    fold = (np.arange(ROWS) % FOLDS).astype(np.int8)
    kind = inputs.vectors["minilm_name"].argmax(axis=1)
    expected = 2.5 + random.normal(0, 0.3, 6)[kind]
    nested_oof = {m: expected + random.normal(0, 0.2, (FOLDS, ROWS)) for m in settings.members}
    oof = OutOfFold(fold, {m: expected + random.normal(0, 0.2, ROWS) for m in settings.members}, nested_oof)
    training_set = TrainingSet(inputs, log_price, inputs.vectors["minilm_name"], np.arange(ROWS), fold)
    oof = with_stacker(oof, training_set, settings)[0]
    rows: Any = ScorableRows.__new__(ScorableRows)  # without a folder
    for name, value in {
        "settings": settings, "oof": oof, "log_price": log_price, "groups": training_set.groups,
        "search_vectors": training_set.search_vectors,
    }.items():  # fmt: skip
        object.__setattr__(rows, name, value)
    whole = Whole(rows)
    whole.__dict__["training_set"] = training_set
    return whole


def prices(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(2.7, 0.8, ROWS)


@pytest.mark.parametrize("name", VARIANTS)
def test_prices_of_a_fold_change_nothing_in_how_any_variant_prices_that_fold(name: str, inputs: Inputs) -> None:
    """Given what the members predict, which is `test_out_of_fold`'s to show."""
    before = whole_of(inputs, prices())
    here = before.oof.fold == 1
    dearer = prices() + np.where(here, np.random.default_rng(9).normal(0, 2, ROWS), 0)
    after = whole_of(inputs, dearer)
    answer, answer_after = (VARIANTS[name].price(whole) for whole in (before, after))
    np.testing.assert_array_equal(answer_after[here], answer[here])
    assert not np.array_equal(answer_after[~here], answer[~here])


class Memory:
    """Knows by heart what it learned: predicts from the nearest of what it was shown, and from nothing else."""

    def __init__(self, inputs: Inputs, log_price: Any, *_: Any) -> None:
        self.place, self.log_price = self._place(inputs), log_price

    @staticmethod
    def _place(inputs: Inputs) -> Any:
        words = inputs.words[:, :40].toarray()
        return np.hstack([*inputs.vectors.values(), inputs.numbers, inputs.unit[:, None], words])

    def predict(self, inputs: Inputs) -> Any:
        distance = ((self._place(inputs)[:, None] - self.place[None]) ** 2).sum(axis=2)
        weight = np.exp(-distance / 4) + 1e-9
        return weight @ self.log_price / weight.sum(axis=1)


@pytest.mark.parametrize("name", REFITS)
def test_prices_of_a_fold_change_nothing_in_how_refitted_members_price_that_fold(
    name: str, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "member_fits", lambda settings, *_: dict.fromkeys(settings.members, Memory))
    before = whole_of(inputs, prices())
    here = before.oof.fold == 1
    dearer = prices() + np.where(here, np.random.default_rng(9).normal(0, 2, ROWS), 0)
    after = whole_of(inputs, dearer)
    members = REFITS[name].members
    # Fitted weights come from the other folds' rows, some by models that saw this one (`engine.ensemble.cross_fit`).
    monkeypatch.setattr(refits, "Blend", lambda: Blend(**dict.fromkeys(members, 1 / len(members))))
    price = ablation._price_refitted(REFITS[name])
    answer, answer_after = (price(whole) for whole in (before, after))
    np.testing.assert_array_equal(answer_after[here], answer[here])
    assert not np.array_equal(answer_after[~here], answer[~here])


def test_a_variant_that_leaves_nothing_out_is_the_index(inputs: Inputs) -> None:
    whole = whole_of(inputs, prices())
    log_price, fields = whole.rows.log_price, inputs.fields
    held_out = cross_fit(whole.oof, log_price, whole.search_vectors, fields, whole.settings)[1]
    *_, uncorrected, answer = held_out.stages.values()
    np.testing.assert_array_equal(whole.answer(), answer)
    np.testing.assert_array_equal(whole.present.answer, answer)
    np.testing.assert_array_equal(VARIANTS["without correction"].price(whole), uncorrected)
    np.testing.assert_array_equal(VARIANTS["random neighbours in the band"].price(whole), held_out.control)
    np.testing.assert_allclose(whole.answer(whole.with_stacker(whole.oof)), answer)


def test_without_a_member_is_an_index_that_never_had_it(inputs: Inputs) -> None:
    whole = whole_of(inputs, prices())
    left = {m: (whole.oof.oof[m], whole.oof.nested_oof[m]) for m in ("mlp", "gbdt")}
    oof = OutOfFold(whole.oof.fold, {m: o for m, (o, _) in left.items()}, {m: n for m, (_, n) in left.items()})
    settings = replace(SETTINGS, members=("mlp", "gbdt"), blend=Blend(mlp=0.625, gbdt=0.375))
    expected = answer_out_of_fold(
        with_stacker(oof, whole.training_set, settings)[0], whole.rows.log_price, whole.search_vectors, settings
    ).answer
    np.testing.assert_allclose(VARIANTS["without lexical"].price(whole), expected)
    assert not np.allclose(expected, whole.present.answer)


def test_weights_that_were_fixed_keep_their_proportions_and_are_fitted_where_none_is_left() -> None:
    assert ablation._less(Blend(mlp=0.5, gbdt=0.25, kernel=0.25), "mlp").weights() == Blend(
        gbdt=0.5, kernel=0.5, mlp=None
    ).weights() | {"mlp": 0.0}
    assert ablation._less(Blend(mlp=1.0), "mlp") == Blend()
    assert ablation._less(Blend(), "mlp") == Blend()


def test_without_a_stacker_the_blend_is_corrected(inputs: Inputs) -> None:
    whole = whole_of(inputs, prices())
    settings = replace(SETTINGS, stacker=StackerSettings(rounds=0))
    expected = answer_out_of_fold(
        whole.oof.of(SETTINGS.members), whole.rows.log_price, whole.search_vectors, settings
    ).answer
    np.testing.assert_array_equal(VARIANTS["without stacker"].price(whole), expected)
    assert not np.allclose(expected, whole.present.answer)


def test_a_stacker_without_evidence_reads_no_price_of_a_neighbour(inputs: Inputs) -> None:
    """Who is near whom, then, changes its predictions in nothing."""
    whole = whole_of(inputs, prices())
    nowhere = np.zeros_like(whole.search_vectors)
    moved = replace(whole.training_set, search_vectors=whole.search_vectors[::-1])
    blind = whole.with_stacker(whole.oof, nowhere)
    np.testing.assert_array_equal(VARIANTS["stacker without evidence"].price(whole), whole.answer(blind))
    assert not np.allclose(whole.answer(blind), whole.present.answer)
    whole.__dict__["training_set"] = moved
    np.testing.assert_array_equal(whole.with_stacker(whole.oof, nowhere).nested_oof[STACKER], blind.nested_oof[STACKER])
    assert not np.array_equal(whole.with_stacker(whole.oof).nested_oof[STACKER], blind.nested_oof[STACKER])


@pytest.mark.parametrize("decay", [0.01, 5.0])
def test_the_weighted_median_is_the_least_residual_at_which_half_the_weight_is_reached(decay: float) -> None:
    random = np.random.default_rng(4)
    rows = random.integers(0, 30, (20, 7))
    rows[3] = -1
    rows[4, 2:] = -1
    similarity = -np.sort(-random.uniform(0, 1, (20, 7)).astype(np.float32), axis=1)
    residual, correction = random.normal(size=30), CorrectionParameters(7, 1.0, decay, 0.5)
    shift = median_shift(Neighbours(rows, np.where(rows >= 0, similarity, 0)), residual, correction)
    for i in range(20):
        near = [(residual[j], np.exp(decay * float(similarity[i, at]))) for at, j in enumerate(rows[i]) if j >= 0]
        if not near:
            assert shift[i] == 0
            continue
        half, reached = sum(weight for _, weight in near) / 2, 0.0
        for value, weight in sorted(near):
            reached += weight
            if reached >= half * (1 - 1e-9):
                assert shift[i] == pytest.approx(0.5 * value)
                break


def test_a_refit_sees_what_it_is_named_for_and_nothing_else(inputs: Inputs) -> None:
    whole = whole_of(inputs, prices())

    def seen(name: str) -> tuple[Inputs, Settings]:
        training_set, settings = REFITS[name].reduced(whole.training_set, whole.settings)
        assert len(training_set.search_vectors) == ROWS
        return training_set.inputs, settings

    text, settings = seen("mlp alone, of text")
    assert list(text.vectors) == ["minilm_name", "minilm_text"]
    assert (settings.members, settings.stacker.rounds) == (("mlp",), 0)
    photographs, _ = seen("mlp alone, of photographs")
    assert list(photographs.vectors) == ["pixels_photograph"]
    assert photographs.words.nnz == 0
    nothing = make_inputs(empty_item(), {})
    assert (photographs.numbers == nothing.numbers).all() and (photographs.unit == nothing.unit).all()
    both, _ = seen("mlp alone, of text and photographs")
    assert list(both.vectors) == list(inputs.vectors)
    wordless, settings = seen("without words, but for encoders")
    assert wordless.words.nnz == 0 and wordless.words.shape == inputs.words.shape
    assert settings.members == ("mlp", "gbdt")
    assert settings.stacker == SETTINGS.stacker
    lengths = [name.endswith(("length", "lines")) for name in NUMBERS]
    np.testing.assert_array_equal(wordless.numbers[:, lengths], 0)
    np.testing.assert_array_equal(wordless.numbers[:, np.invert(lengths)], inputs.numbers[:, np.invert(lengths)])
    amountless, settings = seen("without amount, pack and unit")
    np.testing.assert_array_equal(amountless.numbers[:, lengths], inputs.numbers[:, lengths])
    assert (amountless.numbers == nothing.numbers)[:, np.invert(lengths)].all()
    assert (amountless.unit == nothing.unit).all()
    assert amountless.words.nnz == inputs.words.nnz
    assert inputs.numbers.any() and settings.members == SETTINGS.members


def empty_item() -> Any:
    """One that says nothing, as a catalogue is read."""
    return make_items(["0"], [""], [None])


def test_without_amounts_nothing_is_known_of_what_others_cost_by_amount(inputs: Inputs) -> None:
    whole = whole_of(inputs, prices())
    seen, _ = REFITS["without amount, pack and unit"].reduced(whole.training_set, whole.settings)
    assert np.isnan(seen.log_amount).all() and np.isnan(seen.inputs.log_amount).all()
    np.testing.assert_array_equal(seen.unit, seen.inputs.unit)
    near = BandIndex(seen.search_vectors, seen.log_price).search(seen.search_vectors, prices(), k=5, band=9.0)
    table = features({"mlp": prices(1)}, prices(), seen.inputs, near, seen)
    evidence = table[:, -EVIDENCE:]
    plain, at_amount, comparable, same_amount = evidence[:, 3:6], evidence[:, 6:9], evidence[:, 9], evidence[:, 11]
    np.testing.assert_array_equal(at_amount, plain)
    np.testing.assert_array_equal(comparable, 0)
    assert np.isnan(same_amount).all()


@pytest.mark.parametrize("views", [("name", "words"), ("words",)])
def test_without_words_none_is_searched_by_them(inputs: Inputs, views: tuple[str, ...]) -> None:
    settings = replace(SETTINGS, correction=replace(SETTINGS.correction, search_vectors=views))
    whole = whole_of(inputs, prices(), settings)
    refit = REFITS["without words, but for encoders"]
    seen, changed = refit.reduced(whole.training_set, settings)
    other = replace(inputs, words=inputs.words[::-1])
    elsewhere, _ = refit.reduced(replace(whole.training_set, inputs=other), settings)
    np.testing.assert_array_equal(seen.search_vectors, elsewhere.search_vectors)
    assert seen.search_vectors.any() == ("name" in views)
    kept = with_stacker(whole.oof.of(changed.members), seen, changed)[0]
    assert np.isfinite(answer_out_of_fold(kept, prices(), seen.search_vectors, changed).answer).all()


def test_an_index_without_photographs_has_no_variants_of_them() -> None:
    assert {each.part for each in refits_of(replace(SETTINGS, image_encoder=("none",)))} == {"words", "quantities"}
    assert "words" not in {each.part for each in refits_of(Settings(members=("lexical",)))}


def test_the_time_of_refits_is_told_for_members_that_the_index_lacks(inputs: Inputs) -> None:
    settings = replace(SETTINGS, members=("gbdt",), blend=Blend(gbdt=1.0))
    refits = refits_of(settings)
    assert any(refit.members == ("mlp",) for refit in refits)
    assert fitting_seconds(whole_of(inputs, prices(), settings).training_set, settings, refits) > 0


def test_what_an_index_has_one_of_is_not_left_out() -> None:
    plain = replace(SETTINGS, members=("mlp",), blend=Blend(), correction=Correction(("name",)))
    oof = OutOfFold(np.zeros(1, np.int8), {"mlp": np.zeros(1)}, {})
    assert {each.part for each in variants(plain, oof)} == {"correction", "weights", "parameters", "band"}


def test_a_table_begins_with_the_index_and_scores_its_variants_beside_it(shop: Any) -> None:
    table = ablate(shop.index)
    own, *rest = table.rows
    assert own.smape == pytest.approx(evaluate_index(shop.index).smape.value)
    assert own.worse.value == 0
    assert {row.part for row in rest} == set(PARTS)
    assert [row.variant for row in rest if row.part == "members"] == [
        *(f"without {member}" for member in ("mlp", "lexical", "kernel", "gbdt")),
        "mlp + correction",
    ]
    for row in rest:
        assert row.worse.value == pytest.approx(row.smape - own.smape)
        assert row.worse.low <= row.worse.value <= row.worse.high
        assert row.seconds >= 0
    whole = Whole(open_scorable_rows(shop.index))
    price = np.exp(whole.rows.log_price)
    by_name = {row.variant: row.smape for row in rest}
    assert by_name["without correction"] == pytest.approx(smape(price, np.exp(whole.present.task.base)))


def test_parts_are_chosen_by_name(shop: Any) -> None:
    assert {row.part for row in ablate(shop.index, parts=("band", "weights")).rows} == {"", "band", "weights"}


def test_refits_say_how_long_they_take_before_they_begin(shop: Any) -> None:
    said: list[str] = []
    table = ablate(
        shop.index, parts=("quantities",), refit=True, on_progress=lambda stage, done, total: said.append(stage)
    )
    assert [row.variant for row in table.rows] == ["the index as it is", "without amount, pack and unit"]
    assert said[0] == "timing a fit of each member"
    assert re.fullmatch(r"refitting, which takes about [1-9]\d* minutes", said[1])  # as many as that timing makes it
    assert set(said[2:]) == {"scoring variants"}


@pytest.mark.parametrize(
    ("parts", "refit", "sentence"),
    [
        (("membres",), False, "did you mean 'members'"),
        (("members", ""), False, "choose from"),
        (("words",), False, "give --refit with it"),
    ],
)
def test_parts_that_cannot_be_left_out_are_refused_before_the_index_is_opened(
    parts: tuple[str, ...], refit: bool, sentence: str, tmp_path: Any
) -> None:
    with pytest.raises(UsageError, match=sentence):
        ablate(tmp_path / "none", parts=parts, refit=refit)
    with pytest.raises(IndexUnusable, match="There is no index"):
        ablate(tmp_path / "none")


def test_a_variant_is_a_part_a_name_and_a_way_to_price() -> None:
    assert all(isinstance(each, Variant) and each.part in PARTS for each in VARIANTS.values())
    assert all(isinstance(each, Refit) for each in REFITS.values())
