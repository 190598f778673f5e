"""Encoder of photographs without weights: histograms of colours and of edges.

The recipe, for one photograph:

1. Crop to the product: the rows and columns that hold 98% of the pixels that are not near white. Shop photographs
   differ mostly in their margins. Fit the rest into a 64 x 64 white square, keeping its proportions.
2. Colour: lightness and two opponent axes (red-green, yellow-blue; square-rooted, because most products are dull), four
   bins each, every pixel shared between its eight nearest bins. Near-white pixels count a tenth. One histogram of the
   whole square and one of each quarter: 5 x 64 numbers.
3. Edges: as in histograms of oriented gradients (Dalal and Triggs 2005), 8 directions without sign in 5 x 5 cells,
   each edge shared between its two nearest directions: 200 numbers.
4. Each of the three blocks is divided by its sum, square-rooted (so that a product is the Hellinger affinity of two
   histograms), centred on its own mean (else every pair of photographs looks alike) and brought to unit length; edges
   weigh 1.5 times as much as a block of colours. The whole has unit length.

It finds the same photograph again after re-compression, resizing and other margins, and its neighbours share colours
and outline; it knows nothing of what a thing is.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image

from index.arrays import Float32
from index.encoders.encoder import Encoder
from index.encoders.registry import EncoderSpec
from index.encoders.weights import identity_of

SIDE = 64
"""Pixels a side of the square that is measured."""
INK = 235
"""A pixel whose darkest channel is below this belongs to the product."""
TAIL = 0.01
"""Share of the product's pixels that may be cut off at each side."""
SMALLEST = 8
"""A crop is never narrower than this, in pixels."""
BINS = 4
"""Bins on each of the three colour axes."""
WHITE_COUNTS = 0.1
"""Weight of a white pixel in the colours, where any other weighs 1."""
CELLS = 5
"""Cells a side of the grid of edges."""
DIRECTIONS = 8
"""Directions of an edge, over half a turn."""
EDGES_WEIGH = 1.5
"""Weight of the edges against one block of colours."""

DIM = 5 * BINS**3 + CELLS**2 * DIRECTIONS
"""Numbers in a vector: 520."""

_LIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)


class Pixels(Encoder):
    """The encoder `pixels`: numpy and Pillow only, the same on every machine."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec, identity_of(spec, {}, recipe=1), spec.batch_size)

    def prepare(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Photographs (h, w, 3) uint8 to squares (64, 64, 3) in 0..1."""
        return [fit_square(photograph) for photograph in batch]

    def forward(self, prepared: list[np.ndarray]) -> Float32:
        """Squares to unit rows (n, 520) float32."""
        return np.stack([describe(square) for square in prepared])


def fit_square(photograph: np.ndarray) -> np.ndarray:
    """Step 1: (h, w, 3) uint8 to (64, 64, 3) float32 in 0..1."""
    image = Image.fromarray(photograph)
    if max(image.size) > 4 * SIDE:
        image.thumbnail((4 * SIDE, 4 * SIDE), Image.Resampling.BOX)
    pixels = np.asarray(image)
    ink = pixels.min(2) < INK  # (h, w)
    top, bottom = _span(ink.sum(1))
    left, right = _span(ink.sum(0))
    product = Image.fromarray(np.ascontiguousarray(pixels[top:bottom, left:right]))
    scale = SIDE / max(product.size)
    width, height = (max(1, round(side * scale)) for side in product.size)
    square = Image.new("RGB", (SIDE, SIDE), "white")
    resized = product.resize((width, height), Image.Resampling.BILINEAR)
    square.paste(resized, ((SIDE - width) // 2, (SIDE - height) // 2))
    scaled: np.ndarray = np.asarray(square, np.float32) / 255
    return scaled


def describe(square: np.ndarray) -> np.ndarray:
    """Steps 2 to 4: (64, 64, 3) float32 to a unit vector (520,) float32."""
    quarters = count_colours(square)  # (4, 64)
    edges = count_edges(square)  # (25, 8)
    blocks = (_normalise(quarters.sum(0)), _normalise(quarters), EDGES_WEIGH * _normalise(edges))
    vector = np.concatenate(blocks)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def count_colours(square: np.ndarray) -> np.ndarray:
    """Step 2: the histogram of each quarter, (4, 64)."""
    red, green, blue = np.moveaxis(square, 2, 0)
    axes = (square @ _LIGHTNESS, _spread(red - green), _spread((red + green) / 2 - blue))
    white = np.clip((square.min(2) - 0.85) / 0.1, 0, 1)
    low, weight = _quarters(), 1 - (1 - WHITE_COUNTS) * white
    shares = [(low, weight)]
    for value in axes:
        place = value * (BINS - 1)
        below = np.minimum(place.astype(np.int64), BINS - 2)
        above = place - below
        shares = [
            (BINS * index + below + step, part * (above if step else 1 - above))
            for index, part in shares
            for step in (0, 1)
        ]
    size = 4 * BINS**3
    total = sum(np.bincount(index.ravel(), part.ravel(), size) for index, part in shares)
    return np.asarray(total).reshape(4, BINS**3)


def count_edges(square: np.ndarray) -> np.ndarray:
    """Step 3: strength of the edges by cell and direction, (25, 8)."""
    down, across = np.gradient(square @ _LIGHTNESS)
    strength = np.hypot(down, across)
    place = np.arctan2(down, across) % np.pi * (DIRECTIONS / np.pi)
    below = place.astype(np.int64)
    above = place - below
    size = CELLS**2 * DIRECTIONS
    start = _cells() * DIRECTIONS
    lower = np.bincount((start + below % DIRECTIONS).ravel(), (strength * (1 - above)).ravel(), size)
    upper = np.bincount((start + (below + 1) % DIRECTIONS).ravel(), (strength * above).ravel(), size)
    return np.asarray(lower + upper).reshape(CELLS**2, DIRECTIONS)


def _spread(opponent: np.ndarray) -> np.ndarray:
    """An opponent axis in -1..1, square-rooted away from grey, to 0..1."""
    return np.asarray(np.sign(opponent) * np.sqrt(np.abs(opponent)) / 2 + 0.5)


def _normalise(histogram: np.ndarray) -> np.ndarray:
    """Step 4: a flat vector of unit length, or zeros where nothing was counted or all bins are alike."""
    root = np.sqrt(histogram.ravel() / max(histogram.sum(), 1e-6))
    centred = root - root.mean()
    norm = np.linalg.norm(centred)
    return np.asarray(centred / norm if norm > 1e-6 else np.zeros(histogram.size))


def _span(ink: np.ndarray) -> tuple[int, int]:
    """First and one past the last line, so that no more than TAIL of the ink lies outside at either side."""
    running = np.cumsum(ink)
    if running[-1] == 0:
        return 0, len(ink)
    first = int(np.searchsorted(running, running[-1] * TAIL))
    last = int(np.searchsorted(running, running[-1] * (1 - TAIL))) + 1
    return (first, last) if last - first >= SMALLEST else (max(0, last - SMALLEST), min(len(ink), first + SMALLEST))


@cache
def _quarters() -> np.ndarray:
    """Number of the quarter that each pixel lies in, (64, 64)."""
    place = np.arange(SIDE) * 2 // SIDE
    return np.asarray(2 * place[:, None] + place)


@cache
def _cells() -> np.ndarray:
    """Number of the cell of the grid of edges that each pixel lies in, (64, 64)."""
    place = np.arange(SIDE) * CELLS // SIDE
    return np.asarray(CELLS * place[:, None] + place)
