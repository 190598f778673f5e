"""Size and shape of a checkout's code: lines, files, functions, and how modules import each other.

    python benchmarks/structure.py CHECKOUT

Reads the source and imports nothing, so that any two checkouts can be compared. Code lines are those without blanks,
comments and docstrings; a function's length counts all of its lines. A chain of imports is the longest line of modules
of which each imports the next, those of a circle all counted: once by imports at the top of modules alone, once with
those inside functions, which run later. A circle is a largest set of modules that all reach each other, imports for
type checkers counted too.
"""

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PARTS = {
    "index": ("index",),
    "engine": ("engine",),
    "command line": ("cli.py", "render.py", "commands", "web"),
    "benchmarks": ("benchmarks",),
    "examples": ("examples",),
    "tests": ("tests",),
}
MOST_FUNCTION_LINES, MOST_FILE_LINES = 60, 400
TOP, INSIDE, TYPES = "top", "inside", "types"  # where an import stands: in the module, in a function, for types alone
SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
Graph = dict[str, set[str]]  # module -> modules that it imports


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str  # dotted, from the checkout's root
    folder: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @cached_property
    def code_lines(self) -> int:
        """Lines with code on them."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type not in SILENT:
                lines |= set(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            match node:
                case ast.Expr(value=ast.Constant(value=str())):
                    lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return len(lines)

    @cached_property
    def functions(self) -> list[int]:
        """The length of each."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        found = (node for node in ast.walk(self.tree) if isinstance(node, kinds))
        return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in found]

    @cached_property
    def imports(self) -> list[tuple[str, str]]:
        """Dotted names that might be modules, and where each import stands."""
        return list(_imports(self.tree, TOP))


def _imports(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name, where) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from ((f"{node.module}.{alias.name}", where) for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        where = TYPES
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and where == TOP:
        where = INSIDE
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, where)


def read_part(checkout: Path, paths: tuple[str, ...]) -> list[Module]:
    """The modules of a part, those of its folders included."""
    files = [file for path in paths for file in (checkout / path, *sorted((checkout / path).rglob("*.py")))]
    modules = []
    for file in (file for file in files if file.is_file()):
        path = file.relative_to(checkout)
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        modules.append(Module(name, str(path.parent), file.read_text(encoding="utf-8")))
    return modules


def graph_of(modules: list[Module], kinds: tuple[str, ...]) -> Graph:
    """Map every module to the modules that it imports; a script imports its neighbour by a bare name."""
    names = {module.name for module in modules}
    graph: Graph = {}
    for module in modules:
        folder = module.folder.replace("/", ".")
        roots = ("",) if folder in names else ("", f"{folder}.")
        imported = {root + dotted for dotted, where in module.imports if where in kinds for root in roots}
        found = {name if name in names else name.rpartition(".")[0] for name in imported}
        graph[module.name] = found & names - {module.name}
    return graph


def components(graph: Graph) -> list[list[str]]:
    """Sets of modules that all reach each other, imported ones first (Tarjan, 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        path.append(name)
        for imported in sorted(graph[name]):
            if imported not in number:
                visit(imported)
            if imported in path:
                lowest[name] = min(lowest[name], lowest[imported])
        if lowest[name] == number[name]:
            found.append(path[path.index(name) :])
            del path[path.index(name) :]

    for name in graph:
        if name not in number:
            visit(name)
    return found


def longest_chain(graph: Graph) -> list[str]:
    """The modules on it, the first imports the second and so on."""
    chain_from: dict[str, list[str]] = {}
    for component in components(graph):
        below = {imported for name in component for imported in graph[name]} - set(component)
        longest = max((chain_from[name] for name in sorted(below)), key=len, default=[])
        chain_from |= dict.fromkeys(component, component + longest)
    return max(chain_from.values(), key=len, default=[])


def describe(title: str, modules: list[Module]) -> None:
    """Print what is to be said of some modules."""
    functions = [length for module in modules for length in module.functions]
    folder, most = Counter(module.folder for module in modules).most_common(1)[0]
    chains = [longest_chain(graph_of(modules, kinds)) for kinds in ((TOP,), (TOP, INSIDE))]
    circles = [circle for circle in components(graph_of(modules, (TOP, INSIDE, TYPES))) if len(circle) > 1]
    long_files = sum(module.source.count("\n") > MOST_FILE_LINES for module in modules)
    print(f"\n{title}")
    print(f"  {len(modules):,} files, {sum(module.code_lines for module in modules):,} code lines")
    print(f"  at most {most} files in a folder ({folder}); {long_files} files over {MOST_FILE_LINES} lines")
    if functions:
        over = sum(length > MOST_FUNCTION_LINES for length in functions)
        median = statistics.median(functions)
        print(f"  {len(functions):,} functions, median {median:g} lines, {over} over {MOST_FUNCTION_LINES}")
    for kinds, chain in zip(("at the top of modules", "inside functions too"), chains, strict=True):
        print(f"  longest chain, imports {kinds}: {len(chain)} ({' > '.join(chain)})")
    print(f"  {len(circles)} circles, types counted" + "".join(f"\n    {' - '.join(sorted(c))}" for c in circles))


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    checkout = Path(sys.argv[1]).resolve()
    parts = {title: read_part(checkout, paths) for title, paths in PARTS.items()}
    for title, modules in parts.items():
        if modules:
            describe(title, modules)
    describe("index, engine and command line together", parts["index"] + parts["engine"] + parts["command line"])


if __name__ == "__main__":
    main()
