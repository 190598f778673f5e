"""Claims about which vectors an item has, with encoders that count letters and pixels."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from engine import encoding
from engine.encoding import Encoders, Modality, modalities, space_columns
from engine.settings import Correction, Settings
from index.catalogue import make_items
from index.embedding import NO_PHOTOGRAPH
from index.errors import IndexUnusable
from index.photograph import ImageRefused, Reason
from index.store import vector_column

MODALITIES = [
    Modality("minilm_name", "minilm", "name"),
    Modality("minilm_text", "minilm", "text"),
    Modality("pixels_photograph", "pixels", "photograph"),
]


@dataclass
class Spec:
    name: str


class Counting:
    """Letters of a text, or the brightness of a photograph -> a unit vector; counts what it was asked."""

    batch_size = 2

    def __init__(self, name, device):
        self.spec, self.device, self.dim, self.asked = Spec(name), device, 26 if name == "minilm" else 3, []
        self.identity = f"{name} 1"

    def length(self, item):
        return len(item)

    def prepare(self, batch):
        return list(batch)

    def forward(self, prepared):
        self.asked += prepared
        return np.stack([slow_vector(item) for item in prepared]).astype(np.float32)


def slow_vector(item) -> np.ndarray:
    counts = [item.lower().count(letter) for letter in map(chr, range(97, 123))] if isinstance(item, str) else item
    return np.array(counts, np.float64) / np.linalg.norm(counts)


PHOTOGRAPHS = {"red.jpg": [9.0, 1.0, 1.0], "cut.jpg": Reason.TRUNCATED}


class Folder:
    """Photographs by name: three numbers each, or a reason."""

    def read(self, reference):
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

    def open_counting(name, *, device):
        opened.setdefault(name, []).append(Counting(name, device))
        return opened[name][-1]

    monkeypatch.setattr(encoding, "open_encoder", open_counting)
    return opened


def test_a_text_encoder_sees_the_name_and_the_text_and_an_image_encoder_the_photograph():
    assert modalities(replace(Settings(), text_encoder=("minilm",), image_encoder=("pixels",))) == MODALITIES


def test_several_encoders_are_a_column_each_and_none_is_no_column():
    settings = replace(Settings(), text_encoder=("minilm", "qwen3-0.6b@some/where.dir"), image_encoder=("none",))
    assert modalities(settings) == [
        *MODALITIES[:2],
        Modality("qwen3_0_6b_name", "qwen3-0.6b@some/where.dir", "name"),
        Modality("qwen3_0_6b_text", "qwen3-0.6b@some/where.dir", "text"),
    ]


def test_columns_bear_names_that_a_network_and_a_table_allow():
    settings = replace(
        Settings(), text_encoder=("qwen3-0.6b",), image_encoder=("clip-vit-b-32@a.b/c", "efficientnet-b0")
    )
    assert all(each.name.isidentifier() for each in modalities(settings))


@pytest.mark.parametrize("space", [("name",), ("text",), ("name", "text")])
def test_neighbours_are_looked_for_in_columns_of_the_first_text_encoder(space):
    settings = replace(Settings(), text_encoder=("qwen3-0.6b", "minilm"), correction=Correction(space=space))
    assert space_columns(settings) == [f"qwen3_0_6b_{view}" for view in space]
    assert set(space_columns(settings)) <= {each.name for each in modalities(settings)}


def test_every_view_is_encoded_under_its_name(opened):
    vectors, _ = Encoders(MODALITIES).encode(ITEMS, Folder())
    assert list(vectors) == [each.name for each in MODALITIES]
    for view in ("name", "text"):
        slow = [slow_vector(words) if words else np.zeros(26) for words in ITEMS[view].to_pylist()]
        np.testing.assert_allclose(vectors[f"minilm_{view}"], slow, atol=1e-6)
    np.testing.assert_allclose(vectors["pixels_photograph"][0], slow_vector([9, 1, 1]), atol=1e-6)
    assert not np.array_equal(vectors["minilm_name"], vectors["minilm_text"])


def test_what_is_absent_is_a_row_of_zeros_and_photographs_are_counted_by_reason(opened):
    vectors, reasons = Encoders(MODALITIES).encode(ITEMS, Folder())
    assert vectors["pixels_photograph"].any(axis=1).tolist() == [True, False, False, False]
    assert vectors["minilm_name"].any(axis=1).tolist() == [True, True, True, False]
    assert sum(reasons.values()) == 3
    assert reasons[NO_PHOTOGRAPH] == 1
    assert {str(reason) for reason in reasons} == {NO_PHOTOGRAPH, str(Reason.TRUNCATED), str(Reason.MISSING)}


def test_a_query_of_one_is_encoded_as_in_a_build(opened, tmp_path):
    whole, _ = Encoders(MODALITIES).encode(ITEMS, Folder(), tmp_path)
    for row in range(4):
        alone, _ = Encoders(MODALITIES).encode(ITEMS.slice(row, 1), Folder())
        for name, vectors in whole.items():
            np.testing.assert_array_equal(alone[name][0], vectors[row])


def test_an_encoder_is_opened_when_it_is_needed_once_and_on_the_device_asked_for(opened):
    encoders = Encoders(MODALITIES, "cuda:1")
    assert opened == {}
    encoders.encode(ITEMS, Folder())
    encoders.encode(ITEMS, Folder())
    encoders.records()
    assert {name: len(each) for name, each in opened.items()} == {"minilm": 1, "pixels": 1}
    assert opened["minilm"][0].device == "cuda:1"


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
    other.get("minilm").identity = "minilm 2"
    other.encode(ITEMS, Folder(), tmp_path)
    assert len(opened["minilm"][1].asked) == len(opened["minilm"][0].asked) > 0


def test_progress_says_what_is_encoded(opened):
    told = set()
    Encoders(MODALITIES).encode(ITEMS, Folder(), report=lambda stage, done, total: told.add(stage))
    assert {"texts (minilm)", "photographs (pixels)"} <= told


def test_records_hold_what_must_encode_a_query_column_by_column(opened):
    records = Encoders(MODALITIES).records()
    assert [record.column for record in records] == [vector_column(each.name) for each in MODALITIES]
    assert [(record.name, record.identity, record.dim) for record in records] == [
        ("minilm", "minilm 1", 26),
        ("minilm", "minilm 1", 26),
        ("pixels", "pixels 1", 3),
    ]


def test_an_index_of_other_weights_is_refused_with_the_command_that_mends_it(opened):
    records = Encoders(MODALITIES).records()
    Encoders(MODALITIES).check(records, "price build-index")
    turned = Encoders(MODALITIES)
    turned.get("pixels").identity = "pixels 2"
    said = r"other weights or another revision of pixels \(pixels 1, here pixels 2\).*`price build-index x`"
    with pytest.raises(IndexUnusable, match=said):
        turned.check(records, "price build-index x")
