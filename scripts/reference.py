"""Write the pages of docs/reference from the code; ``--check`` only compares and names the pages that differ.

Usage: python scripts/reference.py [--check]
"""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast, get_args, get_origin

import typer
import typer.main
from typer.core import TyperGroup

from headrace.api.rest.app import build_routes
from headrace.api.rest.refusals import STATUS
from headrace.cli.failures import EXIT_CODES
from headrace.cli.main import app
from headrace.errors import error_classes
from headrace.events.kinds import SUBJECTS, TOLD
from headrace.observe.metrics import describe
from headrace.settings import CONFIG_VARIABLE, DEFAULT_FILE, Option, Settings, options

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "docs/reference"
_NOTE: Final = "<!-- Made by scripts/reference.py from the code: change the code, then run `make docs`. -->"
# How a bound is written; the names are those of the annotated-types package.
_BOUNDS: Final = {"ge": "at least", "gt": "over", "le": "at most", "lt": "under"}


def main() -> None:
    """Write or compare every page."""
    pages = {name: f"{_NOTE}\n\n{make()}".rstrip() + "\n" for name, make in PAGES.items()}
    if sys.argv[1:] == ["--check"]:
        stale = stale_pages(pages, FOLDER)
        for name in stale:
            print(f"docs/reference/{name} is not what the code says; run: make docs", file=sys.stderr)
        sys.exit(bool(stale))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def stale_pages(pages: Mapping[str, str], folder: Path) -> list[str]:
    """Return the pages that differ from what was made, are missing, or are made no more."""
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*pages, *present} if pages.get(name) != present.get(name))


def settings_page() -> str:
    """Describe every option: one table for each section."""
    lines = [
        "# Settings",
        "",
        "A value comes from the flag, else the environment, else the file, else the default.",
        f"The file is TOML: `--config FILE`, else what `{CONFIG_VARIABLE}` names, else `{DEFAULT_FILE}` if there;",
        "its sections are those below. An option that does not exist is an error. `headrace config` shows what is in",
        "force and where each value came from. A secret has no flag, since other users of a machine can read a command",
        "line.",
    ]
    for section, field in Settings.model_fields.items():
        rows = [_option_row(option) for option in options() if option.section == section]
        lines += ["", f"## {section}", "", str(cast("type", field.annotation).__doc__), ""]
        lines += _table(["Option", "Default", "Allowed", "Flag", "Environment variable", "Meaning"], rows)
    return "\n".join(lines)


def _option_row(option: Option) -> list[str]:
    flags = dict.fromkeys(flag for flag in (option.short_flag, option.flag) if flag)
    return [
        f"`{option.name}`",
        f"`{option.default}`" if option.default else "",
        _allowed(option.annotation),
        ", ".join(f"`{flag}`" for flag in flags),
        f"`{option.variable}`",
        option.help,
    ]


def _allowed(annotation: Any) -> str:
    """Say what values an option takes, such as ``int, at least 0, at most 65535``."""
    base, *bounds = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if "SecretStr" in str(base):
        return "secrets"
    if get_origin(base) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(base))
    if get_origin(base) is tuple:
        return f"{get_args(base)[0].__name__.lower()}s"
    kinds = [kind.__name__.lower() for kind in get_args(base) or (base,) if kind is not type(None)]
    limits = [
        f"{word} {getattr(bound, name)}" for bound in bounds for name, word in _BOUNDS.items() if hasattr(bound, name)
    ]
    return ", ".join([" or ".join(kinds), *limits])


def errors_page() -> str:
    """Describe every error."""
    rows = [
        [f"`{each.code}`", str(STATUS[each]), "yes" if each.retryable else "no", str(each.__doc__).splitlines()[0]]
        for each in error_classes()
    ]
    return "\n".join(
        [
            "# Errors",
            "",
            "Every error has a code that does not change. Over REST it is the `code` of an `application/problem+json`",
            "body, on the command line it stands before the message. *Retry* says whether the same request can succeed",
            "later. The message (`detail`) is for people and may change.",
            "",
            *_table(["Code", "HTTP status", "Retry", "Meaning"], rows),
        ]
    )


def cli_page() -> str:
    """Describe every command with its arguments and flags."""
    lines = ["# Command line", "", "`headrace COMMAND --help` shows the same.", "", "## Exit codes", ""]
    lines += _table(["Code", "Meaning"], [[str(code), meaning] for code, meaning in EXIT_CODES.items()])
    lines += [
        "",
        "An error is one line on standard error, `headrace: CODE: MESSAGE`; with `--json` an object.",
        "Wrong usage is explained beside the usage line.",
    ]
    for name, command in _commands(typer.main.get_command(app), "headrace"):
        context = typer.Context(command, info_name=name)
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
        rows = [[f"`{record[0]}`", record[1]] for record in records if record and record[0] != "--help"]
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        lines += ["", f"## {name}", "", str(command.help), "", "```text", usage, "```", ""]
        lines += _table(["Argument or flag", "Meaning"], rows)
    return "\n".join(lines)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for child, each in command.commands.items():
        yield from _commands(each, f"{name} {child}")


def metrics_page() -> str:
    """Describe every metric."""
    rows = [
        [f"`{each.name}`", each.type, ", ".join(f"`{label}`" for label in each.labels), each.help]
        for each in describe()
    ]
    lines = ["# Metrics", "", "`GET /metrics` shows them in Prometheus' text format, with those of the process."]
    return "\n".join([*lines, "", *_table(["Name", "Type", "Labels", "Meaning"], rows)])


def events_page() -> str:
    """Describe every event."""
    lines = [
        "# Events",
        "",
        "`GET /api/v1/events` tells them; [events](../events.md) says how. Ask for these with `subject`:",
    ]
    lines += ["", *_table(["Subject", "Meaning"], [[f"`{name}`", meaning] for name, meaning in SUBJECTS.items()])]
    lines += ["", "Whatever is asked for, a reader is told of its own reading:"]
    return "\n".join(
        [*lines, "", *_table(["Subject", "Meaning"], [[f"`{name}`", told] for name, told in TOLD.items()])]
    )


def api_page() -> str:
    """Describe every route and every body, as the OpenAPI document has them."""
    document = build_routes().openapi()
    lines = [
        "# REST API",
        "",
        "A running server shows this at `/docs` and as OpenAPI at `/openapi.json`. Every answer has the header",
        "`x-request-id`: the one the request came with, else a new one. Errors are `application/problem+json`;",
        "[errors.md](errors.md) has their codes.",
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines += ["", f"## {method.upper()} {path}", "", _sentences(route), *_headers(route), *_bodies(route)]
    lines += ["", "## Bodies"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        if not name.startswith(("HTTPValidationError", "ValidationError")):
            lines += ["", f"### {name}", "", *_schema(schema)]
    return "\n".join(lines)


def _sentences(route: Mapping[str, Any]) -> str:
    summary = route["summary"]
    return f"{summary}{'' if summary.endswith('?') else '.'} {route.get('description', '')}".rstrip()


def _headers(route: Mapping[str, Any]) -> list[str]:
    headers = [each for each in route.get("parameters", ()) if each["in"] == "header"]
    return [line for each in headers for line in ("", f"Header `{each['name']}`: {each['description']}")]


def _bodies(route: Mapping[str, Any]) -> list[str]:
    asked = _reference(route.get("requestBody", {}))
    given = _reference(route.get("responses", {}).get("200", {}))
    said = ([f"Body: {asked}."] if asked else []) + ([f"Answer: {given}."] if given else [])
    return ["", " ".join(said)] if said else []


def _reference(body: Mapping[str, Any]) -> str:
    return _type(body.get("content", {}).get("application/json", {}).get("schema", {}))


def _schema(schema: Mapping[str, Any]) -> list[str]:
    required = set(schema.get("required", ()))
    rows = [
        [f"`{name}`", _type(field), "yes" if name in required else "no", field.get("description", "")]
        for name, field in schema.get("properties", {}).items()
    ]
    about = [schema["description"], ""] if schema.get("description") else []
    return [*about, *_table(["Field", "Type", "Required", "Meaning"], rows)]


def _type(schema: Mapping[str, Any]) -> str:
    """Spell a JSON schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", ""))


def map_page() -> str:
    """Say what each source file is for: the first line of its docstring, or of its first comment."""
    lines = ["# Map", "", "Every file of `src/headrace`, in its own words."]
    found = (path for path in (ROOT / "src/headrace").rglob("*") if path.suffix in {".py", ".c", ".h"})
    files = sorted(found, key=lambda path: (path.parent, path.name))
    folder = None
    for path in files:
        if path.parent != folder:
            folder = path.parent
            lines += ["", f"## {folder.relative_to(ROOT / 'src')}", ""]
        lines.append(f"- `{path.name}`: {_first_line(path)}")
    return "\n".join(lines)


def _first_line(path: Path) -> str:
    if path.suffix != ".py":
        return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("// ")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0].replace("``", "`")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "api.md": api_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "events.md": events_page,
    "map.md": map_page,
    "metrics.md": metrics_page,
    "settings.md": settings_page,
}

if __name__ == "__main__":
    main()
