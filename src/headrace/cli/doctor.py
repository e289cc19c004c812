"""``headrace doctor``: what is wrong here, and the command that mends it."""

from dataclasses import asdict
from typing import Annotated

import typer

from headrace.cli.failures import ERROR, one_line
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import echo, print_json
from headrace.settings import LoadedSettings

VerifyFlag = Annotated[bool, typer.Option("--verify", help="Read every model file and compare its SHA-256.")]


@with_settings("server", "engine", "store", "cache", "auth")
def doctor(loaded: LoadedSettings, *, verify: VerifyFlag = False, as_json: JsonFlag = False) -> None:
    """Check this machine, the settings and the stored models; exit 1 if something would not work."""
    from headrace.diagnose import diagnose  # noqa: PLC0415 - loads the runtime, which --help must not wait for

    findings = list(diagnose(loaded, verify=verify))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            echo(f"{finding.status:<7}  {finding.name:<{width}}  {one_line(finding.detail)}")
            if finding.remedy:
                echo(f"{'':<7}  {'':<{width}}  -> {one_line(finding.remedy)}")
    if any(finding.status == "error" for finding in findings):
        raise typer.Exit(ERROR)
