"""Claims about further columns as the models see them: hashed, missing, unknown; and nothing where there are none."""

import numpy as np
import pytest

from engine.features.inputs import WORD_KINDS, make_inputs
from engine.features.tabular import ABSENT, MISSING, UNKNOWN, KnownCategories, Tabular, make_tabular
from engine.features.tfidf import weigh_words
from index.catalogue.further import described, further_cell, further_columns, with_further
from index.catalogue.item_table import make_items
from index.errors import UsageError

FURTHER = {
    "category:brand": ["Acme", " acme ", None, "Zorg", ""],
    "number:weight (kg)": [1.5, 1.5, None, 0.0, 2.25],
    "category:colour": ["Red / Blue", None, "red", "red", "Red"],
}
TEXTS = ["Tea\nstrong", "Tea", "Rice", "Salt", "Salt, fine"]


def items_of(further=FURTHER, texts=TEXTS):
    return make_items([str(i) for i in range(len(texts))], texts, [None] * len(texts), further=further)


def test_a_category_is_known_whatever_its_case_and_blanks_and_one_of_blanks_is_none():
    brand, colour = make_tabular(items_of()).categories.T
    assert brand[0] == brand[1] != brand[3]
    assert brand[2] == brand[4] == MISSING == colour[1]
    assert colour[2] == colour[3] == colour[4] != colour[0]


def test_numbers_stay_as_they_are_and_nan_where_missing():
    np.testing.assert_array_equal(make_tabular(items_of()).numbers, np.array([[1.5, 1.5, np.nan, 0, 2.25]]).T)


def test_without_further_columns_there_is_nothing_of_them():
    inputs = make_inputs(items_of({}), {})
    assert inputs.tabular is None
    assert inputs.words.shape == (5, WORD_KINDS["opening"].stop)
    assert inputs.texts.tolist() == TEXTS
    assert "further" not in weigh_words(inputs.words)


def test_further_columns_leave_the_other_inputs_as_they_are():
    plain, rich = make_inputs(items_of({}), {}), make_inputs(items_of(), {})
    np.testing.assert_array_equal(plain.numbers, rich.numbers)
    for kind in ("name", "characters", "opening"):
        assert (plain.words[:, WORD_KINDS[kind]] != rich.words[:, WORD_KINDS[kind]]).nnz == 0
    taken = rich.take(np.array([3, 0]))
    np.testing.assert_array_equal(taken.tabular.categories, rich.tabular.categories[[3, 0]])
    np.testing.assert_array_equal(taken.tabular.numbers, rich.tabular.numbers[[3, 0]])


def test_words_of_columns_are_shared_by_equal_values_of_one_column_alone():
    further = {"category:made of": ["oak", None, "oak / pine"], "category:looks like": [None, "oak", None]}
    words = make_inputs(items_of(further, ["a", "b", "c"]), {}).words[:, WORD_KINDS["further"]].toarray()
    shared = words @ words.T
    assert shared[0, 1] == 0  # the same value of another column
    assert shared[0, 2] == 1  # one of its words
    assert [shared[row, row] for row in range(3)] == [2, 2, 3]


def test_what_is_read_as_text_names_every_column_that_is_filled():
    assert described(items_of())[0] == "Tea\nstrong\nbrand: Acme\nweight (kg): 1.5\ncolour: Red / Blue"
    assert described(items_of())[3] == "Salt\nbrand: Zorg\nweight (kg): 0\ncolour: red"
    assert described(items_of({})) == TEXTS


def test_an_index_reads_its_own_columns_whatever_the_items_have():
    columns = ("category:colour", "number:length", "category:brand")
    fixed = with_further(items_of(), columns)
    assert further_columns(fixed) == columns
    assert fixed["category:brand"].to_pylist() == FURTHER["category:brand"]
    assert fixed["number:length"].to_pylist() == [None] * 5
    assert make_tabular(fixed).numbers.shape == (5, 1)
    assert with_further(items_of(), ()).schema == items_of({}).schema


@pytest.mark.parametrize(
    ("column", "cell", "held"),
    [
        ("number:weight", " 12.5", 12.5), ("number:weight", 3, 3.0), ("number:weight", None, None),
        ("number:weight", " ", None), ("number:weight", float("nan"), None), ("number:weight", "inf", None),
        ("category:size", 1234567, "1234567"), ("category:size", 1234567.0, "1234567"), ("category:size", True, "true"),
        ("category:size", 12.0, "12"), ("category:size", "XL", "XL"), ("category:size", "", None),
    ],
)  # fmt: skip
def test_a_cell_that_was_given_becomes_what_its_column_holds(column, cell, held):
    assert further_cell(column, cell) == held


def test_a_number_that_is_none_is_refused_by_name():
    with pytest.raises(UsageError, match=r"weight is 'heavy', and the index reads numbers there"):
        further_cell("number:weight", "heavy")


def test_places_tell_known_values_from_the_unknown_and_the_absent(tmp_path):
    tabular = make_tabular(items_of())
    known = KnownCategories.fit(tabular, 2)
    np.testing.assert_array_equal(
        known.places(tabular).T,
        [[2, 2, ABSENT, UNKNOWN, ABSENT], [UNKNOWN, ABSENT, 2, 2, 2]],
    )
    assert known.sizes == [3, 3]
    everything = KnownCategories.fit(tabular)
    everything.save(tmp_path)
    np.testing.assert_array_equal(KnownCategories.load(tmp_path).places(tabular), everything.places(tabular))
    assert (everything.places(tabular) != UNKNOWN).all()
    nothing = Tabular(np.full((2, 1), MISSING), np.empty((2, 0), np.float32))
    assert KnownCategories.fit(nothing).places(nothing).tolist() == [[ABSENT], [ABSENT]]
    assert KnownCategories.fit(nothing).places(make_tabular(items_of({"category:brand": FURTHER["category:brand"]}))).T[
        0
    ].tolist() == [UNKNOWN, UNKNOWN, ABSENT, UNKNOWN, ABSENT]
