"""Claims about what the models see; the slow obvious versions read one item at a time."""

import itertools
import math
import re
import zlib

import numpy as np
import pyarrow as pa
import pytest

from engine.features.inputs import NUMBERS, WORD_KINDS, Inputs, hash_words, make_inputs
from index.catalogue.item_table import ITEMS
from index.catalogue.units import UNITS

ROWS = [
    ("Acme Soda, 6 x 330 ml", "Item Name: Acme Soda, 6 x 330 ml\nBullet: cold\nValue: 1980", 1980.0, "millilitre", 6),
    ("Tea", "Tea", None, "none", 1),
    ("Rice 2 lb", "Rice 2 lb\nlong grain", 907.18, "gram", 1),
    ("Pepper", "", None, "other", 12),
]


def items_of(rows) -> pa.Table:
    names, texts, amounts, units, packs = zip(*rows, strict=True)
    columns = {
        "item_id": [str(i) for i in range(len(rows))],
        "text": texts,
        "name": names,
        "image": [None] * len(rows),
        "log_price": [None] * len(rows),
        "amount": amounts,
        "unit": units,
        "pack": packs,
        "parent": [None] * len(rows),
        "date": [None] * len(rows),
    }
    return pa.table({name: list(values) for name, values in columns.items()}, schema=ITEMS)


def numbers_of(name, text, amount, pack) -> dict[str, float]:
    """One item's numbers, by name."""
    return {
        "log_amount": 0.0 if amount is None else math.log(amount),
        "amount_unknown": float(amount is None),
        "log_pack": math.log(pack),
        "log_amount_each": 0.0 if amount is None else math.log(amount / pack),
        "log_name_length": math.log(1 + len(name)),
        "log_text_length": math.log(1 + len(text)),
        "log_lines": math.log(1 + text.count("\n")),
    }


def vectors_of(rows: int) -> dict[str, np.ndarray]:
    return {"name": np.eye(rows, 5, dtype=np.float32), "photo": np.zeros((rows, 3), np.float32)}


def test_numbers_agree_with_reading_one_item_at_a_time():
    inputs = make_inputs(items_of(ROWS), vectors_of(len(ROWS)))
    slow = [numbers_of(name, text, amount, pack) for name, text, amount, _, pack in ROWS]
    np.testing.assert_allclose(inputs.numbers, [[each[name] for name in NUMBERS] for each in slow], rtol=1e-5)
    assert inputs.numbers.dtype == np.float32


def test_an_unknown_amount_is_said_and_is_not_an_amount_of_nothing():
    one_gram, unknown = make_inputs(items_of([("a", "a", 1.0, "gram", 1), ("a", "a", None, "gram", 1)]), {}).numbers
    assert np.flatnonzero(one_gram != unknown).tolist() == [NUMBERS.index("amount_unknown")]


def test_the_unit_is_its_place_in_the_table_of_units():
    inputs = make_inputs(items_of(ROWS), {})
    assert [UNITS[place] for place in inputs.unit] == [unit for *_, unit, _ in ROWS]
    assert len(inputs) == len(ROWS)


def test_a_unit_that_the_table_does_not_have_is_our_mistake():
    with pytest.raises(KeyError, match="furlong"):
        make_inputs(items_of([("a", "a", 1.0, "furlong", 1)]), {})


def test_vectors_pass_untouched_and_under_their_names():
    vectors = vectors_of(len(ROWS))
    inputs = make_inputs(items_of(ROWS), vectors)
    assert list(inputs.vectors) == ["name", "photo"]
    assert all(inputs.vectors[name] is vectors[name] for name in vectors)


def test_items_in_several_chunks_are_the_items_in_one():
    whole = items_of(ROWS)
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert chunked["pack"].num_chunks == 2
    assert_same(make_inputs(chunked, vectors_of(4)), make_inputs(whole, vectors_of(4)))


def test_a_query_of_one_is_seen_as_the_same_item_in_a_batch():
    batch = make_inputs(items_of(ROWS), vectors_of(4))
    for row in range(len(ROWS)):
        alone = {name: each[[row]] for name, each in vectors_of(4).items()}
        assert_same(make_inputs(items_of(ROWS[row : row + 1]), alone), batch.take(np.array([row])))


def test_take_gives_the_rows_asked_for_in_that_order_and_repeated():
    inputs = make_inputs(items_of(ROWS), vectors_of(4))
    taken = inputs.take(np.array([2, 0, 2]))
    assert len(taken) == 3
    for place, row in enumerate([2, 0, 2]):
        assert_same(taken.take(np.array([place])), inputs.take(np.array([row])))
    assert not np.array_equal(taken.numbers[0], taken.numbers[1])


def assert_same(one: Inputs, other: Inputs) -> None:
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_array_equal(one.unit, other.unit)
    np.testing.assert_array_equal(one.words.toarray(), other.words.toarray())
    assert list(one.vectors) == list(other.vectors)
    for name in one.vectors:
        np.testing.assert_array_equal(one.vectors[name], other.vectors[name])


def hashed(term: str, buckets: int) -> int:
    return zlib.crc32(term.encode()) % buckets


def test_a_value_with_a_line_break_is_hashed_as_one_word_and_alike_words_once():
    words = [[], ["care: cold\nwash", "care: cold\nwash", ""], ["a\n"], ["plain", "also"]]
    columns = WORD_KINDS["further"]
    for row, own in zip(hash_words([""] * 4, [""] * 4, words).toarray(), words, strict=True):
        expected = {hashed(word, columns.stop - columns.start) for word in own}
        assert set(np.flatnonzero(row[columns])) == expected


def words_and_pairs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {*words, *(f"{one} {other}" for one, other in itertools.pairwise(words))}


def runs_of_three(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[at : at + 3]) for at in range(len(words) - 2)}


def openings(text: str) -> set[str]:
    """The first word, the first two, the first three."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[:end]) for end in (1, 2, 3) if end <= len(words)}


def pieces(text: str) -> set[str]:
    """Three to five characters in a row within a word and the blanks around it; a shorter word is a piece itself."""
    padded = [f" {word} " for word in text.lower().split()]
    found = {word[at : at + n] for word in padded for n in (3, 4, 5) for at in range(len(word) - n + 1)}
    return found | {word for word in padded if len(word) < 3}


def test_words_agree_with_hashing_one_term_at_a_time():
    names = ["Acme Soda 6 pack", "acme tea", "", "Été & co"]
    texts = ["Acme Soda 6 pack\nbest soda, best price", "tea tea tea", "a b c", ""]
    fast = hash_words(names, texts).toarray()
    slow = np.zeros_like(fast)
    for row, (name, text) in enumerate(zip(names, texts, strict=True)):
        terms = {
            "name": words_and_pairs(name),
            "text": words_and_pairs(text),
            "characters": pieces(name),
            "phrases": runs_of_three(text),
            "opening": openings(name),
        }
        for kind, of_kind in terms.items():  # there are no further columns
            columns = WORD_KINDS[kind]
            width = columns.stop - columns.start
            slow[row, [columns.start + hashed(term, width) for term in of_kind]] = 1
    np.testing.assert_array_equal(fast, slow)
    assert fast.dtype == np.float32


def test_a_word_of_the_name_is_another_feature_than_the_same_word_of_the_text():
    name, text = hash_words(["tea", ""], ["", "tea"])
    assert name.nnz and text.nnz
    assert not set(name.indices) & set(text.indices)


def test_the_order_of_words_is_seen_through_pairs():
    red_tea, tea_red = hash_words(["red tea", "tea red"], ["", ""]).toarray()
    ends = WORD_KINDS["characters"].stop  # before the name's opening, which sees the order too
    assert (red_tea[:ends] != tea_red[:ends]).sum() == 2


def test_the_column_of_a_word_is_the_same_in_every_process_and_version():
    """The models of an index know words by their columns alone."""
    assert hash_words(["", ""], ["tea", "thé"]).indices.tolist() == [32768 + 55218, 32768 + 60814]


def test_any_text_at_all_is_hashed():
    words = hash_words(["\ud800 \x00", "Ⅷ ½ ①", "大米 5公斤"], ["\n" * 1000, "x" * 100_000, "\u202e"])
    assert words.shape[0] == 3
    assert np.diff(words.indptr).min() > 0


def test_text_without_words_is_a_row_without_features():
    words = hash_words(["", "  "], ["", "!?"])
    assert words.shape[0] == 2
    assert words.nnz == 0


def test_a_script_without_blanks_has_the_features_that_it_has_with_blanks():
    written = "普瑞浓郁港口洗发水 350毫升 3件装", "お茶500ml×24本", "น้ำมัน 500 ml"
    spaced = "普瑞 浓郁 港口 洗发水 350 毫升 3件装", "お茶 500ml×24 本", "น้ำ มัน 500 ml"
    assert (hash_words(list(written), list(written)) != hash_words(list(spaced), list(spaced))).nnz == 0


def test_two_titles_of_a_script_without_blanks_share_the_words_that_they_share():
    names = ["普瑞浓郁港口洗发水", "菲宾港口洗发水", "菲宾意面酱"]
    words = hash_words(names, names).toarray()[:, WORD_KINDS["name"]]
    assert (words[0] * words[1]).sum() > 8 > (words[0] * words[2]).sum() == 0


def test_words_of_spaced_scripts_are_whole():
    for text in ("Acme Crème brûlée", "Масло оливковое 500 мл", "한빛 녹차 20개입", "Ελιά"):
        words = hash_words([text], [text])
        columns = WORD_KINDS["opening"]
        first = text.split()[0].lower()
        bucket = zlib.crc32(first.encode()) % (columns.stop - columns.start)
        assert words[0, columns.start + bucket] == 1
