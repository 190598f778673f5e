"""Write docs/cli.md, the reference of the command line, from the commands themselves.

python docs/make_cli.py
"""

import inspect
import sys
import textwrap
from pathlib import Path

import click

ROOT = Path(__file__).parent.parent
HEAD = """# The command line

Made from the commands by `python docs/make_cli.py`: change a command, not this page. `price COMMAND --help` says the
same in a terminal.
"""


def page(price: click.Group) -> str:
    """The whole page, in Markdown."""
    names = sorted(price.commands)
    contents = "\n".join(f"- [`price {name}`](#price-{name}): {price.commands[name].short_help}" for name in names)
    sections = [section(price.commands[name], f"price {name}") for name in names]
    return "\n".join([HEAD, described(price), contents, "", *sections]).rstrip() + "\n"


def section(command: click.Command, path: str) -> str:
    """One command: how it is called, what it does, its options."""
    usage = " ".join(command.collect_usage_pieces(click.Context(command)))
    lines = [f"## {path}", "", "```", f"{path} {usage}", "```", "", described(command)]
    options = [row(option) for option in command.params if isinstance(option, click.Option)]
    table = ["| option | what it does | default |", "| --- | --- | --- |", *options, ""] if options else []
    return "\n".join([*lines, *table])


def described(command: click.Command) -> str:
    """The help text: paragraphs, and as code what click is told to leave as it is."""
    blocks = []
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        mark, _, as_it_is = block.partition("\n")
        blocks.append(f"```\n{textwrap.dedent(as_it_is)}\n```" if mark.strip() == "\b" else block)
    return "\n\n".join(blocks) + "\n"


def row(option: click.Option) -> str:
    """One option as a line of a table."""
    kind = "" if option.is_flag else f" {option.make_metavar(click.Context(click.Command('price')))}"
    text, _, default = (option.help or "").partition(" [default: ")
    if option.required:
        default = "required"
    elif isinstance(option.default, (str, int, float, tuple)) and not option.is_flag:
        given = option.default if isinstance(option.default, tuple) else (option.default,)
        default = ", ".join(map(str, given)) or default
    if option.envvar:
        default += f", or what {option.envvar} says"
    cells = f"`{', '.join(option.opts)}{kind}`", text, default.removesuffix("]")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from commands.price import price

    (ROOT / "docs" / "cli.md").write_text(page(price), encoding="utf-8")
