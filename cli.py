"""The command line `price`: its exit codes, its one line for every error, and the list of its `commands/`.

Results go to stdout, everything else to stderr.

Only click is imported at start, so that `price --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import NoReturn

import click

import render
from commands import catalogue, encoders, pricing, scoring

INTERRUPTED, FAULT, USAGE = 130, 1, 2


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    # OpenMP threads that spin while they wait slow each other down a hundredfold on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")  # one for every length of text fills 300 MB
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal's encoding lacks is no reason to fail
    code = run(sys.argv[1:])
    if code == INTERRUPTED:
        os._exit(code)  # a library's thread that cannot be interrupted would keep the user waiting
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run `price ARGUMENTS` and return the exit code. Every error is one line on stderr."""
    from index.errors import PriceError
    from index.shortage import shortage

    try:
        return int(price.main(arguments, prog_name="price", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "price"
        code, message = USAGE, f"{' '.join(render.clean(error.format_message()).split())} See `{command} --help`."
    except (click.Abort, KeyboardInterrupt):
        code, message = INTERRUPTED, "Interrupted; what was finished is kept."
    except PriceError as error:
        code, message = FAULT if shortage(error) else error.exit_code, render.clean(str(error))
    except OSError as error:
        code, message = FAULT, f"The system refused: {render.clean(str(error))}. Mend that and try again."
        message = render.clean(shortage(error) or message)
    except BaseException as error:  # a library's own, such as Rust's panics
        if (why := shortage(error)) is None:
            raise
        code, message = FAULT, why
    click.echo(f"price: {message}", err=True)
    return code


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="price-engine", prog_name="price")
def price() -> None:
    """Say what an item is worth, how sure that is, and which comparable items say so.

    \b
    price build-index catalogue.csv     learn from a priced catalogue
    price query "item text" --image X   price one item
    price predict items.csv -o out.csv  price a file of them
    price evaluate                      SMAPE of the index, out of fold

    Results go to stdout, all else to stderr. Exit codes: 0 done, 1 a fault of ours, 2 usage, 3 the data was refused,
    4 the index is missing, damaged or of another format, 6 a download could not be had, 75 another process is
    writing there, 130 interrupted.
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
    click.echo(script(price, {}, "price", "_PRICE_COMPLETE").source())


for command in (
    catalogue.build_index_command,
    pricing.query_command,
    pricing.predict_command,
    catalogue.add_command,
    catalogue.remove_command,
    catalogue.compact_command,
    catalogue.fetch_command,
    scoring.evaluate_command,
    scoring.tune_command,
    scoring.ablate_command,
    encoders.finetune_command,
    encoders.encoders_command,
):
    price.add_command(command)
