"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from index.encoders.device import Runtime

PATH = click.Path(path_type=Path)
index_option = click.option(
    "--index",
    "index_dir",
    type=PATH,
    default="price-index",
    envvar="PRICE_INDEX",
    show_envvar=True,
    help="Folder of the index.",
)
generation_option = click.option(
    "--generation", metavar="N", help="Of the index: a number, or a name of `price keep`. [default: the current one]"
)
index_uri_option = click.option(
    "--index",
    "index_dir",
    default="price-index",
    envvar="PRICE_INDEX",
    show_envvar=True,
    help="Folder of the index, or its URI on an object store.",
)
image_dir_option = click.option(
    "--image-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of photographs, by the last part of their URL.",
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
private_option = click.option(
    "--allow-private-addresses", is_flag=True, help="Let photographs come from addresses that are not public."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def listed(option: str, given: str) -> list[str]:
    """Names that an option gives with commas between them, one that holds a comma in quotes."""
    from index.errors import UsageError

    try:
        return next(csv.reader([given]), []) or [""]
    except csv.Error as error:
        raise UsageError(f"{option} {given!r:.60} is no list of names ({error}): put commas between them.") from None


def days_or_word(_context: click.Context, _option: click.Parameter, given: str | None) -> float | str | None:
    """Read the number of days that an option gives; a word is for the settings to judge."""
    try:
        return None if given is None else float(given)
    except ValueError:
        return given


def runtime_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --device and --precision: where and how encoders run."""
    precision = click.Choice(PRECISIONS)
    command = click.option("--precision", type=precision, default="auto", help="Of the encoders' products.")(command)
    return click.option("--device", default="auto", help="Of the encoders: auto, cpu, cuda or cuda:N.")(command)


CORRECTION_OPTIONS = (
    ("--k", "k", int, "How many neighbours correct the price."),
    ("--band", "band", float, "Half-width in log price in which they lie: 0.35 is about a third, inf all."),
    ("--lambda", "decay", float, "How fast a neighbour's weight falls with its distance."),
    ("--alpha", "alpha", float, "Share of the neighbours' mean residual that is added."),
)


def correction_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --k, --band, --lambda and --alpha, which replace the index's own correction parameters."""
    for option, name, kind, what in reversed(CORRECTION_OPTIONS):
        command = click.option(option, name, type=kind, help=what)(command)
    return command


def answer_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --answer: what a price is."""
    what = "The price: the median of what an item may cost, or the mean, its expected price."
    return click.option("--answer", type=click.Choice(("median", "mean")), default="median", help=what)(command)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --rule and --config: what bounds and rounds the price to set."""
    rule = (
        "Bound of the price to set: floor, ceiling, cost, margin, map, max_change or ending, as in floor=3, margin=30, "
        "floor=column:MIN, ending=.99; `none` drops one of the index's. May be repeated."
    )
    config = "Settings file (price.toml) whose [rules] count; --rule wins over it."
    command = click.option("--config", type=PATH, help=config)(command)
    return click.option("--rule", "rule", multiple=True, metavar="NAME=VALUE", help=rule)(command)


def rules_given(options: dict[str, Any]) -> dict[str, Any]:
    """Take --rule and --config out of `options`: rules in the place of the index's own. UsageError for none such."""
    from engine.settings.read import read_settings
    from engine.settings.rules import require_rules, rules_of_options
    from index.errors import UsageError

    config, given = options.pop("config"), {}
    for option in options.pop("rule"):
        name, sign, value = option.partition("=")
        if not sign or not name.strip() or not value.strip():
            raise UsageError(f"--rule {option!r:.60} is no rule: give NAME=VALUE, such as floor=3 or ending=.99.")
        if name in given:
            raise UsageError(f"--rule gives {name!r} twice: give it once.")
        given[name] = value
    of_file = read_settings(config).rules.given if config is not None else {}
    rules = {**of_file, **rules_of_options(given)}
    require_rules(rules)
    return rules


def runtime(options: dict[str, Any]) -> Runtime:
    """Take --device and --precision out of `options`. Raises UsageError for a device that is not here."""
    from index.encoders.device import Runtime

    chosen = Runtime(options.pop("device"), options.pop("precision"))
    if chosen.device.startswith("cuda"):
        chosen.resolve()
    return chosen


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(document, allow_nan=False))
