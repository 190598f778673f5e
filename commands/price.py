"""The command `price`: its help, the list of its commands, and the answer to a command line."""

from __future__ import annotations

import os

import click

from commands import catalogue, deciding, encoders, pricing, reading, scoring, serving

COMPLETE = "_PRICE_COMPLETE"  # set where a shell asks for completions


def answer(arguments: list[str]) -> int:
    """Answer `price ARGUMENTS` and return the exit code. Raises click's errors, PriceError and what else goes wrong.

    Unlike `click.Group.main`, which ends the process where stdout's reader left, and prints an empty line where the
    user interrupts.
    """
    from click.shell_completion import shell_complete

    if instruction := os.environ.get(COMPLETE):
        return shell_complete(price, {}, "price", COMPLETE, instruction)
    try:
        with price.make_context("price", arguments) as context:
            return int(price.invoke(context) or 0)
    except click.exceptions.Exit as done:
        return done.exit_code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="price-engine", prog_name="price")
def price() -> None:
    """Say what an item is worth, how sure that is, and which comparable items say so.

    \b
    price build-index catalogue.csv     learn from a priced catalogue
    price query "item text" --image X   price one item
    price predict items.csv -o out.csv  price a file of them
    price evaluate                      SMAPE of the index, out of fold
    price serve                         a page and an API

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 a fault of ours, 2 usage, told before any data is
    looked at, 3 the data was refused, 4 the index is missing, damaged or of another format, 6 a download could not be
    had, 75 another process is writing there, 130 interrupted, 141 stdout's reader left.
    """


@price.command("completion", short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    eval "$(price completion bash)"
    """
    from click.shell_completion import BashComplete, FishComplete, ZshComplete

    script = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}[shell]
    click.echo(script(price, {}, "price", COMPLETE).source())


for command in (
    reading.inspect_command,
    catalogue.build_index_command,
    pricing.query_command,
    pricing.predict_command,
    deciding.review_command,
    deciding.audit_command,
    catalogue.add_command,
    catalogue.remove_command,
    catalogue.compact_command,
    catalogue.keep_command,
    catalogue.fetch_command,
    scoring.evaluate_command,
    scoring.report_command,
    scoring.diff_command,
    scoring.tune_command,
    scoring.ablate_command,
    encoders.finetune_command,
    encoders.encoders_command,
    serving.serve_command,
):
    price.add_command(command)
