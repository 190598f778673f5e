"""Goods of the made-up catalogue and the law of their prices: kinds, brands, units.

In money:

    price = kind.price * (size / kind.reference) ** kind.exponent * pack ** PACK_EXPONENT
            * brand.level * affinity[brand, kind] * QUALITY[quality] * kind.variants[variant]
            * exp(noise of the family + noise of the listing)

Both exponents lie below 1: more of the same is cheaper per unit. None of it exists: the names are invented.
"""

import math
from dataclasses import dataclass

PACK_EXPONENT = 0.88
QUALITY = {"basic": 0.70, "plain": 1.0, "fine": 1.5}
AFFINITY_SPREAD = 0.15  # log price: what a brand asks for one kind beyond its level; neighbours know it
FAMILY_SPREAD = 0.10  # log price, shared by near-duplicates: a fold that splits them leaks it
LISTING_SPREAD = 0.15  # log price, each listing's own: what no model can learn


@dataclass(frozen=True)
class Kind:
    """A product: `price` buys `reference` units of it, plain, from a brand of level 1."""

    name: str
    unit: str  # a key of UNITS
    price: float
    reference: float
    exponent: float
    sizes: tuple[float, ...]
    variants: dict[str, float]
    shape: tuple[tuple[str, str, tuple[int, ...]], ...]  # (primitive, tone, corners in 0 to 100), in order of painting


@dataclass(frozen=True)
class Brand:
    """A brand: dear or cheap by `level`, known by the hue (0 to 1) of its packaging."""

    name: str
    level: float
    hue: float


@dataclass(frozen=True)
class Unit:
    """A way to write an amount: in titles, `n` customary and `m` metric; and after `Unit:`, always customary."""

    titles: tuple[str, ...]
    lines: tuple[str, ...]
    metric: float = 1.0


UNITS = {
    "ounce": Unit(("{n} oz", "{n} Ounce", "{n}-Ounce", "{m} g", "{n} oz ({m} g)"), ("Ounce", "ounce", "oz"), 28.35),
    "fluid ounce": Unit(("{n} fl oz", "{n} Fl Oz", "{n} Fluid Ounce", "{m} ml"), ("Fl Oz", "fl oz"), 29.57),
    "pound": Unit(("{n} lb", "{n} Pounds", "{m} kg"), ("Pound", "pound"), 0.4536),
    "foot": Unit(("{n} ft", "{n} Feet", "{m} m"), ("Foot", "ft"), 0.3048),
    "count": Unit(("{n} Count", "{n} ct", "{n}-Count"), ("Count", "count")),
}

LEVELS = {
    "Fauxberry": 1.25, "Mockwell": 0.80, "Pretendale": 1.00, "Nonesuch & Sons": 1.90, "Fibbington": 0.65,
    "Notareal": 0.55, "Imaginova": 1.45, "Quimblox": 0.90, "Phonyfield": 0.75, "Zorblatt": 1.10,
    "Shamrocket": 0.70, "Madeupia": 1.60, "Bogusta": 0.85, "Unrealia": 2.20, "Hoaxley": 0.95, "Dummont": 1.35,
}  # fmt: skip
BRANDS = tuple(Brand(name, level, index / len(LEVELS)) for index, (name, level) in enumerate(LEVELS.items()))

BAG = (("polygon", "body", (18, 22, 82, 22, 90, 98, 10, 98)), ("rectangle", "dark", (18, 8, 82, 22)))
BOTTLE = (("rectangle", "dark", (41, 2, 59, 16)), ("polygon", "body", (42, 16, 58, 16, 74, 38, 74, 98, 26, 98, 26, 38)))
KINDS = (
    Kind("Ground Coffee", "ounce", 11.0, 12, 0.82, (8, 10, 12, 16, 24, 32),
         {"Hazelnut": 1.05, "Mocha": 1.1, "House Blend": 0.9, "Decaf": 1.0, "Single Estate": 1.35, "Chicory": 0.8},
         (*BAG, ("ellipse", "label", (32, 42, 68, 78)))),
    Kind("Herbal Tea", "count", 5.5, 20, 0.75, (16, 20, 40, 80, 100),
         {"Mint": 0.95, "Chamomile": 1.0, "Ginger": 1.0, "Rooibos": 1.1, "Jasmine": 1.2, "Nettle": 0.85},
         (("rectangle", "body", (12, 20, 88, 90)), ("rectangle", "label", (12, 46, 88, 66)))),
    Kind("Pasta Sauce", "ounce", 4.5, 24, 0.80, (12, 16, 24, 32, 45),
         {"Basil": 1.0, "Garlic": 0.95, "Truffle": 1.6, "Arrabbiata": 1.0, "Four Cheese": 1.15, "Mushroom": 1.05},
         (("rectangle", "dark", (28, 6, 72, 20)), ("rectangle", "body", (20, 20, 80, 96)),
          ("rectangle", "label", (20, 44, 80, 72)))),
    Kind("Olive Oil", "fluid ounce", 12.0, 16.9, 0.85, (8.5, 12.7, 16.9, 25.4, 33.8, 68),
         {"Lemon": 1.1, "Early Harvest": 1.3, "Chilli": 1.05, "Classic": 0.9, "Rosemary": 1.1, "Light": 0.85},
         (*BOTTLE, ("rectangle", "label", (26, 52, 74, 76)))),
    Kind("Honey", "ounce", 9.0, 12, 0.84, (5, 8, 12, 16, 22, 40),
         {"Clover": 0.85, "Acacia": 1.15, "Heather": 1.4, "Orange Blossom": 1.05, "Forest": 1.1, "Wildflower": 0.9},
         (("rectangle", "dark", (30, 10, 70, 24)), ("ellipse", "body", (12, 20, 88, 98)),
          ("ellipse", "label", (34, 46, 66, 74)))),
    Kind("Dog Biscuits", "pound", 8.0, 2, 0.72, (1, 2, 4, 8, 15, 20),
         {"Chicken": 0.95, "Salmon": 1.2, "Lamb": 1.1, "Pumpkin": 1.0, "Beef": 1.0, "Liver": 0.85},
         (*BAG, ("rectangle", "label", (34, 54, 66, 66)), ("ellipse", "label", (26, 48, 42, 72)),
          ("ellipse", "label", (58, 48, 74, 72)))),
    Kind("Shampoo", "fluid ounce", 7.5, 12, 0.70, (3, 8, 12, 16, 24, 33.8),
         {"Coconut": 1.0, "Tea Tree": 1.1, "Argan": 1.35, "Apple": 0.85, "Birch": 1.05, "Oat": 0.95},
         (("rectangle", "dark", (36, 4, 64, 18)), ("ellipse", "body", (22, 14, 78, 100)),
          ("rectangle", "label", (32, 50, 68, 74)))),
    Kind("Bar Soap", "ounce", 3.5, 4, 0.78, (3.5, 4, 5, 8),
         {"Lavender": 1.1, "Sandalwood": 1.3, "Lemongrass": 1.0, "Unscented": 0.85, "Charcoal": 1.15, "Rose": 1.1},
         (("ellipse", "body", (4, 32, 96, 88)), ("ellipse", "label", (30, 46, 70, 72)))),
    Kind("Scented Candle", "ounce", 14.0, 8, 0.66, (3, 5, 8, 14, 20),
         {"Cedar": 1.05, "Vanilla": 0.9, "Sea Salt": 1.1, "Amber": 1.25, "Pine": 0.95, "Fig": 1.2},
         (("polygon", "label", (50, 2, 60, 22, 50, 30, 40, 22)), ("rectangle", "body", (26, 36, 74, 98)))),
    Kind("Vitamin Tablets", "count", 12.0, 60, 0.68, (30, 60, 90, 120, 180, 240),
         {"Zinc": 0.8, "Magnesium": 0.95, "Iron": 0.85, "Biotin": 1.1, "Omega": 1.4, "Collagen": 1.6},
         (("rectangle", "light", (26, 6, 74, 26)), ("rectangle", "body", (16, 26, 84, 96)),
          ("ellipse", "label", (30, 48, 54, 72)), ("ellipse", "label", (48, 62, 72, 86)))),
    Kind("AA Batteries", "count", 7.0, 8, 0.80, (4, 8, 12, 20, 24, 48),
         {"Alkaline": 0.9, "Lithium": 1.9, "Rechargeable": 2.2, "Heavy Duty": 0.6, "Long Life": 1.1, "Toy Grade": 0.7},
         (("rectangle", "dark", (42, 2, 58, 12)), ("rectangle", "body", (30, 12, 70, 98)),
          ("rectangle", "label", (30, 12, 70, 34)))),
    Kind("Charging Cable", "foot", 8.0, 6, 0.50, (1, 3, 6, 10, 15),
         {"Braided": 1.3, "Flat": 0.95, "Coiled": 1.15, "Slim": 0.9, "Angled": 1.1, "Armoured": 1.7},
         (("ellipse", "body", (8, 14, 92, 98)), ("ellipse", "paper", (24, 30, 76, 82)),
          ("rectangle", "label", (40, 2, 60, 24)))),
    Kind("Utility Rope", "foot", 13.0, 50, 0.85, (25, 50, 100, 200),
         {"Nylon": 1.1, "Jute": 0.8, "Cotton": 0.9, "Hemp": 1.05, "Polyester": 1.0, "Reflective": 1.4},
         (("ellipse", "body", (6, 10, 94, 54)), ("ellipse", "dark", (6, 28, 94, 72)),
          ("ellipse", "body", (6, 46, 94, 90)), ("ellipse", "label", (34, 58, 66, 78)))),
    Kind("Notebook Paper", "count", 4.0, 100, 0.62, (50, 100, 200, 500),
         {"Ruled": 0.9, "Dotted": 1.1, "Squared": 1.0, "Blank": 0.85, "Recycled": 1.05, "Watercolour": 1.9},
         (("rectangle", "body", (18, 6, 86, 98)), ("rectangle", "dark", (8, 6, 20, 98)),
          ("rectangle", "label", (36, 24, 72, 44)))),
)  # fmt: skip

ADJECTIVES = (
    "Alpine", "Autumn", "Bold", "Bright", "Coastal", "Cosy", "Crisp", "Evening", "Frosted", "Gentle", "Golden",
    "Harvest", "Hilltop", "Island", "Lively", "Midnight", "Misty", "Morning", "Mountain", "Quiet", "Royal", "Smoky",
    "Sunny", "Velvet",
)  # fmt: skip


@dataclass(frozen=True)
class Product:
    """An article that is photographed and priced, in one size and pack; the adjective costs nothing."""

    kind: Kind
    brand: Brand
    variant: str
    adjective: str
    quality: str

    @property
    def flavour(self) -> str:
        return f"{self.adjective} {self.variant}"


def fair_price(product: Product, size: float, pack: int) -> float:
    """The law's price in money, before affinity and noise."""
    kind = product.kind
    amount = math.pow(size / kind.reference, kind.exponent) * math.pow(pack, PACK_EXPONENT)
    return kind.price * amount * product.brand.level * QUALITY[product.quality] * kind.variants[product.variant]
