"""Claims about members that a Ray cluster fits: the build is what it is here, whatever dies and wherever it goes on."""

import os
import socket
import sys
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from engine.ensemble.finished_fits import FinishedFits
from engine.ensemble.train import predict_members
from engine.features.training_set import TrainingSet
from engine.lifecycle import cluster_fits
from engine.lifecycle.cluster_fits import fit_on_cluster
from engine.members.registry import MEMBERS
from engine.settings.schema import LEXICAL, MLP, Fit, Gbdt, Settings
from index.cluster import Cluster
from index.errors import PriceError, UsageError
from index.progress import silent
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore
from index.storage.manifest import read_manifest

FIT = Fit(1, 16, 16, 0.01, 0.01, "constant")
SETTINGS = Settings(
    folds=3,
    members=("mlp", "lexical", "kernel", "gbdt"),
    mlp=replace(MLP, width=4, fit=FIT),
    lexical=replace(LEXICAL, width=4, fit=FIT),
    gbdt=Gbdt(rounds=2, least_rows_in_leaf=5, least_rows_of_word=5),
)
FUSED = replace(SETTINGS, members=("mlp", "gbdt"), gbdt=Gbdt(reads=("fused",), rounds=2, least_rows_in_leaf=5))
OUTS = 6  # of three folds: each, and every two


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute here on as many threads as a worker does."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)


@pytest.fixture
def training(make_items: Any) -> TrainingSet:
    inputs, log_price = make_items(45)
    inputs = replace(inputs, texts=np.array([f"Tea {n}" for n in range(45)], object))
    fold = (np.arange(45) % 3).astype(np.int8)
    return TrainingSet(inputs, log_price, inputs.vectors["name"], np.arange(45), fold)


@pytest.fixture
def fitted_here(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The folds that models fitted in this process left out, each time."""
    from engine.ensemble import out_of_fold

    outs: list[Any] = []
    fit = out_of_fold.fit_without
    monkeypatch.setattr(out_of_fold, "fit_without", lambda *given: outs.append(given[2]) or fit(*given))
    return outs


def on_cluster(training: TrainingSet, settings: Settings, folder: Path, on_progress: Any = silent) -> Any:
    finished = FinishedFits(folder, training, settings)
    fit_on_cluster(training, settings, finished, Cluster(), on_progress)
    return predict_members(training, settings, finished=finished)


def assert_same(one: Any, other: Any, folder: Path) -> None:
    """Assert that predictions are equal, and that models are saved as the same bytes."""
    for member, values in one[0].oof.items():
        np.testing.assert_array_equal(other[0].oof[member], values)
        np.testing.assert_array_equal(other[0].nested_oof[member], one[0].nested_oof[member])
        saved = []
        for name, models in (("one", one[1][member]), ("other", other[1][member])):
            together = MEMBERS[member].fit is None
            paths = [folder / f"{name}-{member}-{n}" for n in range(1 if together else 3)]
            models.save(paths)
            saved.append([path.read_bytes() for path in paths])
        assert saved[0] == saved[1], member


@pytest.mark.parametrize("settings", [SETTINGS, FUSED])
def test_what_the_workers_fit_is_what_is_fitted_here(
    fake_ray: Any, training: TrainingSet, fitted_here: list[Any], tmp_path: Path, settings: Settings
) -> None:
    here = predict_members(training, settings)
    fitted_here.clear()
    there = on_cluster(training, settings, tmp_path / "fits")
    assert fitted_here == []
    assert len(fake_ray.tasks) == OUTS + ("kernel" in settings.members)
    assert_same(here, there, tmp_path)


@pytest.mark.parametrize("settings", [SETTINGS, FUSED])
def test_a_build_that_was_killed_on_the_cluster_goes_on_there_and_here(
    fake_ray: Any, training: TrainingSet, fitted_here: list[Any], tmp_path: Path, settings: Settings
) -> None:
    def kill(stage: str, done: int, total: int | None) -> None:
        if done > 2:
            raise KeyboardInterrupt

    here = predict_members(training, settings)
    for folder in ("goes on there", "goes on here"):
        with pytest.raises(KeyboardInterrupt):
            on_cluster(training, settings, tmp_path / folder, kill)
        assert fake_ray.alive == 0
    kept = {path.name for path in (tmp_path / "goes on there").rglob("*.npy")}
    assert kept
    fake_ray.tasks.clear()
    assert_same(here, on_cluster(training, settings, tmp_path / "goes on there"), tmp_path)
    assert 0 < len(fake_ray.tasks) < OUTS + ("kernel" in settings.members)
    fitted_here.clear()
    finished = FinishedFits(tmp_path / "goes on here", training, settings)
    assert_same(here, predict_members(training, settings, finished=finished), tmp_path)
    assert 0 < len(fitted_here) < OUTS * len([name for name in settings.members if name != "kernel"])


def test_nothing_goes_to_the_cluster_that_was_fitted_here(fake_ray: Any, training: TrainingSet, tmp_path: Path) -> None:
    finished = FinishedFits(tmp_path, training, SETTINGS)
    here = predict_members(training, SETTINGS, finished=finished)
    assert_same(here, on_cluster(training, SETTINGS, tmp_path), tmp_path)
    assert fake_ray.tasks == []


def test_workers_that_die_over_one_fit_lose_no_other(fake_ray: Any, training: TrainingSet, tmp_path: Path) -> None:
    settings = replace(SETTINGS, members=("gbdt",))
    fake_ray.dies = lambda task: task is not None and task.out == (1, 2)
    with pytest.raises(
        PriceError, match=r"died 3 times over one fit .* what is finished is kept, and the same command"
    ):
        on_cluster(training, settings, tmp_path)
    assert len(list(tmp_path.rglob("*.npy"))) == OUTS - 1
    fake_ray.dies = lambda task: False
    fake_ray.tasks.clear()
    on_cluster(training, settings, tmp_path)
    assert [task.out for task in fake_ray.tasks] == [(1, 2)]


@pytest.mark.parametrize(("cores", "like"), [(1, "the same to the byte"), (4, "another in the fifth decimal")])
def test_a_build_on_a_cluster_says_how_like_one_without_it_is(
    monkeypatch: pytest.MonkeyPatch, cores: int, like: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    with threadpool_limits(1):
        assert like in "".join(cluster_fits.cluster_notes(Cluster()))
    assert cluster_fits.cluster_notes(None) == ()


def test_a_machine_with_other_versions_is_refused(
    fake_ray: Any, training: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = chain([{"torch": "2.6"}], repeat({"torch": "2.7"}))
    monkeypatch.setattr(cluster_fits, "computed_by", lambda _: next(versions))
    with pytest.raises(UsageError, match=r"has torch 2\.7, and this machine 2\.6: install the same"):
        on_cluster(training, SETTINGS, tmp_path)


CONFIG = """
members = ["gbdt"]
folds = 3
[gbdt]
rounds = 5
leaves = 4
"""


def test_the_command_with_ray_makes_the_index_that_it_makes_without(
    fake_ray: Any, price: Any, shop: Any, tiny_minilm: str, tmp_path: Path
) -> None:
    config = tmp_path / "price.toml"
    config.write_text(CONFIG, encoding="utf-8")
    arguments = ["build-index", shop.catalogue, "--image-dir", shop.images, "--config", config]
    arguments += ["--text-encoder", tiny_minilm, "--index"]
    generations = []
    for name, ray in (("here", []), ("there", ["--ray", "local"])):
        answer = price(*arguments, tmp_path / name, *ray)
        assert answer.code == 0, answer.err
        assert ("without --ray, the index is " in answer.err) == bool(ray)
        generations.append(current_generation(tmp_path / name))
    here, there = generations
    files = [path.relative_to(here) for path in here.rglob("*") if path.is_file()]
    files = [path for path in files if path.name != "manifest.json" and path.parts[0] != "items.lance"]
    assert [path for path in files if (here / path).read_bytes() != (there / path).read_bytes()] == []
    one, other = (ItemStore.open(generation) for generation in generations)
    assert one.items().equals(other.items())
    for modality in read_manifest(here).dims:
        np.testing.assert_array_equal(one.vectors(modality), other.vectors(modality))
    encoded = [task for task in fake_ray.tasks if hasattr(task, "items")]
    assert {type(task.items[0]) for task in encoded} == {str, np.ndarray}
    assert len(fake_ray.tasks) == len(encoded) + OUTS
    assert (fake_ray.connections, fake_ray.stopped, fake_ray.alive) == (["local"], 1, 0)


def test_a_cluster_that_cannot_be_had_is_said_before_anything_is_read(
    fake_ray: Any, price: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and not listening
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        answer = price("build-index", "missing.csv", "--index", tmp_path / "index", "--ray", address)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"No Ray cluster answers at {address}" in answer.err
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = price("build-index", "missing.csv", "--index", tmp_path / "index", "--ray", "local")
    assert answer.code == 2
    assert "pip install 'price-engine[ray]'" in answer.err
    assert not (tmp_path / "index").exists()
