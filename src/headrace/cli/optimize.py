"""``headrace optimize``: which precisions a model bears, measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.columns import ColumnFlag, read_columns
from headrace.cli.failures import GATE, end_on_sigterm
from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import SHORT_REVISION, echo, format_size, print_json, print_table
from headrace.cli.stored import complete_name, store_of
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from headrace.models.manifest import VariantReport
    from headrace.optimize.pipeline import Optimized


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeArguments:
    """What ``headrace optimize`` is called with."""

    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Name of the model.", autocompletion=complete_name, show_default=False),
    ]
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Texts that the model did not learn from, with what is true of them or without:"
            " .csv, .tsv, .jsonl, .parquet, .conll. Default: those that the model carries.",
            show_default=False,
        ),
    ] = None
    column: ColumnFlag = None
    most_lost: Annotated[
        float,
        typer.Option("--most-lost", help="Share of the task's own figure that may be lost.", min=0.0, max=1.0),
    ] = 0.005
    least_agreement: Annotated[
        float,
        typer.Option(
            "--least-agreement",
            help="Agreement with the answers in float32, where nothing is known to be true.",
            min=-1.0,
            max=1.0,
        ),
    ] = 0.99
    rounds: Annotated[int, typer.Option("--rounds", help="Turns that two variants take.", min=1, max=1000)] = 5
    as_json: JsonFlag = False


@with_settings("store")
def optimize(loaded: LoadedSettings, asked: OptimizeArguments) -> None:
    """Compute a model in other precisions, compare each with float32, and store the graphs that lose nothing.

    A graph with 8-bit integers that passes becomes a version beside the one that answers; headrace models promote
    makes it answer. One that fails is not stored. If no variant passes, the exit code is 3.
    """
    from headrace.cli.progress import steps  # noqa: PLC0415 - loads rich
    from headrace.optimize.pipeline import OptimizeRequest, optimize_model  # noqa: PLC0415 - loads the engine and onnx

    request = OptimizeRequest(
        name=asked.model,
        home=loaded.settings.store.home,
        data=asked.data,
        columns=read_columns(asked.column),
        least_agreement=asked.least_agreement,
        most_lost=asked.most_lost,
        rounds=asked.rounds,
    )
    end_on_sigterm()
    optimized = optimize_model(request, store_of(loaded.settings), steps(as_json=asked.as_json))
    if asked.as_json:
        print_json(_as_json(optimized))
    else:
        _tell(asked.model, optimized)
    if not any(each.passed for each in optimized.comparison.variants[1:]):
        raise typer.Exit(GATE)


def _as_json(optimized: "Optimized") -> dict[str, Any]:
    stored = {
        name: {"revision": each.manifest.revision, "path": str(each.path)} for name, each in optimized.stored.items()
    }
    return {
        **optimized.comparison.model_dump(mode="json"),
        "stored": stored,
        "findings": list(optimized.findings),
        "page": str(optimized.page),
    }


def _tell(model: str, optimized: "Optimized") -> None:
    comparison = optimized.comparison
    for finding in optimized.findings:
        echo(finding)
    echo(f"{comparison.texts:,} asked, on {comparison.threads} threads of {comparison.cpu_model}")
    echo()
    header = ["variant", "size", "texts/s", "speed", comparison.agreement, comparison.metric or "", "verdict"]
    shown = [place for place, name in enumerate(header) if name]
    rows = [_cells(each) for each in comparison.variants]
    print_table([header[place] for place in shown], [[row[place] for place in shown] for row in rows])
    echo()
    for name, each in optimized.stored.items():
        revision = each.manifest.revision[:SHORT_REVISION]
        echo(f"stored {name} as {model}@{revision}; headrace models promote {model} {revision} makes it answer")
    if not optimized.stored:
        echo(f"no graph was stored; of the precisions that passed, headrace tune {model} chooses the fastest")
    echo(f"the same as a page: {optimized.page}")


def _cells(each: "VariantReport") -> list[str]:
    if not each.texts_per_s:
        return [each.name, "", "", "", "", "", each.verdict]
    return [
        each.name,
        format_size(each.size_bytes),
        f"{each.texts_per_s:,.0f}",
        f"{each.speedup:.2f} x",
        f"{each.agreement:.4f}",
        "" if each.score is None else f"{each.score:.4f}",
        each.verdict,
    ]
