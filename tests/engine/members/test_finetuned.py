"""Claims: the member `finetuned` is fitted on its own rows alone; an encoder that was trained on a row is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.ensemble.out_of_fold import predict_out_of_fold
from engine.features.inputs import Inputs, make_inputs
from engine.features.training_set import TrainingSet
from engine.finetune.examples import FrozenActivations
from engine.finetune.provenance import finetuned_notes, mark_finetuned, notes_on_file, read_provenance, row_keys
from engine.finetune.run import FinetuneOptions, finetune
from engine.finetune.training import Training
from engine.finetune.workspace import FINETUNE
from engine.members.finetuned import FinetunedMember
from engine.members.registry import load_member, member_fits, require_members
from engine.metrics import smape
from engine.settings.finetuning import FinetuneSettings
from engine.settings.schema import Settings
from index.arrays import Float64, Int8
from index.catalogue.item_table import make_items
from index.embedding.columns import EncoderRecord
from index.errors import IndexUnusable, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")
ON_CPU = FinetuneOptions(device="cpu", precision="fp32")


@pytest.fixture
def settings(tiny_minilm: str) -> FinetuneSettings:
    rates = {"learning_rate": 1e-2, "head_learning_rate": 1e-2}
    return FinetuneSettings(encoder=tiny_minilm, epochs=2, batch_size=16, width=8, layers=1, dropout=0.0, **rates)


def items_of(rows: int) -> tuple[list[str], Inputs]:
    """Texts of three letters, no two alike and none that tells of a price."""
    texts = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i * 7 % 26)} cup" for i in range(rows)]
    return texts, make_inputs(make_items([str(i) for i in range(rows)], texts, [None] * rows), {})


def training_of(inputs: Inputs, log_price: Float64, fold: Int8) -> TrainingSet:
    rows = len(inputs)
    return TrainingSet(inputs, log_price, np.zeros((rows, 1), np.float32), np.arange(rows), fold)


# --- inside the folds


def test_a_rows_fold_never_trains_what_predicts_it(settings: FinetuneSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, inputs = items_of(60)
    fold = (np.arange(60) % 3).astype(np.int8)
    log_price = np.random.default_rng(0).normal(size=60)
    learned: list[set[str]] = []  # of each network, what its steps were made of
    asked: list[tuple[int, set[str]]] = []  # which network was asked about what
    own_init, own_step, own_predict = Training.__init__, Training._step, FinetunedMember.predict

    def init(self: Any, network: Any, *rest: Any, **more: Any) -> None:
        own_init(self, network, *rest, **more)
        learned.append(set())
        network.number = len(learned) - 1

    def step(self: Any, rows: Any, total: int) -> float:
        learned[self.network.number] |= {self._batches.examples.texts[row] for row in rows}
        return own_step(self, rows, total)

    def predict(self: Any, some: Inputs) -> Any:
        asked.append((self._network.number, set(some.texts)))  # type: ignore[arg-type]
        return own_predict(self, some)

    monkeypatch.setattr(Training, "__init__", init)
    monkeypatch.setattr(Training, "_step", step)
    monkeypatch.setattr(FinetunedMember, "predict", predict)
    whole = Settings(members=("mlp", "finetuned"), finetuned=settings, folds=3)
    fits = {"finetuned": member_fits(whole)["finetuned"]}
    predict_out_of_fold(training_of(inputs, log_price, fold), fits, seed=0)
    assert len(learned) == len(asked) == 6, "a network for each fold, and for each pair of folds"
    for number, about in asked:
        assert learned[number] and about
        assert not learned[number] & about
    everything = set(texts)
    assert all(learned[number] | about == everything for number, about in asked)


def test_a_member_that_learns_by_heart_scores_as_badly_out_of_fold_as_chance(settings: FinetuneSettings) -> None:
    _, inputs = items_of(60)
    log_price = np.random.default_rng(1).normal(size=60)  # nothing tells of it: who knows it was trained on it
    fold = (np.arange(60) % 3).astype(np.int8)
    heavy = replace(settings, layers=2, epochs=60, batch_size=32, width=64)
    fits = {"finetuned": member_fits(Settings(members=("mlp", "finetuned"), finetuned=heavy, folds=3))["finetuned"]}
    oof, models = predict_out_of_fold(training_of(inputs, log_price, fold), fits, seed=0)
    price = np.exp(log_price)
    trained_on = np.flatnonzero(fold != 0)
    by_heart = smape(price[trained_on], np.exp(models["finetuned"].models[0].predict(inputs.take(trained_on))))
    by_chance = smape(price, np.full(60, np.median(price)))
    assert by_heart < 0.6 * by_chance, "it must be able to learn by heart, or this test shows nothing"
    assert smape(price, np.exp(oof.oof["finetuned"])) > 0.95 * by_chance
    assert smape(price, np.exp(oof.nested()["finetuned"])) > 0.95 * by_chance


@pytest.mark.parametrize("train", ["last", "whole", "lora"])
def test_a_saved_member_prices_as_before(settings: FinetuneSettings, tmp_path: Path, train: str) -> None:
    _, inputs = items_of(40)
    settings = replace(settings, train=train, layers=None)
    fitted = FinetunedMember.fit(inputs, np.linspace(0, 3, 40), settings, seed=1, activations=FrozenActivations())
    fitted.save(tmp_path / "finetuned-0.safetensors")
    loaded = load_member("finetuned", tmp_path / "finetuned-0.safetensors", {}, {})
    _, others = items_of(70)
    np.testing.assert_allclose(loaded.predict(others), fitted.predict(others), atol=1e-4)
    fitted.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "finetuned-0.safetensors").read_bytes()


def test_a_member_is_the_same_for_the_same_seed_whatever_was_fitted_before(
    settings: FinetuneSettings, tmp_path: Path
) -> None:
    _, inputs = items_of(40)
    log_price, activations = np.linspace(0, 3, 40), FrozenActivations()
    answers = [
        FinetunedMember.fit(inputs, log_price, settings, seed=seed, activations=activations).predict(inputs)
        for seed in (1, 2, 1)
    ]
    np.testing.assert_array_equal(answers[0], answers[2])
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def test_a_member_whose_encoder_has_changed_is_refused(
    settings: FinetuneSettings, tmp_path: Path, tiny_minilm: str
) -> None:
    _, inputs = items_of(40)
    folder = shutil.copytree(tiny_minilm.partition("@")[2], tmp_path / "encoder")
    settings = replace(settings, encoder=f"minilm@{folder}")
    FinetunedMember.fit(inputs, np.linspace(0, 3, 40), settings, seed=1, activations=FrozenActivations()).save(
        tmp_path / "member"
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-6}))
    with pytest.raises(IndexUnusable, match="fitted on other weights"):
        load_member("finetuned", tmp_path / "member", {}, {})


def test_the_member_is_off_by_default_and_refuses_what_it_cannot_be_honest_about(
    settings: FinetuneSettings, finetuned: str
) -> None:
    assert "finetuned" not in Settings().members
    for change, sentence in (
        ({"encoder": finetuned}, "was fine-tuned on prices before"),
        ({"image_encoder": "mobilenet-v2"}, "reads words alone"),
        ({"encoder": "pixels"}, "has no weights to train"),
    ):
        whole = Settings(members=("mlp", "finetuned"), finetuned=replace(settings, **change))
        with pytest.raises(UsageError, match=sentence):
            require_members(whole)
        require_members(replace(whole, members=("mlp",)))


def test_inputs_without_texts_are_our_mistake(settings: FinetuneSettings) -> None:
    _, inputs = items_of(40)
    with pytest.raises(AssertionError, match="texts"):
        FinetunedMember.fit(
            replace(inputs, texts=None), np.zeros(40), settings, seed=0, activations=FrozenActivations()
        )


def test_texts_follow_their_rows() -> None:
    texts, inputs = items_of(10)
    rows = np.array([7, 2, 2])
    assert inputs.take(rows).texts.tolist() == [texts[row] for row in rows]  # type: ignore[union-attr]


# --- an encoder that was trained on prices


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory, tiny_minilm: str, priced_words: Path) -> str:
    """An encoder fine-tuned on `priced_words`."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finetuned") / "out"
    settings = FinetuneSettings(encoder=tiny_minilm, epochs=1, layers=1, width=8)
    done = finetune(priced_words, folder, settings, ON_CPU)
    torch.set_num_threads(threads)
    return done.encoders[0]


def record(encoder: str) -> EncoderRecord:
    return EncoderRecord("vector_minilm_name", encoder, "1234", 16)


def listed(*names: str, images: list[str | None] | None = None) -> Any:
    texts = [f"Item Name: {name}" for name in names]
    return make_items([str(i) for i in range(len(names))], texts, images or [None] * len(names))


ALONE = np.arange(3)


def test_rows_that_an_encoder_was_trained_on_are_counted_with_their_near_duplicates(finetuned: str) -> None:
    items = listed("amber cup", "AMBER cup, 12 Ounce", "nothing like it")
    for groups, rows in ((ALONE, 2), (np.array([0, 1, 1]), 3), (np.array([0, 0, 1]), 2)):
        marked = mark_finetuned([record(finetuned), record("minilm")], items, None, groups)
        assert [each.finetuned_rows for each in marked] == [rows, 0]
    assert mark_finetuned([record(finetuned)], listed("one", "two", "three"), None, ALONE)[0].finetuned_rows == 0


def test_a_note_names_encoder_and_rows_and_what_to_do(finetuned: str) -> None:
    marked = mark_finetuned([record(finetuned)] * 2, listed("amber cup", "x", "y"), None, ALONE)
    (note,) = finetuned_notes(marked)
    assert finetuned in note and " 1 rows of this index" in note and "flattered" in note and "member finetuned" in note
    assert finetuned_notes(mark_finetuned([record(finetuned)], listed("x", "y", "z"), None, ALONE)) == ()
    (note,) = notes_on_file([replace(record(finetuned), finetuned_rows=120)], listed("x", "amber cup", "y"), ALONE)
    assert " 1 rows of this file" in note


@pytest.mark.parametrize("damage", ["gone", "changed", "emptied"])
def test_a_record_that_is_gone_or_changed_hides_nothing(finetuned: str, tmp_path: Path, damage: str) -> None:
    folder = shutil.copytree(finetuned.partition("@")[2], tmp_path / "copy")
    path = folder / FINETUNE
    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        path.write_text(json.dumps({**json.loads(path.read_text()), "keys": []}))
    else:
        path.write_text("{}")
    for name in (f"minilm@{folder}", f"minilm@{folder / 'model.safetensors'}"):
        (marked,) = mark_finetuned([record(name)], listed("x", "y", "z"), None, ALONE)
        assert marked.finetuned_rows is None
        assert "cannot be told" in finetuned_notes([marked])[0]


@pytest.fixture
def other_words(tmp_path: Path) -> Path:
    """A catalogue of 60 items that `priced_words` has nothing of."""
    path = tmp_path / "other.csv"
    lines = [f"{i},thing {chr(97 + i % 26)}{chr(97 + i // 26)},{i + 2}" for i in range(60)]
    path.write_text("\n".join(["sample_id,catalog_content,price", *lines]) + "\n")
    return path


@pytest.mark.parametrize("told", [True, False])
def test_an_encoder_that_is_finetuned_again_was_trained_on_what_it_was_before(
    finetuned: str, other_words: Path, tmp_path: Path, told: bool
) -> None:
    base = shutil.copytree(finetuned.partition("@")[2], tmp_path / "base")
    if not told:
        (base / FINETUNE).unlink()
    settings = FinetuneSettings(encoder=f"minilm@{base}", epochs=1, layers=1, width=8)
    (again,) = finetune(other_words, tmp_path / "again", settings, ON_CPU).encoders
    shutil.rmtree(base)
    items = listed("amber cup", "thing aa", "nothing like it")
    (marked,) = mark_finetuned([record(again)], items, None, ALONE)
    assert marked.finetuned_rows == (2 if told else None)
    (note,) = finetuned_notes([marked])
    assert ("2 rows of this index" if told else "cannot be told") in note


def test_an_encoder_that_was_never_finetuned_has_no_provenance(tiny_minilm: str, tmp_path: Path) -> None:
    for name in ("minilm", "pixels", tiny_minilm, f"minilm@{tmp_path}", f"minilm@{tmp_path / 'absent'}"):
        assert read_provenance(name) is None


def test_photographs_make_rows_known_but_a_placeholder_does_not() -> None:
    keys = row_keys(listed("a", "b", "c", images=["http://x/1.jpg?w=3", "https://x/1.jpg", None]), ["f", None, None])
    assert keys[0] & keys[1] and not keys[0] & keys[2]
    assert [len(own) for own in keys] == [4, 3, 2]
    many = row_keys(listed(*(f"{chr(97 + i)} cup" for i in range(26)), images=["none.jpg"] * 26))
    assert not set.intersection(*many)


# --- through the commands


def test_builds_and_scores_with_such_an_encoder_say_so(
    price: Callable[..., Any], finetuned: str, priced_words: Path, other_words: Path, tmp_path: Path
) -> None:
    config, index = tmp_path / "price.toml", tmp_path / "index"
    config.write_text(
        'folds = 3\nmembers = ["mlp"]\n[mlp]\nmembers = 1\nwidth = 8\n[mlp.fit]\nepochs = 1\n[stacker]\nrounds = 0\n'
    )
    options = ["--index", index, "--config", config, "--image-encoder", "none"]
    built = price("build-index", priced_words, *options, "--text-encoder", finetuned, "--json")
    said = "was fine-tuned on 120 rows of this index"
    assert built.code == 0 and said in built.err
    generation = index / (index / "CURRENT").read_text().strip()
    assert {each["finetuned_rows"] for each in json.loads((generation / "manifest.json").read_text())["encoders"]} == {
        120
    }
    (note,) = price("evaluate", "--index", index, "--json").json["notes"]
    assert said in note
    assert said in " ".join(price("evaluate", "--index", index).out.split())
    notes = price("evaluate", priced_words, "--index", index, "--json").json["notes"]
    assert any("120 rows of this file" in each for each in notes)
    built = price("build-index", other_words, *options, "--text-encoder", finetuned, "--json")
    assert built.code == 0 and "fine-tuned" not in built.err
    assert price("evaluate", "--index", index, "--json").json["notes"] == []


def test_an_index_with_the_member_is_built_asked_and_scored_and_flatters_nobody(
    price: Callable[..., Any], tiny_minilm: str, priced_words: Path, tmp_path: Path
) -> None:
    config, index = tmp_path / "price.toml", tmp_path / "index"
    config.write_text(
        'folds = 3\nmembers = ["mlp", "finetuned"]\n[mlp]\nmembers = 1\nwidth = 8\n[mlp.fit]\nepochs = 1\n[stacker]\n'
        f'rounds = 0\n[finetuned]\nencoder = "{tiny_minilm}"\nepochs = 1\nwidth = 8\n'
    )
    options = ["--index", index, "--config", config, "--image-encoder", "none"]
    built = price("build-index", priced_words, *options, "--text-encoder", tiny_minilm, "--json")
    assert built.code == 0, built.err
    assert "flattered" not in built.err
    generation = index / (index / "CURRENT").read_text().strip()
    assert len(list((generation / "models").glob("finetuned-*.safetensors"))) == 3
    scored = price("evaluate", "--index", index, "--json").json
    assert "finetuned" in scored["stages"] and scored["notes"] == []
    parts = price("query", "jade cup", "--index", index, "--json").json["parts"]
    assert parts["finetuned"] > 0
