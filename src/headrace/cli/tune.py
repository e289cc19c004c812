"""``headrace tune``: how a model runs best on this machine, measured."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from headrace.cli.flags import JsonFlag, with_settings
from headrace.cli.output import echo, print_json, print_table
from headrace.cli.plot import Point, draw_scatter
from headrace.cli.stored import complete_name, store_of
from headrace.models.disk import writing
from headrace.settings import LoadedSettings

if TYPE_CHECKING:
    from headrace.engine.plans import Trial, Tuned

_BAR: Final = 24  # characters of the longest bar

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Name of the model.", autocompletion=complete_name, show_default=False)
]
LimitFlag = Annotated[float, typer.Option("--limit-s", help="Try nothing new after so many seconds.", min=1.0)]
RoundsFlag = Annotated[int, typer.Option("--rounds", help="Turns that two plans take against each other.", min=2)]
PlotFlag = Annotated[
    Path | None, typer.Option("--plot", help="Draw speed against latency into this SVG file.", show_default=False)
]


@with_settings("engine", "store")
def tune(
    loaded: LoadedSettings,
    *,
    model: ModelArgument,
    limit_s: LimitFlag = 120.0,
    rounds: RoundsFlag = 7,
    plot: PlotFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure which runtime, precision, sessions and token budget answer most on this machine, and keep the result.

    `headrace serve` uses it from then on. What is set by a flag, a variable or the settings file is not varied. Stop
    other work first: it is measured against whatever else runs.
    """
    store_of(loaded.settings).find(model)

    from headrace import app  # noqa: PLC0415 - the engine, which --help must not wait for
    from headrace.cli.progress import steps  # noqa: PLC0415 - loads rich

    step = steps(as_json=as_json).step
    tuned, path = asyncio.run(app.tune_model(loaded, model, step, rounds=rounds, limit_s=limit_s))
    if plot is not None:
        with writing(plot):
            plot.write_text(draw_scatter(f"{model} on this machine", _points(tuned)), encoding="utf-8")
    if as_json:
        print_json({**tuned.model_dump(mode="json"), "path": str(path)})
        return
    _print(tuned)
    echo(f"kept in {path}")
    if not tuned.is_whole:
        echo("not everything was tried; give it more time with --limit-s")


def _print(tuned: "Tuned") -> None:
    most = max(trial.tokens_per_s for trial in tuned.trials)
    print_table(
        [
            "runtime",
            "precision",
            "sessions",
            "threads",
            "budget",
            "tokens/s",
            "",
            "one text",
            "cosine",
            "mean",
            "verdict",
        ],
        [[*_cells(trial, most), trial.verdict] for trial in tuned.trials],
    )
    echo()
    echo(f"chosen: {tuned.plan}")
    echo(f"two runs of one plan differ by up to {tuned.noise:.0%} here; a plan must win by more to be chosen")


def _cells(trial: "Trial", most: float) -> list[str]:
    plan, is_measured = trial.plan, trial.tokens_per_s > 0
    return [
        plan.runtime,
        plan.precision,
        str(plan.sessions),
        str(plan.threads),
        str(plan.token_budget),
        f"{trial.tokens_per_s:,.0f} ({trial.least_tokens_per_s:,.0f}-{trial.most_tokens_per_s:,.0f})"
        if is_measured
        else "",
        "#" * round(_BAR * trial.tokens_per_s / most) if is_measured else "",
        f"{trial.latency_s * 1000:.2f} ms" if trial.latency_s else "",
        "" if trial.min_cosine is None else f"{trial.min_cosine:.5f}",
        "" if trial.mean_cosine is None else f"{trial.mean_cosine:.5f}",
    ]


def _points(tuned: "Tuned") -> list[Point]:
    return [
        Point(
            x=trial.latency_s * 1000,
            y=trial.tokens_per_s,
            label=f"{trial.plan.runtime} {trial.plan.precision}, {trial.plan.sessions} x {trial.plan.threads}, "
            f"{trial.plan.token_budget}, cosine {trial.min_cosine:.4f}",
            is_chosen=trial.plan == tuned.plan,
        )
        for trial in tuned.trials
        if trial.tokens_per_s and trial.min_cosine is not None
    ]
