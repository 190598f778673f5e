"""Cells of a catalogue that hold more than one reference to a photograph, and those that only look so."""

import pytest

from index.catalogue.item_table import make_items
from index.photographs.references import first_reference

A, B = "https://shop.invalid/img/p0.jpg", "https://shop.invalid/img/p0_2.jpg"


@pytest.mark.parametrize(
    "cell",
    [
        A,
        f"  {A} ",
        f"{A}|{B}",
        f"{A} | {B} | {B}",
        f"{A};{B}",
        f"{A}; {B}",
        f"{A},{B}",
        f"{A}, {B},{B}",
        f"{A}\n{B}",
        f"{A}\r\n{B}\r\n",
        f"{A} {B}",
        f"|{A}|{B}",
        f",{A},{B}",
        f"{A},",
        f"{A};//shop.invalid/img/p0_2.jpg",
        f"//shop.invalid/img/p0.jpg;{B}",
        "//shop.invalid/img/p0.jpg",
        f"{A},p0_2.jpg",
        f'["{A}", "{B}"]',
        f'["", "{A}"]',
        f"['{A}', '{B}']",
        f'[{{"width": 300, "url": "{A}"}}, {{"url": "{B}"}}]',
    ],
)
def test_of_several_photographs_in_a_cell_the_first_counts(cell: str) -> None:
    assert first_reference(cell) == A


@pytest.mark.parametrize(
    ("cell", "first"),
    [
        ("", ""),
        (" | ", ""),
        ("[]", ""),
        ("a.jpg|b.jpg", "a.jpg"),
        ("a.jpg; b.jpg", "a.jpg"),
        ("p/a.JPG,p/b.png,p/c.gif", "p/a.JPG"),
        ("/p/a.jpg,/p/b.jpg", "/p/a.jpg"),
        ("a.jpg?v=1,b.jpg?v=2", "a.jpg?v=1"),
        ('["a.jpg", "b.jpg"]', "a.jpg"),
        ("https://x.invalid/a?id=1, https://x.invalid/a?id=2", "https://x.invalid/a?id=1"),
        ("https://x.invalid/a.jpg?w=300&amp;h=300", "https://x.invalid/a.jpg?w=300&h=300"),
        ("https://x.invalid/a.jpg?w=300&amp;h=3|b.jpg", "https://x.invalid/a.jpg?w=300&h=3"),
        ("//cdn.invalid/files/x.jpg?v=17", "https://cdn.invalid/files/x.jpg?v=17"),
    ],
)
def test_the_first_reference_is_what_it_means(cell: str, first: str) -> None:
    assert first_reference(cell) == first


@pytest.mark.parametrize(
    "reference",
    [
        "https://cdn.invalid/image/upload/w_300,h_200/sample.jpg",
        "https://cdn.invalid/image/upload/w_300,h_200,c_fill/a,b.jpg",
        "https://x.invalid/a;jsessionid=1.jpg",
        "https://x.invalid/a.jpg?size=3,4;crop=1,2",
        "https://x.invalid/thumb?src=https://y.invalid/a.jpg",
        "https://x.invalid/fetch/https://y.invalid/a.jpg",
        "photo, front.jpg",
        "Smith & Sons; tea.jpg",
        "two words.jpg",
        "[1].jpg",
        "[a, b",
        "//p.jpg",
        "/p/p1.jpg",
        "C:\\photographs\\a.jpg",
        "data:image/png;base64,AAAA",
    ],
)
def test_what_is_one_reference_stays_as_it_is(reference: str) -> None:
    assert first_reference(reference) == first_reference(first_reference(reference)) == reference


def test_items_hold_the_first_reference() -> None:
    items = make_items(list("1234"), ["tea"] * 4, [f"{A}|{B}", None, " | ", "//shop.invalid/img/p0.jpg"])
    assert items["image"].to_pylist() == [A, None, None, A]
