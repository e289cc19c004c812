"""Rules about the code itself. Each takes a source tree and returns one line for each violation."""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from tests.architecture.graph import Tree, imports

MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 40
MAX_PARAMETERS: Final = 6

# They say where code was put, not what it does.
_EMPTY_NAMES: Final = frozenset({"utils", "util", "helpers", "helper", "common", "misc", "manager", "core"})
# Each runs code that comes with its data.
_UNSAFE_MODULES: Final = frozenset({"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"})
_UNSAFE_CALLS: Final = frozenset({"eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.load", "code.interact"})
_ENVIRONMENT: Final = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
_BROAD: Final = frozenset({"Exception", "BaseException"})
_SECRET: Final = re.compile(r"key|secret|token|digest|password", re.IGNORECASE)
_WITHOUT_DOCSTRING: Final = frozenset({"override", "overload", "typing.override", "typing.overload"})

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


def size_violations(tree: Tree) -> list[str]:
    """Files and functions that are too long, and functions that take too much."""
    found = [
        f"{path} has {len(text.splitlines())} lines; at most {MAX_FILE_LINES}"
        for path, text in tree.items()
        if len(text.splitlines()) > MAX_FILE_LINES
    ]
    for path, node in _nodes(tree):
        if isinstance(node, Function):
            found += [f"{path}:{node.lineno} {node.name} {problem}" for problem in _size_problems(path, node)]
    return found


def environment_violations(tree: Tree) -> list[str]:
    """Readers of the environment other than the settings."""
    found = []
    for path, node in _nodes(tree):
        names = {node.attr} if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os" else set()
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            names = {alias.name for alias in node.names}
        if names & _ENVIRONMENT and not path.startswith("headrace/settings/"):
            found.append(f"{path}:{_line(node)} reads the environment; make it an option in settings/sections.py")
    return found


def broad_except_violations(tree: Tree) -> list[str]:
    """Handlers that catch everything without saying why, on the line, above or below, unless they pass it on."""
    handlers = [(path, node) for path, node in _nodes(tree) if isinstance(node, ast.ExceptHandler)]
    return [
        f"{path}:{node.lineno} catches everything; say why: # noqa: BLE001 - reason"
        for path, node in handlers
        if _is_broad(node) and not _is_reraised(node) and not _gives_reason(tree[path].splitlines(), node.lineno - 1)
    ]


def file_name_violations(tree: Tree) -> list[str]:
    """Files and folders whose name says nothing."""
    return [
        f"{path} says nothing about what it holds; name it after that"
        for path in tree
        if _EMPTY_NAMES & {part.removesuffix(".py").strip("_") for part in PurePosixPath(path).parts}
    ]


def unsafe_violations(tree: Tree) -> list[str]:
    """Ways to run code that came with data."""
    found = [f"{one}; data must not be able to run" for one in imports(tree) if one.library in _UNSAFE_MODULES]
    for path, node in _nodes(tree):
        if isinstance(node, ast.Call) and (ast.unparse(node.func) in _UNSAFE_CALLS or _allows_pickle(node)):
            found.append(f"{path}:{node.lineno} calls {ast.unparse(node.func)}; data must not be able to run")
    return found


def docstring_violations(tree: Tree) -> list[str]:
    """Modules, public classes and public functions that explain nothing."""
    found = []
    for path, text in tree.items():
        for node, name in _public(ast.parse(text, path), "module"):
            if not ast.get_docstring(node):
                found.append(f"{path}: {name} has no docstring")
    return found


def comparison_violations(tree: Tree) -> list[str]:
    """Comparisons in auth/ whose duration tells how much of a secret was right."""
    found = []
    for path, node in _nodes(tree):
        if path.startswith("headrace/auth/") and isinstance(node, ast.Compare):
            plain = any(isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for operator in node.ops)
            if plain and any(_names_secret(side) for side in (node.left, *node.comparators)):
                found.append(f"{path}:{node.lineno} {ast.unparse(node)!r}: use hmac.compare_digest")
    return found


def _nodes(tree: Tree) -> Iterator[tuple[str, ast.AST]]:
    for path, text in tree.items():
        for node in ast.walk(ast.parse(text, path)):
            yield path, node


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _size_problems(path: str, node: Function) -> Iterator[str]:
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
    lines = (node.end_lineno or node.lineno) - node.lineno + 1 - docstring
    if lines > MAX_FUNCTION_LINES:
        yield f"has {lines} lines without its docstring; at most {MAX_FUNCTION_LINES}"
    count = _count_parameters(node.args, counts_flags=not path.startswith("headrace/cli/"))
    if count > MAX_PARAMETERS:
        yield f"takes {count} parameters; at most {MAX_PARAMETERS}"


def _count_parameters(arguments: ast.arguments, *, counts_flags: bool) -> int:
    # A command's keyword-only parameters are its flags: a user sets them one by one.
    flags = arguments.kwonlyargs if counts_flags else []
    named = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *flags)]
    return len([name for name in named if name not in {"self", "cls"}]) + bool(arguments.vararg) + bool(arguments.kwarg)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind).removeprefix("builtins.") in _BROAD for kind in types)


def _is_reraised(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _gives_reason(lines: Sequence[str], index: int) -> bool:
    beside = lines[index].partition("#")[2]
    around = [line.strip()[1:] for line in lines[index - 1 : index + 2] if line.strip().startswith("#")]
    return any(len(re.sub(r"noqa(: *[A-Z0-9, ]+)?", "", comment).split()) > 1 for comment in (beside, *around))


def _allows_pickle(call: ast.Call) -> bool:
    return any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in call.keywords)


def _public(node: Documented, name: str) -> Iterator[tuple[Documented, str]]:
    yield node, name
    for child in [] if isinstance(node, Function) else node.body:
        if isinstance(child, ast.ClassDef | Function) and _is_public(child):
            yield from _public(child, child.name)


def _is_public(node: ast.ClassDef | Function) -> bool:
    inherits = _WITHOUT_DOCSTRING & {ast.unparse(decorator) for decorator in node.decorator_list}
    return not node.name.startswith("_") and not inherits


def _names_secret(node: ast.expr) -> bool:
    return any(
        _SECRET.search(child.id if isinstance(child, ast.Name) else child.attr)
        for child in ast.walk(node)
        if isinstance(child, ast.Name | ast.Attribute)
    )
