"""Photographs of made-up products, drawn so that an encoder of photographs has something to read.

The shape tells the kind, the colour the brand, the colour of the label the variant, the repetition the pack, the scale
the size, and a badge the quality: a gold star for fine, a grey corner for basic. Each says so: "made up".
"""

import colorsys
import math

import numpy as np
from made_up_goods import Product
from PIL import Image, ImageDraw, ImageFont

SIDE = 144  # pixels
Colour = tuple[int, int, int]


def draw(product: Product, size: float, pack: int, tint: np.random.Generator) -> Image.Image:
    """The photograph of `pack` pieces of this size; `tint` moves paper and place a little, so that no two are equal."""
    tones = _tones(product, tint)
    image = Image.new("RGB", (SIDE, SIDE), tones["paper"])
    brush = ImageDraw.Draw(image)
    paint = {"rectangle": brush.rectangle, "ellipse": brush.ellipse, "polygon": brush.polygon}
    columns = math.ceil(math.sqrt(pack))
    lines = math.ceil(pack / columns)
    cell = (SIDE - 24) / columns
    sizes = product.kind.sizes
    scale = (0.62 + 0.34 * sizes.index(size) / (len(sizes) - 1)) * cell / 100  # pixels per hundredth of a cell
    margin = (cell - 100 * scale) / 2
    left, top = 12 + margin + tint.integers(-3, 4), 6 + margin + (columns - lines) * cell / 2 + tint.integers(-3, 4)
    for piece in range(pack):
        x, y = left + piece % columns * cell, top + piece // columns * cell
        for primitive, tone, corners in product.kind.shape:
            places = [float(at * scale + (y if index % 2 else x)) for index, at in enumerate(corners)]
            paint[primitive](places, fill=tones[tone])
    _badge(brush, product.quality)
    brush.text((4, SIDE - 15), "made up", fill=(90, 90, 90), font=ImageFont.load_default(size=11))
    return image


def _tones(product: Product, tint: np.random.Generator) -> dict[str, Colour]:
    hue = product.brand.hue
    variant = list(product.kind.variants).index(product.variant) / len(product.kind.variants)
    return {
        "body": _colour(hue, 0.75, 0.85),
        "dark": _colour(hue, 0.80, 0.45),
        "light": _colour(hue, 0.25, 0.95),
        "label": _colour(variant, 0.45, 1.0),
        "paper": (int(tint.integers(226, 256)), int(tint.integers(226, 256)), int(tint.integers(226, 256))),
    }


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _badge(brush: ImageDraw.ImageDraw, quality: str) -> None:
    if quality == "fine":
        turns = [math.pi * step / 5 for step in range(10)]
        radii = [15 if step % 2 == 0 else 7 for step in range(10)]
        star = [(SIDE - 19 + r * math.sin(t), 19 - r * math.cos(t)) for r, t in zip(radii, turns, strict=True)]
        brush.polygon(star, fill=(226, 176, 32), outline=(120, 84, 0))
    elif quality == "basic":
        brush.polygon([(SIDE - 34, 0), (SIDE, 0), (SIDE, 34)], fill=(140, 140, 140))
