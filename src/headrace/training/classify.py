"""Recipe ``classify``: an encoder learns to tell what a text is.

Top to bottom: the numbers, the data, the model, the loop, the measuring. Each text has one label (cross-entropy over
the softmax of all scores) or any number of them (binary cross-entropy over the sigmoid of each).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint
from headrace.training import metrics
from headrace.training.columns import Columns
from headrace.training.data import DataFiles, read_split
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.examples import Example, Split, describe_balance, lines, require_short
from headrace.training.numbers import ClassWeights, Numbers
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.scores import predict_scores
from headrace.training.tables import Row, Table, text_of
from headrace.training.tokens import TextTokenizer

Labels = tuple[str, ...]

# Above it a label is told; 0.5 is where the sigmoid's score says that it is likelier than not.
_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Numbers):
    """How a classifier is trained.

    Attributes:
        multi_label: Whether a text may have several labels or none; ``separator`` is between them in a cell.
        class_weights: ``balanced`` lets each label weigh as much as the others, however rare it is.
    """

    multi_label: bool = False
    separator: str = "|"
    class_weights: ClassWeights = "none"


# --- data ------------------------------------------------------------------------------------------------------------


def read(files: DataFiles, config: Config) -> Split[Labels]:
    """Read the examples and check them.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A row is broken, or has no text or no label.
        DataUnfit: One label only, or labels to measure that are not among those to learn.
    """
    columns = Columns(("text", "label"), chosen=files.columns)

    def examples_of(table: Table, named: Mapping[str, str]) -> Iterator[Example[Labels]]:
        for row in table.rows:
            labels = _labels_of(table, row, named["label"], config)
            yield Example(text_of(table, row, named["text"]), labels, row.line)

    split = read_split(files, columns, examples_of, config, group=lambda example: example.target)
    labels = label_names(split.train)
    if len(labels) < 2:  # noqa: PLR2004 - one is no choice
        raise DataUnfit(
            f"every text has the label {labels[0]!r}; a classifier needs two or more"
            if labels
            else "no text has a label"
        )
    if 2 * len(labels) > len(split.train):
        raise DataUnfit(
            f"{len(split.train):,} texts have {len(labels):,} labels, too many to learn any; name the right column with"
            " --column label=NAME, or train regress if they are numbers"
        )
    require_short(labels)
    unknown = [example.line for example in split.held_out if not set(example.target) <= set(labels)]
    if unknown:
        raise DataUnfit(f"of the examples to measure, {lines(unknown)} a label that none to learn from has")
    return split.noting(f"labels: {describe_balance(split.train, iter)}")


def _labels_of(table: Table, row: Row, column: str, config: Config) -> Labels:
    value = row.values.get(column)
    if config.multi_label:
        names = value if isinstance(value, list) else str(value or "").split(config.separator)
        return tuple(sorted({str(name).strip() for name in names} - {""}))
    if isinstance(value, list):
        raise DataInvalid(f"{table.path.name}, line {row.line}: a list of labels; train with --multi-label")
    label = text_of(table, row, column).strip()
    if not label:
        raise DataInvalid(f"{table.path.name}, line {row.line}: no label; give it one, or remove the row")
    return (label,)


def label_names(examples: Sequence[Example[Labels]]) -> list[str]:
    """Return every label once, sorted."""
    return sorted({label for example in examples for label in example.target})


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[Labels], run: Run, compute: Compute) -> Outcome:
    """Train a classifier.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceInvalid: The base is not whole.
    """
    labels = label_names(split.train)
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    texts = tokenizer.tokenize([example.text for example in split.train])
    targets = as_targets(split.train, labels, config).to(compute.device)  # (n,) or, 0 and 1, (n, labels)
    held_out = tokenizer.tokenize([example.text for example in split.held_out])
    truth = as_targets(split.held_out, labels, config)

    model = load_with_head(base, "SequenceClassification", config.seed, head_config(labels, config), compute.device)
    freeze_layers(model, config.freeze)
    optimizer = make_optimizer(model.parameters(), config)
    loss_of = make_loss(split.train, labels, config, compute.device)

    for update in run.updates(texts.lengths, model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        loss = 0.0
        with compute.reduced():
            for rows in update.batches:
                scores = model(**texts.inputs(rows, model)).logits  # (b, labels)
                part = loss_of(scores.float(), targets[torch.from_numpy(rows)]) / len(update.rows)
                part.backward()  # gradients of the batches add up to that of the update
                loss += part.item()
        take_step(optimizer, config.clip)
        run.stepped(update, loss)
        if update.ends_epoch:
            run.measured(model, measure(predict_scores(model, held_out, compute), truth, config))

    run.take_best(model)
    scores = predict_scores(model, held_out, Compute(compute.device, uses_bf16=False))
    return Outcome(
        model=model,
        metrics=measure(scores, truth, config),
        examples=(len(split.train), len(split.held_out)),
        labels=labels,
        confusion=None if config.multi_label else confusion_of(scores, truth),
    )


def head_config(labels: Sequence[str], config: Config) -> dict[str, Any]:
    """Return what makes a checkpoint's configuration that of this classifier."""
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "multi_label_classification" if config.multi_label else "single_label_classification",
    }


def as_targets(examples: Sequence[Example[Labels]], labels: Sequence[str], config: Config) -> Tensor:
    """Return the number of each text's label, shape ``(n,)``, or 0 and 1 for each label, shape ``(n, labels)``."""
    number = {label: place for place, label in enumerate(labels)}
    if not config.multi_label:
        return torch.tensor([number[example.target[0]] for example in examples])  # (n,)
    flags = torch.zeros(len(examples), len(labels))  # (n, labels)
    for row, example in enumerate(examples):
        flags[row, [number[label] for label in example.target]] = 1.0
    return flags


def make_loss(
    examples: Sequence[Example[Labels]], labels: Sequence[str], config: Config, device: torch.device
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a batch, summed over its rows."""
    weights = None
    if config.class_weights == "balanced":
        counts = Counter(label for example in examples for label in example.target)
        mean = sum(counts.values()) / len(labels)
        weights = torch.tensor([mean / counts[label] for label in labels], device=device)  # (labels,), 1 on average
    if config.multi_label:
        # the mean over the labels, so that the learning rate does not depend on how many there are
        return lambda scores, wanted: (
            binary_cross_entropy_with_logits(scores, wanted, pos_weight=weights, reduction="sum") / len(labels)
        )
    return lambda scores, wanted: cross_entropy(scores, wanted, weight=weights, reduction="sum")


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(scores: Tensor, truth: Tensor, config: Config) -> dict[str, float]:
    """Return how good scores are."""
    if config.multi_label:
        found, wanted = (scores.sigmoid() > _THRESHOLD).numpy(), truth.bool().numpy()
        return {"micro_f1": metrics.micro_f1(wanted, found), "exact_match": metrics.exact_match(wanted, found)}
    table = confusion_of(scores, truth)
    return {"accuracy": metrics.accuracy(table), "macro_f1": metrics.macro_f1(table)}


def confusion_of(scores: Tensor, truth: Tensor) -> NDArray[np.int64]:
    """Return how often each label (row) was taken for each (column)."""
    return metrics.confusion(truth.numpy(), scores.argmax(dim=1).numpy(), scores.shape[1])
