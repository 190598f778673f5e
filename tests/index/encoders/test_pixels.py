"""The encoder without weights: it finds the same photograph again, and tells different ones apart."""

import io

import numpy as np
import pytest
from PIL import Image

from index.encoders import Encoder, open_encoder
from index.encoders.pixels import DIM, count_colours, count_edges, fit_square


@pytest.fixture(scope="module")
def pixels() -> Encoder:
    return open_encoder("pixels")


def resaved(photograph: np.ndarray, *, quality: int = 30, scale: float = 1.0) -> np.ndarray:
    """The photograph after a shop has shrunk it and saved it again."""
    image = Image.fromarray(photograph)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer).convert("RGB"))


def found_again(pixels: Encoder, known: list[np.ndarray], changed: list[np.ndarray]) -> np.ndarray:
    """The row of `known` nearest to each changed photograph."""
    similarity = pixels.encode(changed) @ pixels.encode(known).T
    return np.asarray(similarity.argmax(1))


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
def test_a_photograph_is_found_again_after_compression_and_resizing(
    pixels: Encoder, photographs: list[np.ndarray], scale: float
) -> None:
    changed = [resaved(photograph, scale=scale) for photograph in photographs]
    np.testing.assert_array_equal(found_again(pixels, photographs, changed), np.arange(len(photographs)))


def test_a_photograph_is_found_again_with_other_margins(pixels: Encoder, photographs: list[np.ndarray]) -> None:
    whole = [photograph for photograph in photographs if photograph.size > 3]
    wider = [np.pad(photograph, ((30, 10), (50, 5), (0, 0)), constant_values=255) for photograph in whole]
    np.testing.assert_array_equal(found_again(pixels, whole, wider), np.arange(len(whole)))


def test_colour_and_shape_each_count(pixels: Encoder) -> None:
    def picture(colour: tuple[int, int, int], box: tuple[slice, slice]) -> np.ndarray:
        canvas = np.full((100, 100, 3), 255, np.uint8)
        canvas[box] = colour
        return canvas

    tall, wide = (slice(10, 90), slice(40, 60)), (slice(40, 60), slice(10, 90))
    red, red_wide, blue = pixels.encode(
        [picture((200, 30, 30), tall), picture((200, 30, 30), wide), picture((30, 30, 200), tall)]
    )
    assert max(red @ red_wide, red @ blue) < 0.9


def test_different_photographs_are_spread_apart(pixels: Encoder, photographs: list[np.ndarray]) -> None:
    vectors = pixels.encode(photographs)
    similarity = vectors @ vectors.T
    others = similarity[~np.eye(len(vectors), dtype=bool)]
    assert others.mean() < 0.6
    assert others.max() < 0.99


@pytest.mark.parametrize(
    "photograph",
    [
        np.full((50, 50, 3), 255, np.uint8),
        np.zeros((50, 50, 3), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
        np.zeros((1, 900, 3), np.uint8),
        np.zeros((900, 1, 3), np.uint8),
    ],
    ids=["white", "black", "one pixel", "a row", "a column"],
)
def test_odd_photographs_have_unit_vectors(pixels: Encoder, photograph: np.ndarray) -> None:
    (vector,) = pixels.encode([photograph])
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_vector_has_the_promised_size_and_an_empty_batch_no_rows(
    pixels: Encoder, photographs: list[np.ndarray]
) -> None:
    assert pixels.encode(photographs).shape == (len(photographs), DIM) == (12, pixels.spec.dim)
    assert pixels.encode([]).shape == (0, DIM)


def test_colours_are_counted_as_the_slow_way_counts_them(photographs: list[np.ndarray]) -> None:
    square = fit_square(photographs[0])
    slow = np.zeros((4, 4, 4, 4))
    for y in range(64):
        for x in range(64):
            red, green, blue = (float(value) for value in square[y, x])
            opponents = (red - green, (red + green) / 2 - blue)
            axes = [0.299 * red + 0.587 * green + 0.114 * blue]
            axes += [float(np.sign(value)) * abs(value) ** 0.5 / 2 + 0.5 for value in opponents]
            weight = 1 - 0.9 * min(max((min(red, green, blue) - 0.85) / 0.1, 0), 1)
            low = [min(int(3 * value), 2) for value in axes]
            for step in np.ndindex(2, 2, 2):
                share = [3 * v - b if s else 1 - (3 * v - b) for v, b, s in zip(axes, low, step, strict=True)]
                place = tuple(b + s for b, s in zip(low, step, strict=True))
                slow[(2 * (y // 32) + x // 32, *place)] += weight * np.prod(share)
    np.testing.assert_allclose(count_colours(square), slow.reshape(4, 64), atol=1e-2)


def test_edges_are_counted_in_their_direction_and_cell() -> None:
    square = np.ones((64, 64, 3), np.float32)
    square[:, 32:] = 0  # one upright edge, whose gradient runs across: direction 0
    edges = count_edges(square).reshape(5, 5, 8)
    assert edges[:, 2, 0].sum() == pytest.approx(edges.sum())
