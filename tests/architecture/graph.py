"""The import graph of a source tree, read from its syntax: nothing is imported to find out who imports whom."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Tree = Mapping[str, str]
"""Path to text, as in ``{"headrace/errors.py": "..."}``; a test can plant one."""

PACKAGE = "headrace"
SOURCE = Path(__file__).parents[2] / "src"


@dataclass(frozen=True, slots=True)
class Import:
    """One import, from where it stands to what it names.

    Attributes:
        path: File that imports.
        source: Module that imports (``headrace.cache.memory``).
        target: Module that is imported; for ``from a import b`` it is ``a.b`` if that is a module of the tree.
        line: Line in the file.
        is_lazy: Whether it stands in a function and runs only when that is called.
        is_typing: Whether it stands under ``TYPE_CHECKING`` and never runs.
    """

    path: str
    source: str
    target: str
    line: int
    is_lazy: bool
    is_typing: bool

    def __str__(self) -> str:
        kind = " (for types only)" if self.is_typing else " (in a function)" if self.is_lazy else ""
        return f"{self.path}:{self.line} imports {self.target}{kind}"

    @property
    def library(self) -> str:
        """The first part of the target's name."""
        return self.target.partition(".")[0]


def read_tree(root: Path = SOURCE) -> dict[str, str]:
    """Read the package's source."""
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def module_name(path: str) -> str:
    """Return the dotted name of the module a file holds."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(tree: Tree) -> Iterator[Import]:
    """Yield every import of a tree, also those in functions and those for types only."""
    modules = {module_name(path) for path in tree}
    for path, text in tree.items():
        source = module_name(path)
        package = source if path.endswith("/__init__.py") else source.rpartition(".")[0]
        for node, is_lazy, is_typing in _walk(ast.parse(text, path)):
            for name in _names(node, package, modules):
                yield Import(path, source, name, node.lineno, is_lazy, is_typing)


def _walk(
    node: ast.AST, is_lazy: bool = False, is_typing: bool = False
) -> Iterator[tuple[ast.stmt | ast.expr, bool, bool]]:
    """Yield every statement and expression with the context it stands in."""
    if isinstance(node, ast.stmt | ast.expr):
        yield node, is_lazy, is_typing
    inside = is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    guarded = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) else []
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, is_lazy=inside, is_typing=is_typing or child in guarded)


def _names(node: ast.AST, package: str, modules: set[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _absolute(node, package)
        names = (f"{base}.{alias.name}" for alias in node.names)
        return list(dict.fromkeys(name if name in modules else base for name in names))
    if isinstance(node, ast.Call) and ast.unparse(node.func) in {
        "import_module",
        "importlib.import_module",
        "__import__",
    }:
        return [str(argument.value) for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return []


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parent = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parent, *([node.module] if node.module else [])])


def cycles(tree: Tree) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle, each sorted."""
    edges: dict[str, set[str]] = {module_name(path): set() for path in tree}
    for found in imports(tree):
        if found.target in edges and found.target != found.source:
            edges[found.source].add(found.target)
    reach = {module: _reachable(module, edges) for module in edges}
    groups = {tuple(sorted({module, *(m for m in reach[module] if module in reach[m])})) for module in edges}
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for target in edges[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen
