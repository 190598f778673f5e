"""Presets: each is whole, each is built and priced by, and what stands in for what is said."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from engine.ensemble.out_of_fold import OutOfFold
from engine.features.inputs import InputShape
from engine.lifecycle.build import build_index
from engine.members.registry import load_member, member_fits
from engine.serving.pricer import Item, Pricer
from engine.settings.presets import PRESETS, replaced_encoders, without_its_encoder
from engine.settings.read import read_settings, settings_from
from engine.settings.schema import MEMBERS
from index.encoders import ENCODERS
from index.errors import DataRefused, UsageError
from index.storage.generations import current_generation
from index.storage.manifest import read_manifest

PUBLISHED = [name for name in PRESETS if name != "default"]
QUICK = """
folds = 3
[mlp]
members = 1
width = 16
[mlp.fit]
epochs = 1
[gbdt]
rounds = 3
[xgboost]
rounds = 3
[catboost]
rounds = 3
"""
COLOURS = "amber beryl coral delft ebony flint glass hazel ivory jade khaki lapis".split()
WARES = {"Teapot": 20.0, "Milk jug": 12.0, "Soup bowl": 8.0, "Saucer": 3.0}


@pytest.fixture
def quick(tmp_path):
    """preset -> its settings with encoders that are here, and next to no training."""

    def settings(preset, more="", **changes):
        path = tmp_path / "quick.toml"
        path.write_text(more + QUICK, encoding="utf-8")
        return replace(read_settings(path, preset, text_encoder="minilm", image_encoder="pixels"), **changes)

    return settings


@pytest.fixture
def wares(tmp_path):
    """A catalogue of 48 wares; `change` may put another price on a row."""

    def write(change=lambda row, price: price):
        rows = [
            [f"Item Name: {ware}, {colour}\nBullet Point 1: Glazed ✨ by hand", "", price + place / 10]
            for ware, price in WARES.items()
            for place, colour in enumerate(COLOURS)
        ]
        path = tmp_path / "wares.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [["sample_id", "catalog_content", "image_link", "price"]]
                + [[row, text, image, change(row, price)] for row, (text, image, price) in enumerate(rows)]
            )
        return path

    return write


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_published_system_is_its_own_encoders_and_members_without_our_stacker(preset):
    settings = PRESETS[preset]
    assert settings.stacker.rounds == 0
    assert not {"lexical", "kernel"} & set(settings.members)
    assert {*settings.text_encoder, *settings.image_encoder} <= set(ENCODERS)
    given = settings.blend.weights()
    assert {member for member, weight in given.items() if weight} == set(settings.members)
    assert "words" not in settings.correction.search_vectors


def test_the_four_have_the_heads_losses_and_schedules_of_their_write_ups():
    fits = {name: (PRESETS[name].mlp.head, PRESETS[name].mlp.fit) for name in PUBLISHED}
    assert {name: head for name, (head, _) in fits.items()} == {
        "clip-fusion": "fusion",
        "gated-ensemble": "gated",
        "towers-knn": "towers",
        "end-to-end": "mlp",
    }
    assert [fits[name][1].loss for name in PUBLISHED] == ["mse", "mse", "mse", "smooth_l1"]
    end_to_end = fits["end-to-end"][1]
    assert (end_to_end.second_loss, end_to_end.schedule, end_to_end.beta) == ("smape", "cosine_restarts", 0.5)
    assert PRESETS["gated-ensemble"].blend.weights() | {"mlp": 0.85} == PRESETS["gated-ensemble"].blend.weights()
    assert (PRESETS["clip-fusion"].mlp.fit.epochs, PRESETS["clip-fusion"].mlp.fit.batch_size) == (10, 64)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_each_preset_is_built_saved_and_priced_by(preset, quick, wares, tmp_path):
    built = build_index(wares(), tmp_path / "index", quick(preset))
    assert built.rows == 48
    folder = current_generation(tmp_path / "index")
    assert settings_from(read_manifest(folder).settings).mlp.head == PRESETS[preset].mlp.head
    assert set(OutOfFold.read(folder).members) == set(PRESETS[preset].members)
    stages = list(built.evaluation.stages)
    assert stages[-2:] == ["blend", "blend + correction"]
    quote = Pricer.open(tmp_path / "index").price([Item("Milk jug, jade")])[0]
    assert 0.5 < quote.low <= quote.price <= quote.high < 200
    assert quote.comparables


def test_trees_that_read_the_mlp_price_from_the_disk_as_they_did_when_fitted(quick, make_items, tmp_path):
    inputs, log_price = make_items(60)
    shape = InputShape({name: vectors.shape[1] for name, vectors in inputs.vectors.items()})
    fitted = {}
    for member, fit in member_fits(quick("gated-ensemble")).items():
        fitted[member] = fit(inputs, log_price, 0, fitted)
    loaded = {}
    for member, model in fitted.items():
        model.save(tmp_path / member)
        loaded[member] = load_member(member, tmp_path / member, loaded, shape)
        np.testing.assert_allclose(loaded[member].predict(inputs), model.predict(inputs), rtol=1e-5)
    assert set(loaded) == {"mlp", "gbdt", "xgboost", "catboost"}


def test_the_same_text_is_cleaned_alike_at_build_and_in_a_query(quick, wares, tmp_path):
    build_index(wares(), tmp_path / "index", quick("towers-knn"))
    pricer = Pricer.open(tmp_path / "index")
    plain, pretty = "Item Name: Milk jug, jade", "Item Name: 🫖 Milk jug, jade 🎉"
    columns = pricer.model.models.members["mlp"].models[0].shape.dims
    assert "minilm_details" in columns
    one, other = pricer.price([Item(plain), Item(pretty)])
    assert one.comparables[0].similarity == pytest.approx(other.comparables[0].similarity, abs=1e-5)


def test_what_stands_in_for_a_published_systems_encoder_is_said():
    given = read_settings(preset="gated-ensemble", text_encoder="minilm", image_encoder="none")
    assert replaced_encoders("gated-ensemble", given) == [
        "gated-ensemble runs with minilm in the place of its text encoder qwen3-0.6b.",
        "gated-ensemble runs with none in the place of its image encoder marqo-b.",
    ]
    own = read_settings(preset="gated-ensemble", text_encoder="qwen3-0.6b@weights/qwen")
    assert replaced_encoders("gated-ensemble", own) == []
    assert replaced_encoders("default", read_settings(text_encoder="qwen3-0.6b")) == []


def test_what_to_do_without_an_encoder_is_said_of_published_systems_alone():
    assert "--text-encoder minilm --image-encoder pixels" in without_its_encoder("clip-fusion")
    assert without_its_encoder("default") == ""


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[mlp.fit]\nwarm_up = 3", r"no setting 'warm_up' in \[mlp\.fit\]"),
        ("[xgboost]\nleaves = 3", r"no setting 'leaves' in \[xgboost\]"),
        ('[mlp.fit]\nloss = "minmax_bce"', r"second_loss smape does not fit loss minmax_bce: .*between 0 and 1"),
        ("[mlp.fit]\nsecond_share = 2.0", r"second_share is 2"),
        ('[mlp.fit]\nsecond_loss = "huber"', r"second_loss is 'huber': choose from smooth_l1"),
        ("[mlp.fit]\ncycle = 0", r"cycle is 0"),
        ('[mlp]\nhead = "cross_attention"\nwidth = 10', r"width is 10: cross_attention takes a multiple of 4"),
        ('cleaning = "accents"', r"cleaning is 'accents': choose from emoji, numbers"),
        ("outliers = 0.6", r"outliers is 0\.6: give a number from 0"),
        ('members = ["gbdt"]', r"gives a weight to mlp, which members \['gbdt'\] lacks"),
        (
            'members = ["gbdt"]\n[blend]\nmlp = 0\ngbdt = 1\n[gbdt]\nreads = ["fused"]',
            r"gbdt reads fused, .* add mlp to members",
        ),
        ('members = ["mlp", "gbdt"]\n[mlp]\nhead = "words"\n[gbdt]\nreads = ["fused"]', r"gbdt reads fused, .*words"),
        ("[catboost]\ndepth = 17", r"\[catboost\]: depth is 17: give a number from 1"),
        ('[xgboost]\nreads = "photographs"', r"\[xgboost\]: reads is 'photographs': choose from words, vectors, fused"),
    ],
)
def test_a_preset_with_what_cannot_be_is_refused_by_name(tmp_path, toml, said):
    (tmp_path / "price.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_settings(tmp_path / "price.toml", "end-to-end")


@pytest.mark.parametrize("member", MEMBERS)
def test_any_member_alone_may_be_blended(member):
    assert read_settings(members=member).members == (member,)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_fewer_rows_than_folds_take_are_refused_in_a_sentence(preset, quick, tmp_path):
    (tmp_path / "few.csv").write_text("sample_id,catalog_content,price\n1,Tea,2\n2,Cup,3\n", encoding="utf-8")
    with pytest.raises(DataRefused, match=r"2 usable rows .* too few for 3 folds"):
        build_index(tmp_path / "few.csv", tmp_path / "index", quick(preset))


@pytest.mark.parametrize("preset", ["gated-ensemble", "end-to-end"])
def test_items_of_one_price_and_one_item_of_a_million_are_priced(preset, quick, wares, tmp_path):
    settings = quick(preset)
    alike = build_index(wares(lambda row, price: 7.5), tmp_path / "alike", settings)
    assert alike.evaluation.stages["constant median"].value == pytest.approx(0, abs=1e-4)
    assert Pricer.open(tmp_path / "alike").price([Item("Saucer, jade")])[0].price == pytest.approx(7.5, rel=0.3)
    odd = wares(lambda row, price: 1e6 if row == 5 else price)
    assert build_index(odd, tmp_path / "odd", settings).rows == 48
    assert 0.3 < Pricer.open(tmp_path / "odd").price([Item("Saucer, jade")])[0].price < 1000


def test_a_missing_package_is_said_before_anything_is_encoded(quick, wares, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.members.registry.importlib.util.find_spec", lambda name: None)
    said = []
    with pytest.raises(UsageError, match=r"price-engine\[trees\]"):
        build_index(wares(), tmp_path / "index", quick("gated-ensemble"), on_progress=lambda *each: said.append(each))
    assert said == []
