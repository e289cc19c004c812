"""``headrace signing-keys``: what a server signs its tokens with."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import print_facts, print_json
from headrace.errors import DependencyMissing
from headrace.settings import LoadedSettings

signing_keys_app = typer.Typer(no_args_is_help=True, help="Keys that a server signs its tokens with.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A new file.", show_default=False)]
AlgorithmFlag = Annotated[
    Literal["ES256", "EdDSA", "RS256"], typer.Option("--algorithm", help="What it signs with: P-256, Ed25519 or RSA.")
]


@signing_keys_app.command()
@with_settings()
def create(
    loaded: LoadedSettings,  # noqa: ARG001 - as every command
    *,
    file: FileArgument,
    algorithm: AlgorithmFlag = "ES256",
    as_json: JsonFlag = False,
) -> None:
    """Make a private key (PEM), in a new file that only its owner can read; name it in auth.signing_keys.

    To rotate, add the new key to the file behind the one that signs; later put it first, and later drop the other.
    """
    try:
        from headrace.auth.signing import make_key_file  # noqa: PLC0415 - of an extra
    except ModuleNotFoundError as error:
        raise DependencyMissing("what makes keys is not installed: pip install 'headrace[tokens]'") from error

    key = make_key_file(file, algorithm)
    told = {"file": str(file), "id": key.key_id, "algorithm": key.signer.algorithm}
    if as_json:
        print_json(told)
    else:
        print_facts(told)
