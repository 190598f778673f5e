"""Claims about reading settings: what is taken, which source wins, and what each refusal says."""

import json
import os
from dataclasses import FrozenInstanceError, asdict, fields, is_dataclass, replace

import numpy as np
import pytest

from engine.settings.presets import PRESETS
from engine.settings.read import read_settings, settings_from, suggestion
from engine.settings.rules import Rules
from engine.settings.schema import Blend, Correction, DeepTrees, Fit, Settings
from index.catalogue.settings import ReadSettings
from index.errors import UsageError


@pytest.fixture
def read(tmp_path):
    """TOML -> Settings."""

    def read(toml, **overrides):
        path = tmp_path / "price.toml"
        path.write_text(toml, encoding="utf-8")
        return read_settings(path, **overrides)

    return read


def test_without_a_file_the_settings_are_the_preset():
    assert read_settings() == PRESETS["default"]
    assert all(isinstance(preset, Settings) for preset in PRESETS.values())


def test_an_empty_file_changes_nothing(read):
    assert read("") == read_settings()
    assert read("[correction]\n[mlp.fit]\n") == read_settings()


def test_the_file_goes_before_the_preset_and_the_command_line_before_the_file(read, monkeypatch):
    monkeypatch.setitem(PRESETS, "mine", replace(Settings(), folds=7, seed=7, currency="SEK"))
    settings = read('folds = 6\ncurrency = "EUR"', preset="mine", currency="CHF")
    assert (settings.seed, settings.folds, settings.currency) == (7, 6, "CHF")


def test_an_option_that_was_not_given_overrides_nothing(read):
    assert read("folds = 6\nseed = 3", folds=None, seed=4) == replace(read_settings(), folds=6, seed=4)


def test_a_half_life_is_days_or_auto_and_as_of_a_date_or_its_text(read):
    assert (read("half_life = 90").half_life, read('half_life = "auto"').half_life) == (90.0, "auto")
    assert read("as_of = 2026-03-31").as_of == read('as_of = "2026-03-31"').as_of == "2026-03-31"


def test_a_seed_of_zero_was_given(read):
    assert read("seed = 3", seed=0).seed == 0


def test_a_setting_in_a_section_changes_that_and_nothing_else(read):
    settings, default = read("[mlp.fit]\nepochs = 3\n[gbdt]\nrounds = 9"), read_settings()
    assert settings.mlp == replace(default.mlp, fit=replace(default.mlp.fit, epochs=3))
    assert settings.gbdt == replace(default.gbdt, rounds=9)
    assert replace(settings, mlp=default.mlp, gbdt=default.gbdt) == default


def test_reading_leaves_the_preset_as_it_was(read):
    before = asdict(PRESETS["default"])
    read("[mlp.fit]\nepochs = 3\n[correction]\nk = 3")
    assert asdict(PRESETS["default"]) == before
    with pytest.raises(FrozenInstanceError):
        PRESETS["default"].folds = 3


def test_lambda_is_written_as_in_the_formula(read):
    assert read("[correction]\nlambda = 2.5").correction.decay == 2.5
    with pytest.raises(UsageError, match=r"no setting 'decay' in \[correction\].*lambda"):
        read("[correction]\ndecay = 2.5")


def test_a_whole_number_serves_where_a_number_is_asked_for(read):
    correction = read("[correction]\nband = 1\nalpha = 1").correction
    assert (correction.band, correction.alpha) == (1.0, 1.0)
    assert type(correction.band) is float


def test_names_are_a_list_or_a_text_with_commas(read):
    assert read('text_encoder = "minilm, marqo-b"').text_encoder == ("minilm", "marqo-b")
    assert read('text_encoder = ["minilm", "marqo-b"]').text_encoder == ("minilm", "marqo-b")
    assert read_settings(image_encoder=("none",)).image_encoder == ("none",)


def test_an_override_may_be_a_whole_section():
    assert read_settings(correction={"k": 5}).correction == replace(read_settings().correction, k=5)


def test_a_fixed_blend_counts_a_member_left_out_as_nothing(read):
    weights = read("[blend]\nmlp = 0.25\ngbdt = 0.75").blend.weights()
    assert {member: share for member, share in weights.items() if share} == {"mlp": 0.25, "gbdt": 0.75}
    assert {"lexical", "kernel"} <= set(weights)
    assert read("").blend.weights() == Blend().weights() == {}


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("fold = 5", r"price\.toml: there is no setting 'fold'; did you mean 'folds'"),
        ('text-encoder = "minilm"', r"'text-encoder'; did you mean 'text_encoder'"),
        ("zzz = 1", r"'zzz'; choose from catalogue, text_encoder, .*folds"),
        ("[mpl]\nwidth = 3", r"'mpl'; did you mean 'mlp'"),
        ("[mlp]\nwdith = 3", r"'wdith' in \[mlp\]; did you mean 'width'"),
        ("[mlp.fit]\nepoch = 3", r"'epoch' in \[mlp\.fit\]; did you mean 'epochs'"),
        ("[correction]\nlamda = 3", r"'lamda' in \[correction\]; did you mean 'lambda'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_right_one(read, toml, said):
    with pytest.raises(UsageError, match=said):
        read(toml)


def test_an_unknown_preset_is_refused_with_the_nearest_right_one():
    with pytest.raises(UsageError, match=r"no preset 'defualt'; did you mean 'default'"):
        read_settings(preset="defualt")
    with pytest.raises(UsageError, match=r"no preset 'zzz'; choose from .*default"):
        read_settings(preset="zzz")


def test_an_unknown_override_is_refused_as_from_the_command_line():
    with pytest.raises(UsageError, match=r"the command line: there is no setting 'epochs'"):
        read_settings(epochs=3)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('folds = "5"', r"price\.toml: folds is '5': give a whole number"),
        ("folds = 5.0", r"folds is 5\.0: give a whole number"),
        ("folds = true", r"folds is True: give a whole number"),
        ("folds = [5]", r"folds is \[5\]: give a whole number"),
        ("folds = {a = 1}", r"folds is \{'a': 1\}: give a whole number"),
        ('coverage = "0.8"', r"coverage is '0\.8': give a number"),
        ("coverage = true", r"coverage is True: give a number"),
        ("currency = 3", r"currency is 3: give text"),
        ("text_encoder = 3", r"text_encoder is 3: give a list of names"),
        ("text_encoder = [3]", r"text_encoder is \[3\]: give a list of names"),
        ('[mlp]\nhead = ["gated"]', r"mlp\.head is \['gated'\]: give text"),
        ('[mlp.fit]\nepochs = "3"', r"mlp\.fit\.epochs is '3': give a whole number"),
        ("[correction]\nk = 3.5", r"correction\.k is 3\.5: give a whole number"),
        ('[correction]\nband = "wide"', r"correction\.band is 'wide': give a number"),
        ('[blend]\nmlp = "all"', r"blend\.mlp is 'all': give a number"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_value_and_what_is_wanted(read, toml, said):
    with pytest.raises(UsageError, match=said):
        read(toml)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("folds = 0", "folds is 0: give a number from"),
        ("folds = 1000000", "folds is 1000000"),
        ("seed = -1", "seed is -1"),
        ("coverage = 0", "coverage is 0"),
        ("coverage = 1.0", "coverage is 1"),
        ("coverage = nan", "coverage is nan"),
        ("half_life = 0", "half_life is 0.0: give a number from 1 to 36,500, or auto"),
        ('half_life = "90"', "half_life is '90': give a number from 1 to 36,500, or auto"),
        ("half_life = true", "half_life is True: give a number"),
        ('as_of = "31.3.2026"', "as_of is '31.3.2026': give a date such as 2026-03-31"),
        ('as_of = "20260331"', "as_of is '20260331': give a date such as 2026-03-31"),
        ('as_of = "2026-W13-2"', "as_of is '2026-W13-2': give a date such as 2026-03-31"),
        ("as_of = 2026-03-31T12:00:00", "as_of is .*: give text"),
        ('text_encoder = ""', "text_encoder must name an encoder"),
        ('text_encoder = "none"', "text_encoder must name an encoder"),
        ('currency = " "', "currency is ' '"),
        ('currency = "a very long label"', "currency is 'a very long label'"),
        (r'currency = "\u001b[31m"', r"currency is '\\x1b\[31m'"),
        ("[mlp]\nwidth = 0", r"price\.toml \[mlp\]: width is 0: give a number from 1 to 65,536"),
        ("[mlp]\nmembers = -1", r"\[mlp\]: members is -1"),
        ("[mlp]\ndropout = 1.0", r"\[mlp\]: dropout is 1"),
        ("[mlp]\ndropout = -0.1", r"\[mlp\]: dropout is -0\.1"),
        ('[mlp]\nhead = "gate"', r"\[mlp\]: head is 'gate': choose from .*gated"),
        ("[mlp.fit]\nepochs = 0", r"\[mlp\.fit\]: epochs is 0"),
        ("[lexical.fit]\nlearning_rate = nan", r"\[lexical\.fit\]: learning_rate is nan"),
        ('[mlp.fit]\nloss = "huber"', r"\[mlp\.fit\]: loss is 'huber': choose from .*l1"),
        ('[mlp.fit]\nschedule = "cosine"', r"\[mlp\.fit\]: schedule is 'cosine': choose from .*one_cycle"),
        ("[gbdt]\nleaves = 1", r"\[gbdt\]: leaves is 1: give a number from 2"),
        ("[gbdt]\nfeature_fraction = 0", r"\[gbdt\]: feature_fraction is 0"),
        ("[gbdt]\nrow_fraction = 1.5", r"\[gbdt\]: row_fraction is 1\.5"),
        ('[gbdt]\nreads = "photographs"', r"\[gbdt\]: reads is 'photographs': choose from .*words"),
        ("[gbdt]\nreads = []", r"\[gbdt\]: reads is"),
        ("[correction]\nk = 0", r"\[correction\]: k is 0"),
        ("[correction]\nband = nan", r"\[correction\]: band is nan"),
        ("[correction]\nband = -1", r"\[correction\]: band is -1"),
        ("[correction]\nlambda = 0", r"\[correction\]: lambda is 0"),
        ("[correction]\nalpha = 0", r"\[correction\]: alpha is 0"),
        ('[correction]\nsearch_vectors = "photo"', r"\[correction\]: search_vectors is 'photo': choose from name"),
        ("[correction]\nsearch_vectors = []", r"\[correction\]: search_vectors is"),
        ('text_views = "photo"', "text_views is 'photo': choose from name"),
        ("text_views = []", "text_views is"),
        (
            'text_views = "name"\n[correction]\nsearch_vectors = "text"',
            r"search_vectors \['text'\] must be among text_views \['name'\]",
        ),
        ("[blend]\nmlp = 0.5", r"\[blend\]: the weights .*0\.5.* add up to 1"),
        ("[blend]\nmlp = 1.5\ngbdt = -0.5", r"\[blend\]: mlp is 1\.5"),
        ("[blend]\nmlp = nan", r"\[blend\]: mlp is nan"),
        ('members = ["mlp", "gbdt", "mlp"]', r"members names 'mlp' twice: name each once"),
        ('text_encoder = ["minilm", "minilm"]', r"text_encoder names 'minilm' twice"),
        ('cleaning = ["emoji", "emoji"]', r"cleaning names 'emoji' twice"),
        ('[gbdt]\nreads = "words,words"', r"\[gbdt\]: reads names 'words' twice"),
        (
            "[mlp.fit]\nepochs = 100000000000000000000",
            r"epochs is 100000000000000000000: give a number from 1",
        ),
        ("[mlp.fit]\nlearning_rate = inf", r"\[mlp\.fit\]: learning_rate is inf"),
        (f"[mlp.fit]\nlearning_rate = 1{'0' * 400}", r"\[mlp\.fit\]: learning_rate is 1e\+300"),
        ("[mlp]\nmembers = 100000000", r"\[mlp\]: members is 100000000"),
        ("[finetuned]\nlayers = -1", r"\[finetuned\]: layers is -1"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_section_the_value_and_a_way_out(read, toml, said):
    with pytest.raises(UsageError, match=said):
        read(toml)


@pytest.mark.parametrize("value", ["3", "'wide'", "[1, 2]", "true"])
@pytest.mark.parametrize(("where", "section"), [("", "mlp"), ("[mlp]\n", "mlp.fit"), ("", "correction")])
def test_a_section_given_as_a_value_is_refused_with_how_to_write_it(read, value, where, section):
    with pytest.raises(UsageError, match=rf"{section} is a section; write \[{section}\]"):
        read(f"{where}{section.rpartition('.')[2]} = {value}")


@pytest.mark.parametrize("toml", ["folds 5", "folds = ", "[mlp", "folds = 5\nfolds = 6", "folds: 5", '{"folds": 5}'])
def test_what_is_no_toml_is_refused_by_the_name_of_the_file(read, toml):
    with pytest.raises(UsageError, match=r"price\.toml is not a settings file in TOML: "):
        read(toml)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    with pytest.raises(UsageError, match=r"There is no settings file .*absent\.toml"):
        read_settings(tmp_path / "absent.toml")
    with pytest.raises(UsageError, match=r"cannot be read as settings: is a folder, not a file\.$"):
        read_settings(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00f")
    with pytest.raises(UsageError, match=r"binary\.toml is not a settings file in TOML"):
        read_settings(tmp_path / "binary.toml")


@pytest.mark.parametrize(("make", "kind"), [(os.mkfifo, "FIFO"), (lambda path: path.symlink_to("/dev/zero"), "device")])
def test_what_is_no_file_is_refused_before_it_is_read(make, kind, tmp_path):
    make(tmp_path / "price.toml")
    with pytest.raises(UsageError, match=rf"price\.toml cannot be read as settings: is a {kind}, not a file"):
        read_settings(tmp_path / "price.toml")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("#" * 1_000_001, "holds over 1,000,000 bytes"),
        (f"folds = {'[' * 100_000}", "is not a settings file in TOML"),
        (f"folds = {'1' * 10_000}", "is not a settings file in TOML"),
    ],
    ids=["large", "deep", "of many digits"],
)
def test_a_file_that_no_one_wrote_by_hand_is_refused(read, toml, said):
    with pytest.raises(UsageError, match=said):
        read(toml)


def changed() -> Settings:
    """Settings with no value as in the preset, optional ones set."""
    default = read_settings()
    fit = Fit(1, 2, 4, 0.5, 0.25, "constant", "l1", 0.75, "smape", 0.5, 7)
    return Settings(
        catalogue=ReadSettings(text=("title", "size"), category=("brand",), sheet="Prices"),
        whole_names=True,
        most_rejects=0.25,
        text_encoder=("a@b", "c"),
        image_encoder=("none",),
        text_views=("text",),
        folds=7,
        seed=default.seed + 1,
        half_life=90.0,
        as_of="2026-03-31",
        currency="£",
        coverage=0.55,
        search="faiss",
        cleaning=("emoji", "numbers"),
        outliers=0.02,
        members=("mlp", "gbdt", "xgboost"),
        mlp=replace(default.mlp, width=3, fit=fit),
        lexical=replace(default.lexical, members=9, fit=fit),
        kernel=replace(default.kernel, ridge=2.0),
        gbdt=replace(default.gbdt, rounds=1),
        xgboost=DeepTrees(reads=("vectors",), depth=3),
        catboost=DeepTrees(rounds=7),
        finetuned=replace(default.finetuned, epochs=default.finetuned.epochs + 1),
        stacker=replace(default.stacker, rounds=0),
        correction=Correction(("text",), 3, 0.5, 2.5, 0.125),
        blend=Blend(mlp=0.5, gbdt=0.5),
        rules=Rules(floor=3.0, cost="column:cost", margin=20.0, ending=(".99",)),
    )


@pytest.mark.parametrize("settings", [Settings(), changed()], ids=["default", "changed"])
def test_what_the_manifest_keeps_comes_back_as_it_was(settings):
    assert settings_from(json.loads(json.dumps(asdict(settings)))) == settings


def test_the_changed_settings_of_these_tests_differ_in_every_setting():
    assert all(getattr(changed(), each.name) != getattr(Settings(), each.name) for each in fields(Settings))


def test_a_manifest_with_a_setting_that_is_unknown_here_is_refused():
    document = asdict(Settings())
    document["correction"]["gate"] = 1
    with pytest.raises(UsageError, match=r"the manifest: there is no setting 'gate' in \[correction\]"):
        settings_from(document)


def test_every_section_that_is_written_as_toml_is_read_back(read):
    settings = changed()
    lines = []

    def write(section, values, path=""):
        inner = {key: value for key, value in values.items() if isinstance(value, dict)}
        lines.append(f"[{path}]" if path else "")
        for key, value in values.items():
            if key not in inner and value is not None:
                key_there = "lambda" if (path, key) == ("correction", "decay") else key
                lines.append(f"{key_there} = {json.dumps(value, ensure_ascii=False)}")
        for key, value in inner.items():
            write(getattr(section, key), value, f"{path}.{key}".lstrip("."))

    write(settings, json.loads(json.dumps(asdict(settings))))
    assert read("\n".join(lines)) == settings
    assert is_dataclass(settings.mlp.fit)


@pytest.mark.parametrize("wrong", [{"k": 20_000}, {"alpha": np.inf}, {"decay": np.inf}, {"band": np.inf}], ids=str)
def test_a_knob_that_the_correction_would_refuse_is_refused_before_anything_runs(wrong):
    from engine.settings.schema import Correction
    from index.errors import UsageError

    with pytest.raises(UsageError):
        Correction(**wrong)


def test_where_nothing_is_known_nothing_is_suggested() -> None:
    assert suggestion("weight", {}) == "; there is none to choose from"
    assert suggestion("colour", dict.fromkeys(["color", "size"])) == "; did you mean 'color'"
