"""Claims about fits that a build which was killed has finished: they are used again, and nothing that is stale is."""

from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble.finished_fits import FinishedFits
from engine.ensemble.train import predict_members
from engine.features.training_set import TrainingSet
from engine.settings.schema import LEXICAL, MLP, Fit, Gbdt, Settings

FIT = Fit(1, 16, 16, 0.01, 0.01, "constant")
SETTINGS = Settings(
    folds=3,
    mlp=replace(MLP, width=4, fit=FIT),
    lexical=replace(LEXICAL, width=4, fit=FIT),
    gbdt=Gbdt(rounds=2, least_rows_in_leaf=5, least_rows_of_word=5),
)
FUSED = replace(SETTINGS, members=("mlp", "gbdt"), gbdt=Gbdt(reads=("fused",), rounds=2, least_rows_in_leaf=5))


@pytest.fixture
def training(make_items, one_thread) -> TrainingSet:
    inputs, log_price = make_items(45)
    fold = (np.arange(45) % 3).astype(np.int8)
    return TrainingSet(inputs, log_price, inputs.vectors["name"], np.arange(45), fold)


class Killed(Exception):
    pass


def killed_after(fits):
    def tell(stage, done, total):
        if stage == "fitting models" and done >= fits:
            raise Killed

    return tell


@pytest.fixture
def fitted(monkeypatch):
    """The names of members that were fitted, each time."""
    from engine.members import registry

    names = []
    for name, spec in registry.MEMBERS.items():
        if spec.fit is None:
            own = spec.cross_fit

            def cross_fit(*given, name=name, own=own):
                names.append(name)
                return own(*given)

            monkeypatch.setitem(registry.MEMBERS, name, replace(spec, cross_fit=cross_fit))
            continue

        def fit(*given, name=name, own=spec.fit):
            names.append(name)
            return own(*given)

        monkeypatch.setitem(registry.MEMBERS, name, replace(spec, fit=fit))
    return names


@pytest.mark.parametrize("settings", [SETTINGS, FUSED])
@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_build_that_was_killed_goes_on_where_it_was_and_ends_as_if_it_had_not_been(
    training, fitted, tmp_path, settings, after
):
    whole, models = predict_members(training, settings)
    fits = len(fitted)
    fitted.clear()
    with pytest.raises(Killed):
        finished = FinishedFits(tmp_path, training, settings)
        predict_members(training, settings, finished=finished, on_progress=killed_after(after))
    before = len(fitted)
    again, models_again = predict_members(training, settings, finished=FinishedFits(tmp_path, training, settings))
    assert len(fitted) <= fits + 1  # at most what was at work when it was killed is done twice
    assert len(fitted) - before <= fits - after
    for member in whole.oof:
        np.testing.assert_array_equal(again.oof[member], whole.oof[member])
        np.testing.assert_array_equal(again.nested_oof[member], whole.nested_oof[member])
        one, other = (some[member].predict(training.inputs) for some in (models, models_again))
        np.testing.assert_allclose(other, one, rtol=1e-6)


def turned(vectors):
    return {**vectors, "name": -vectors["name"]}


CHANGES = {
    "a price": lambda t, s: (replace(t, log_price=t.log_price + np.eye(45)[7] * 1e-9), s),
    "a fold": lambda t, s: (replace(t, fold=np.roll(t.fold, 1)), s),
    "a weight": lambda t, s: (replace(t, age_weight=np.ones(45)), s),
    "a vector": lambda t, s: (replace(t, inputs=replace(t.inputs, vectors=turned(t.inputs.vectors))), s),
    "a number": lambda t, s: (replace(t, inputs=replace(t.inputs, numbers=t.inputs.numbers + 1)), s),
    "a unit": lambda t, s: (replace(t, inputs=replace(t.inputs, unit=np.roll(t.inputs.unit, 1))), s),
    "a word": lambda t, s: (replace(t, inputs=replace(t.inputs, words=t.inputs.words[::-1])), s),
    "a text": lambda t, s: (replace(t, inputs=replace(t.inputs, texts=np.array(["x"] * 45, object))), s),
    "the seed": lambda t, s: (t, replace(s, seed=1)),
    "outliers": lambda t, s: (t, replace(s, outliers=0.1)),
    "a setting of a member": lambda t, s: (t, replace(s, gbdt=replace(s.gbdt, rounds=3))),
}  # fmt: skip


@pytest.mark.parametrize("change", list(CHANGES))
def test_nothing_is_used_again_where_anything_that_was_learned_from_is_another(training, tmp_path, change):
    settings = replace(SETTINGS, members=("gbdt",))
    predict_members(training, settings, finished=FinishedFits(tmp_path, training, settings))
    kept = {path.name for path in tmp_path.rglob("*.npy")}
    assert len(kept) == 6
    changed = FinishedFits(tmp_path, *CHANGES[change](training, settings))
    assert changed.read("gbdt", (0,), {}) is None
    assert not list(tmp_path.rglob("*.npy"))  # what is stale is removed


def test_fits_of_another_version_of_a_members_own_package_are_not_used_again(training, tmp_path, monkeypatch):
    xgboost = pytest.importorskip("xgboost")
    settings = replace(SETTINGS, members=("gbdt", "xgboost"))
    names = {FinishedFits(tmp_path, training, settings)._folder.name}
    monkeypatch.setattr(xgboost, "__version__", "0.0.1")
    names.add(FinishedFits(tmp_path, training, settings)._folder.name)
    assert len(names) == 2
    without = replace(SETTINGS, members=("gbdt",))
    monkeypatch.delattr(xgboost, "__version__")
    assert FinishedFits(tmp_path, training, without)


def test_settings_that_no_member_reads_let_finished_fits_stand(training, tmp_path):
    settings = replace(SETTINGS, members=("gbdt",))
    predict_members(training, settings, finished=FinishedFits(tmp_path, training, settings))
    later = replace(settings, coverage=0.9, stacker=replace(settings.stacker, rounds=3))
    assert FinishedFits(tmp_path, training, later).read("gbdt", (0,), {}) is not None


@pytest.mark.parametrize("damage", [b"", b"no array", b"\x93NUMPY"])
def test_a_fit_that_is_not_whole_is_fitted_again(training, fitted, tmp_path, damage):
    settings = replace(SETTINGS, members=("kernel", "gbdt"))
    whole, _ = predict_members(training, settings, finished=FinishedFits(tmp_path, training, settings))
    for path in tmp_path.rglob("*-0-1.npy"):
        path.write_bytes(damage)
    for path in tmp_path.rglob("*-2.txt"):
        path.write_bytes(damage)
    for path in tmp_path.rglob("kernel*.safetensors"):
        path.write_bytes(damage)
    fitted.clear()
    again, _ = predict_members(training, settings, finished=FinishedFits(tmp_path, training, settings))
    assert sorted(fitted) == ["gbdt", "gbdt", "kernel"]
    for member in whole.oof:
        np.testing.assert_array_equal(again.nested_oof[member], whole.nested_oof[member])
