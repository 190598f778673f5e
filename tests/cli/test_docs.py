"""Claims about docs/cli.md: made from the commands, and current."""

import importlib.util
from pathlib import Path

import cli

ROOT = Path(__file__).parents[2]


def page() -> str:
    """The page as the script would write it now."""
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.page(cli.price)
    assert isinstance(text, str)
    return text


def test_the_reference_of_the_command_line_is_current() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == page(), "run: python docs/make_cli.py"
