"""References to photographs as cells of a catalogue hold them, to the one that counts: the first, as it is meant."""

import json
import re
from collections.abc import Iterator

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".heic", ".tif", ".tiff", ".jfif")
"""Ends of what is a photograph by its name; not all can be read."""

_ALONE = re.compile(r"(?!//)[^|,;\s\[&]*")
_BEGINS = r"(?=(?:[A-Za-z][A-Za-z0-9+.-]*:)?//)"  # a URL, with its scheme or without
_BETWEEN = re.compile(rf"\s*[|\r\n\t]\s*|\s*[,;]\s*{_BEGINS}|\s+{_BEGINS}")
_PERHAPS_BETWEEN = re.compile(r"\s*[,;]\s*")
_QUOTED = re.compile(r"""\[\s*(['"])(.+?)\1\s*[,\]]""")  # the first of a list as Python writes it
_WITHOUT_SCHEME = re.compile(r"//[^/\s.]+\.[^/\s]+/")  # a host has a dot in it; `//p.jpg` is a path


def first_reference(cell: str) -> str:
    """Return the first of a cell's references, "" if there is none; one that stands alone is returned as it is.

    They stand in a JSON list, or between them `|`, the end of a line or a tab. A comma, a semicolon or a blank may be
    part of a reference, so it is a border only where a URL begins after it; a comma and a semicolon also between two
    names that end like photographs. `&amp;` is `&`, and `//host/path` is a URL of https.
    """
    cell = cell.strip()
    if _ALONE.fullmatch(cell):
        return cell
    cell = cell.replace("&amp;", "&")
    if cell.startswith("["):
        cell = _first_of_list(cell)
    reference = next((part for part in _BETWEEN.split(cell) if part), "")
    reference = _first_path(reference.strip(" ,;"))
    return f"https:{reference}" if _WITHOUT_SCHEME.match(reference) else reference


def is_image_name(name: str) -> bool:
    """Tell whether a name, or what stands before its query, ends like a photograph's."""
    return name.partition("?")[0].partition("#")[0].lower().endswith(IMAGE_SUFFIXES)


def _first_path(reference: str) -> str:
    for border in _PERHAPS_BETWEEN.finditer(reference):
        before, after = reference[: border.start()], reference[border.end() :]
        if is_image_name(before) and is_image_name(_PERHAPS_BETWEEN.split(after)[0]):
            return before
    return reference


def _first_of_list(cell: str) -> str:
    """The first reference of a list as JSON or Python writes it; the cell, if it is none."""
    try:
        return next(_texts(json.loads(cell)), "")
    except (ValueError, RecursionError):
        match = _QUOTED.match(cell)
        return match[2] if match else cell


def _texts(value: object) -> Iterator[str]:
    """Texts of a list, and URLs of its objects such as {"width": 9, "url": "..."}."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, list):
        for part in value:
            yield from (text for text in _texts(part) if text)
    elif isinstance(value, dict):
        yield from (text for text in value.values() if isinstance(text, str) and ("//" in text or is_image_name(text)))
