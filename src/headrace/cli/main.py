"""The ``headrace`` command: what it is made of.

Everything heavy (the runtime, the web framework, PyTorch) is imported inside the command that needs it, so
that ``headrace --help`` and shell completion stay quick.
"""

import sys
from typing import Annotated, Final

try:
    import typer

    from headrace.cli.answer import answer
    from headrace.cli.classify import classify
    from headrace.cli.config import config
    from headrace.cli.doctor import doctor
    from headrace.cli.embed import embed
    from headrace.cli.extract import extract
    from headrace.cli.failures import EXIT_CODES
    from headrace.cli.fill import fill
    from headrace.cli.import_ import import_
    from headrace.cli.keys import keys_app
    from headrace.cli.models import models_app
    from headrace.cli.optimize import optimize
    from headrace.cli.program import run_program
    from headrace.cli.records import records_app
    from headrace.cli.regress import regress
    from headrace.cli.rerank import rerank
    from headrace.cli.serve import serve
    from headrace.cli.signing_keys import signing_keys_app
    from headrace.cli.similarity import similarity
    from headrace.cli.train import train
    from headrace.cli.tune import tune
    from headrace.cli.users import users_app
    from headrace.cli.zeroshot import zeroshot
    from headrace.version import VERSION
except KeyboardInterrupt:
    # These imports are most of the time that a short command takes, so Ctrl-C often comes during them.
    sys.exit(130)

_EPILOG: Final = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="headrace",
    help="From a Hugging Face text model to a fast, guarded production API on CPUs.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    # A plain traceback, and only where it was asked for; typer's own shows values of variables.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"headrace {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("import")(import_)
app.command()(train)
app.command()(serve)
app.command()(tune)
app.command()(optimize)
app.command()(embed)
app.command()(classify)
app.command()(extract)
app.command()(regress)
app.command()(rerank)
app.command()(similarity)
app.command()(answer)
app.command()(zeroshot)
app.command()(fill)
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
app.add_typer(users_app, name="users")
app.add_typer(signing_keys_app, name="signing-keys")
app.add_typer(records_app, name="records")
app.command()(doctor)
app.command()(config)


def run() -> int:
    """Run the command line and return one of ``EXIT_CODES``."""
    return run_program(lambda: app(prog_name="headrace"))


def main() -> None:
    """Run the command line within a process that goes on to its own end, with one of ``EXIT_CODES``."""
    sys.exit(run())
