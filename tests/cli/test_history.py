"""`price keep`, `price query --generation` and `price diff`: what an index answered before it was changed."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Price = Callable[..., Any]
COFFEE = "Item Name: Fauxberry Reserve Ground Coffee, Smoky Hazelnut, 12 oz (Pack of 2)"


@dataclass(frozen=True)
class Past:
    """An index that is kept as `before`, and was changed since."""

    index: Path
    before: dict[str, Any]  # the answer of `price query` before the change
    removed: str  # the id of its nearest comparable, which is removed
    added: str  # the id of a row that is added, which is called as the item that is asked for


@pytest.fixture(scope="module")
def past(shop: Any, run_price: Price, tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    index = Path(shutil.copytree(shop.index, folder / "index"))
    before = run_price("query", COFFEE, "--index", index, "--json").json
    removed = before["comparables"][0]["item_id"]
    done = [run_price("keep", "before", "--index", index), run_price("remove", removed, "--index", index)]
    like_it = f'new-1,"{COFFEE}",{before["parts"]["blend"]:.2f}'
    (folder / "new.csv").write_text(f"sample_id,catalog_content,price\n{like_it}\n")
    done.append(run_price("add", folder / "new.csv", "--index", index))
    assert [answer.code for answer in done] == [0, 0, 0], done
    return Past(index, before, removed, "new-1")


def test_a_kept_generation_answers_as_it_did_and_the_current_one_anew(price: Price, past: Past) -> None:
    for reference in ("before", "1", "gen-000001"):
        old = price("query", COFFEE, "--index", past.index, "--json", "--generation", reference).json
        assert {**old, "seconds": 0} == {**past.before, "seconds": 0}
    new = price("query", COFFEE, "--index", past.index, "--json").json
    assert new["parts"]["blend"] == past.before["parts"]["blend"]
    ids = [row["item_id"] for row in new["comparables"]]
    assert ids[0] == past.added and past.removed not in ids
    current = price("query", COFFEE, "--index", past.index, "--json", "--generation", "current").json
    assert {**current, "seconds": 0} == {**new, "seconds": 0}


def test_generations_are_listed_kept_and_let_go(price: Price, past: Past, tmp_path: Path) -> None:
    index = shutil.copytree(past.index, tmp_path / "index")
    listed = price("keep", "--list", "--index", index, "--json").json["generations"]
    assert [(each["number"], each["current"], each["names"]) for each in listed] == [
        (1, False, ["before"]),
        (3, True, []),
    ]
    assert price("keep", "now", "--index", index, "--json").json == {"name": "now", "generation": "gen-000003"}
    lines = price("keep", "--list", "--index", index).out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "3"]
    assert lines[0].endswith("rows  before") and lines[1].endswith("rows  current, now")
    gone = price("keep", "before", "--drop", "--index", index)
    assert (gone.code, gone.out) == (0, "before is no name any more; its generation is removed.\n")
    assert not (index / "gen-000001").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "phrase"),
    [
        (["keep"], 2, "No name is given"),
        (["keep", "x", "--list"], 2, "give it alone"),
        (["keep", "x", "--drop"], 2, "keeps no generation by the name 'x': it keeps before"),
        (["keep", "before", "--drop", "--generation", "1"], 2, "leave out --generation"),
        (["keep", "7"], 2, "cannot name a generation"),
        (["keep", "x", "--generation", "2"], 4, "has no generation '2': it has 1 ('before'), 3 (current)"),
        (["query", "tea", "--generation", "autumn"], 4, "has no generation 'autumn'"),
    ],
)
def test_what_cannot_be_kept_or_asked_is_refused_in_one_line(
    arguments: list[str], code: int, phrase: str, price: Price, past: Past
) -> None:
    answer = price(*arguments, "--index", past.index)
    assert (answer.code, answer.out, answer.err.count("\n")) == (code, "", 1)
    assert phrase in answer.err
