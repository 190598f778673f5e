"""Table of units: every spelling of a unit, in ten languages, and how much of its canonical member one of it is.

`find_unit` looks one spelling up, as a column or a `Unit:` line has it; there the codes of UN/ECE Recommendations 20
and 21 are read too, which in running words would be words ("PR", "CA"). It does not know how amounts are written.
"""

import re
import unicodedata
from functools import lru_cache

OTHER = "other"  # a unit was named, and our table does not know it
NONE = "none"  # no unit was named
MIN_AMOUNT, MAX_AMOUNT = 1e-9, 1e12  # in the canonical member: a nanogram, a million tonnes; the rest are slips

_FLUID_OUNCE = 29.5735295625  # US, in millilitres, as are pint, quart and gallon

# What is counted. A count of holders beside a weight says how many times the weight is there ("8 oz bags, 12 count"); a
# count of pieces says only how the weight is cut up ("5 oz, 40 pieces").
HOLDERS = (
    "count, counts, ct, cts, cnt, each, ea, unit, units, piece, pc, pcs, pce, bag, bags, bottle, bottles, box, "
    "boxes, can, cans, canister, canisters, jar, jars, packet, packets, pouch, pouches, tin, tins, tub, tubs, tube, "
    "tubes, sleeve, sleeves, tray, trays, btl, btls, jugs, bricks, briks, becher, tafeln, tuben, kisten, säcke, "
    "canette, flacons, bocaux, briques, barquettes, étuis, tarros, vasetti, buste, flesjes, potten, słoiki, słoików, "
    "flaska, flaskor, flasker, burk, burkar, dåser, bokser, påse, påsar, poser, st, "
    "stück, stk, stücke, flasche, flaschen, dose, dosen, beutel, beuteln, "
    "gläsern, tüte, tüten, glas, gläser, packungen, kartons, unité, unités, bouteille, bouteilles, boîte, boîtes, "
    "canettes, sachet, sachets, unidad, unidades, ud, uds, botella, botellas, lata, latas, bolsa, bolsas, frasco, "
    "frascos, caja, cajas, garrafa, garrafas, caixa, caixas, pacote, pacotes, bottiglia, bottiglie, lattina, "
    "lattine, barattolo, barattoli, scatole, stuk, stuks, fles, flessen, blik, blikken, blikjes, zak, zakken, "
    "zakjes, szt, sztuka, sztuki, sztuk, butelka, butelki, butelek, puszka, puszki, puszek, шт, штук, штуки, штука, "
    "бутылка, бутылки, бутылок, банка, банки, банок, пакетов, "
    "件, 瓶, 包, 盒, 袋, 罐, 听, 箱, 个, 個, 支, 本, 本入り, 個入り, 缶, パック, 개, 개입, 입, 병, 팩, 봉, 캔"
)
PIECES = (
    "tabs, caps, vcaps, vegcaps, tabl, kaps, kps, pots, tabletter, kapslar, kapsler, rullar, ruller, "
    "item, items, pieces, pieza, piezas, tablet, tablets, capsule, capsules, caplet, caplets, softgel, softgels, "
    "pill, pills, lozenge, lozenges, gummies, teabag, teabags, tea bag, tea bags, k cup, k cups, kcup, kcups, pod, "
    "pods, stick, sticks, bar, bars, cup, cups, set, sets, sheet, sheets, roll, rolls, wipe, wipes, diaper, diapers, "
    "egg, eggs, envelope, envelopes, card, cards, stem, stems, ampoule, ampoules, carton, cartons, pack, packs, pk, "
    "case, cases, nappies, napkins, tissues, pads, liners, filters, candles, pens, pencils, batteries, bulbs, "
    "gloves, masks, plates, bowls, straws, labels, stickers, cookies, lollipops, reams, towels, screws, nails, "
    "bolts, tablette, tabletten, kapseln, teebeutel, teebeuteln, rolle, rollen, blatt, tücher, windeln, riegel, "
    "eier, kerzen, pièce, pièces, comprimés, gélules, rouleaux, feuilles, lingettes, couches, dosettes, œufs, "
    "cápsulas, comprimidos, tabletas, pastillas, bolsitas, sobres, rollos, hojas, toallitas, pañales, huevos, pza, "
    "pzas, peça, peças, saquinhos, rolos, folhas, fraldas, ovos, pezzo, pezzi, pz, bustine, rotoli, fogli, "
    "compresse, capsule caffè, pannolini, uova, tabletek, kapsułek, saszetek, torebek, rolek, arkuszy, pieluch, jaj, "
    "theezakjes, rol, vellen, doekjes, luiers, таблеток, капсул, пакетиков, рулонов, листов, салфеток, яиц, "
    "只, 片, 粒, 张, 張, 枚, 条, 條, 卷, 抽, 枝, 颗, 块, 錠, 枚入り, 매, 매입, 정, 캡슐, 포, 장"
)

# canonical member -> how many of it one unit is -> the unit's spellings, as `_normalise` leaves them
TABLE: dict[str, dict[float, str]] = {
    "gram": {
        1e-6: "mcg, μg, ug, microgram, micrograms, мкг, 微克",
        1e-3: "mg, mgs, milligram, milligrams, milligramm, miligramos, мг, 毫克",
        1: "g, gr, gm, gms, grm, gram, grams, gramm, gramme, grammes, gramo, gramos, grammo, grammi, grama, gramas, "
        "gramów, г, гр, грамм, граммов, 克, グラム, 그램",
        50: "两, 兩",
        500: "pfund, 斤, 市斤, 근",
        1000: "kg, kgs, kilo, kilos, kilogram, kilograms, kilogramm, kilogramme, kilogrammes, kilogramo, kilogramos, "
        "quilo, quilos, chilo, chili, кг, килограмм, 千克, 公斤, キロ, キログラム, 킬로그램",
        1.7718451953125: "dram, drams",
        28.349523125: "oz, ozs, onz, ounce, ounces, onza, onzas, onces, oncia, unze, unzen, dry oz, "
        "dry ounce, dry ounces, 盎司, 安士, オンス, 온스",
        453.59237: "lb, lbs, pound, pounds, libra, libras, 磅, ポンド, 파운드",
        1e6: "tonne, tonnes, 吨",
    },
    "millilitre": {
        1: "ml, mls, cc, millilitre, millilitres, milliliter, milliliters, mililitro, mililitros, millilitri, "
        "mililitrów, мл, миллилитров, 毫升, ミリリットル, 밀리리터",
        10: "cl, centilitre, centilitres, centiliter, centiliters, centilitri",
        100: "dl, decilitre, decilitres, deciliter, deciliters, дл",
        1000: "l, lt, ltr, ltrs, litre, litres, liter, liters, litro, litros, litri, litr, litry, litrów, л, литр, "
        "литра, литров, 升, 公升, リットル, 리터",
        _FLUID_OUNCE: "fl, fl oz, fl ozs, fl ounce, fl ounces, fluid oz, fluid ounce, fluid ounces, floz, fz, oz fl, "
        "ounce fl, ounces fl, liquid oz, liquid ounce, liquid ounces, us fl oz, onzas líquidas, 液体盎司, 液盎司",
        16 * _FLUID_OUNCE: "pt, pts, pint, pints",
        32 * _FLUID_OUNCE: "qt, qts, quart, quarts",
        128 * _FLUID_OUNCE: "gal, gals, gallon, gallons, galón, galones, 加仑",
        16.387064: "cu in, cubic inch, cubic inches",
        28316.846592: "cu ft, cuft, cubic foot, cubic feet",
        1e6: "cbm, m3, cubic metre, cubic metres, cubic meter, cubic meters",
    },
    "count": {
        1: f"{HOLDERS}, {PIECES}",
        2: "pair, pairs, paar, paare, paire, paires, pares, par, paia, пар, пары, 双, 雙, 对, 켤레",
        12: "dozen, dozens, dz, doz, dutzend, douzaine, douzaines, docena, docenas, dúzia, dúzias, dozzina, dozijn, "
        "tuzin, 打",
        144: "gross",
    },
    "millimetre": {
        1: "mm, millimetre, millimetres, millimeter, millimeters, мм, 毫米",
        10: "cm, cms, centimetre, centimetres, centimeter, centimeters, см, 厘米, 公分, センチ",
        1000: "m, mtr, mtrs, metre, metres, meter, meters, metro, metros, metri, м, метр, метра, метров, 米, メートル",
        25.4: 'in, inch, inches, ", ”, zoll, pouces, pulgadas, pollici, дюйм, 英寸, インチ',
        304.8: "ft, foot, feet, fuss, pieds, piedi, 英尺",
        914.4: "yd, yds, yard, yards, 码",
    },
    "square metre": {
        1: "m2, sqm, sq m, square metre, square metres, square meter, square meters, qm, кв м, 平方米, 平米",
        0.09290304: "sqft, sq ft, sq feet, square foot, square feet",
        0.83612736: "sqyd, sq yd, square yard, square yards",
        0.00064516: "sqin, sq in, square inch, square inches",
    },
}
UNITS = (*TABLE, OTHER, NONE)  # every value that the `unit` column can have
SPELLINGS: dict[str, tuple[str, float]] = {
    spelling: (unit, float(factor))
    for unit, factors in TABLE.items()
    for factor, spellings in factors.items()
    for spelling in spellings.split(", ")
}
# UN/ECE Recommendations 20 and 21: how GS1, procurement catalogues and marketplaces write a unit in a column of its
# own. "CT" is a count in every feed that we know, though a carton in Recommendation 21.
CODES: dict[str, tuple[str, float]] = {
    code: (unit, factor)
    for unit, factor, codes in (
        ("gram", 1e-6, "mc"),
        ("gram", 1e-3, "mgm"),
        ("gram", 1.0, "grm"),
        ("gram", 100.0, "hgm"),
        ("gram", 1000.0, "kgm"),
        ("gram", 1e6, "tne"),
        ("gram", 28.349523125, "onz"),
        ("gram", 453.59237, "lbr"),
        ("millilitre", 1.0, "mlt cmq"),
        ("millilitre", 10.0, "clt"),
        ("millilitre", 100.0, "dlt"),
        ("millilitre", 1000.0, "ltr dmq"),
        ("millilitre", 1e6, "mtq"),
        ("millilitre", _FLUID_OUNCE, "oza"),
        ("millilitre", 16 * _FLUID_OUNCE, "ptl"),
        ("millilitre", 32 * _FLUID_OUNCE, "qtl"),
        ("millilitre", 128 * _FLUID_OUNCE, "gll"),
        ("millilitre", 28.4130625, "ozi"),  # British, as the next two
        ("millilitre", 568.26125, "pti"),
        ("millilitre", 4546.09, "gli"),
        ("millilitre", 16.387064, "inq"),
        ("millilitre", 28316.846592, "ftq"),
        ("count", 1.0, "h87 c62 nmb nar nmp st ro bx bg bo ca jr pa"),
        ("count", 2.0, "pr npr"),
        ("count", 12.0, "dzn dpc"),
        ("count", 144.0, "gro"),
        ("millimetre", 1.0, "mmt"),
        ("millimetre", 10.0, "cmt"),
        ("millimetre", 100.0, "dmt"),
        ("millimetre", 1000.0, "mtr"),
        ("millimetre", 25.4, "inh"),
        ("millimetre", 304.8, "fot"),
        ("millimetre", 914.4, "yrd"),
        ("square metre", 1.0, "mtk"),
        ("square metre", 1e-4, "cmk"),
        ("square metre", 0.00064516, "ink"),
        ("square metre", 0.09290304, "ftk"),
        ("square metre", 0.83612736, "ydk"),
    )
    for code in codes.split()
}


def is_sane(amount: float) -> bool:
    """Tell whether an amount can be one: finite, positive, and within what float32 and a warehouse hold."""
    return MIN_AMOUNT <= amount <= MAX_AMOUNT


@lru_cache(1024)  # a catalogue writes few units, a million times
def find_unit(spelling: str) -> tuple[str, float]:
    """Return a spelling's canonical member, and how many of that one unit is; (`other`, 1.0) for an unknown one."""
    normal = _normalise(spelling)
    return SPELLINGS.get(normal) or CODES.get(normal) or (OTHER, 1.0)


def _normalise(spelling: str) -> str:
    """Bring a unit's spelling into one form: 'Fl. Oz ' and 'fl-oz' are both 'fl oz', 'ＭＬ' and '㎖' are 'ml'."""
    return " ".join(re.sub(r"[.\-_]", " ", unicodedata.normalize("NFKC", spelling).casefold()).split())
