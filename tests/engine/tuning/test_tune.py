"""Searches for settings: choices made without the fold, resumed as if not stopped, activated as a build makes them."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.ensemble.cross_fit import answer_out_of_fold
from engine.ensemble.out_of_fold import STACKER, OutOfFold
from engine.ensemble.parts import index_settings
from engine.ensemble.price_model import load_models
from engine.ensemble.reference import ReferenceSet
from engine.ensemble.train import with_stacker
from engine.evaluation.evaluate import evaluate_index
from engine.evaluation.tuning_record import read_record, write_record
from engine.features.inputs import InputShape
from engine.lifecycle.build import build_index
from engine.lifecycle.update import add_items
from engine.members.member import Range
from engine.metrics import smape
from engine.serving.pricer import Item, Pricer
from engine.serving.scorable import open_scorable_rows
from engine.settings.read import settings_from
from engine.settings.schema import Settings, StackerSettings
from engine.tuning import tune as room
from engine.tuning.activate import activate
from engine.tuning.parameter_space import OF_CORRECTION, key_of, ranges, require_parts, settings_at
from engine.tuning.trials import Journal, Trial, loss_without, remove_stale
from engine.tuning.tune import Search, tune
from index.errors import DataRefused, IndexLocked, IndexUnusable, UsageError
from index.progress import silent
from index.storage.generations import current_generation, writing
from index.storage.layout import CACHE, OUT_OF_FOLD, REFERENCE
from index.storage.manifest import read_manifest, write_manifest

POOR = {"k": 2, "band": 0.6, "decay": 0.1, "alpha": 4.0}
CORRECTION = ("correction",)
FOLDS = 3


@pytest.fixture(autouse=True)
def few_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a short search gets to where it learns."""
    monkeypatch.setattr(room, "AT_RANDOM", 4)


@pytest.fixture(scope="module")
def search(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """For reading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "AT_RANDOM", 10)  # fewer, and proposals would know of nothing
        return searched(shop.index, tmp_path_factory.mktemp("search"), trials=14)


def parameters_of(folder: Path) -> Any:
    manifest = read_manifest(folder)
    return load_models(folder, index_settings(folder, manifest), InputShape.of(manifest))[1]


def searched(index: Path, folder: Path, trials: int, seed: int = 0) -> Search:
    rows = open_scorable_rows(index)
    search = Search(folder, rows, CORRECTION, ranges(CORRECTION, rows.settings), seed=seed, on_progress=silent)
    search.run(trials, math.inf)
    search.close()
    return search


def spoil(index: Path) -> None:
    """Fix correction parameters in the index's settings that are easily bettered."""
    folder = current_generation(index)
    manifest = read_manifest(folder)
    settings = manifest.settings | {"correction": manifest.settings["correction"] | POOR}
    (folder / "manifest.json").unlink()
    write_manifest(folder, replace(manifest, settings=settings))


def state(index: Path) -> dict[str, bytes]:
    """Everything but what is searched below the cache."""
    paths = [path for path in index.rglob("*") if path.is_file() and CACHE not in path.relative_to(index).parts[:1]]
    return {str(path.relative_to(index)): path.read_bytes() for path in paths if path.name != "lock"}


def test_the_cross_fitted_score_is_that_of_choices_made_on_the_other_folds_alone(shop: Any, search: Search) -> None:
    found = search.result(0.0)
    rows = open_scorable_rows(shop.index)
    price, fold = np.exp(rows.log_price), rows.oof.fold
    trials = search._journal.trials
    assert len(trials) == FOLDS + 1 + 14

    answers = []
    for trial in trials:
        settings = settings_at(trial.point, rows.settings)
        answers.append(np.exp(answer_out_of_fold(rows.oof, rows.log_price, rows.search_vectors, settings).answer))
    predicted = np.zeros(len(price))
    for f in range(FOLDS):
        known = [place for place, trial in enumerate(trials) if trial.search in (None, f)]
        assert 0 < len(known) < len(trials)
        best = min(known, key=lambda place: smape(price[fold != f], answers[place][fold != f]))
        predicted[fold == f] = answers[best][fold == f]
    assert found.cross_fitted.value == pytest.approx(smape(price, predicted))
    assert found.searched == pytest.approx(min(smape(price, each) for each in answers))
    assert found.searched <= found.cross_fitted.value
    assert found.gain.value == pytest.approx(found.present.value - found.cross_fitted.value)


def test_the_present_score_is_that_of_an_evaluation(shop: Any, search: Search) -> None:
    found = search.result(0.0)
    evaluated = evaluate_index(shop.index)
    assert found.present.value == pytest.approx(evaluated.smape.value)
    assert found.rows == evaluated.n


@pytest.mark.parametrize("fold", range(FOLDS))
def test_what_a_fold_loses_moves_neither_what_its_search_proposes_nor_what_it_chooses(
    fold: int, search: Search
) -> None:
    known, journal = search._known_to(fold), search._journal
    random = np.random.default_rng(0)

    def with_other_losses(of: int) -> list[Trial]:
        def other(trial: Trial) -> Trial:
            loss = list(trial.loss)
            loss[of] = float(random.uniform(0, 1e4))
            return replace(trial, loss=tuple(loss))

        return [other(trial) for trial in known]

    proposed = journal.propose(known, fold, seed=3)
    assert journal.propose(with_other_losses(fold), fold, seed=3) == proposed
    assert any(journal.propose(with_other_losses((fold + 1) % FOLDS), fold, seed=3) != proposed for _ in range(5))
    chosen = search.best(fold)
    journal.trials[:] = [
        t if t not in known else o for t, o in zip_others(journal.trials, known, with_other_losses(fold))
    ]
    assert search.best(fold).number == chosen.number


def zip_others(trials: list[Trial], known: list[Trial], others: list[Trial]) -> list[tuple[Trial, Trial]]:
    by_number = {trial.number: other for trial, other in zip(known, others, strict=True)}
    return [(trial, by_number.get(trial.number, trial)) for trial in trials]


def test_a_loss_is_left_out_by_fold_and_the_last_search_leaves_out_none() -> None:
    trial = Trial(0, {}, (1.0, 2.0, 4.0), None, 0.0)
    assert [loss_without(trial, fold) for fold in (0, 1, 2, 3)] == [6.0, 5.0, 3.0, 7.0]


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(shop: Any, tmp_path: Path) -> None:
    whole = searched(shop.index, tmp_path / "whole", trials=7)
    for trials in (2, 5, 7):
        parts = searched(shop.index, tmp_path / "parts", trials=trials)
        again, first = parts._journal.trials, whole._journal.trials
        assert [(t.point, t.loss, t.search) for t in again] == [
            (t.point, t.loss, t.search) for t in first[: len(again)]
        ]
        assert parts.result(0.0).trials == FOLDS + 1 + trials
    other = searched(shop.index, tmp_path / "other", trials=1, seed=1)
    assert other._journal.trials[-1].point != whole._journal.trials[FOLDS + 1].point


def test_an_interrupt_keeps_every_finished_trial_and_leaves_the_index_as_it_is(own_index: Path) -> None:
    before = state(own_index)
    seen: list[int] = []

    def interrupt(stage: str, done: int, total: int | None) -> None:
        seen.append(done)
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(own_index, what=CORRECTION, trials=6, on_progress=interrupt)
    assert seen[-1] == 7
    assert state(own_index) == before
    seen.clear()
    found = tune(own_index, what=CORRECTION, trials=6, on_progress=lambda stage, done, total: seen.append(done))
    assert seen[0] == 7
    assert found.trials == FOLDS + 1 + 6


def test_a_better_correction_is_activated_and_all_else_stays_as_it_was(own_index: Path) -> None:
    spoil(own_index)
    old = current_generation(own_index)
    kept = {path: (old / path).stat().st_ino for path in (REFERENCE, OUT_OF_FOLD)}
    models = {path.name: path.read_bytes() for path in (old / "models").iterdir()}
    found = tune(own_index, what=CORRECTION, trials=10)
    assert found.better
    assert found.gain.value > 0
    new = current_generation(own_index)
    assert new != old
    assert {path: (new / path).stat().st_ino for path in kept} == kept
    for name, content in models.items():
        if name not in ("price_model.json", "expected-0.txt", "error-0.txt", "low-0.txt", "high-0.txt"):
            assert (new / "models" / name).read_bytes() == content

    parameters = parameters_of(new).correction
    point = {f"correction.{name}": value for name, value in asdict(parameters).items()}
    assert point == pytest.approx(found.chosen)
    assert Pricer.open(own_index).correction == parameters
    correction = settings_from(read_manifest(new).settings).correction
    assert (correction.k, correction.band, correction.decay, correction.alpha) == tuple(asdict(parameters).values())

    record = read_record(new)
    assert record is not None
    assert len(record["trials"]) == found.trials
    assert record["cross_fitted"]["smape"] == found.cross_fitted.value
    assert len(record["chosen_by_fold"]) == FOLDS
    evaluation = evaluate_index(own_index)
    assert evaluation.smape.value == pytest.approx(found.searched)
    assert any(f"{found.cross_fitted.value:.2f}" in note and "flatters" in note for note in evaluation.notes)
    report = json.loads((new / "report.json").read_text(encoding="utf-8"))
    assert report["smape"] == pytest.approx(found.searched)


def test_a_search_on_a_tuned_index_begins_at_what_each_fold_had_chosen(own_index: Path, tmp_path: Path) -> None:
    spoil(own_index)
    first = tune(own_index, what=CORRECTION, trials=10)
    again = searched(own_index, tmp_path / "again", trials=1)
    record = read_record(current_generation(own_index))
    assert record is not None
    assert [trial.point for trial in again._journal.trials[:FOLDS]] == record["chosen_by_fold"]
    assert again.result(0.0).present.value == pytest.approx(first.cross_fitted.value)  # not the searched one


def with_record(index: Path, what: tuple[str, ...]) -> None:
    """As after a search for some parts, which has chosen nothing."""
    folder = current_generation(index)
    manifest = read_manifest(folder)
    (folder / "manifest.json").unlink()
    write_record(folder, {"what": list(what), "cross_fitted": {"smape": 50.0}, "chosen_by_fold": [{}] * FOLDS})
    write_manifest(folder, manifest)


@pytest.mark.parametrize(
    ("earlier", "what", "together"),
    [
        (("correction",), ("blend",), "correction,blend"),
        (("blend", "stacker"), ("correction", "blend"), "correction,blend,stacker"),
    ],
)
def test_what_an_earlier_search_chose_on_all_rows_is_searched_with_the_rest_or_not_at_all(
    earlier: tuple[str, ...], what: tuple[str, ...], together: str, own_index: Path
) -> None:
    with_record(own_index, earlier)
    before = state(own_index)
    with pytest.raises(UsageError, match=f"would flatter: search them together, --what {together}\\."):
        tune(own_index, what=what, trials=1)
    assert state(own_index) == before
    assert tune(own_index, what=together.split(","), trials=1).what == tuple(together.split(","))


def test_a_blend_that_was_searched_for_before_rows_were_added_sends_to_a_build_and_not_in_a_circle(
    shop: Any, own_index: Path
) -> None:
    with_record(own_index, ("correction", "blend"))
    add_items(shop.holdout, own_index, image_dir=shop.images)
    for what in (CORRECTION, ("correction", "blend")):
        with pytest.raises(DataRefused, match="blend cannot be fitted anew with them: build the index again"):
            tune(own_index, what=what, trials=1)


def test_a_search_says_that_an_encoder_was_trained_on_the_prices_it_is_scored_on(search: Search) -> None:
    assert search.result(0.0).notes == ()
    rows = search._rows
    finetuned = tuple(replace(each, finetuned_rows=7) for each in rows.manifest.encoders)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_rows", replace(rows, manifest=replace(rows.manifest, encoders=finetuned)))
        notes = search.result(0.0).to_json()["notes"]
    assert notes and all("fine-tuned on 7 rows of this index" in note for note in notes)


def test_a_setting_is_named_as_a_settings_file_names_it() -> None:
    every = ranges(("correction", "blend", "stacker", "members"), Settings())
    keys = {path: key_of(path) for path in every}
    assert keys.pop("correction.decay") == "correction.lambda"
    assert all(path == key for path, key in keys.items())


def test_what_is_no_better_leaves_the_index_as_it_is(own_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(own_index)
    honest = room.Pricing.answer

    def worse(self: Any, point: Any) -> Any:
        starts = self.starts(OF_CORRECTION)
        return honest(self, point) + (0 if point in starts else 2)

    monkeypatch.setattr(room.Pricing, "answer", worse)
    found = tune(own_index, what=CORRECTION, trials=3)
    assert not found.better
    assert found.gain.value <= 0
    assert state(own_index) == before


@pytest.mark.parametrize("parts", [("blend",), ("blend", "stacker"), ("correction", "members")])
def test_an_index_that_is_current_after_a_search_is_what_a_build_with_those_settings_makes(
    parts: tuple[str, ...], shop: Any, own_index: Path, tmp_path: Path
) -> None:
    point = {
        "blend": {"blend.mlp": 1.0, "blend.lexical": 2.0, "blend.kernel": 2.0, "blend.gbdt": 0.0},
        "stacker": {"stacker.rounds": 7, "stacker.leaves": 5, "stacker.least_rows_in_leaf": 10},
        "correction": {"correction.k": 7, "correction.band": 0.77, "correction.decay": 3.3, "correction.alpha": 0.44},
        "members": {"kernel.ridge": 2.5, "lexical.dropout": 0.3, "gbdt.leaves": 8},
    }
    rows = open_scorable_rows(own_index)
    settings = settings_at({path: value for part in parts for path, value in point[part].items()}, rows.settings)
    assert settings != rows.settings
    activate(own_index, rows, settings, parts, record=RECORD, on_progress=silent)
    build_index(shop.catalogue, tmp_path / "built", settings, image_dir=shop.images)
    mine, built = current_generation(own_index), current_generation(tmp_path / "built")
    assert read_manifest(mine).settings == read_manifest(built).settings
    assert ReferenceSet.open(mine).residual == pytest.approx(ReferenceSet.open(built).residual)
    oof, reference = OutOfFold.read(mine), ReferenceSet.open(mine)
    np.testing.assert_allclose(reference.residual, reference.log_price - oof.oof[STACKER])
    for member, nested in OutOfFold.read(built).nested_oof.items():
        np.testing.assert_allclose(OutOfFold.read(mine).nested_oof[member], nested, atol=1e-6)
    parameters, expected = parameters_of(mine), parameters_of(built)
    assert parameters.correction == expected.correction
    assert parameters.weights == pytest.approx(expected.weights)
    tea = [Item("Herbal tea, 16 count")]
    assert Pricer.open(own_index).price(tea)[0].price == pytest.approx(
        Pricer.open(tmp_path / "built").price(tea)[0].price, rel=1e-5
    )


RECORD = {"what": ["blend"], "cross_fitted": {"smape": 50.0}, "chosen_by_fold": []}


def test_blend_stacker_and_members_can_be_searched_together(own_index: Path) -> None:
    found = tune(own_index, what=("members", "stacker", "blend"), trials=1)
    assert found.what == ("blend", "stacker", "members")
    assert found.trials == FOLDS + 2
    assert {path.partition(".")[0] for path in found.chosen} == {"blend", "stacker", "mlp", "lexical", "kernel", "gbdt"}


def test_a_trial_of_the_stacker_is_priced_by_a_stacker_of_its_own(shop: Any) -> None:
    rows = open_scorable_rows(shop.index)
    pricing = room.Pricing(rows, ("stacker",))
    answers = [pricing.answer({"stacker.rounds": n, "stacker.least_rows_in_leaf": 5}) for n in (1, 60)]
    assert not np.allclose(*answers)
    settings = replace(rows.settings, stacker=replace(rows.settings.stacker, rounds=60, least_rows_in_leaf=5))
    oof = with_stacker(rows.oof, rows.training_set(), settings)[0]
    assert not np.allclose(oof.nested_oof[STACKER], rows.oof.nested_oof[STACKER], equal_nan=True)
    slow = answer_out_of_fold(oof, rows.log_price, rows.search_vectors, settings).answer
    np.testing.assert_allclose(answers[1], slow)


def test_shares_become_weights_that_add_up_to_one() -> None:
    settings = settings_at({"blend.mlp": 0.2, "blend.kernel": 0.6, "mlp.fit.epochs": 4}, Settings())
    assert settings.blend.weights()["kernel"] == pytest.approx(0.75)
    assert settings.mlp.fit.epochs == 4
    assert settings_at({"blend.mlp": 0.0, "blend.kernel": 0.0}, Settings()).blend.mlp == 0.5
    assert settings_at({}, Settings()) == Settings()


def test_every_setting_that_can_be_searched_is_one_and_the_default_lies_within() -> None:
    every = Settings(members=("mlp", "lexical", "kernel", "gbdt", "xgboost", "catboost"))
    found = ranges(("members", "stacker"), every)
    assert len(found) > 20
    for path, each in found.items():
        value: Any = asdict(every)
        for key in path.split("."):
            value = value[key]
        assert each.low <= value <= each.high, path
        assert isinstance(value, int) == each.whole, path
        settings_at({path: each.low}, every)
        settings_at({path: each.high}, every)


def test_rows_that_were_added_leave_the_correction_to_be_searched_and_nothing_else(shop: Any, own_index: Path) -> None:
    add_items(shop.holdout, own_index, image_dir=shop.images)
    before = ReferenceSet.open(current_generation(own_index)).residual
    with pytest.raises(DataRefused, match="rows were added since the build, and blend cannot"):
        tune(own_index, what=("correction", "blend"), trials=1)
    spoil(own_index)
    found = tune(own_index, what=CORRECTION, trials=5)
    assert found.rows < len(before)
    np.testing.assert_array_equal(ReferenceSet.open(current_generation(own_index)).residual, before)


def test_an_index_that_was_written_meanwhile_is_left_to_its_writer(own_index: Path, shop: Any) -> None:
    rows = open_scorable_rows(own_index)
    add_items(shop.holdout, own_index, image_dir=shop.images)
    after = state(own_index)
    with pytest.raises(IndexLocked, match="written anew while settings"):
        activate(own_index, rows, rows.settings, CORRECTION, record=RECORD, on_progress=silent)
    assert state(own_index) == after
    with writing(own_index) as folder:
        with pytest.raises(IndexLocked, match="being written"):
            activate(own_index, rows, rows.settings, CORRECTION, record=RECORD, on_progress=silent)
        (folder / "manifest.json").write_text("{}")


def test_two_searches_of_the_same_do_not_work_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "search", {"x": Range(0, 1)})
    with pytest.raises(IndexLocked, match="is at this very search"):
        Journal(tmp_path / "search", {"x": Range(0, 1)})
    journal.close()
    Journal(tmp_path / "search", {"x": Range(0, 1)}).close()


def test_searches_of_other_generations_are_removed_but_for_those_at_work(tmp_path: Path) -> None:
    names = ("a-1", "a-2", "b-1", "b-2", "0123456789abcdef")
    journals = [Journal(tmp_path / name, {"x": Range(0, 1)}) for name in names]
    for journal in (*journals[:3], journals[4]):
        journal.close()
    remove_stale(tmp_path / "a-3")
    assert {path.name for path in tmp_path.iterdir()} == {"a-1", "a-2", "b-2"}
    journals[3].close()
    remove_stale(tmp_path / "none" / "a-3")


@pytest.mark.parametrize("damage", ["trials.sqlite", "000000.npy"])
def test_a_damaged_search_is_refused_with_what_to_remove(damage: str, tmp_path: Path) -> None:
    def use() -> None:
        journal = Journal(tmp_path / "search", {"x": Range(0, 1)})
        if not journal.trials:
            journal.keep(Trial(0, {"x": 0.5}, (1.0, 2.0), None, 0.1), np.arange(4.0))
        np.testing.assert_array_equal(journal.answer(0), np.arange(4.0))
        assert journal.trials == [Trial(0, {"x": 0.5}, (1.0, 2.0), None, 0.1)]
        journal.close()

    use()
    use()
    path = tmp_path / "search" / damage
    path.write_bytes(path.read_bytes()[:50] + b"\xff" * 50)
    with pytest.raises(IndexUnusable, match="remove that folder"):
        use()


@pytest.mark.parametrize(
    ("settings", "what", "sentence"),
    [
        (Settings(stacker=StackerSettings(rounds=0)), ("stacker",), "has no stacker"),
        (Settings(members=("mlp",)), ("blend",), "has one member"),
    ],
)
def test_what_cannot_be_searched_is_refused(settings: Settings, what: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        ranges(what, settings)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (("corection",), "did you mean 'correction'"),
        ((), "''"),
        (("blend", "blend"), "names 'blend' twice"),
    ],
)
def test_parts_that_there_are_not_are_refused(what: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        require_parts(what)


def test_whole_numbers_stay_whole_and_a_range_reaches_what_the_index_has(tmp_path: Path) -> None:
    wide = Range(2, 8, log=True, whole=True).around(4, 16)
    assert (wide.low, wide.high) == (2, 16)
    journal = Journal(tmp_path / "search", {"k": wide, "x": Range(0.5, 1.5)})
    drawn = [journal.propose([], None, seed) for seed in range(40)]
    assert {type(point["k"]) for point in drawn} == {int}
    assert min(p["k"] for p in drawn) < 4
    assert max(p["k"] for p in drawn) > 9
    assert all(0.5 <= point["x"] <= 1.5 for point in drawn)
