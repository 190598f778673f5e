"""Claims about an index whose contents are wrong though its hashes are right: refused in a sentence or not believed."""

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.evaluation.evaluate import evaluate_index
from engine.lifecycle.update import compact_index
from engine.serving.pricer import Item, Pricer
from index.errors import IndexUnusable
from index.search.table import SearchTable
from index.storage.generations import current_generation
from index.storage.items_table import ItemStore, write_items
from index.storage.manifest import Manifest, read_manifest, write_manifest

QUERIES = [Item("Item Name: Herbal tea, 16 count"), Item("Honey, 454 g - 2 Pack")]
Damage = Callable[[Path], object]


@pytest.fixture
def written(shop: Any, tmp_path: Path) -> Callable[..., Path]:
    """An index like the shop's but for what `damage` does to a file of it, with the hashes of what it is then."""

    def write(damage: Damage, **changes: Any) -> Path:
        index = tmp_path / "index"
        shutil.copytree(shop.index, index, copy_function=os.link, ignore=shutil.ignore_patterns("cache"))
        folder = current_generation(index)
        manifest = read_manifest(folder)
        damage(folder)
        files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        source = current_generation(shop.index)
        same = {p: manifest.files[p] for p in files if p in manifest.files and (folder / p).samefile(source / p)}
        (folder / "manifest.json").unlink()
        write_manifest(folder, replace(manifest, **changes), same)
        return index

    return write


def put(path: Path, content: bytes) -> None:
    """A file of its own: the name that stood here was a second one of the shop's."""
    path.unlink()
    path.write_bytes(content)


def tensors(name: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change the tensors of a safetensors file."""

    def damage(folder: Path) -> None:
        from safetensors import safe_open
        from safetensors.numpy import save

        with safe_open(folder / name, "numpy") as file:
            metadata, values = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        change(values)
        put(folder / name, save({key: np.ascontiguousarray(value) for key, value in values.items()}, metadata))

    return damage


def spoil(key: str, value: float) -> Callable[[dict[str, Any]], None]:
    """Put a value into the middle of the first array whose name ends so."""

    def change(values: dict[str, Any]) -> None:
        name = next(name for name in sorted(values) if name.endswith(key))
        values[name] = values[name].copy()
        values[name].flat[values[name].size // 2] = value

    return change


def shorten(key: str) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        name = next(name for name in sorted(values) if name.endswith(key))
        values[name] = values[name][:-1]

    return change


def text(name: str, *edits: tuple[str, str]) -> Damage:
    """Replace text by patterns, each of which must be there."""

    def damage(folder: Path) -> None:
        content = (folder / name).read_text(encoding="utf-8")
        for pattern, by in edits:
            content, found = re.subn(pattern, by, content, count=1)
            assert found, pattern
        put(folder / name, content.encode())

    return damage


def document(*path: str, to: Any) -> Damage:
    """Another value in the models' document, at a path of keys."""

    def damage(folder: Path) -> None:
        name = folder / "models" / "price_model.json"
        whole = json.loads(name.read_text(encoding="utf-8"))
        below = whole
        for key in path[:-1]:
            below = below[key]
        below[path[-1]] = to(below[path[-1]]) if callable(to) else to
        put(name, json.dumps(whole).encode())

    return damage


def reference(change: Callable[[pa.Table], pa.Table]) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "reference.arrow"
        table = pa.ipc.open_file(path).read_all().combine_chunks()
        path.unlink()
        SearchTable.write(_Plain(change(table)), path)  # type: ignore[arg-type]

    return damage


class _Plain:
    """A table that nobody has looked at."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table


def column(name: str, change: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Another column of numbers or lists."""

    def changed(table: pa.Table) -> pa.Table:
        place, old = table.column_names.index(name), table[name].combine_chunks()
        if pa.types.is_fixed_size_list(old.type):
            matrix = change(old.flatten().to_numpy(zero_copy_only=False).reshape(len(old), -1).copy())
            new = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
        else:
            new = pa.array(change(old.to_numpy(zero_copy_only=False).copy()))
        return table.set_column(place, name, new)

    return changed


def parquet(change: Callable[[pa.Table], pa.Table], name: str = "out_of_fold.parquet") -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        table = change(pq.read_table(path).combine_chunks())
        path.unlink()
        pq.write_table(table, path)

    return damage


def lance(change: Callable[[pa.Table, dict[str, Any]], tuple[pa.Table, dict[str, Any]]]) -> Damage:
    def damage(folder: Path) -> None:
        store = ItemStore.open(folder)
        names = ["minilm_name", "minilm_text", "pixels_photograph"]
        items, vectors = change(store.items(), {name: store.vectors(name) for name in names})
        shutil.rmtree(folder / "items.lance")
        write_items(folder, items, vectors)

    return damage


def at(place: int, value: Any) -> Callable[[Any], Any]:
    """Another value at one place of an array, or of all rows' first number."""

    def change(values: Any) -> Any:
        values[place] = value
        return values

    return change


def first_number(value: float) -> Callable[[Any], Any]:
    def change(matrix: Any) -> Any:
        matrix[len(matrix) // 2, 0] = value
        return matrix

    return change


def _cut(vectors: Any) -> Any:
    """All but the last number, of length 1 again."""
    short = vectors[:, :-1]
    return (short / np.linalg.norm(short, axis=1, keepdims=True)).astype(np.float32)


def _trees_of(path: Path) -> bytes:
    """LightGBM's own text of a member: whole trees, of another table."""
    return path.read_bytes().partition(b"\n")[2]


def _all_words(values: dict[str, Any]) -> None:
    name = next(name for name in values if name.endswith("words.scale"))
    values[name] = np.full_like(values[name], np.nan)


def _spoil_leaves(path: Path) -> None:
    """NaN in the place of every leaf, in a text as long as it was."""
    content = path.read_text(encoding="utf-8")
    lines = re.sub(
        r"(?<=leaf_value=).*", lambda line: re.sub(r"\S+", lambda m: "nan".ljust(len(m[0]), "0"), line[0]), content
    )
    put(path, re.sub(r"nan0+", lambda m: " " * (len(m[0]) - 3) + "nan", lines).encode())


AT_OPENING: dict[str, tuple[Damage, str]] = {
    "a NaN in the gated MLP": (tensors("models/mlp-0.safetensors", spoil("unit.weight", np.nan)), "mlp-0"),
    "infinity in a scale": (tensors("models/mlp-1.safetensors", spoil("price.scale", np.inf)), "mlp-1"),
    "a NaN in the lexical MLP": (tensors("models/lexical-2.safetensors", spoil("fields.bias", np.nan)), "lexical-2"),
    "a layer of another width": (tensors("models/mlp-0.safetensors", shorten("scaled_numbers.mean")), "mlp-0"),
    "a vocabulary of another size": (tensors("models/lexical-0.safetensors", shorten("columns")), "lexical-0"),
    "a word's column out of range": (tensors("models/lexical-0.safetensors", spoil("columns", 2**30)), "lexical-0"),
    "a NaN among the coefficients": (tensors("models/kernel-0.safetensors", spoil("coefficients", np.nan)), "kernel-0"),
    "a NaN in the word table": (tensors("models/kernel-0.safetensors", spoil("weights", np.nan)), "kernel-0"),
    "a landmark out of range": (tensors("models/kernel-0.safetensors", spoil(".landmarks", 60_000)), "kernel-0"),
    "a landmark too few": (tensors("models/kernel-0.safetensors", shorten("coefficients")), "kernel-0"),
    "a word without a weight": (tensors("models/kernel-0.safetensors", shorten("columns.text")), "kernel-0"),
    "trees of another table": (text("models/gbdt-0.txt", (r'"columns": \[\d+, ', '"columns": [')), "gbdt-0"),
    "trees cut short": (text("models/gbdt-0.txt", (r"(?s)Tree=1.*", "")), "gbdt-0"),
    "trees of unknown columns": (text("models/gbdt-1.txt", (r'"reads": \["words"', '"reads": ["wards"')), "gbdt-1"),
    "NaN among the trees' columns": (text("models/gbdt-1.txt", (r'"columns": \[\d+', '"columns": [NaN')), "gbdt-1"),
    "a stacker of another width": (
        lambda folder: put(folder / "models" / "stacker-0.txt", _trees_of(folder / "models" / "gbdt-0.txt")),
        "stacker-0",
    ),
    "a NaN among the words' weights": (tensors("lsa.safetensors", spoil("weight.text", np.nan)), "lsa"),
    "a scale of a direction is no number": (tensors("lsa.safetensors", spoil("scale", np.nan)), "lsa"),
    "a direction too few": (tensors("lsa.safetensors", shorten("directions")), "lsa"),
    "alpha out of range": (document("correction", "alpha", to=-1), "price_model"),
    "k out of range": (document("correction", "k", to=0), "price_model"),
    "k that is no whole number": (document("correction", "k", to=2.5), "price_model"),
    "lambda that is NaN": (document("correction", "decay", to=float("nan")), "price_model"),
    "a band beyond all numbers": (text("models/price_model.json", (r'"band": [\d.]+', '"band": 1e999')), "price_model"),
    "a negative weight": (document("weights", "mlp", to=-0.5), "price_model"),
    "a weight of no member": (document("weights", to=lambda weights: weights | {"nobody": 0.0}), "price_model"),
    "a span of prices upside down": (document("error", "calibration", "cheap", to=99.0), "price_model"),
    "an end that is NaN": (document("error", "calibration", "high", to=float("nan")), "price_model"),
    "a calibration of nothing": (document("error", "calibration", to={}), "price_model"),
    "a calibration of more": (document("error", "calibration", to=lambda own: own | {"more": 1.0}), "price_model"),
    "shares of close prices that rise": (
        document("error", "within", to={"error": [0.1, 0.2], "share": [0.1, 0.9]}),
        "price_model",
    ),
    "steps of the error that fall": (
        document("error", "within", to={"error": [0.2, 0.1], "share": [0.9, 0.1]}),
        "price_model",
    ),
    "a step too few": (document("error", "within", "share", to=lambda share: share[:-1]), "price_model"),
    "no model of the error": (document("error", to=None), "price_model"),
    "a member too few": (document("members", to=lambda members: members[:-1]), "price_model"),
    "a fold too few": (document("folds", to=2), "price_model"),
    "a stacker denied": (document("stacked", to=False), "price_model"),
    "a residual that is NaN": (reference(column("residual", at(5, np.nan))), "reference"),
    "a row less": (reference(lambda table: table.slice(0, table.num_rows - 1)), "reference"),
    "a row's number out of range": (reference(column("row", at(3, 10_000))), "reference"),
    "a negative row's number": (reference(column("row", at(3, -1))), "reference"),
    "two rows of one number": (reference(lambda table: column("row", at(3, table["row"][4].as_py()))(table)), "refer"),
    "prices out of order": (reference(column("log_price", lambda price: price[::-1].copy())), "reference"),
    "a price that is infinite": (reference(column("log_price", at(0, -np.inf))), "reference"),
    "a fold out of range": (reference(column("fold", at(0, 7))), "reference"),
    "a unit out of range": (reference(column("unit", at(0, 99))), "reference"),
    "a NaN in a search vector": (reference(column("search_vectors", first_number(np.nan))), "reference"),
    "a search vector too long": (reference(column("search_vectors", first_number(5.0))), "reference"),
    "search vectors of another length": (reference(column("search_vectors", _cut)), "refer"),
}  # fmt: skip


@pytest.mark.parametrize("kind", AT_OPENING)
def test_wrong_contents_under_right_hashes_are_refused_by_name_when_opened(
    kind: str, written: Callable[..., Path]
) -> None:
    damage, name = AT_OPENING[kind]
    index = written(damage)
    with pytest.raises(IndexUnusable, match=rf"{name}\S* is damaged \(.+\): build the index again") as refused:
        Pricer.open(index)
    assert "\n" not in str(refused.value)


MANIFESTS: dict[str, dict[str, Any]] = {
    "another number of rows": {"rows": 7},
    "k out of range in the settings": {"settings": {"correction": {"k": 0}}},
    "an unknown setting": {"settings": {"colour": "red"}},
    "another number of folds": {"settings": {"folds": 4}},
    "another encoder": {"settings": {"image_encoder": ["none"]}},
}


@pytest.mark.parametrize("kind", MANIFESTS)
def test_a_manifest_that_fits_no_file_is_refused(kind: str, shop: Any, written: Callable[..., Path]) -> None:
    changes = dict(MANIFESTS[kind])
    if "settings" in changes:
        changes["settings"] = _merged(read_manifest(current_generation(shop.index)).settings, changes["settings"])
    index = written(lambda folder: None, **changes)
    with pytest.raises(IndexUnusable, match=r" is damaged \(.+\): build the index again"):
        Pricer.open(index)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    return old | {key: _merged(old[key], value) if isinstance(value, dict) else value for key, value in new.items()}


def _other_dim(manifest: Manifest) -> dict[str, Any]:
    records = tuple(replace(record, dim=record.dim - 1) for record in manifest.encoders)
    return {"encoders": records}


def test_vectors_of_another_length_than_the_manifest_says_are_refused(shop: Any, written: Callable[..., Path]) -> None:
    index = written(lambda folder: None, **_other_dim(read_manifest(current_generation(shop.index))))
    with pytest.raises(IndexUnusable, match="of other lengths"):
        Pricer.open(index)


# --- what only a reader of all rows sees


def _shuffled(items: pa.Table, name: str) -> pa.Table:
    """A column in another order."""
    values = items[name].combine_chunks().take(pa.array(np.roll(np.arange(items.num_rows), 1)))
    return items.set_column(items.column_names.index(name), name, values)


def _without_last(items: pa.Table, vectors: dict[str, Any]) -> tuple[pa.Table, dict[str, Any]]:
    return items.slice(0, items.num_rows - 1), {name: value[:-1] for name, value in vectors.items()}


OF_ROWS: dict[str, tuple[Damage, str]] = {
    "predictions of fewer rows": (parquet(lambda table: table.slice(1)), "out_of_fold"),
    "a prediction that is NaN": (parquet(column("oof_mlp", at(2, np.nan))), "out_of_fold"),
    "a nested prediction that is NaN": (parquet(column("nested_oof_1_kernel", at(2, np.nan))), "out_of_fold"),
    "a fold out of range": (parquet(column("fold", at(0, 100))), "out_of_fold"),
    "folds of another index": (parquet(column("fold", lambda fold: np.roll(fold, 1))), "out_of_fold"),
    "a stacker's predictions of another index": (parquet(column("oof_stacker", lambda v: v + 0.1)), "out_of_fold"),
    "a member too few": (
        parquet(lambda table: table.select([name for name in table.column_names if not name.endswith("_mlp")])),
        "out_of_fold",
    ),
    "items of one id": (
        lance(lambda items, vectors: (column("item_id", at(1, items["item_id"][0].as_py()))(items), vectors)),
        "items.lance",
    ),
    "items in another order": (lance(lambda items, vectors: (_shuffled(items, "item_id"), vectors)), "items.lance"),
    "groups of another index": (lance(lambda items, vectors: (_shuffled(items, "group"), vectors)), "items.lance"),
    "an item too few": (lance(_without_last), "items.lance"),
    "vectors of another length": (
        lance(lambda items, vectors: (items, vectors | {"minilm_name": _cut(vectors["minilm_name"])})),
        "items.lance",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_ROWS)
def test_rows_that_do_not_fit_are_refused_by_whoever_reads_them_and_change_no_answer(
    kind: str, shop: Any, written: Callable[..., Path]
) -> None:
    damage, name = OF_ROWS[kind]
    index = written(damage)
    for read in (evaluate_index, compact_index):
        with pytest.raises(IndexUnusable, match=rf"{name}\S* is damaged \(.+\): build the index again"):
            read(index)
    if kind in ("a prediction that is NaN", "groups of another index"):  # of every file that no query reads, one
        assert Pricer.open(index).price(QUERIES) == Pricer.open(shop.index).price(QUERIES)


@pytest.mark.parametrize("change", [lambda table: table.slice(1), column("low", at(2, np.nan))])
def test_held_out_prices_that_do_not_fit_are_refused_by_whoever_reads_them(
    change: Callable[[pa.Table], pa.Table], written: Callable[..., Path]
) -> None:
    index = written(parquet(change, "held_out.parquet"))
    for read in (compact_index, lambda index: Pricer.open(index).audit()):
        with pytest.raises(IndexUnusable, match=r"held_out\.parquet is damaged \(.+\): build the index again"):
            read(index)


def test_encoded_vectors_that_have_another_length_are_refused_when_they_are_read(written: Callable[..., Path]) -> None:
    name = "minilm_name"
    index = written(lance(lambda items, vectors: (items, vectors | {name: first_number(3.0)(vectors[name])})))
    with pytest.raises(IndexUnusable, match=r"items\.lance is damaged \(vector_minilm_name holds what is no unit"):
        ItemStore.open(current_generation(index)).vectors(name)


@pytest.mark.parametrize("record", ["{", '{"what": ["blend"]}', '{"what": [], "cross_fitted": {"smape": NaN}}'])
def test_a_record_of_a_search_that_is_none_is_refused(record: str, written: Callable[..., Path]) -> None:
    index = written(lambda folder: (folder / "tuning.json").write_text(record))
    with pytest.raises(IndexUnusable, match=r"tuning\.json is damaged \(.+\): build the index again"):
        evaluate_index(index)


# --- what is too large to be looked at whole is met where it is used


NEVER_BELIEVED: dict[str, Damage] = {
    "a word's weights": tensors("models/lexical-0.safetensors", _all_words),
    "a landmark's vector": tensors("models/kernel-0.safetensors", spoil("vectors.minilm_name", np.nan)),
    "a leaf of the trees": lambda folder: _spoil_leaves(folder / "models" / "gbdt-0.txt"),
    "a leaf of the stacker": lambda folder: _spoil_leaves(folder / "models" / "stacker-1.txt"),
}  # fmt: skip


@pytest.mark.parametrize("kind", NEVER_BELIEVED)
def test_what_is_no_number_in_a_large_array_is_never_an_answer(
    kind: str, shop: Any, written: Callable[..., Path]
) -> None:
    index, answers = written(NEVER_BELIEVED[kind]), []
    try:
        pricer = Pricer.open(index)
        answers = pricer.price(QUERIES)
    except IndexUnusable as refused:
        assert re.search(r"damaged \(.+\): build the index again", str(refused))
    assert not answers or answers == Pricer.open(shop.index).price(QUERIES)


def test_an_index_that_was_only_copied_and_signed_again_is_the_same_index(
    shop: Any, written: Callable[..., Path]
) -> None:
    """Or the tests above would show nothing."""
    index = written(lance(lambda items, vectors: (items, vectors)))
    assert Pricer.open(index).price(QUERIES) == Pricer.open(shop.index).price(QUERIES)
    evaluate_index(index)
