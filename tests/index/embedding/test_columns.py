"""Claims about which vectors an item has, with encoders that count letters and pixels."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from index.catalogue.fields import details
from index.catalogue.item_table import make_items
from index.embedding import encode
from index.embedding.columns import Modality, Views, modalities, space_columns, vector_column
from index.embedding.embed import NO_PHOTOGRAPH
from index.embedding.encode import Encoders
from index.encoders.device import Runtime
from index.errors import IndexUnusable, UsageError
from index.photographs.formats import ImageRefused, Reason

MODALITIES = [
    Modality("minilm_name", "minilm", "name"),
    Modality("minilm_text", "minilm", "text"),
    Modality("pixels_photograph", "pixels", "photograph"),
]


@dataclass
class Spec:
    name: str


class Counting:
    """Letters of a text, three numbers of a photograph, or both -> a unit vector; counts what it was asked."""

    on_cpu, elsewhere, batch_size, dims = False, None, 2, {"minilm": 26, "pixels": 3, "qwen3-vl-2b": 29}

    def __init__(self, name, **runtime):
        self.spec, self.runtime, self.dim, self.asked = Spec(name), runtime, self.dims[name], []
        self.identity = f"{name} 1"

    def length(self, item):
        return len(item)

    def prepare(self, batch):
        return list(batch)

    def forward(self, prepared):
        self.asked += prepared
        return np.stack([slow_vector(item) for item in prepared]).astype(np.float32)


def letters(text) -> list[float]:
    return [float(text.lower().count(letter)) for letter in map(chr, range(97, 123))]


def slow_vector(item) -> np.ndarray:
    if isinstance(item, tuple):
        text, photograph = item
        counts = [*letters(text), *(photograph if photograph is not None else [0.0] * 3)]
    else:
        counts = letters(item) if isinstance(item, str) else item
    return np.array(counts) / np.linalg.norm(counts)


PHOTOGRAPHS = {"red.jpg": [9.0, 1.0, 1.0], "cut.jpg": Reason.TRUNCATED}


class Folder:
    """Photographs by name: three numbers each, or a reason."""

    def read(self, reference, content=None):
        found = PHOTOGRAPHS.get(reference, Reason.MISSING)
        if isinstance(found, Reason):
            raise ImageRefused(found)
        return np.array(found)

    def fingerprint(self, reference):
        if reference not in PHOTOGRAPHS:
            raise ImageRefused(Reason.MISSING)
        return reference.encode().hex().ljust(64, "0")


ITEMS = make_items(
    ["1", "2", "3", "4"],
    ["Item Name: Red tea\nBullet Point 1: hot", "Item Name: Blue cup", "Item Name: Red tea\nBullet Point 1: cold", ""],
    ["red.jpg", "cut.jpg", None, "gone.jpg"],
)


@pytest.fixture
def opened(monkeypatch):
    """name -> the encoders that were opened under it."""
    opened = {}

    def open_counting(name, **runtime):
        opened.setdefault(name, []).append(Counting(name, **runtime))
        return opened[name][-1]

    monkeypatch.setattr(encode, "open_encoder", open_counting)
    return opened


def views_of(**changes) -> Views:
    usual = {"text_encoders": ("minilm",), "image_encoders": ("pixels",), "text_views": ("name", "text")}
    return Views(**{**usual, **changes})


def test_a_text_encoder_sees_the_views_of_the_text_and_an_image_encoder_the_photograph():
    assert modalities(views_of()) == MODALITIES
    bullets = views_of(text_views=("bullets", "name"))
    assert [each.view for each in modalities(bullets)] == ["bullets", "name", "photograph"]


def test_several_encoders_are_a_column_each_and_none_is_no_column():
    views = views_of(text_encoders=("minilm", "qwen3-0.6b@some/where.dir"), image_encoders=("none",))
    assert modalities(views) == [
        *MODALITIES[:2],
        Modality("qwen3_0_6b_name", "qwen3-0.6b@some/where.dir", "name"),
        Modality("qwen3_0_6b_text", "qwen3-0.6b@some/where.dir", "text"),
    ]


def test_an_encoder_of_both_makes_columns_for_what_it_is_named_for():
    views = views_of(text_encoders=("clip-vit-b-32",), image_encoders=("clip-vit-b-32",))
    assert [each.name.removeprefix("clip_vit_b_32_") for each in modalities(views)] == ["name", "text", "photograph"]


def test_a_vision_language_encoder_makes_one_column_of_text_and_photograph_together():
    views = views_of(text_encoders=("qwen3-vl-2b",), image_encoders=("none",))
    assert modalities(views) == [Modality("qwen3_vl_2b_pair", "qwen3-vl-2b", "pair")]
    assert space_columns(views, ("name", "text")) == ["qwen3_vl_2b_pair"]


def test_columns_bear_names_that_a_network_and_a_table_allow():
    views = views_of(text_encoders=("qwen3-0.6b",), image_encoders=("clip-vit-b-32@a.b/c", "efficientnet-b0"))
    assert all(each.name.isidentifier() for each in modalities(views))


@pytest.mark.parametrize("twice", [("minilm", "minilm"), ("minilm@a", "minilm@b")], ids=str)
def test_two_encoders_that_would_share_a_column_are_refused(twice):
    with pytest.raises(UsageError, match="encoder is named twice"):
        modalities(views_of(text_encoders=twice))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text_encoders": ("pixels",)}, "pixels does not encode words"),
        ({"image_encoders": ("minilm",)}, "minilm does not encode photographs"),
        ({"text_encoders": ("minilmm",)}, "no encoder 'minilmm': did you mean minilm"),
    ],
)
def test_an_encoder_that_cannot_read_what_it_is_named_for_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        modalities(views_of(**wrong))


@pytest.mark.parametrize("names", [("name",), ("text",), ("name", "text")])
def test_neighbours_are_looked_for_in_columns_of_the_first_text_encoder(names):
    views = views_of(text_encoders=("qwen3-0.6b", "minilm"))
    assert space_columns(views, names) == [f"qwen3_0_6b_{view}" for view in names]
    assert set(space_columns(views, names)) <= {each.name for each in modalities(views)}


def test_every_view_is_encoded_under_its_name(opened):
    vectors, _ = Encoders(MODALITIES).encode(ITEMS, Folder())
    assert list(vectors) == [each.name for each in MODALITIES]
    for view in ("name", "text"):
        slow = [slow_vector(words) if words else np.zeros(26) for words in ITEMS[view].to_pylist()]
        np.testing.assert_allclose(vectors[f"minilm_{view}"], slow, atol=1e-6)
    np.testing.assert_allclose(vectors["pixels_photograph"][0], slow_vector([9, 1, 1]), atol=1e-6)
    assert not np.array_equal(vectors["minilm_name"], vectors["minilm_text"])


def test_bullet_points_are_encoded_apart_from_what_else_is_said(opened):
    vectors, _ = Encoders([Modality("minilm_bullets", "minilm", "bullets")]).encode(ITEMS, Folder())
    slow = [slow_vector("hot"), np.zeros(26), slow_vector("cold"), np.zeros(26)]
    np.testing.assert_allclose(vectors["minilm_bullets"], slow, atol=1e-6)


def test_text_and_photograph_are_encoded_together_and_each_alone_where_the_other_is_missing(opened):
    items = make_items(["1", "2", "3", "4"], ["tea", "cup", "", ""], ["red.jpg", "gone.jpg", "red.jpg", None])
    vectors, absent = Encoders([Modality("pair", "qwen3-vl-2b", "pair")]).encode(items, Folder())
    red = PHOTOGRAPHS["red.jpg"]
    slow = [slow_vector(("tea", red)), slow_vector(("cup", None)), slow_vector(("", red)), np.zeros(29)]
    np.testing.assert_allclose(vectors["pair"], slow, atol=1e-6)
    assert absent == [None, Reason.MISSING, None, NO_PHOTOGRAPH]


def test_what_is_absent_is_a_row_of_zeros_and_photographs_are_counted_by_reason(opened):
    vectors, absent = Encoders(MODALITIES).encode(ITEMS, Folder())
    assert vectors["pixels_photograph"].any(axis=1).tolist() == [True, False, False, False]
    assert vectors["minilm_name"].any(axis=1).tolist() == [True, True, True, False]
    assert absent.count(NO_PHOTOGRAPH) == 1
    assert {str(reason) for reason in absent if reason} == {NO_PHOTOGRAPH, Reason.TRUNCATED, Reason.MISSING}
    assert sum(reason is not None for reason in absent) == 3


def test_a_query_of_one_is_encoded_as_in_a_build(opened, tmp_path):
    whole, _ = Encoders(MODALITIES).encode(ITEMS, Folder(), tmp_path)
    for row in range(4):
        alone, _ = Encoders(MODALITIES).encode(ITEMS.slice(row, 1), Folder())
        for name, vectors in whole.items():
            np.testing.assert_array_equal(alone[name][0], vectors[row])


def test_views_of_one_encoder_are_encoded_together_and_a_text_that_they_share_once(opened):
    items = make_items(["1", "2"], ["Cup", "Item Name: Pot\nProduct Description: of tin"], [None, None])
    vectors, _ = Encoders(MODALITIES).encode(items, Folder())
    assert sorted(opened["minilm"][0].asked) == sorted({*items["name"].to_pylist(), *items["text"].to_pylist()})
    for view in ("name", "text"):
        expected = np.stack([slow_vector(text) for text in items[view].to_pylist()]).astype(np.float32)
        np.testing.assert_array_equal(vectors[f"minilm_{view}"], expected)


def test_an_encoder_is_opened_when_it_is_needed_once_and_as_asked_for(opened):
    encoders = Encoders(MODALITIES, Runtime("cuda:1", "bf16"))
    assert opened == {}
    encoders.encode(ITEMS, Folder())
    encoders.encode(ITEMS, Folder())
    encoders.records()
    assert {name: len(each) for name, each in opened.items()} == {"minilm": 1, "pixels": 1}
    assert opened["minilm"][0].runtime == {"device": "cuda:1", "precision": "bf16"}


def test_equal_words_are_encoded_once_and_what_a_cache_holds_not_again(opened, tmp_path):
    Encoders(MODALITIES).encode(ITEMS, Folder(), tmp_path)
    first = opened["minilm"][0].asked
    names, texts = (set(ITEMS[view].to_pylist()) - {""} for view in ("name", "text"))
    assert sorted(first) == sorted(names | texts)
    again, _ = Encoders(MODALITIES).encode(ITEMS, Folder(), tmp_path)
    assert opened["minilm"][1].asked == []
    assert opened["pixels"][1].asked == []
    fresh, _ = Encoders(MODALITIES).encode(ITEMS, Folder())
    for name, vectors in fresh.items():
        np.testing.assert_array_equal(again[name], vectors)


def test_a_cache_is_of_one_identity(opened, tmp_path):
    Encoders(MODALITIES).encode(ITEMS, Folder(), tmp_path)
    other = Encoders(MODALITIES)
    other.get(MODALITIES[0]).identity = "minilm 2"
    other.encode(ITEMS, Folder(), tmp_path)
    assert len(opened["minilm"][1].asked) == len(opened["minilm"][0].asked) > 0


def test_progress_says_what_is_encoded(opened):
    told = set()
    Encoders(MODALITIES).encode(ITEMS, Folder(), on_progress=lambda stage, done, total: told.add(stage))
    assert {"texts (minilm)", "photographs (pixels)"} <= told


def test_records_hold_what_must_encode_a_query_column_by_column(opened):
    records = Encoders(MODALITIES).records()
    assert [record.column for record in records] == [vector_column(each.name) for each in MODALITIES]
    assert [(record.name, record.identity, record.dim) for record in records] == [
        ("minilm", "minilm 1", 26),
        ("minilm", "minilm 1", 26),
        ("pixels", "pixels 1", 3),
    ]


def test_an_index_of_the_same_weights_is_encoded_for(opened):
    records = Encoders(MODALITIES).records()
    vectors, _ = Encoders(MODALITIES, records=records).encode(ITEMS, Folder())
    np.testing.assert_array_equal(
        vectors["minilm_name"], Encoders(MODALITIES).encode(ITEMS, Folder())[0]["minilm_name"]
    )


@pytest.mark.parametrize(("name", "value"), [("identity", "pixels 2"), ("dim", 4)])
def test_an_index_of_other_weights_is_refused_with_the_command_that_mends_it(opened, name, value):
    *same, pixels = Encoders(MODALITIES).records()
    encoders = Encoders(MODALITIES, records=(*same, replace(pixels, **{name: value})))
    with pytest.raises(IndexUnusable, match=r"other weights, or another revision, of pixels.*`price build-index`"):
        encoders.encode(ITEMS, Folder())


def test_a_query_without_photographs_opens_no_image_encoder_and_is_encoded_as_by_one(opened):
    records = Encoders(MODALITIES).records()
    opened.clear()
    bare = ITEMS.slice(2, 1)
    vectors, _ = Encoders(MODALITIES, records=records).encode(bare, Folder())
    assert set(opened) == {"minilm"}
    fresh, _ = Encoders(MODALITIES).encode(bare, Folder())
    for each, vector in fresh.items():
        np.testing.assert_array_equal(vectors[each], vector)
        assert vectors[each].dtype == vector.dtype


def test_details_are_name_then_description_or_bullets_then_amount(opened):
    vectors, _ = Encoders([Modality("minilm_details", "minilm", "details")]).encode(ITEMS, Folder())
    slow = [slow_vector(words) if words else np.zeros(26) for words in map(details, ITEMS["text"].to_pylist())]
    np.testing.assert_allclose(vectors["minilm_details"], slow, atol=1e-6)


def test_an_encoder_reads_what_cleaning_left_and_the_names_of_columns_do_not_tell(opened):
    views = views_of(cleaning=("emoji", "numbers"))
    wanted = modalities(views)
    assert [each.name for each in wanted] == [each.name for each in modalities(views_of())]
    assert {each.cleaning for each in wanted} == {("emoji", "numbers")}
    pretty = make_items(["1"], ["tea 🎉 2"], [None])
    texts = [each for each in wanted if each.view != "photograph"]
    vectors, _ = Encoders(texts).encode(pretty, Folder())
    np.testing.assert_allclose(vectors["minilm_name"][0], slow_vector("tea  two"), atol=1e-6)
    plain, _ = Encoders([replace(each, cleaning=()) for each in texts]).encode(pretty, Folder())
    np.testing.assert_allclose(plain["minilm_name"][0], slow_vector("tea 🎉 2"), atol=1e-6)
