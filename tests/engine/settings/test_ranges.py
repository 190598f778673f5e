"""Claims about the ranges of settings: every number has one, and no list holds a name twice."""

import math
import re
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from engine.settings.ranges import Between, Checked
from engine.settings.schema import Settings
from index.catalogue.settings import ReadSettings
from index.errors import UsageError


def sections(settings: Any = Settings(), path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: B008
    """Every settings dataclass, with the path to it."""
    yield path, settings
    for field in fields(settings):
        if is_dataclass(value := getattr(settings, field.name)):
            yield from sections(value, f"{path}{field.name}.")


def kinds(settings: Any) -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    """Name, type, and checks of every setting of a section."""
    checks = typing.get_type_hints(type(settings), include_extras=True)
    for name, kind in typing.get_type_hints(type(settings)).items():
        yield name, kind, getattr(checks[name], "__metadata__", ())


NUMBERS = [
    (f"{path}{name}", settings, name, kind, checks)
    for path, settings in sections()
    for name, kind, checks in kinds(settings)
    if {int, float} & {kind, *typing.get_args(kind)}
]
LISTS = [
    (f"{path}{name}", settings, name)
    for path, settings in sections()
    for name, kind, _ in kinds(settings)
    if typing.get_origin(kind) is tuple
]


def test_the_settings_hold_numbers_and_lists() -> None:
    assert len(NUMBERS) > 60 and len(LISTS) > 6
    assert all(isinstance(settings, Checked | ReadSettings) for _, settings in sections())


@pytest.mark.parametrize("where", [number[0] for number in NUMBERS])
def test_every_number_has_a_range_and_keeps_to_it(where: str) -> None:
    settings, name, kind, checks = next(number[1:] for number in NUMBERS if number[0] == where)
    (bounds,) = (check for check in checks if isinstance(check, Between))
    assert math.isfinite(bounds.low) and math.isfinite(bounds.high)
    values = [bounds.low - 1, bounds.high + 1]
    if float in {kind, *typing.get_args(kind)}:
        values += [math.nan, math.inf, -math.inf]
    for value in values:
        with pytest.raises(UsageError, match=rf" is {re.escape(str(value))}: give a number from"):
            replace(settings, **{name: value})


@pytest.mark.parametrize("where", [names[0] for names in LISTS])
def test_no_list_holds_a_name_twice(where: str) -> None:
    settings, name = next(names[1:] for names in LISTS if names[0] == where)
    value = getattr(settings, name) or ("emoji",)
    with pytest.raises(UsageError, match=f"{name} names '{value[0]}' twice: name each once"):
        replace(settings, **{name: (*value, value[0])})
