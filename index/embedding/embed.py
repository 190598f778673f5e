"""Texts and photographs to unit vectors: batched by size, each distinct one encoded once, resumable.

What has been encoded is kept in a cache by content, so that a second build, or one after a kill, encodes only what is
new. An encoder knows one batch at a time (`index.encoders`); photographs come from `index.photographs.source`.
"""

import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from index.arrays import Float32, chunks
from index.embedding.vector_cache import VectorCache
from index.encoders import Encoder
from index.encoders.device import one_thread_each, torch_threads
from index.errors import DataRefused, PriceError
from index.photographs.fingerprints import READERS, Fingerprints, read_fingerprints
from index.photographs.formats import ImageRefused
from index.photographs.source import Photographs
from index.progress import OnProgress, silent
from index.visible import excerpt

NO_PHOTOGRAPH = "no photograph given"


class PhotographVectors(NamedTuple):
    """A vector per row; and for a row without a usable photograph the reason."""

    vectors: Float32  # (n, dim)
    absent: list[str | None]  # (n,) None where the photograph was used


class Batch(NamedTuple):
    """Items to be encoded together, and what they are kept by."""

    keys: list[bytes]
    items: list[Any]


Batches = Generator[Batch, None, None]
Encoded = Generator[tuple[list[bytes], np.ndarray], None, None]


def embed_texts(
    encoder: Encoder, texts: Sequence[str], cache: VectorCache | None = None, on_progress: OnProgress = silent
) -> Float32:
    """Encode texts as (n, dim) float32 unit rows, an empty one as a zero row. PriceError if the encoder returns others.

    Batches are filled in order of length, so that little of them is padding, the longest first, so that one too large
    for the memory fails at once and the time left is not underrated.
    """
    keys = [_content(text.encode("utf-8", "surrogatepass")) if text.strip() else None for text in texts]
    text_of = {key: text for key, text in zip(keys, texts, strict=True) if key is not None}

    def batches(missing: list[bytes]) -> Batches:
        missing = sorted(missing, key=lambda key: encoder.length(text_of[key]), reverse=True)
        for run in chunks(len(missing), encoder.batch_size):
            yield Batch(missing[run], [text_of[key] for key in missing[run]])

    return _embed(encoder, keys, batches, cache, partial(on_progress, f"texts ({encoder.spec.name})"))


def embed_photographs(
    encoder: Encoder,
    references: Sequence[str | None],
    photographs: Photographs,
    cache: VectorCache | None = None,
    on_progress: OnProgress = silent,
    *,
    fingerprints: Fingerprints | None = None,
) -> PhotographVectors:
    """Vectors of the photographs that can be had, and for each of the others its reason. PriceError as `embed_texts`.

    `photographs` is read from several threads at once. `fingerprints` of the references, where they are known already,
    spare a second reading. Without them and without a cache a photograph is known by its reference alone, so that a
    query, whose photograph may have to be fetched, reads it once.
    """
    if fingerprints is None and cache is not None:
        fingerprints = read_fingerprints(photographs, references, on_progress)
    contents, refused = _contents(references, fingerprints)
    keys = [None if reference is None else contents.get(reference) for reference in references]
    reference_of = {content: reference for reference, content in reversed(contents.items())}  # the first of equal ones
    broken: dict[bytes, str] = {}

    def batches(missing: list[bytes]) -> Batches:
        keyed = [(key, reference_of[key]) for key in missing]
        return _decoded(_reader(photographs, known=fingerprints is not None), keyed, encoder.batch_size, broken)

    vectors = _embed(encoder, keys, batches, cache, partial(on_progress, f"photographs ({encoder.spec.name})"))
    absent = [
        NO_PHOTOGRAPH if reference is None else refused[reference] if key is None else broken.get(key)
        for reference, key in zip(references, keys, strict=True)
    ]
    return PhotographVectors(vectors, absent)


def embed_pairs(
    encoder: Encoder,
    texts: Sequence[str],
    references: Sequence[str | None],
    photographs: Photographs,
    *,
    cache: VectorCache | None = None,
    on_progress: OnProgress = silent,
    fingerprints: Fingerprints | None = None,
) -> PhotographVectors:
    """Vectors of text and photograph together; of one alone where the other is missing.

    An item with neither is a zero row. `absent` speaks of the photographs, as in `embed_photographs`.
    """
    if fingerprints is None and cache is not None:
        fingerprints = read_fingerprints(photographs, references, on_progress)
    contents, refused = _contents(references, fingerprints)
    keep = len(contents) <= encoder.batch_size  # so few stay decoded, so that a query fetches its photograph once
    read_photograph = _reader(photographs, known=fingerprints is not None)

    def pixels_or_reason(reference: str) -> np.ndarray | str | None:
        try:
            pixels = read_photograph(contents[reference], reference)
        except ImageRefused as error:
            return str(error.reason)
        return pixels if keep else None

    # All are decoded before anything is encoded: what an item's vector is made of must not depend on the cache.
    with ThreadPoolExecutor(READERS) as pool:
        decoded = dict(zip(contents, pool.map(pixels_or_reason, contents), strict=True))
    refused |= {reference: reason for reference, reason in decoded.items() if isinstance(reason, str)}
    usable = [reference if reference is not None and reference not in refused else None for reference in references]
    pair_of: dict[bytes, tuple[str, str | None]] = {}
    keys: list[bytes | None] = []
    for text, reference in zip(texts, usable, strict=True):
        words = text.encode("utf-8", "surrogatepass") if text.strip() else b""
        content = contents[reference] if reference is not None else b""
        keys.append(_content(words + b"\0" + content) if words or content else None)
        pair_of[keys[-1] or b""] = (text, reference)

    def read(key: bytes) -> tuple[str, np.ndarray | None]:
        text, reference = pair_of[key]
        if reference is None:
            return text, None
        pixels = decoded[reference]
        return text, pixels if isinstance(pixels, np.ndarray) else _again(read_photograph, contents, reference)

    def batches(missing: list[bytes]) -> Batches:
        with ThreadPoolExecutor(READERS) as pool:
            for run in chunks(len(missing), encoder.batch_size):
                yield Batch(missing[run], list(pool.map(read, missing[run])))

    vectors = _embed(
        encoder, keys, batches, cache, partial(on_progress, f"texts with photographs ({encoder.spec.name})")
    )
    absent = [NO_PHOTOGRAPH if reference is None else refused.get(reference) for reference in references]
    return PhotographVectors(vectors, absent)


def _content(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _embed(
    encoder: Encoder,
    keys: Sequence[bytes | None],
    batches: Callable[[list[bytes]], Batches],
    cache: VectorCache | None,
    on_progress: Callable[[int, int], None],
) -> np.ndarray:
    """Return each row's vector, (n, dim) float32.

    `keys`: each row's content, None for a zero row. `batches`: what to encode for missing keys.
    """
    first: dict[bytes, int] = {}
    for row, key in enumerate(keys):
        if key is not None:
            first.setdefault(key, row)
    vectors = np.zeros((len(keys), encoder.dim), np.float32)
    missing = []
    for key, row in first.items():
        kept = cache.get(key) if cache else None
        if kept is None:
            missing.append(key)
        else:
            vectors[row] = kept
    done = len(first) - len(missing)
    on_progress(done, len(first))
    encode = _forwarded if encoder.elsewhere is None else _encoded_elsewhere
    most = -(-len(missing) // encoder.batch_size)
    with contextlib.closing(batches(missing)) as stream, contextlib.closing(encode(encoder, stream, most)) as encoded:
        for made, part in encoded:
            vectors[[first[key] for key in made]] = part
            if cache:
                cache.put(made, part)
            done += len(made)
            on_progress(done, len(first))
    on_progress(len(first), len(first))  # what could not be encoded is done with as well
    for row, key in enumerate(keys):
        if key is not None and first[key] != row:
            vectors[row] = vectors[first[key]]
    return vectors


def _encoded_elsewhere(encoder: Encoder, batches: Batches, most: int) -> Encoded:
    """Each batch's keys and vectors, in any order, by whatever encodes them on other machines."""
    assert encoder.elsewhere is not None
    if most:
        for batch, vectors in encoder.elsewhere(batches, most):
            yield batch.keys, _checked(encoder, vectors, len(batch.keys))


def _forwarded(encoder: Encoder, batches: Batches, most: int) -> Encoded:
    """Each batch's keys and vectors, in order. While batches are in the forward pass, as many more are prepared.

    On a CPU there are as many as torch has threads, each on one of them: so vectors do not depend on their number. A
    batch that is the only one, as that of a query, is encoded here, and no thread is started for it.
    """
    first = next(batches, None)
    if first is None:
        return
    if len(first.keys) < encoder.batch_size:  # no other follows one that is not full
        with torch_threads(1) if encoder.on_cpu else contextlib.nullcontext():
            encoded = encoder.forward(encoder.prepare(first.items))
        yield first.keys, _checked(encoder, encoded, len(first.keys))
        return
    whole = chain([first], batches)
    del first
    with one_thread_each() if encoder.on_cpu else contextlib.nullcontext(1) as at_once:
        preparing, passing = ThreadPoolExecutor(1), ThreadPoolExecutor(at_once)
        try:
            waiting: deque[tuple[list[bytes], Future[np.ndarray]]] = deque()
            for batch in whole:
                prepared = preparing.submit(encoder.prepare, batch.items)
                waiting.append((batch.keys, passing.submit(_forward, encoder, prepared)))
                del batch, prepared  # its items can go as soon as they are prepared
                if len(waiting) > at_once:
                    keys, vectors = waiting.popleft()
                    yield keys, _checked(encoder, vectors.result(), len(keys))
            for keys, vectors in waiting:
                yield keys, _checked(encoder, vectors.result(), len(keys))
        finally:
            for pool in (preparing, passing):
                pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for what is not begun


def _forward(encoder: Encoder, prepared: Future[Any]) -> np.ndarray:
    return encoder.forward(prepared.result())


def _checked(encoder: Encoder, vectors: np.ndarray, count: int) -> np.ndarray:
    """Vectors that may be kept: one NaN in the store would silently spoil every search that meets it."""
    name = encoder.spec.name
    if vectors.shape != (count, encoder.dim):
        raise PriceError(f"The encoder {name} returned {vectors.shape} for {count} items of {encoder.dim} numbers.")
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if not np.isfinite(norms).all():
        raise PriceError(f"The encoder {name} returned numbers that are not finite: are its weights whole?")
    if not np.all((norms == 0) | (np.abs(norms - 1) < 0.01)):
        raise PriceError(f"The encoder {name} returned vectors that are not of unit length.")
    return np.ascontiguousarray(vectors, np.float32)


def _contents(
    references: Sequence[str | None], fingerprints: Fingerprints | None
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return reference -> content (its bytes' hash; without `fingerprints` its name's), and reference -> refusal."""
    distinct = dict.fromkeys(reference for reference in references if reference is not None)
    if fingerprints is None:
        return {reference: _content(reference.encode("utf-8", "surrogatepass")) for reference in distinct}, {}
    known, refused = fingerprints.known, fingerprints.refused
    return (
        {reference: bytes.fromhex(known[reference]) for reference in distinct if reference in known},
        {reference: refused[reference] for reference in distinct if reference in refused},
    )


def _reader(photographs: Photographs, *, known: bool) -> Callable[[bytes, str], np.ndarray]:
    """Reader of the photograph of a key and a reference: where keys are the `known` contents' hashes, that very one.

    Else a photograph that is replaced during a build would leave its vector in the cache under another's key.
    """
    return lambda key, reference: photographs.read(reference, key.hex() if known else None)


def _again(read: Callable[[bytes, str], np.ndarray], contents: dict[str, bytes], reference: str) -> np.ndarray:
    """A photograph that could be read a moment ago. DataRefused where it cannot any more."""
    try:
        return read(contents[reference], reference)
    except ImageRefused as error:
        raise DataRefused(
            f"The photograph {excerpt(reference)} cannot be read any more ({error.reason}): start again when the "
            "photographs are complete."
        ) from error


def _decoded(
    read: Callable[[bytes, str], np.ndarray], keyed: list[tuple[bytes, str]], size: int, broken: dict[bytes, str]
) -> Batches:
    """Batches of `size` photographs, in order; the reasons go into `broken`.

    While the encoder has one batch, as many photographs again are decoded and wait: never more, for they are large.
    """
    pool = ThreadPoolExecutor(READERS)
    try:
        todo = deque(keyed)
        waiting: deque[tuple[bytes, Future[np.ndarray]]] = deque()
        batch = Batch([], [])
        while todo or waiting:
            while todo and len(waiting) <= size:
                key, reference = todo.popleft()
                waiting.append((key, pool.submit(read, key, reference)))
            key, pixels = waiting.popleft()
            try:
                batch.items.append(pixels.result())
                batch.keys.append(key)
            except ImageRefused as error:
                broken[key] = str(error.reason)
            if len(batch.keys) == size:
                yield batch
                batch = Batch([], [])
        if batch.keys:
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)
