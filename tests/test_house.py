"""Does the code keep the rules of the house? One direction of imports, a light start, nothing that runs its input."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"index": ("engine", "cli", "render"), "engine": ("cli", "render")}  # room: what it may not import
CODE = sorted(path for room in ("index", "engine", "examples", "benchmarks") for path in (ROOT / room).rglob("*.py"))
CODE += [ROOT / "cli.py", ROOT / "render.py"]
HEAVY = {
    "faiss", "lancedb", "lightgbm", "numpy", "pandas", "PIL", "pyarrow", "scipy", "sentence_transformers", "sklearn",
    "torch", "transformers",
}  # fmt: skip
RUNS_WHAT_IT_READS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that the code imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they reach into"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dangers(tree: ast.AST) -> list[str]:
    """What could run code out of a file: pickles by any name, torch.load, remote code of a hub."""
    found = [module for module in imported(tree) if module.partition(".")[0] in RUNS_WHAT_IT_READS]
    found += [module for module in imported(tree) if module == "torch.load"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) == ("torch", "load") else []
        elif isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "allow_pickle"):
            safe = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if safe else [node.arg]
    return found


def swallowed(tree: ast.AST) -> list[int]:
    """Lines that catch everything and do not raise."""
    caught = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
    broad = [
        node
        for node in caught
        if node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException"))
    ]
    return [node.lineno for node in broad if not any(isinstance(inside, ast.Raise) for inside in ast.walk(node))]


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way_from_cli_to_engine_to_index(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    uphill = {
        named(path): module
        for path in files
        for module in imported(ast.parse(path.read_text(encoding="utf-8")))
        if module.partition(".")[0] in ROOMS[room]
    }
    assert uphill == {}


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    script = "import sys, cli; print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr
    modules = set(seen.stdout.split())
    assert "click" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_file_loads_what_could_run_code(path: Path) -> None:
    assert dangers(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "open_model('x', trust_remote_code=True)",
        "open_model('x', trust_remote_code=asked)",
        "np.load('x', allow_pickle=True)",
    ],
)
def test_what_could_run_code_is_noticed(source: str) -> None:
    assert dangers(ast.parse(source))


def test_remote_code_may_be_refused_by_name() -> None:
    assert dangers(ast.parse("open_model('x', trust_remote_code=False)\nnp.load('x', allow_pickle=False)")) == []


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_file_swallows_every_error(path: Path) -> None:
    assert swallowed(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_a_swallowed_error_is_noticed_and_a_translated_one_is_not() -> None:
    body = "try:\n    f()\nexcept Exception as error:\n    "
    assert swallowed(ast.parse(body + "pass")) == [3]
    assert swallowed(ast.parse("try:\n    f()\nexcept:\n    pass")) == [3]
    assert swallowed(ast.parse(body + "raise PriceError('no') from error")) == []


@pytest.mark.parametrize("path", CODE, ids=named)
def test_every_file_says_in_its_docstring_what_it_answers(path: Path) -> None:
    assert len((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split()) >= 4


def test_no_package_marker_under_tests_shadows_a_room() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_folder_of_code_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert {".".join(folder.relative_to(ROOT).parts) for folder in folders} == set(
        project["tool"]["setuptools"]["packages"]
    )


def test_constraints_pin_every_dependency_exactly_and_name_no_index() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    assert [name for name, version in pinned.items() if not re.fullmatch(r"\d[\w.]*", version)] == []
    assert [name for name in pinned if name.startswith(("nvidia", "triton"))] == []
    assert "://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    assert {re.split(r"[^\w-]", line)[0] for line in asked} - set(pinned) == set()
