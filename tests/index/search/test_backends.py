"""Claims about what searches: whatever does it, the answer is that of the plain products over slices."""

import gc
import math
import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest

from index.errors import IndexUnusable, UsageError
from index.search import AUTO, FAISS, LANCE, SLICE
from index.search import dense as slice_search
from index.search import faiss_backend as faiss_search
from index.search import lance_backend as lance_search
from index.search import similarity as ranking
from index.search.backends import at_open, choose, open_backend, write_backend
from index.search.dense import SliceSearch
from index.search.faiss_backend import FaissSearch
from index.search.gpu import GpuProduct, gpu_bytes
from index.search.int8 import codes as quantise
from index.search.int8 import scan
from index.search.int8.codes import encode_rows
from index.search.int8.scan import Scan
from index.search.lance_backend import LanceSearch
from index.search.neighbours import BandIndex
from index.search.price_order import order_by_price
from index.storage.layout import search_paths


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def scattered(random, rows, dim):
    return unit(random.standard_normal((rows, dim)))


def tied(random, rows, dim):
    """Few distinct vectors, so that most similarities tie and thousands of rows are as good as the k-th."""
    return unit(random.standard_normal((3, dim)))[random.integers(0, 3, rows)]


def almost_alike(random, rows, dim):
    """One vector and noise near the last bit: no code tells the rows apart."""
    return unit(random.standard_normal((1, dim)) + 3e-7 * random.standard_normal((rows, dim)))


def in_few_directions(random, rows, dim):
    """Most of the length in a quarter of the directions, turned: what text encoders give."""
    size = np.where(np.arange(dim) < dim // 4, 1, 0.1)
    return unit(random.standard_normal((rows, dim)) * size @ np.linalg.qr(random.standard_normal((dim, dim)))[0])


def spiked(random, rows, dim):
    """One number far larger than the others, as some encoders give: the coarsest codes."""
    vectors = random.standard_normal((rows, dim))
    vectors[:, 0] += 30
    return unit(vectors)


class Case:
    """An index, queries in price order, and what the plain products find."""

    def __init__(self, made, rows, dim, *, seed=0, asked=60, k=9, band=0.4):
        random = np.random.default_rng(seed)
        vectors = made(random, rows + asked, dim)
        groups, prices = random.integers(0, rows // 3 + 1, rows), random.integers(0, 90, rows) / 30
        self.order = order_by_price(vectors[:rows], prices, groups)
        self.queries = np.concatenate([vectors[rows:], vectors[: asked // 2]])
        centre = np.sort(random.normal(1.5, 0.6, len(self.queries)))
        start, end = self.order.range_of(centre, band)
        excluded = random.integers(-1, rows // 3 + 1, len(self.queries))
        self.asked = (self.queries, start, end, excluded, k)
        self.want = SliceSearch(self.order).search(*self.asked)

    def check(self, backend):
        for got, want in zip(backend.search(*self.asked), self.want, strict=True):
            np.testing.assert_array_equal(got, want)


def fading(random, rows, dim):
    """A length that fades from direction to direction, as that of text does: several levels of codes."""
    return unit(random.standard_normal((rows, dim)) * np.arange(1, dim + 1) ** -0.5)


MADE = [scattered, tied, almost_alike, in_few_directions, spiked, fading]


@pytest.mark.parametrize("batched", [1, 10**6], ids=["at once", "one by one"])
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(("rows", "dim", "k"), [(1500, 256, 9), (3000, 17, 1), (700, 300, 400)])
def test_a_scan_of_bytes_agrees_with_plain_products_to_the_last_bit(*, made, rows, dim, k, batched, monkeypatch):
    monkeypatch.setattr(scan, "BATCHED", batched)
    monkeypatch.setattr(scan, "TILE_ROWS", 400)
    case = Case(made, rows, dim, k=k)
    case.check(Scan(case.order, threads=1))


@pytest.mark.parametrize("backend", [FaissSearch, LanceSearch])
@pytest.mark.parametrize(("rows", "dim"), [(299, 8), (300, 9)])
def test_what_a_backend_kept_of_other_vectors_is_refused(backend, rows, dim, tmp_path):
    path = search_paths(tmp_path)[FAISS if backend is FaissSearch else LANCE]
    backend.write(order_by_price(scattered(np.random.default_rng(0), 300, 8), np.zeros(300)), path)
    others = order_by_price(scattered(np.random.default_rng(1), rows, dim), np.zeros(rows))
    with pytest.raises(IndexUnusable, match=rf"{path.name} is damaged \(it is of other vectors\): build"):
        backend.open(others, path)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize(("rows", "dim", "k"), [(9000, 256, 9), (900, 17, 400)])
def test_a_query_alone_finds_what_it_finds_among_others(*, made, rows, dim, k, threads, monkeypatch):
    monkeypatch.setattr(scan, "SHARED_BYTES", 1)
    case = Case(made, rows, dim, k=k, asked=20, band=1.5)
    backend = Scan(case.order, threads)
    *asked, _ = case.asked
    for one in range(len(case.queries)):
        if asked[2][one] > asked[1][one]:
            for got, want in zip(backend.search(*(each[[one]] for each in asked), k), case.want, strict=True):
                np.testing.assert_array_equal(got[0], want[one])


@pytest.mark.parametrize("made", MADE)
def test_threads_and_a_shared_scan_change_nothing(made, monkeypatch):
    case = Case(made, 2000, 256)
    case.check(Scan(case.order, threads=3))
    monkeypatch.setattr(scan, "BATCHED", 10**6)
    monkeypatch.setattr(scan, "SHARED_BYTES", 1)
    case.check(Scan(case.order, threads=3))


@pytest.mark.parametrize("dim", [1, 2, 3, 16, 17, 100, 384])
def test_a_similarity_has_the_same_bits_from_numpy_and_from_compiled_loops(dim):
    from index.search.int8.loops import _similarity

    random = np.random.default_rng(dim)
    coarse = random.integers(-(2**12), 2**12, (300, dim)) / 2**12  # whose sums often lie half-way between two floats
    for vectors in (coarse.astype(np.float32), random.standard_normal((300, dim)).astype(np.float32)):
        query, room = vectors[0], np.empty(dim)
        compiled = [_similarity(vectors, row, query.astype(np.float64), room) for row in range(300)]
        np.testing.assert_array_equal(ranking.similarities(vectors, query), np.array(compiled, np.float32))
        exact = [math.fsum(map(float, line)) for line in vectors.astype(np.float64) * query]
        np.testing.assert_array_equal(ranking.similarities(vectors, query), np.array(exact, np.float32))


@pytest.mark.parametrize("seed", range(8))
def test_the_first_bar_is_never_above_the_kth_row_that_may_be_seen(seed):
    """Rows are their own codes here: the products say how similar each is, and `error` by how much that is off."""
    from index.search.int8.select import _first_threshold

    random = np.random.default_rng(seed)
    products, groups = random.integers(-1000, 1000, 400).astype(np.int32), random.integers(0, 3, 400)
    scale, error = np.ones(400, np.float32), random.uniform(0, 50, 400).astype(np.float32)
    groups[np.argsort(products)[-40:]] = 1  # the best are barred
    unit, length, extra = np.float32(1), np.float32(1), np.float32(5)
    for excluded, seen in ((-1, groups >= 0), (1, groups != 1)):
        bar = _first_threshold(products, scale, error, groups, excluded, unit, length, extra, 9)
        assert -np.inf < bar <= np.sort((products - error - extra)[seen])[-9] + 0.01


@pytest.mark.parametrize("dim", [200, 2000])
def test_without_instructions_for_bytes_the_same_integers_are_multiplied_as_floats(dim, monkeypatch):
    monkeypatch.setattr(scan, "multiplies_bytes", lambda: False)
    case = Case(scattered, 900, dim)
    case.check(Scan(case.order, threads=1))


def test_no_sum_of_products_overflows_where_many_dimensions_add_up():
    random = np.random.default_rng(0)
    turned = random.random((600, 4000)) < np.linspace(0, 0.9, 600)[:, None]  # from alike to nearly opposite
    vectors = random.uniform(0.999, 1.001, (600, 4000)) * np.where(turned, -1, 1)  # 4000 * 127 * 32767 leaves 32 bits
    order = order_by_price(unit(vectors), np.zeros(600))
    asked = (order.vectors[:3], np.zeros(3, np.int64), np.full(3, 600), np.full(3, -1), 5)
    for got, want in zip(Scan(order, 1).search(*asked), SliceSearch(order).search(*asked), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("made", MADE)
def test_no_row_is_further_from_its_codes_than_they_say(made):
    vectors = made(np.random.default_rng(1), 400, 256)
    codes = encode_rows(vectors)
    for level, values in [(codes.whole, vectors)] + (
        [(codes.coarse.level, vectors @ codes.coarse.directions.T)] if codes.coarse else []
    ):
        decoded = level.scale[:, None].astype(np.float64) * level.code[:, : values.shape[1]]
        assert np.all(np.linalg.norm(values - decoded, axis=1) <= level.error)
        assert level.error.mean() < 0.2
    if codes.coarse:
        inside = vectors.astype(np.float64) @ codes.coarse.directions.T @ codes.coarse.directions
        assert np.all(np.linalg.norm(vectors - inside, axis=1) <= codes.coarse.outside_norm)


def test_a_head_is_made_where_few_directions_hold_the_length_and_not_elsewhere():
    random = np.random.default_rng(2)
    assert encode_rows(in_few_directions(random, 500, 256)).coarse.directions.shape == (64, 256)
    assert encode_rows(scattered(random, 500, 256)).coarse is None


def test_a_head_leaves_few_rows_to_the_whole_codes(monkeypatch):
    """Else it would cost and bring nothing: of rows unlike the query, the bound of the head rules out nearly all."""
    random = np.random.default_rng(3)
    kind = in_few_directions(random, 1000, 256)
    vectors = np.concatenate([kind, unit(kind[:1] + 0.02 * random.standard_normal((40, 256)))])
    codes = encode_rows(vectors)
    inside = vectors @ codes.coarse.directions.T
    above = inside @ inside[0] + codes.coarse.level.error + codes.coarse.outside_norm * codes.coarse.outside_norm[0]
    assert (above > np.sort(vectors @ vectors[0])[-20]).sum() < 200


@pytest.mark.parametrize("width", [64, 192])
def test_the_instruction_for_bytes_and_the_loop_without_it_add_up_the_same_integers(width):
    from index.search.int8 import products

    random = np.random.default_rng(width)
    rows, query = random.integers(0, 256, (16, width)), random.integers(-127, 128, width)
    dealt = rows.astype(np.uint8).reshape(16, width // 4, 4).transpose(1, 0, 2).reshape(-1)
    code = random.integers(-127, 128, (3, width)).astype(np.int8)
    long, halves = random.integers(-32639, 32640, width).astype(np.int16), np.empty((2, width), np.int8)
    total = products.halve(long, halves)
    np.testing.assert_array_equal(halves[0].astype(int) * 256 + halves[1], long)
    kinds = [(products.block_by_loop, products.row_by_loop)]
    if products.has_instruction():
        kinds.append((products.block_by_instruction, products.row_by_instruction))
    for of_block, of_row in kinds:
        out = np.zeros(32, np.int32)
        of_block(np.concatenate([dealt * 0, dealt]), 16 * width, query.astype(np.int8), -7, out, 16)
        np.testing.assert_array_equal(out, np.r_[np.zeros(16, int), rows @ query - 7])
        assert [of_row(code, row, long, halves, total) for row in range(3)] == (code @ long.astype(int)).tolist()


def test_rows_are_picked_by_their_bounds_as_numpy_picks_them():
    import numba

    from index.search.int8.products import gather

    pick = numba.njit(lambda above, low, high, hits: gather(above, 16, 80, low, high, hits))
    above, hits = np.random.default_rng(0).permutation(96).astype(np.float32), np.zeros(96, np.int32)
    above[[20, 50]] = -np.inf, 70
    for low, high in ((30, 70), (0, np.inf), (-np.inf, 20), (200, 300)):
        count = pick(above, np.float32(low), np.float32(high), hits)
        want = 16 + np.flatnonzero((above[16:80] >= low) & (above[16:80] < high))
        np.testing.assert_array_equal(hits[:count], want)


@pytest.mark.parametrize("made", [fading, tied])
def test_no_row_is_more_alike_than_the_bound_of_any_level_says_and_the_bounds_close_in(made):
    from index.search.int8 import levels
    from index.search.int8.products import LINE

    random = np.random.default_rng(3)
    vectors, queries = made(random, 500, 512), made(random, 6, 512)
    vectors[::7] *= 1.009  # as long as a row may be
    coarse = encode_rows(vectors).coarse
    cut, directions = levels.cut(coarse), coarse.directions.astype(float)
    values = queries @ directions.T
    code, lines, numbers = cut.encode(values, np.linalg.norm(queries - values @ directions, axis=1))
    exact, above = queries.astype(float) @ vectors.T, np.empty((6, 512), np.float32)
    for query in range(6):
        levels.bounds(cut.code, cut.outside, code[query], numbers[query, 0], 0, 500, above[query])
    assert np.all(above[:, 500:] == -np.inf)
    above, slack = above[:, :500], [(above[:, :500] - exact).mean()]
    assert np.all(above >= exact)
    score = above - cut.outside[:500] * numbers[:, 0, 1, None] - numbers[:, 0, 2, None]
    for level, line in enumerate(cut.lines, 1):
        products = lines[:, level - 1, : LINE - 1].astype(int) @ line[:, : LINE - 1].T
        score = score + products * numbers[:, level, 0, None]
        bound = score + line[:, LINE - 1] * numbers[:, level, 1, None] + numbers[:, level, 2, None]
        assert np.all(bound >= exact)
        slack.append((bound - exact).mean())
    assert sorted(slack, reverse=True) == slack
    assert made is tied or len(slack) == 3


@pytest.mark.parametrize("made", [in_few_directions, spiked])
def test_directions_in_any_order_cost_time_and_change_nothing(made):
    """As an index has them that was written before they were put in order."""
    case = Case(made, 900, 256)
    codes = encode_rows(case.order.vectors)
    if codes.coarse is not None:
        other = replace(codes.coarse, directions=codes.coarse.directions[::-1].copy())
        codes = encode_rows(case.order.vectors, replace(codes, coarse=other))
    case.check(Scan(replace(case.order, codes=codes), threads=1))
    *asked, k = case.asked
    for query in range(5):
        if asked[2][query] > asked[1][query]:
            got = Scan(replace(case.order, codes=codes), threads=1).search(*(part[[query]] for part in asked), k)
            np.testing.assert_array_equal(got[0][0], case.want[0][query])


def test_codes_made_by_chunks_are_the_same(monkeypatch):
    vectors = in_few_directions(np.random.default_rng(4), 700, 256)
    whole = encode_rows(vectors)
    monkeypatch.setattr(quantise, "CHUNK_ROWS", 64)
    parts = encode_rows(vectors)
    np.testing.assert_array_equal(whole.whole.code, parts.whole.code)
    np.testing.assert_array_equal(whole.coarse.level.code, parts.coarse.level.code)


def test_codes_that_cannot_be_written_are_scanned_alike():
    case = Case(in_few_directions, 900, 256)
    frozen = order_by_price(case.order.vectors, case.order.log_price, case.order.groups)
    frozen.vectors.flags.writeable = False
    codes = encode_rows(frozen.vectors)
    codes.whole.code.flags.writeable = False
    assert [len(each) for each in Scan(replace(case.order, codes=codes)).search(*case.asked)] == [90, 90]
    case.check(Scan(replace(case.order, codes=codes)))


@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("k", [1, 9, 5000])
def test_half_precision_on_another_device_agrees_too(made, k):
    case = Case(made, 800, 96, k=k)
    backend = SliceSearch(case.order)
    backend._gpu = GpuProduct(case.order, "cpu")
    case.check(backend)


def test_a_large_index_is_scanned_once_enough_was_asked_and_a_small_one_never(monkeypatch):
    case = Case(scattered, 1200, 64)
    monkeypatch.setattr(slice_search, "SCAN_ROWS", 1000)
    work = int((case.asked[2] - case.asked[1]).sum()) * 64
    monkeypatch.setattr(slice_search, "SCAN_AFTER", int(1.5 * work))
    backend = SliceSearch(case.order)
    case.check(backend)
    assert backend._scan is None
    case.check(backend)
    assert backend._scan is not None
    monkeypatch.setattr(slice_search, "SCAN_ROWS", 1201)
    monkeypatch.setattr(slice_search, "SCAN_AFTER", 0)
    small = SliceSearch(case.order)
    case.check(small)
    assert small._scan is None


def test_a_search_in_a_small_index_loads_no_compiler():
    script = (
        "import sys, numpy as np; from index.search.neighbours import BandIndex\n"
        "BandIndex(np.eye(4), np.zeros(4)).search(np.eye(4), np.zeros(4), k=2, band=1)\n"
        "assert not {'numba', 'torch', 'faiss', 'lancedb'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "from disk"])
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("name", [FAISS, LANCE])
def test_a_backend_that_looks_at_all_rows_agrees_with_plain_products(name, made, kept, tmp_path):
    case = Case(made, 500, 32, asked=20)
    choice = choose(name, 500, 32)
    if kept:
        write_backend(choice, case.order, search_paths(tmp_path))
        assert len(list(tmp_path.iterdir())) == 1
    case.check(open_backend(choice, case.order, search_paths(tmp_path)))


@pytest.mark.parametrize("search", [SLICE, FAISS, LANCE])
def test_of_equal_rows_the_first_are_found_whatever_their_prices(search):
    price = np.random.default_rng(0).permutation(100) / 100
    near = BandIndex(np.repeat(np.eye(8)[:1], 100, 0), price, search=search).search(np.eye(8)[:1], [0.5], k=5, band=9)
    assert near.rows.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("opened", [FaissSearch, LanceSearch])
def test_where_rows_differ_a_backend_that_looks_at_all_of_them_does_so_once(opened, monkeypatch):
    case, times = Case(scattered, 500, 32, asked=20), []
    search = opened._search
    monkeypatch.setattr(opened, "_search", lambda *given: [times.append(1), search(*given)][1])
    case.check(opened.open(case.order, None))
    assert len(times) == (case.asked[2] > case.asked[1]).sum()


@pytest.mark.parametrize(("module", "opened"), [(faiss_search, FaissSearch), (lance_search, LanceSearch)])
def test_an_approximate_backend_gives_true_similarities_in_the_band_and_most_of_the_neighbours(
    module, opened, monkeypatch
):
    monkeypatch.setattr(module, "IVF_ROWS", 1000)
    case = Case(in_few_directions, 2000, 64, asked=20)
    rows, similarity = opened.open(case.order, None).search(*case.asked)
    _, start, end, excluded, _ = case.asked
    position = {row: place for place, row in enumerate(case.order.rows)}
    found = 0
    for query, line in enumerate(rows):
        for row, score in zip(line[line >= 0], similarity[query], strict=False):
            place = position[row]
            assert start[query] <= place < end[query] and case.order.groups[place] != excluded[query]
            assert score == np.float32(case.queries[query].astype(float) @ case.order.vectors[place].astype(float))
        found += len(np.intersect1d(line[line >= 0], case.want[0][query]))
    assert found / (case.want[0] >= 0).sum() > 0.8


class FakeGpu:
    """What a FAISS with a GPU adds to the module: a copy of the lists that takes no selector and few rows at once."""

    def __init__(self, monkeypatch, memory=True):
        import faiss

        self.fetched, self.asked_again, self.inside = [], 0, faiss.SearchParametersIVF
        monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
        monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
        monkeypatch.setattr(faiss, "index_cpu_to_gpu", self.copy if memory else self.refuse, raising=False)
        again = FaissSearch._parameters
        monkeypatch.setattr(FaissSearch, "_parameters", lambda *given: (self.count(), again(*given))[1])

    def count(self):
        self.asked_again += 1

    def copy(self, resources, device, index):
        assert device == 0
        self.index, self.nprobe = index, 1
        return self

    def refuse(self, *_):
        raise RuntimeError("Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory")

    def search(self, queries, k):
        assert k <= 2048 and self.nprobe <= 2048
        self.fetched.append((len(queries), k))
        return self.index.search(queries, k, params=self.inside(nprobe=self.nprobe))


@pytest.fixture
def all_lists(monkeypatch):
    """Lists that are looked into one and all: what they find is exact."""
    monkeypatch.setattr(faiss_search, "IVF_ROWS", 1000)
    monkeypatch.setattr(faiss_search, "PROBED", 1.0)


@pytest.mark.parametrize("k", [1, 9, 400])
@pytest.mark.parametrize("made", [scattered, in_few_directions, spiked])
def test_lists_on_a_gpu_find_what_plain_products_find_in_each_band(made, k, all_lists, monkeypatch):
    case, gpu = Case(made, 2000, 64, asked=20, k=k), FakeGpu(monkeypatch)
    case.check(FaissSearch.open(case.order, None))
    assert gpu.fetched == [(30, min(8 * (k + 8), 2048))]
    assert gpu.nprobe == round(2000**0.5)
    assert gpu.asked_again < 30 or k == 400


def test_a_band_that_holds_too_few_of_what_the_gpu_found_is_searched_again(all_lists, monkeypatch):
    case, gpu = Case(scattered, 2000, 64, band=0.05), FakeGpu(monkeypatch)
    case.check(FaissSearch.open(case.order, None))
    assert gpu.asked_again > 40


def test_a_band_as_wide_as_the_index_is_searched_on_the_gpu_alone(all_lists, monkeypatch):
    case, gpu = Case(scattered, 2000, 64, band=math.inf), FakeGpu(monkeypatch)
    case.check(FaissSearch.open(case.order, None))
    assert gpu.asked_again == 0


def test_a_gpu_without_room_for_the_lists_is_not_used(all_lists, monkeypatch):
    case, gpu = Case(scattered, 2000, 64), FakeGpu(monkeypatch, memory=False)
    case.check(FaissSearch.open(case.order, None))
    assert gpu.fetched == []


def test_few_rows_that_need_no_lists_stay_off_the_gpu_and_so_does_a_faiss_that_knows_none(all_lists, monkeypatch):
    import faiss

    gpu = FakeGpu(monkeypatch)
    few, many = Case(scattered, 500, 32), Case(scattered, 2000, 32)
    few.check(FaissSearch.open(few.order, None))
    monkeypatch.delattr(faiss, "get_num_gpus")
    many.check(FaissSearch.open(many.order, None))
    assert gpu.fetched == []


@pytest.mark.parametrize("name", [FAISS, LANCE])
def test_a_group_of_a_thousand_rows_is_left_out_like_any_other(name, tmp_path):
    """The groups of an index are its folds: a third of the rows in each."""
    random = np.random.default_rng(5)
    vectors, queries = scattered(random, 3000, 16), scattered(random, 3, 16)
    order = order_by_price(vectors, random.normal(size=3000), np.arange(3000) % 3)
    paths = search_paths(tmp_path)
    write_backend(choose(name, *vectors.shape), order, paths)
    asked = (queries, np.zeros(3, np.int64), np.array([3000, 2900, 3000]), np.array([0, 1, 2]), 7)
    got = open_backend(choose(name, *vectors.shape), order, paths).search(*asked)
    for there, want in zip(got, SliceSearch(order).search(*asked), strict=True):
        np.testing.assert_array_equal(there, want)


def test_a_table_that_cannot_be_written_aside_leaves_nothing(tmp_path, monkeypatch):
    def full(_, path):
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(LanceSearch, "write", full)
    with pytest.raises(OSError, match="No space"):
        LanceSearch.open(Case(scattered, 50, 8, asked=2).order, None)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_auto_is_what_the_build_wrote_whatever_machine_opens_it(tmp_path):
    paths = search_paths(tmp_path)
    assert [at_open(name, paths) for name in (AUTO, SLICE, FAISS, LANCE)] == [SLICE, SLICE, FAISS, LANCE]
    (tmp_path / "search.lance").mkdir()
    assert [at_open(name, paths) for name in (AUTO, SLICE, FAISS)] == [LANCE, SLICE, FAISS]


def test_a_gpu_is_taken_where_the_rows_fit_what_is_free_of_it():
    needed = gpu_bytes(10**6, 768)
    assert needed > 10**6 * 768 * 2
    assert choose(AUTO, 10**6, 768, memory=2**34, gpu=needed).device == "cuda"
    assert choose(AUTO, 10**6, 768, memory=2**34, gpu=needed - 1).device == "cpu"
    assert choose(SLICE, 10**6, 768, memory=2**34, gpu=0).device == "cpu"


def test_auto_is_exact_until_vectors_outgrow_memory_and_says_why():
    assert (
        choose(AUTO, 7000, 768, memory=2**34, gpu=0).why
        == "slice: exact, and 7,000 rows of 768 numbers fit into memory."
    )
    beyond = choose(AUTO, 10**8, 768, memory=2**34, gpu=2**36)
    assert beyond.name == LANCE
    assert "need 393.4 GB for vectors and codes, the machine has 16.0" in beyond.why
    assert choose(SLICE, 10**8, 768, memory=2**34, gpu=0).name == SLICE
    assert choose(AUTO, 10**6, 768, memory=2**34, gpu=2**36).device == "cuda"
    assert choose(AUTO, 100, 768, memory=2**34).device == "cpu"
    assert choose(FAISS, 10**6, 384).name == FAISS


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(UsageError, match="search is 'annoy': choose from auto, slice, faiss, lance"):
        BandIndex(np.eye(2), [1, 1], search="annoy")


def test_an_index_says_what_searches_it():
    assert BandIndex(np.eye(2), [1, 1]).backend.startswith("slice: exact")
    assert BandIndex(np.eye(2), [1, 1], search="faiss").backend.startswith("faiss: asked for by name")


@pytest.mark.parametrize("name", [SLICE, FAISS, LANCE])
def test_bands_that_hold_nobody_zero_vectors_and_a_large_k_are_answered_by_each(name):
    vectors = np.array([[1, 0], [0, 0], [0.6, 0.8]])
    index = BandIndex(vectors, [1, 1, 1], groups=[0, 1, 2], search=name)
    near = index.search([[1, 0], [1, 0], [0, 0], [1, 0]], [1, 9, 1, 1], k=5, band=0.5, exclude_group=[-1, -1, -1, 0])
    assert near.rows.tolist() == [[0, 2, -1, -1, -1], [-1] * 5, [-1] * 5, [2, -1, -1, -1, -1]]
    np.testing.assert_array_equal(near.similarity[0], np.array([1, 0.6, 0, 0, 0], np.float32))
    assert not BandIndex(np.zeros((3, 2)), [1, 1, 1], search=name).search([[1, 0]], [1], k=2, band=math.inf).found.any()
