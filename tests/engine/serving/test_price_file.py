"""Claims about a file that is priced: whole, in order, as a query prices it, and after any kill to the same byte."""

import csv
import fcntl
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from engine.ensemble.price_model import PriceModel
from engine.ensemble.uncertainty.error_model import TEXT_LENGTH
from engine.serving import shards
from engine.serving.joining import FILES
from engine.serving.price_file import PriceFileResult, price_file
from engine.serving.price_file_job import FULL, PLAIN, PRICE, Pool, PriceFileJob, PriceFileSettings
from engine.serving.pricer import Item, Pricer, Quote
from engine.serving.shard_pricer import here
from engine.serving.shards import (
    COLUMN,
    LINE,
    REASON,
    ShardResult,
    items_file,
    parts_of,
    priced_file,
    read_table,
    rejects_of,
    working,
    write_table,
)
from engine.serving.stopwatch import Stopwatch
from index.catalogue.settings import ReadSettings
from index.embedding.encode import Encoders
from index.encoders.device import torch_threads
from index.errors import DataRefused, IndexLocked, IndexUnusable, PriceError, UsageError
from index.photographs.source import Photographs

ROOT = Path(__file__).parents[3]


def by_length(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
    """A pool without a model: what a text costs is its length."""
    for shard in some:
        rows = read_table(items_file(job.parts, shard))
        usable = [not reason for reason in rows[REASON].to_pylist()]
        texts = rows["text"].to_pylist()
        price = [float(len(text)) if use else None for text, use in zip(texts, usable, strict=True)]
        part = {"item_id": rows["item_id"], "price": pa.array(price, pa.float64())}
        table = pa.table({**part, **{name: rows[name] for name in (LINE, COLUMN, REASON)}})
        digest = write_table(priced_file(job.parts, shard), table)
        yield ShardResult(shard, digest, rows.num_rows, sum(usable), {}, {}, {})


def made_up(path: Path, rows: int) -> Path:
    lines = ["sample_id,catalog_content,image_link"]
    lines += [f"{row % 7},{'' if row % 5 == 4 else 'Tea ' * (row % 3 + 1)}," for row in range(rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def items(tmp_path: Path) -> Path:
    return made_up(tmp_path / "items.csv", 23)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


@pytest.fixture
def run(items: Path, out: Path, shop: Any) -> Any:
    """Price without a model, in shards of five."""

    def run(source: Path = items, to: Path = out, **options: Any) -> PriceFileResult:
        how: dict[str, Any] = {"pool": by_length, "shard_rows": 5} | options
        names = [field.name for field in fields(PriceFileSettings)]
        settings = PriceFileSettings(**{name: how.pop(name) for name in names if name in how})
        return price_file(source, to, how.pop("index", shop.index), settings, **how)

    return run


@pytest.fixture
def mixed(shop: Any, tmp_path: Path) -> Path:
    """Items with words, with a photograph, with both, with neither, with broken ones, twice, without an id."""
    shutil.copy(shop.photograph, tmp_path / "good.jpg")
    (tmp_path / "broken.png").write_bytes(b"words")
    rows = [
        ("a", "Green tea, 20 bags", ""),
        ("b", "Utility rope, 100 feet", "good.jpg"),
        ("c", "", "good.jpg"),
        ("d", "", "broken.png"),
        ("a", "Green tea, 40 bags", "nowhere.png"),
        ("", "No id", ""),
        ("e", " ", ""),
        ("f", "Olive oil, 16.9 fl oz", "broken.png"),
        ("g", "Green tea, 20 bags", ""),
        ("=h", "Smoky hazelnut coffee, 12 oz (Pack of 2)", ""),
    ]
    path = tmp_path / "mixed.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("sample_id", "catalog_content", "image_link"), *rows])
    return path


def test_every_row_has_a_line_in_order_and_the_counts_add_up(mixed: Path, out: Path, shop: Any) -> None:
    done = price_file(mixed, out, shop.index, PriceFileSettings(shard_rows=4))
    lines, rejects = read(out), read(rejects_of(out))
    assert [line["sample_id"] for line in lines] == [*"abcda", "line-7", *"efg", "=h"]
    assert [n for n, line in enumerate(lines) if not line["price"]] == [3, 6]
    assert [(row["line"], row["column"], row["reason"].partition(":")[0]) for row in rejects] == [
        ("5", "image_link", "no text, and the photograph cannot be used"),
        ("8", "catalog_content", "no text and no photograph"),
    ]
    assert (done.rows, done.priced, done.rejected, done.resumed) == (10, 8, 2, 0)
    assert done.photographs_absent == {"not an image": 2, "missing": 1}
    assert done.rejects == rejects_of(out) and not parts_of(out).exists()


def quotes_of(mixed: Path, index: Path) -> list[Quote]:
    """What a query answers for the eight rows of `mixed` that have a price."""
    usable = [row for row in read(mixed) if row["sample_id"] not in ("d", "e")]
    asked = [Item(row["catalog_content"], row["image_link"] or None) for row in usable]
    return Pricer.open(index).price(asked, photographs=Photographs(None, None, mixed.parent))


def assert_quoted(line: dict[str, str], quote: Quote) -> None:
    """A line of FULL columns is the quote to the last digit."""
    assert float(line["price"]) == quote.price
    assert (float(line["low"]), float(line["high"])) == (quote.low, quote.high)
    assert (line["confidence"], float(line["within_20"])) == (quote.confidence, quote.within_20)
    assert line["why"] == " ".join(quote.why)
    assert (float(line["blend"]), float(line["shift"])) == (quote.parts["blend"], quote.parts["shift"])
    assert json.loads(line["comparables"]) == [one.item_id for one in quote.comparables]
    unit_price = (float(line["per_unit"]), line["unit"]) if line["per_unit"] else None
    assert unit_price == (quote.per_unit and (quote.per_unit.price, quote.per_unit.unit))
    per_unit = [one.per_unit and one.per_unit.price for one in quote.comparables]
    assert json.loads(line["comparables_per_unit"]) == per_unit


def test_a_price_is_that_of_a_query_to_the_last_digit(mixed: Path, out: Path, shop: Any) -> None:
    price_file(mixed, out, shop.index, PriceFileSettings(output=FULL, shard_rows=10))
    lines, quotes = [line for line in read(out) if line["price"]], quotes_of(mixed, shop.index)
    assert len(lines) == len(quotes) == 8
    for line, quote in zip(lines, quotes, strict=True):
        assert_quoted(line, quote)
    assert {quote.per_unit is None for quote in quotes} == {len(quote.why) > 1 for quote in quotes} == {True, False}
    assert any(one.per_unit for quote in quotes for one in quote.comparables)


@pytest.fixture
def told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices of every confidence: the shop's index tells one expected error, and that these texts are brief."""
    estimate = PriceModel.estimate

    def of_its_length(*arguments: Any, **options: Any) -> Any:
        made = estimate(*arguments, **options)
        length = np.expm1(made.evidence.fields.numbers[:, TEXT_LENGTH].astype(np.float64)).round()
        off = np.array([0.1, 0.25, 0.6])[(length % 3).astype(int)]
        told = {"expected_error": off, "brief": length < 8, "within": 1 / (1 + length)}
        return replace(made, spread=replace(made.spread, **told))

    monkeypatch.setattr(PriceModel, "estimate", of_its_length)


SURE_ENOUGH = {"high": {"high"}, "medium": {"high", "medium"}, "low": {"high", "medium", "low"}}


@pytest.mark.usefixtures("told_apart")
@pytest.mark.parametrize(
    ("least", "output"),
    [("high", PLAIN), ("medium", FULL), ("medium", (PRICE, "price_to_set")), ("low", FULL)],
    ids=["high", "medium", "bounded", "low"],
)
def test_a_price_that_is_less_sure_than_asked_for_is_left_out_and_listed_with_what_a_query_says_of_it(
    least: str, output: tuple[str, ...], mixed: Path, out: Path, shop: Any
) -> None:
    settings = PriceFileSettings(output=output, min_confidence=least, shard_rows=10)
    done, quotes = price_file(mixed, out, shop.index, settings), iter(quotes_of(mixed, shop.index))
    answered, words, unsure = SURE_ENOUGH[least], [], []
    for number, line in enumerate(read(out)):
        quote = None if line["sample_id"] in ("d", "e") else next(quotes)
        words += [quote.confidence] if quote else []
        if quote and quote.confidence in answered:
            assert float(line["price"]) == quote.price
            if output == FULL:
                assert_quoted(line, quote)
            continue
        assert not any(cell for name, cell in line.items() if name != "sample_id")
        if quote:
            reason = " ".join((f"the confidence is {quote.confidence}.", *quote.why))
            unsure.append((str(number + 2), line["sample_id"], "price", reason))
    assert set(words) == {"high", "medium", "low"}
    left_out = [
        (row["line"], row["item_id"].removeprefix("'"), row["column"], row["reason"]) for row in read(rejects_of(out))
    ]
    assert [row for row in left_out if row[0] not in ("5", "8")] == unsure
    assert [row[2] for row in left_out if row[0] in ("5", "8")] == ["image_link", "catalog_content"]
    assert len(unsure) == sum(word not in answered for word in words)
    assert (done.rows, done.priced, done.rejected) == (10, 8 - len(unsure), 2 + len(unsure))


def test_the_number_of_cores_does_not_show_in_a_price(
    out: Path, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    estimate = PriceModel.estimate

    def counted(*arguments: Any, **options: Any) -> Any:
        seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return estimate(*arguments, **options)

    monkeypatch.setattr(PriceModel, "estimate", counted)
    words = tmp_path / "words.csv"
    table = pc.read_csv(shop.catalogue).select(["sample_id", "catalog_content"])
    pc.write_csv(table.slice(0, 20), words)
    outs = []
    for count in (1, 2):
        with threadpool_limits(count, "blas"), torch_threads(count):
            price_file(words, out, shop.index, PriceFileSettings(output=FULL), overwrite=True)
        outs.append(out.read_bytes())
    assert outs[0] == outs[1] and outs[0].count(b"\n") > 20
    assert seen == {1}


def test_csv_and_parquet_agree_in_and_out(mixed: Path, out: Path, shop: Any, tmp_path: Path) -> None:
    rows = read(mixed)
    table = {name: [row[name] or None for row in rows] for name in rows[0]}
    table["sample_id"] = [row["sample_id"] or "line-7" for row in rows]  # as the CSV's line makes it
    pq.write_table(pa.table(table), tmp_path / "mixed.parquet")
    settings = PriceFileSettings(output=FULL, shard_rows=4)
    price_file(mixed, out, shop.index, settings)
    price_file(tmp_path / "mixed.parquet", tmp_path / "p.csv", shop.index, settings)
    price_file(mixed, tmp_path / "p.parquet", shop.index, settings)
    assert (tmp_path / "p.csv").read_bytes() == out.read_bytes()
    parquet, lines = pq.read_table(tmp_path / "p.parquet").to_pylist(), read(out)
    for row, line in zip(parquet, lines, strict=True):
        comparables = None if row["comparables"] is None else json.dumps(row["comparables"])
        shown = {**row, "comparables": comparables}
        assert {name: "" if value is None else str(value) for name, value in shown.items()} == line


def test_an_identical_text_is_encoded_once(
    tmp_path: Path, out: Path, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    get = Encoders.get

    def counted(self: Encoders, modality: Any) -> Any:
        encoder = get(self, modality)
        forward = type(encoder).forward
        monkeypatch.setattr(
            encoder, "forward", lambda prepared: [seen.append(1), forward(encoder, prepared)][1], raising=False
        )
        return encoder

    monkeypatch.setattr(Encoders, "get", counted)
    same = tmp_path / "same.csv"
    same.write_text("sample_id,catalog_content\n" + "".join(f"{n},Green tea\n" for n in range(400)), encoding="utf-8")
    price_file(same, out, shop.index)
    assert len(seen) == 1  # name and text are the same words
    prices = [float(line["price"]) for line in read(out)]
    assert prices == pytest.approx([prices[0]] * 400, rel=1e-6)


def test_a_row_stands_for_itself_whatever_the_shards(run: Any, out: Path, tmp_path: Path) -> None:
    run()
    whole = tmp_path / "whole.csv"
    run(to=whole, shard_rows=1000)
    assert whole.read_bytes() == out.read_bytes()
    assert rejects_of(whole).read_bytes() == rejects_of(out).read_bytes()
    assert [line["sample_id"] for line in read(out)] == [str(row % 7) for row in range(23)]


def test_a_shard_ends_where_its_cells_are_huge(run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []
    monkeypatch.setattr(shards, "SHARD_CHARACTERS", 10)

    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        for done in by_length(job, some):
            cut.append(done.rows)
            yield done

    run(pool=pool, shard_rows=1000)
    assert sum(cut) == 23 and 1 < max(cut) < 6
    assert len(read(out)) == 23


def test_shards_done_in_any_order_make_the_same_file(run: Any, out: Path, tmp_path: Path) -> None:
    run()
    backwards = tmp_path / "backwards.csv"
    run(to=backwards, pool=lambda job, some: by_length(job, list(reversed(some))))
    assert backwards.read_bytes() == out.read_bytes()


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
import pyarrow.parquet
from engine.serving import shards
from engine.serving.price_file import price_file
from engine.serving.price_file_job import PriceFileSettings
from index.errors import UsageError
from test_price_file import by_length

def price(items, out, index):
    return price_file(Path(items), Path(out), index, PriceFileSettings(shard_rows=5), pool=by_length)

def price_again(items, out, index):
    begun = (shards.parts_of(Path(out)) / shards.JOURNAL).exists()
    try:
        price(items, out, index)
    except UsageError as error:  # all was done but for the last files to remove
        assert "exists already" in str(error) and not begun

def dying(function, steps):
    def step(*arguments, **options):
        steps[0] -= 1
        if not steps[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return step

def fork(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]

items, out, index = sys.argv[3:]
whole = (Path(out).read_bytes(), Path(out + ".rejects.csv").read_bytes())
os.fsync = lambda handle: None  # the machine does not go down
kills = 0
while True:
    kills += 1
    Path(out).unlink(); Path(out + ".rejects.csv").unlink()
    def die():
        steps = [kills]
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (Path, "mkdir")):
            setattr(owner, name, dying(getattr(owner, name), steps))
        shards.write_table = dying(shards.write_table, steps)
        price(items, out, index)
    status = fork(die)
    assert fork(lambda: price_again(items, out, index)) == 0, kills
    assert (Path(out).read_bytes(), Path(out + ".rejects.csv").read_bytes()) == whole, kills
    assert not Path(out + ".parts").exists(), kills
    if status == 0:
        print(kills - 1)
        break
"""


@pytest.mark.parametrize("guard", [False, True])
def test_ids_stay_what_they_are_unless_formulas_are_guarded(guard: bool, run: Any, items: Path, out: Path) -> None:
    items.write_text("sample_id,catalog_content\n=1+1,Tea\n@a,\nplain,Tea\n", encoding="utf-8")
    run(guard_formulas=guard)
    assert [row["sample_id"] for row in read(out)] == (["'=1+1", "'@a", "plain"] if guard else ["=1+1", "@a", "plain"])
    assert [row["item_id"] for row in read(rejects_of(out))] == ["'@a"]


def test_formulas_are_guarded_in_csv_alone(run: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out --guard-formulas"):
        run(to=tmp_path / "prices.parquet", guard_formulas=True)


def test_a_job_that_was_killed_while_it_tidied_up_is_told_as_done(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    unlink = Path.unlink

    def unlink_one(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok)
        if out.exists():
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink_one)
        with pytest.raises(Killed):
            run()
    whole, before = out.read_bytes(), out.stat()
    done = run(pool=lambda *_: pytest.fail("it was priced again"))
    assert (done.rows, done.resumed, done.rejected > 0) == (23, 23, True)
    assert done.rejects is not None and done.rejects.exists()
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (whole, before.st_mtime_ns)
    assert not parts_of(out).exists()


def test_an_output_that_was_changed_before_its_job_was_tidied_up_is_not_told_as_done(
    run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("engine.serving.joining.sweep", lambda parts: None)
        run()
    assert parts_of(out).exists()
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run()
    assert out.read_text() == "mine"


def test_a_kill_between_any_two_steps_is_mended_by_the_same_command(
    run: Any, items: Path, out: Path, shop: Any
) -> None:
    made_up(items, 8)
    run()
    arguments = [str(ROOT), str(Path(__file__).parent), str(items), str(out), str(shop.index)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 18


def stopped(after: int) -> Pool:
    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        yield from by_length(job, some[:after])
        raise KeyboardInterrupt

    return pool


def test_what_is_done_is_not_done_again(run: Any, out: Path, tmp_path: Path) -> None:
    asked: list[int] = []

    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        asked.extend(some)
        return by_length(job, some)

    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    assert run(pool=pool).resumed == 10
    assert asked == [2, 3, 4]
    run(to=tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_part_that_is_damaged_is_made_again(run: Any, out: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(3))
    part = priced_file(parts_of(out), 1)
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    priced_file(parts_of(out), 2).unlink()
    items_file(parts_of(out), 4).unlink()
    with (parts_of(out) / "journal.jsonl").open("ab") as file:
        file.write(b'{"done": {"shard": 3, "sha')
    assert run().resumed == 5
    run(to=tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_what_follows_a_torn_line_is_not_lost(run: Any, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(1))
    with (parts_of(out) / "journal.jsonl").open("ab") as file:
        file.write(b'{"done": {"shard": 1, "sha')
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    assert run().resumed == 15


def test_other_work_is_not_continued(run: Any, items: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    other = made_up(tmp_path / "other.csv", 24)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = shutil.copy(items, tmp_path / "elsewhere" / "items.csv")
    for changed, said in (
        ({"source": other}, "other items"),
        ({"shard_rows": 6}, r"another setting \(shard_rows 5, now 6\)"),
        ({"correction": (("k", 3.0),)}, r"another setting \(k None, now 3"),
        ({"output": ("price", "low")}, r"another setting \(columns"),
        ({"image_dir": tmp_path}, r"another setting \(image_dir"),
        ({"source": elsewhere}, r"another setting \(base_dir"),  # where relative photographs would be others
    ):
        with pytest.raises(UsageError, match=said + r".*--overwrite"):
            run(**changed)
    assert run().resumed == 10


def test_work_with_other_rates_is_not_continued(run: Any, tmp_path: Path) -> None:
    rates = tmp_path / "rates.csv"
    rates.write_text("code,rate\nEUR,1.1\n")
    reading = ReadSettings(rates=str(rates))
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2), reading=reading)
    rates.write_text("code,rate\nEUR,1.2\n")
    with pytest.raises(UsageError, match=r"other rates.*--overwrite"):
        run(reading=reading)
    rates.write_text("code,rate\nEUR,1.1\n")
    assert run(reading=reading).resumed == 10


def test_the_same_items_by_another_path_are_continued(run: Any, items: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    (tmp_path / "link").symlink_to(items.parent)
    assert run(source=tmp_path / "link" / items.name).resumed == 10


def test_another_index_is_not_continued(run: Any, own_index: Path, out: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    manifest = next(own_index.glob("gen-*/manifest.json"))
    manifest.write_text(manifest.read_text().replace("\n", "\n\n"))
    with pytest.raises(UsageError, match="another index"):
        run(index=own_index)


def test_overwrite_drops_other_work_and_continues_the_same(run: Any, items: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))
    assert run(source=made_up(tmp_path / "other.csv", 24), overwrite=True).resumed == 0
    assert len(read(out)) == 24
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2), overwrite=True)
    with pytest.raises(UsageError, match="exists already"):
        run()
    assert len(read(out)) == 24
    assert run(overwrite=True).resumed == 10
    assert len(read(out)) == 23


def test_rejects_of_an_earlier_run_do_not_stay(run: Any, out: Path, tmp_path: Path) -> None:
    assert run().rejected == 4 and rejects_of(out).exists()
    good = tmp_path / "good.csv"
    good.write_text("sample_id,catalog_content\n1,Tea\n", encoding="utf-8")
    done = run(source=good, overwrite=True)
    assert (done.rejected, done.rejects) == (0, None) and not rejects_of(out).exists()


def test_an_output_in_the_way_is_refused_and_untouched(run: Any, items: Path, out: Path, tmp_path: Path) -> None:
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"exists already.*--overwrite"):
        run()
    assert out.read_text(encoding="utf-8") == "mine" and not parts_of(out).exists()
    before = items.read_bytes()
    for to, said in (
        (items, "would overwrite the items"),
        (tmp_path / "prices.txt", r"must end in \.csv or \.parquet"),
        (tmp_path / "nowhere" / "prices.csv", "cannot be written"),
    ):
        with pytest.raises(UsageError, match=said):
            run(to=to, overwrite=True)
    assert items.read_bytes() == before
    rejects = tmp_path / "x.csv.rejects.csv"
    shutil.copy(items, rejects)
    with pytest.raises(UsageError, match="would overwrite the items"):
        run(source=rejects, to=tmp_path / "x.csv")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "items.csv", "prices.csv", "x.csv.rejects.csv"
    ]  # fmt: skip


def test_a_full_disk_is_one_sentence_and_costs_nothing_that_is_done(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(2))

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("index.files.fsync", full)
        with pytest.raises(UsageError, match=r"No space left on device.*the same command goes on"):
            run()
    assert run().resumed == 10


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("sample_id,catalog_content\n", "no rows"),
        ("a,b\n1,2\n", "no column 'catalog_content' for the text"),
        ("sample_id,catalog_content\n1,\n2,\n", "no usable row"),
    ],
)
def test_a_file_without_an_item_is_refused_and_leaves_nothing(
    content: str, said: str, run: Any, out: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(content, encoding="utf-8")
    with pytest.raises(DataRefused, match=said):
        run(source=bad)
    assert not out.exists() and not parts_of(out).exists()


def test_a_mistaken_option_is_not_held_against_the_next_command(
    out: Path, items: Path, shop: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"k is 0|k 0"):
        price_file(items, out, shop.index, PriceFileSettings(correction=(("k", 0),)))
    with pytest.raises(UsageError, match="no folder"):
        price_file(items, out, shop.index, PriceFileSettings(image_dir=tmp_path / "nowhere"))
    assert not parts_of(out).exists()


@pytest.mark.parametrize("output", [(), ("prise",), ("price", "price")])
def test_columns_that_are_none_are_refused(output: tuple[str, ...], run: Any) -> None:
    with pytest.raises(UsageError, match="price, low, high"):
        run(output=output)


def test_an_id_column_that_is_called_like_an_answer_is_refused(run: Any, tmp_path: Path) -> None:
    source = tmp_path / "numbered.csv"
    source.write_text("price,catalog_content\n1,Tea\n", encoding="utf-8")
    with pytest.raises(UsageError, match="may not be called 'price'"):
        run(source=source, reading=ReadSettings(id="price"))


def test_a_second_process_is_refused_while_one_is_at_it(run: Any) -> None:
    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        with pytest.raises(IndexLocked, match="Another process"):
            run()
        return by_length(job, some)

    assert run(pool=pool).rows == 23


def test_a_process_that_is_refused_removes_nothing(run: Any, items: Path, out: Path) -> None:
    with working(items, out, FILES) as parts:  # which has begun no journal yet
        with pytest.raises(IndexLocked, match="Another process"):
            run()
        assert (parts / "lock").exists()
        with pytest.raises(IndexLocked, match="Another process"):
            run()
    assert not parts.exists()


def test_a_lock_that_was_removed_is_not_held(items: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening of the file and the lock upon it, whoever had it may be done and remove the folder."""
    taken: list[int] = []
    flock = fcntl.flock

    def late(handle: int, how: int) -> None:
        if how & fcntl.LOCK_EX:
            if not taken:
                shutil.rmtree(parts_of(out))
            taken.append(handle)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with working(items, out, FILES) as parts, pytest.raises(IndexLocked), working(items, out, FILES):
        pass
    assert len(taken) == 3 and not parts.exists()


def test_a_folder_of_the_users_own_is_refused_and_untouched(run: Any, out: Path) -> None:
    parts_of(out).mkdir()
    (parts_of(out) / "thesis.tex").write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match=r"holds other files \('thesis\.tex'\)"):
            run(overwrite=overwrite)
    assert [path.name for path in parts_of(out).iterdir()] == ["thesis.tex"]


def test_what_a_system_hides_among_the_parts_stays_and_stops_nothing(run: Any, out: Path) -> None:
    parts_of(out).mkdir()
    (parts_of(out) / ".DS_Store").write_bytes(b"")
    assert run().rows == 23
    assert (parts_of(out) / ".DS_Store").exists()


def test_items_that_change_while_they_are_read_are_refused(
    run: Any, items: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def growing(*arguments: Any) -> tuple[int, int]:
        made = shards.cut(*arguments)
        made_up(items, 24)
        return made

    monkeypatch.setattr("engine.serving.price_file.cut", growing)
    with pytest.raises(DataRefused, match="changed while it was read"):
        run()
    assert not out.exists()


def test_an_index_that_is_replaced_under_way_is_refused(run: Any, own_index: Path) -> None:
    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        manifest = next(own_index.glob("gen-*/manifest.json"))
        manifest.write_text(manifest.read_text().replace("\n", "\n\n"))
        return here(job, some)

    with pytest.raises(IndexUnusable, match="was replaced"):
        run(index=own_index, pool=pool)


def test_the_index_that_was_opened_is_the_one_that_was_asked_for(
    run: Any, own_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another becomes current while a worker opens it."""
    open_it = Pricer.open

    def replaced(index: Path, *given: Any, **options: Any) -> Pricer:
        later = Path(shutil.copytree(own_index / "gen-000001", own_index / "gen-000002"))
        manifest = later / "manifest.json"
        manifest.write_text(manifest.read_text().replace("\n", "\n\n"))
        (own_index / "CURRENT").write_text("gen-000002\n")
        return open_it(index, *given, **options)

    monkeypatch.setattr(Pricer, "open", replaced)
    with pytest.raises(IndexUnusable, match="was replaced"):
        run(index=own_index, pool=here)


def test_a_worker_that_fails_leaves_what_is_done(run: Any, out: Path) -> None:
    def pool(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        yield from by_length(job, some[:3])
        raise PriceError("A worker died.")

    with pytest.raises(PriceError, match="A worker died"):
        run(pool=pool)
    assert run().resumed == 15


def test_the_journal_is_json_and_knows_the_items_by_their_bytes(run: Any, out: Path, items: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(pool=stopped(1))
    lines = (parts_of(out) / "journal.jsonl").read_text().splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["header", "cut", "done"]
    assert re.fullmatch("[0-9a-f]{64}", json.loads(lines[0])["header"]["items"])
    assert str(items) not in "".join(lines)


def test_every_moment_belongs_to_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    clock = Stopwatch("a")
    assert clock.turn("b") == "a"
    clock.update("b", 1, 2)
    clock.update("c", 0, 2)
    clock.turn("a")
    clock.turn("")
    clock.turn("d")
    assert clock.taken() == {"a": 1.0 + 4.0, "b": 2.0, "c": 3.0}
    assert clock.taken() == {}


def parquet(path: Path, ids: pa.Array, words: str = "Tea") -> Path:
    texts = [f"{words} {row}" for row in range(len(ids))]
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"sample_id": ids, "catalog_content": texts}), path)
    return path


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.string()], ids=str)
def test_ids_of_a_parquet_file_keep_their_type_in_parquet(kind: pa.DataType, run: Any, tmp_path: Path) -> None:
    ids = pa.array(["7", "0", "-3"] if pa.types.is_string(kind) else [7, 0, 120], kind)
    if pa.types.is_floating(kind):
        ids = pa.array([7.0, 0.1, -1e300 if kind == pa.float64() else 2.5], kind)
    run(source=parquet(tmp_path / "items.parquet", ids), to=tmp_path / "out.parquet", shard_rows=2)
    assert pq.read_table(tmp_path / "out.parquet")["sample_id"].combine_chunks().equals(ids)


def test_ids_of_a_parquet_file_are_written_to_a_csv_as_before(run: Any, tmp_path: Path, out: Path) -> None:
    run(source=parquet(tmp_path / "items.parquet", pa.array([7, 10**18 + 1])))
    assert [line["sample_id"] for line in read(out)] == ["7", "1000000000000000001"]


def test_ids_stay_text_where_one_is_made_or_the_input_is_text(run: Any, items: Path, tmp_path: Path) -> None:
    run(
        source=parquet(tmp_path / "items.parquet", pa.array([7, None, 8, 9])), to=tmp_path / "out.parquet", shard_rows=3
    )
    ids = pq.read_table(tmp_path / "out.parquet")["sample_id"]
    assert (ids.type, ids.to_pylist()) == (pa.string(), ["7", "line-2", "8", "9"])
    run(source=items, to=tmp_path / "of-csv.parquet")
    assert pq.read_table(tmp_path / "of-csv.parquet")["sample_id"].type == pa.string()


def test_the_type_of_ids_is_remembered_by_a_job_that_goes_on(run: Any, tmp_path: Path) -> None:
    def dying(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        yield next(by_length(job, some))
        raise KeyboardInterrupt

    source = parquet(tmp_path / "items.parquet", pa.array(range(12), pa.int32()))
    with pytest.raises(KeyboardInterrupt):
        run(source=source, to=tmp_path / "out.parquet", pool=dying)
    assert run(source=source, to=tmp_path / "out.parquet").resumed == 5
    assert pq.read_table(tmp_path / "out.parquet")["sample_id"].type == pa.int32()


def test_a_folder_or_pattern_of_parquet_files_is_priced_as_one_file(run: Any, tmp_path: Path) -> None:
    for part in range(3):
        parquet(tmp_path / "parts" / f"{part}.parquet", pa.array([10 * part, 10 * part + 1]), "Tea " * part)
    whole = tmp_path / "whole.parquet"
    pq.write_table(pq.read_table(tmp_path / "parts"), whole)
    outs = [tmp_path / f"{name}.csv" for name in ("file", "folder", "pattern")]
    for source, to in zip((whole, tmp_path / "parts", tmp_path / "parts" / "*.parquet"), outs, strict=True):
        assert run(source=source, to=to).rows == 6
    assert outs[0].read_bytes() == outs[1].read_bytes() == outs[2].read_bytes()


@pytest.mark.parametrize("change", ["a cell", "a part", "the order"])
def test_a_job_of_parts_is_not_gone_on_with_where_one_of_them_changed(change: str, run: Any, tmp_path: Path) -> None:
    def dying(job: PriceFileJob, some: Sequence[int]) -> Iterator[ShardResult]:
        yield next(by_length(job, some))
        raise KeyboardInterrupt

    parts, out = tmp_path / "parts", tmp_path / "out.csv"
    for part in "ab":
        parquet(parts / f"{part}.parquet", pa.array(range(6)), f"Tea {part}")
    with pytest.raises(KeyboardInterrupt):
        run(source=parts, to=out, pool=dying)
    if change == "a cell":
        parquet(parts / "b.parquet", pa.array(range(6)), "Tee b")
    elif change == "a part":
        parquet(parts / "c.parquet", pa.array([7]))
    else:
        (parts / "a.parquet").rename(parts / "c.parquet")
    with pytest.raises(UsageError, match="an unfinished job with other items"):
        run(source=parts, to=out)
    assert run(source=parts, to=out, overwrite=True).resumed == 0


def test_an_output_among_the_parts_that_are_read_is_refused(run: Any, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    source = parquet(parts / "a.parquet", pa.array([1, 2]))
    before = source.read_bytes()
    for items, to in (
        (parts, source),
        (parts, parts / "deep" / "out.parquet"),
        (parts / "*.parquet", parts / "out.parquet"),
        (parts / "*", parts / "out.csv"),
    ):
        with pytest.raises(UsageError, match=r"would overwrite the items|would be read as one of the items"):
            run(source=items, to=to, overwrite=True)
    assert source.read_bytes() == before and [path.name for path in parts.iterdir()] == ["a.parquet"]
    run(source=parts, to=parts / "out.csv")
    assert run(source=parts, to=parts / "out.csv", overwrite=True).rows == 2


def test_a_folder_or_pattern_without_parquet_files_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataRefused, match=r"is a folder without a \.parquet file"):
        run(source=tmp_path / "empty")
    with pytest.raises(DataRefused, match="names no file"):
        run(source=tmp_path / "*.parquet")
    with pytest.raises(DataRefused, match="is not a file: check the path"):
        run(source=tmp_path / "nowhere.csv")
