"""The made-up catalogue: made up, repeatable, lawful in its prices, and fair in what it holds out."""

import csv
import hashlib
import importlib
import math
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "make_catalogue.py"
ROWS = 120


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def name_but_for_numbers(row: dict[str, str]) -> str:
    title = row["catalog_content"].partition("\n")[0]
    return re.sub(r"[\d.]+", "#", title)


@pytest.fixture(scope="module")
def maker() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        yield importlib.import_module("make_catalogue")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small catalogue as the command writes it, and what the command said."""
    folder = tmp_path_factory.mktemp("made") / "up"
    done = run(folder, "--rows", ROWS)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def made(written: tuple[Path, str]) -> Path:
    return written[0]


@pytest.fixture(scope="module")
def listings(maker: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list:
    return maker.Maker(0, tmp_path_factory.mktemp("many")).listings(1500)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_catalogue(
    made: Path, maker: ModuleType, tmp_path: Path
) -> None:
    run(tmp_path / "again", "--rows", ROWS)
    maker.write_catalogue(tmp_path / "other", rows=ROWS, seed=1)
    assert contents(tmp_path / "again") == contents(made)
    second, first = contents(tmp_path / "other"), contents(made)
    assert second["catalogue.csv"] != first["catalogue.csv"]
    assert second["images/made-up-00000.jpg"] != first["images/made-up-00000.jpg"]


def test_a_second_catalogue_in_the_same_folder_leaves_nothing_of_the_first(
    made: Path, maker: ModuleType, tmp_path: Path
) -> None:
    maker.write_catalogue(tmp_path, rows=ROWS + 100, seed=3)
    maker.write_catalogue(tmp_path, rows=ROWS, seed=0)
    assert contents(tmp_path) == contents(made)


def test_both_files_have_the_four_columns_and_every_row_asked_for(made: Path) -> None:
    catalogue, holdout = rows(made / "catalogue.csv"), rows(made / "holdout.csv")
    for table in (catalogue, holdout):
        assert list(table[0]) == ["sample_id", "catalog_content", "image_link", "price"]
    assert len(catalogue) + len(holdout) == ROWS + 7
    assert 0.05 * ROWS < len(holdout) < 0.2 * ROWS


def test_each_kind_of_bad_row_occurs_once_and_every_other_row_is_good(made: Path) -> None:
    catalogue = rows(made / "catalogue.csv")
    seen: set[str] = set()
    bad: list[str] = []
    for row in catalogue:
        if row["sample_id"] in seen:
            bad.append("id twice")
        elif not row["catalog_content"]:
            bad.append("no text")
        elif not re.fullmatch(r"\d+\.\d\d", row["price"]) or float(row["price"]) <= 0:
            bad.append(f"price {row['price']}")
        seen.add(row["sample_id"])
    expected = ["id twice", "no text", "price ", "price -4.20", "price 0.00", "price nan", "price not known"]
    assert sorted(bad) == expected


def test_every_text_is_in_the_form_of_the_challenge(made: Path) -> None:
    form = re.compile(
        r"Item Name: .+\n(Bullet Point \d: .+\n)*(Product Description: .+\n)?"
        r"(Value: \d+\.\d+\nUnit: (Ounce|ounce|oz|Fl Oz|fl oz|Pound|pound|Foot|ft|Count|count)\n)?"
    )
    texts = [row["catalog_content"] for row in rows(made / "catalogue.csv") if row["catalog_content"]]
    assert [text for text in texts if not form.fullmatch(text)] == []


def test_value_is_the_total_of_the_title(maker: ModuleType, listings: list) -> None:
    for listing in listings:
        value = re.search(r"Value: (.+)", listing.text)
        if value:
            assert float(value[1]) == pytest.approx(listing.size * listing.pack, abs=0.006)
        if listing.pack > 1 and listing.family.pack_form:
            assert re.search(rf"\b{listing.pack}\b", listing.text.partition("\n")[0].rpartition(",")[2])


def test_it_says_on_every_surface_that_it_is_made_up(written: tuple[Path, str], maker: ModuleType) -> None:
    folder, stdout = written
    assert "made up" in stdout and "made up" in (folder / "README.txt").read_text()
    brands = tuple(f"Item Name: {brand.name} " for brand in maker.BRANDS)
    for row in rows(folder / "catalogue.csv") + rows(folder / "holdout.csv"):
        text = row["catalog_content"]
        assert not text or ("made up" in text.lower() and text.startswith(brands)), text
        assert not row["image_link"] or row["image_link"].startswith("https://made-up.invalid/images/made-up-")


def test_the_words_made_up_are_drawn_on_every_photograph(maker: ModuleType) -> None:
    biscuits = maker.Product(maker.KINDS[5], maker.BRANDS[9], "Lamb", "Misty", "plain")
    inks = []
    for product, size, pack, seed in [(maker.QUERY, 12, 2, 1), (biscuits, 2, 12, 2), (biscuits, 20, 1, 3)]:
        image = np.asarray(maker.draw(product, size, pack, np.random.default_rng(seed)).convert("L"), np.float32)
        paper = image[-1, -1]
        inks.append(image[-14:-4, 2:44] < (paper + 90) / 2)  # 90 is the ink
    assert inks[0].sum() > 60
    assert (inks[0] == inks[1]).all() and (inks[0] == inks[2]).all()


def test_near_duplicates_share_a_photograph_at_another_price_or_a_name_in_another_size(listings: list) -> None:
    by_link, by_name = defaultdict(list), defaultdict(list)
    for listing in listings:
        if listing.image_link:
            by_link[listing.image_link].append(listing)
        by_name[name_but_for_numbers({"catalog_content": listing.text})].append(listing)
    resold = [group for group in by_link.values() if len({item.price for item in group}) > 1]
    resized = [group for group in by_name.values() if len({(item.size, item.pack) for item in group}) > 1]
    assert len(resold) > 100 and len(resized) > 50


def test_rows_that_look_like_near_duplicates_are_of_one_family_and_a_family_looks_like_them(listings: list) -> None:
    families: dict[str, set[int]] = defaultdict(set)
    names: dict[int, set[str]] = defaultdict(set)
    for listing in listings:
        name = name_but_for_numbers({"catalog_content": listing.text})
        names[listing.family.number].add(name)
        for key in (name, listing.image_link):
            families[key].add(listing.family.number)
    del families[""]
    assert max(len(numbers) for numbers in families.values()) == 1
    assert max(len(group) for group in names.values()) == 1


def test_the_holdout_shares_no_photograph_no_name_and_no_id_with_the_catalogue(
    maker: ModuleType, tmp_path: Path
) -> None:
    maker.write_catalogue(tmp_path, rows=900, seed=5)
    photographs = {name: digest for name, digest in contents(tmp_path).items() if name.startswith("images/")}
    sides = []
    for file in ("catalogue.csv", "holdout.csv"):
        keys = set()
        for row in rows(tmp_path / file):
            image = "images/" + row["image_link"].rpartition("/")[2]
            keys |= {row["sample_id"], name_but_for_numbers(row), image, photographs.get(image)}
        sides.append(keys - {"", "images/", None})
    assert len(sides[1]) > 200
    assert sides[0] & sides[1] == set()


def test_prices_follow_the_documented_law(maker: ModuleType, listings: list) -> None:
    residual = np.array(
        [math.log(float(it.price) / maker.fair_price(it.family.product, it.size, it.pack)) for it in listings]
    )
    spread = math.hypot(maker.AFFINITY_SPREAD, maker.FAMILY_SPREAD, maker.LISTING_SPREAD)
    assert abs(residual.mean()) < 0.04
    assert residual.std() == pytest.approx(spread, rel=0.12)
    errors = defaultdict(list)
    for listing, error in zip(listings, residual, strict=True):
        errors[listing.family.number].append(error)
    difference = np.array([pair[0] - pair[1] for pair in errors.values() if len(pair) > 1])
    assert difference.std() == pytest.approx(maker.LISTING_SPREAD * math.sqrt(2), rel=0.2)


def test_a_larger_pack_costs_more_in_all_and_less_apiece(maker: ModuleType, listings: list) -> None:
    levels = defaultdict(list)
    for listing in listings:
        single = maker.fair_price(listing.family.product, listing.size, 1)
        levels[listing.pack].append(math.log(float(listing.price) / single))
    average = [float(np.mean(levels[pack])) for pack in sorted(levels)]
    apiece = [level - math.log(pack) for pack, level in zip(sorted(levels), average, strict=True)]
    assert sorted(levels) == list(maker.PACKS)
    assert average == sorted(average)
    assert apiece[-1] < apiece[0] - 0.15


def test_a_larger_size_costs_more_in_all_and_less_per_unit(maker: ModuleType) -> None:
    for kind in maker.KINDS:
        product = replace(maker.QUERY, kind=kind, variant=next(iter(kind.variants)))
        prices = [maker.fair_price(product, size, 1) for size in kind.sizes]
        per_unit = [price / size for price, size in zip(prices, kind.sizes, strict=True)]
        assert prices == sorted(prices) and per_unit == sorted(per_unit, reverse=True), kind.name


def test_photographs_are_there_or_missing_or_broken_as_described(made: Path) -> None:
    states: Counter[str] = Counter()
    for row in rows(made / "catalogue.csv") + rows(made / "holdout.csv"):
        path = made / "images" / row["image_link"].rpartition("/")[2]
        if not row["image_link"]:
            states["no link"] += 1
        elif not path.exists():
            states["no file"] += 1
        else:
            states[state_of(path)] += 1
    assert set(states) == {"no link", "no file", "cut", "not an image", "good"}
    assert states["good"] > 0.8 * ROWS * 0.9


def state_of(path: Path) -> str:
    try:
        with Image.open(path) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (144, 144), "RGB")
            image.load()
    except UnidentifiedImageError:
        return "not an image"
    except OSError:
        return "cut"
    return "good"


def test_a_photograph_tells_kind_brand_variant_size_pack_and_quality(maker: ModuleType) -> None:
    def photograph(product: object, size: float = 12, pack: int = 1) -> bytes:
        return maker.draw(product, size, pack, np.random.default_rng(0)).tobytes()

    plain = replace(maker.QUERY, quality="plain")
    shown = [
        photograph(plain),
        photograph(plain, size=32),
        photograph(plain, pack=2),
        photograph(replace(plain, quality="fine")),
        photograph(replace(plain, quality="basic")),
        photograph(replace(plain, variant="Mocha")),
        photograph(replace(plain, brand=maker.BRANDS[1])),
        photograph(replace(plain, kind=maker.KINDS[2], variant="Basil")),
    ]
    assert len(set(shown)) == len(shown)
    assert photograph(replace(plain, adjective="Misty")) == shown[0]  # what costs nothing is not shown


def test_shapes_are_drawn_inside_the_photograph(maker: ModuleType) -> None:
    for kind in maker.KINDS:
        for pack in maker.PACKS:
            product = replace(maker.QUERY, kind=kind, variant=next(iter(kind.variants)), quality="plain")
            image = np.asarray(maker.draw(product, kind.sizes[-1], pack, np.random.default_rng(1)))
            edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
            assert (edge == edge[0]).all(), (kind.name, pack)


def test_the_item_of_the_query_is_listed_nowhere_and_its_words_are_those_of_make_demo(
    made: Path, maker: ModuleType
) -> None:
    assert state_of(made / "query.jpg") == "good"
    assert maker.QUERY_TEXT in (made / "README.txt").read_text()
    assert f"QUERY := {maker.QUERY_TEXT}\n" in (ROOT / "Makefile").read_text()
    for part in (maker.QUERY.brand.name, maker.QUERY.kind.name, maker.QUERY.flavour):
        assert part in maker.QUERY_TEXT
    for row in rows(made / "catalogue.csv") + rows(made / "holdout.csv"):
        name = row["catalog_content"].partition("\n")[0]
        assert not all(part in name for part in ("Fauxberry", "Ground Coffee", "Smoky Hazelnut"))


def test_no_family_has_the_product_of_the_query(
    maker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one kind, one brand and few adjectives, only its reservation keeps the product out."""
    monkeypatch.setattr(maker, "KINDS", maker.KINDS[:1])
    monkeypatch.setattr(maker, "BRANDS", maker.BRANDS[:1])
    monkeypatch.setattr(maker, "ADJECTIVES", ("Smoky", "Misty"))
    narrow = maker.Maker(0, tmp_path)
    drawn = {narrow._product().flavour for _ in range(11)}  # 2 adjectives, 6 variants: all but one
    assert len(drawn) == 11 and maker.QUERY.flavour not in drawn


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--rows", "99"], "--rows 99: choose between 100 and 12000"),
        (["--rows", "12001"], "--rows 12001: choose between 100 and 12000"),
        (["--seed", "-1"], "--seed -1: choose 0 or more"),
    ],
)
def test_a_number_that_cannot_be_had_is_refused_in_a_sentence(
    arguments: list[str], reason: str, tmp_path: Path
) -> None:
    done = run(tmp_path / "out", *arguments)
    assert done.returncode == 2 and reason in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    done = run(file)
    assert done.returncode == 2 and "is not a folder" in done.stderr
    assert file.read_text() == "mine"
