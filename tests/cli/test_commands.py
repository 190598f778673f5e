"""Every command: light, helped, documented and completed."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import cli
from commands.price import COMPLETE
from commands.price import price as group

ROOT = Path(__file__).parent.parent.parent
COMMANDS = group.commands
OPTIONS = [
    (name, option)
    for name, command in COMMANDS.items()
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for option in parameter.opts
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, price: Callable[..., Any]) -> None:
    answer = price(name, "--help")
    assert (answer.code, answer.err) == (0, "")
    assert f"price {name} " in answer.out.partition("Options:")[0].partition("\n\n")[2]
    assert max(map(len, answer.out.splitlines())) <= 80
    assert price(name, "-h") == answer


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_command_says_what_it_is_for(name: str) -> None:
    command = COMMANDS[name]
    assert command.get_short_help_str(limit=80).endswith(".")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.opts
            assert len(parameter.help.split()) >= 2


def test_the_help_names_every_command_whole(price: Callable[..., Any]) -> None:
    answer = price("--help")
    assert answer.code == 0
    assert "..." not in answer.out.partition("Commands:")[2]
    for name in COMMANDS:
        assert name in answer.out


def test_the_help_tells_every_exit_code(price: Callable[..., Any]) -> None:
    from index import errors

    codes = {each.exit_code for each in vars(errors).values() if isinstance(each, type)}
    text = " ".join(price("--help").out.split())
    for code in codes | {0, cli.USAGE, cli.FAULT, cli.INTERRUPTED}:
        assert re.search(rf"[ ,]{code} [a-z]", text), code


def test_the_readme_holds_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"price {name}" not in readme] == []


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_the_reference_holds_every_option_of_a_command_in_its_section(name: str, option: str) -> None:
    reference = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = reference.partition(f"\n## price {name}\n")[2].partition("\n## ")[0]
    assert re.search(rf"`[^`]*{re.escape(option)}(?![\w-])", section)


def test_the_reference_of_the_command_line_is_current() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == script.page(group), "run: python docs/make_cli.py"


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_an_option_that_there_is_not(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.search(r"\bprice [a-z-]+ ", line)]
    named = {found for line in lines for found in re.findall(r"(?<=[\s`(])--[a-z][a-z-]+", line)}
    assert named - {option for _, option in OPTIONS} - {"--help", "--version"} == set()


def test_the_version_is_that_of_the_package(price: Callable[..., Any]) -> None:
    from importlib.metadata import version

    assert price("--version").out == f"price, version {version('price-engine')}\n"


OURS = {"click", "cli", "commands", "render", "index"} | {"sitecustomize"}  # the system's own, where it has one


def said(script: str) -> list[str]:
    """Words that a script writes to stderr."""
    seen = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return seen.stderr.split()


def test_help_imports_no_library_but_click_and_comes_at_once() -> None:
    tell = "print(code, time.process_time(), *sys.modules, file=sys.stderr)"
    code, seconds, *modules = said(f"import sys, time, cli; code = cli.run(['--help']); {tell}")
    _, alone, *_ = said(f"import sys, time, click; code = 0; {tell}")
    foreign = {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"__main__"}
    assert code == "0"
    assert {name for name in foreign if not name.startswith("_")} <= OURS
    assert float(seconds) < 10 * float(alone)  # of the processor's time: it takes twice what click alone does


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_completion(shell: str, price: Callable[..., Any]) -> None:
    answer = price("completion", shell)
    assert (answer.code, answer.err) == (0, "")
    assert "_PRICE_COMPLETE" in answer.out and "price" in answer.out


def test_completion_completes(price: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from click.shell_completion import BashComplete

    complete = BashComplete(group, {}, "price", COMPLETE)
    assert [each.value for each in complete.get_completions([], "bu")] == ["build-index"]
    assert [each.value for each in complete.get_completions(["query"], "--la")] == ["--lambda"]


def test_pyarrow_finds_no_pandas_in_a_command_and_still_makes_a_frame_for_who_asks() -> None:
    script = (
        "import sys; from commands.libraries import prepare; prepare(); import pyarrow as pa\n"
        "assert pa.chunked_array([[1]]).to_numpy().tolist() == [1] and 'pandas' not in sys.modules\n"
        "assert pa.table({'a': [1]}).to_pandas()['a'].tolist() == [1] and 'pandas' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
