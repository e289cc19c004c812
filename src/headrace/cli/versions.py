"""``headrace models promote`` and its kin: which version of a model answers, and which one is tried out beside it.

They change what the store says. A server that serves the model follows within a second.
"""

from typing import Annotated

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import SHORT_REVISION, print_facts, print_json
from headrace.cli.stored import NameArgument, store_of
from headrace.models.roles import Candidate, CandidateKind, Roles
from headrace.settings import LoadedSettings

VersionFlag = Annotated[
    str, typer.Option("--revision", help="The version whose revision starts with this.", show_default=False)
]
ShareFlag = Annotated[float, typer.Option("--share", min=0.0001, max=1, help="Share of the traffic.")]


@with_settings("store")
def promote(loaded: LoadedSettings, *, name: NameArgument, revision: VersionFlag, as_json: JsonFlag = False) -> None:
    """Let a version answer. The one that did so far is kept, and rollback brings it back."""
    _tell(name, store_of(loaded.settings).promote(name, revision), as_json=as_json)


@with_settings("store")
def rollback(loaded: LoadedSettings, *, name: NameArgument, as_json: JsonFlag = False) -> None:
    """Let the version answer again that did before."""
    _tell(name, store_of(loaded.settings).roll_back(name), as_json=as_json)


@with_settings("store")
def canary(
    loaded: LoadedSettings,
    *,
    name: NameArgument,
    revision: VersionFlag,
    share: ShareFlag = 0.1,
    as_json: JsonFlag = False,
) -> None:
    """Let a version answer a share of the traffic, always that of the same callers if they say who they are."""
    _try_out(loaded, name, revision, "canary", share, as_json=as_json)


@with_settings("store")
def shadow(
    loaded: LoadedSettings,
    *,
    name: NameArgument,
    revision: VersionFlag,
    share: ShareFlag = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """Ask a version what the champion is asked, and compare; nobody gets its answers."""
    _try_out(loaded, name, revision, "shadow", share, as_json=as_json)


@with_settings("store")
def retire(loaded: LoadedSettings, *, name: NameArgument, as_json: JsonFlag = False) -> None:
    """End the trial of a canary or a shadow."""
    _tell(name, store_of(loaded.settings).try_out(name, None), as_json=as_json)


def _try_out(
    loaded: LoadedSettings, name: str, revision: str, kind: CandidateKind, share: float, *, as_json: bool
) -> None:
    store = store_of(loaded.settings)
    chosen = store.find(name, revision).revision
    _tell(name, store.try_out(name, Candidate(revision=chosen, kind=kind, share=share)), as_json=as_json)


def _tell(name: str, roles: Roles, *, as_json: bool) -> None:
    if as_json:
        print_json({"name": name, **roles.model_dump(mode="json")})
        return
    facts = {"model": name, "champion": roles.champion[:SHORT_REVISION]}
    if roles.previous is not None:
        facts["previous"] = roles.previous[:SHORT_REVISION]
    if roles.candidate is not None:
        facts[roles.candidate.kind] = f"{roles.candidate.revision[:SHORT_REVISION]}, {100 * roles.candidate.share:g} %"
    print_facts(facts)
