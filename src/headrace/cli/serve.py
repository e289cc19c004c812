"""``headrace serve``: models behind the REST API, until the process is told to stop."""

import json
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Final

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import echo, print_facts
from headrace.cli.stored import choose_models, complete_name, store_of
from headrace.settings import LoadedSettings

ModelsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Models to serve, the first is the default; none: every model of the store, by name.",
        autocompletion=complete_name,
        show_default=False,
    ),
]

_QUERY: Final = {"query": "What does the water drive?"}
_BESIDE: Final[Mapping[str, Mapping[str, object]]] = {
    "answer": _QUERY,
    "rerank": _QUERY,
    "zeroshot": {"labels": ["machines", "cooking"]},
}
"""What a task wants beside its inputs."""


@with_settings("server", "engine", "store", "cache", "limits", "auth", "records", "redis", "events", "traces")
def serve(loaded: LoadedSettings, *, models: ModelsArgument = None, as_json: JsonFlag = False) -> None:
    """Serve models over REST, and over gRPC with --grpc-port, until Ctrl-C or SIGTERM.

    Ctrl-C once stops accepting, answers what is running and exits; twice exits at once.
    """
    chosen = choose_models(store_of(loaded.settings), models or [], as_json=as_json)
    names, first = [manifest.name for manifest in chosen], chosen[0]

    from headrace import app  # noqa: PLC0415 - the server and the runtime, which --help must not wait for

    announce = partial(
        _announce, names=names, example=(first.task, first.mask), as_json=as_json, with_key=_has_keys(loaded)
    )
    app.run_server(loaded, names, announce)


def _has_keys(loaded: LoadedSettings) -> bool:
    return bool(loaded.settings.auth.keys or loaded.settings.auth.keys_file)


def _announce(
    base_url: str,
    grpc_address: str | None,
    *,
    names: list[str],
    example: tuple[str, str | None],
    as_json: bool,
    with_key: bool,
) -> None:
    """Print where the API is, once it answers."""
    places = {
        "api": f"{base_url}/api/v1",
        "docs": f"{base_url}/docs",
        "metrics": f"{base_url}/metrics",
        **({} if grpc_address is None else {"grpc": grpc_address}),
        "try": example_call(base_url, *example, with_key=with_key),
    }
    if as_json:
        echo(json.dumps({**places, "models": names, "default_model": names[0]}))
    else:
        print_facts({"serving": ", ".join(names), **places})


def example_call(base_url: str, task: str, mask: str | None, *, with_key: bool) -> str:
    """Return a call for a task that can be pasted into a shell; a key is left to a variable, never printed."""
    key = ' -H "authorization: Bearer $HEADRACE_KEY"' if with_key else ""
    body = json.dumps({**_BESIDE.get(task, {}), "inputs": [f"The water drives the {mask or 'wheel'}."]})
    return f"curl -s {base_url}/api/v1/{task}{key} -H 'content-type: application/json' -d {shlex.quote(body)}"
