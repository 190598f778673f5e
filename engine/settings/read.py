"""Reading of settings: a preset, changed by a TOML file, changed by the command line; and back from a manifest.

An unknown key, a value of another type or one out of range is refused by name before anything runs.
"""

from __future__ import annotations

import datetime as dt
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.settings.presets import PRESETS
from engine.settings.schema import Settings
from index.errors import UsageError
from index.files import open_regular

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MOST_BYTES = 1_000_000  # of a settings file
LARGEST = 1e300  # of an integer in the place of a float: beyond, it may be none, and no setting goes so far

Changed = typing.TypeVar("Changed", bound="DataclassInstance")


def read_settings(config: Path | None = None, preset: str = "default", **overrides: Any) -> Settings:
    """The preset, changed by the file `config` (TOML), changed by `overrides` that are not None.

    Raises UsageError for an unknown preset or key, a value of another type or out of range, or a file that is no TOML.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset!r}{suggestion(preset, PRESETS)}.")
    settings = PRESETS[preset]
    if config is not None:
        settings = change_settings(settings, _read_toml(config), str(config))
    given = {name: value for name, value in overrides.items() if value is not None}
    return change_settings(settings, given, "the command line")


def settings_from(document: Mapping[str, Any]) -> Settings:
    """Read the settings that a manifest keeps (`dataclasses.asdict`)."""
    return _changed(Settings(), document, "the manifest", by_key=False)


def change_settings(settings: Settings, changes: Mapping[str, Any], source: str) -> Settings:
    """A copy with some keys changed, sections as nested mappings; UsageError names `source` and the key."""
    return _changed(settings, changes, source)


def _changed(
    settings: Changed, given: Mapping[str, Any], source: str, section: str = "", *, by_key: bool = True
) -> Changed:
    """A copy of a settings dataclass with the given keys; tables go down into the dataclasses below it."""
    kinds = typing.get_type_hints(type(settings))
    known = {
        (field.metadata.get("key", field.name) if by_key else field.name): field.name for field in fields(settings)
    }
    changes = {}
    for key, value in given.items():
        if key not in known:
            where = f" in [{section}]" if section else ""
            raise UsageError(f"{source}: there is no setting {key!r}{where}{suggestion(key, known)}.")
        old, path = getattr(settings, known[key]), f"{section}.{key}".lstrip(".")
        if is_dataclass(old) and not isinstance(old, type):
            if not isinstance(value, Mapping):
                raise UsageError(f"{source}: {path} is a section; write [{path}] and its settings below it.")
            changes[known[key]] = _changed(old, value, source, path, by_key=by_key)
        else:
            changes[known[key]] = _typed(value, kinds[known[key]], f"{source}: {path}")
    try:
        return replace(settings, **changes)
    except UsageError as error:
        raise UsageError(f"{source}{f' [{section}]' if section else ''}: {error}") from None


def _typed(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind` (int, float, str, a tuple of str, or one of these, of a number or text, or None)."""
    if type(value) is dt.date:  # which TOML has, and settings hold as text
        value = value.isoformat()
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        kinds = [option for option in typing.get_args(kind) if option is not type(None)]
        kind = str if isinstance(value, str) and str in kinds else kinds[0]
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value if isinstance(value, float) else max(-LARGEST, min(value, LARGEST)))
    if kind is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
        return tuple(value)
    if typing.get_origin(kind) is tuple and isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    expected = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, "a list of names"
    )
    raise UsageError(f"{where} is {value!r}: give {expected}.")


def suggestion(given: str, known: Mapping[str, Any]) -> str:
    """The end of a sentence that refuses `given`."""
    if not known:
        return "; there is none to choose from"
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]!r}" if near else f"; choose from {', '.join(known)}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"There is no settings file {path}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read as settings: {error.strerror}.") from error
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} holds over {MOST_BYTES:,} bytes, which no settings file does.")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # also for a number of thousands of digits, or brackets as deep
        raise UsageError(f"{path} is not a settings file in TOML: {error}.") from error
