"""Recipe ``regress``: an encoder learns to read a number from a text.

Top to bottom: the numbers, the data, the model, the loop, the measuring. What is learned are numbers of mean 0 and
deviation 1, whatever those of the data are; at the end the last layer is scaled, so that the model gives the data's.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint
from headrace.training import metrics
from headrace.training.columns import Columns
from headrace.training.data import DataFiles, read_split
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.examples import Example, Split
from headrace.training.numbers import Numbers
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.scores import predict_scores
from headrace.training.tables import Table, text_of
from headrace.training.tokens import TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Numbers):
    """How a regression is trained: as the numbers of all recipes are."""


# --- data ------------------------------------------------------------------------------------------------------------


def read(files: DataFiles, config: Config) -> Split[float]:
    """Read the examples and check them.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A row is broken, or has no text or no number.
        DataUnfit: All have the same number.
    """

    def examples_of(table: Table, named: Mapping[str, str]) -> Iterable[Example[float]]:
        for row in table.rows:
            value = _number(row.values.get(named["value"]), table, row.line)
            yield Example(text_of(table, row, named["text"]), value, row.line)

    split = read_split(files, Columns(("text", "value"), chosen=files.columns), examples_of, config)
    values = [example.target for example in split.train]
    if min(values) == max(values):
        raise DataUnfit(f"every text has the number {values[0]:g}; there is nothing to tell apart")
    return split.noting(f"numbers: {min(values):g} to {max(values):g}, mean {math.fsum(values) / len(values):g}")


def _number(value: object, table: Table, line: int) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever is no number raises
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataInvalid(f"{table.path.name}, line {line}: {str(value)[:40]!r} is no number; mend or remove the row")
    return number


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[float], run: Run, compute: Compute) -> Outcome:
    """Train a regression.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceInvalid: The base is not whole.
    """
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    texts = tokenizer.tokenize([example.text for example in split.train])
    held_out = tokenizer.tokenize([example.text for example in split.held_out])
    values = torch.tensor([example.target for example in split.train], dtype=torch.float64)  # (n,)
    truth = torch.tensor([example.target for example in split.held_out], dtype=torch.float64)
    mean, deviation = values.mean(), values.std(correction=0)
    targets = ((values - mean) / deviation).float().to(compute.device)

    head = {"num_labels": 1, "problem_type": "regression"}
    model = load_with_head(base, "SequenceClassification", config.seed, head, compute.device)
    freeze_layers(model, config.freeze)
    optimizer = make_optimizer(model.parameters(), config)

    for update in run.updates(texts.lengths, model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        loss = 0.0
        with compute.reduced():
            for rows in update.batches:
                scores = model(**texts.inputs(rows, model)).logits.squeeze(-1)  # (b,)
                part = mse_loss(scores.float(), targets[torch.from_numpy(rows)], reduction="sum") / len(update.rows)
                part.backward()  # gradients of the batches add up to that of the update
                loss += part.item()
        take_step(optimizer, config.clip)
        run.stepped(update, loss)
        if update.ends_epoch:
            found = predict_scores(model, held_out, compute).squeeze(-1).double()
            run.measured(model, measure(found * deviation + mean, truth))

    run.take_best(model)
    scale_output(model, float(deviation), float(mean))
    found = predict_scores(model, held_out, Compute(compute.device, uses_bf16=False)).squeeze(-1).double()
    return Outcome(model=model, metrics=measure(found, truth), examples=(len(split.train), len(split.held_out)))


@torch.no_grad()
def scale_output(model: "PreTrainedModel", factor: float, shift: float) -> None:
    """Let the last layer give ``factor`` times what it gave, and ``shift`` more."""
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.mul_(factor)
    last.bias.mul_(factor).add_(shift)


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(found: Tensor, truth: Tensor) -> dict[str, float]:
    """Return how near numbers are to those of the data, both of shape ``(n,)``."""
    wanted, given = truth.numpy(), found.numpy()
    return {
        "r2": metrics.r2(wanted, given),
        "pearson": metrics.pearson(wanted, given),
        "spearman": metrics.spearman(wanted, given),
        "rmse": metrics.rmse(wanted, given),
    }
