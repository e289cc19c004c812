"""Flags that are made of the options in ``settings``, and the frame around every command."""

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

import typer

from headrace.cli.failures import Report, reported
from headrace.settings import Option, load_settings, options

Command = Callable[..., None]

ConfigFlag = Annotated[
    Path | None,
    typer.Option("--config", help="Settings file in TOML; default: headrace.toml, if there.", metavar="FILE"),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, also for errors.")]
_LOADED: Final = "loaded"
_CONFIG: Final = "config"


def with_settings(*sections: str) -> Callable[[Command], Command]:
    """Give a command the flags of some sections, ``--config``, and one way to fail.

    The command takes ``loaded: LoadedSettings`` first; the flags that were really given are in it, the rest
    comes from the environment, the file and the defaults. A command with many arguments of its own takes them
    as one dataclass, whose fields are annotated as parameters would be.
    """
    # Every command logs, and every error message may point at --log-level.
    flags = {_parameter_name(known): known for known in options() if known.section in {*sections, "log"} and known.flag}

    def decorate(command: Command) -> Command:
        def run(**values: Any) -> None:
            file = values.pop(_CONFIG)
            given = _take_given(flags, values)
            report = Report(as_json=bool(values.get("as_json")), debug=given.get("log.level") == "debug")
            with reported(report):
                from headrace.observe.logs import configure_logs  # noqa: PLC0415 - loads NumPy, which --help needs not

                loaded = load_settings(given, file)
                report.debug = loaded.settings.log.level == "debug"
                configure_logs(loaded.settings.log, sys.stderr)  # standard output is for results alone
                command(loaded, **_gather(command, values))

        return _dress(run, command, flags)

    return decorate


def _take_given(flags: Mapping[str, Option], values: dict[str, Any]) -> dict[str, Any]:
    """Take the values of flags out of a command's arguments and return those that were given, by option key."""
    taken = {known.key: values.pop(name, None) for name, known in flags.items()}
    return {key: value for key, value in taken.items() if value is not None}


def _parameter_name(option: Option) -> str:
    return f"{option.section}__{option.name}"


def _dress(run: Command, command: Command, flags: Mapping[str, Option]) -> Command:
    """Show typer the signature it builds the command from: the command's own, then ``--config``, then the flags."""
    own = list(_own_parameters(command))
    added = [_parameter(_CONFIG, ConfigFlag), *(_parameter(name, _annotation(known)) for name, known in flags.items())]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in [*own, *added]]
    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
    return run


def _own_parameters(command: Command) -> Iterator[inspect.Parameter]:
    for name, parameter in inspect.signature(command).parameters.items():
        if name == _LOADED:
            continue
        if _is_group(parameter.annotation):
            yield from inspect.signature(parameter.annotation).parameters.values()
        else:
            yield parameter


def _gather(command: Command, values: dict[str, Any]) -> dict[str, Any]:
    """Put the arguments of a command that takes them as a dataclass into it."""
    for name, parameter in inspect.signature(command).parameters.items():
        if name != _LOADED and _is_group(parameter.annotation):
            return {name: parameter.annotation(**values)}
    return values


def _is_group(annotation: Any) -> bool:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _annotation(option: Option) -> Any:
    """Return what typer reads: the value's type without its bounds (pydantic checks those), and the flag's looks."""
    base = get_args(option.annotation)[0] if get_origin(option.annotation) is Annotated else option.annotation
    if get_origin(base) is tuple:
        base = str  # a list is one text here, as in the environment
    names = dict.fromkeys(name for name in (option.short_flag, option.flag) if name)  # in order, each once
    if option.annotation is bool:
        names = {f"{name}/--no-{name.removeprefix('--')}": None for name in names}
    look = typer.Option(
        *names,
        help=f"{option.help} Default: {option.default}." if option.default else option.help,
        readable=False,  # else typer checks paths before a command can say what is wrong, as doctor does
        show_default=False,  # typer would show its own, which is that the flag was not given
        rich_help_panel=f"Settings: {option.section}",
    )
    return Annotated[base | None, look]
