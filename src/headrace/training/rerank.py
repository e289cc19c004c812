"""Recipe ``rerank``: an encoder that reads a query and a passage together learns whether the one answers the other.

Top to bottom: the numbers, the data, the candidates, the model, the loop, the measuring. Where the data say nothing of
passages that do not answer, those that the base itself finds nearest are taken for such: what is easily told apart
teaches nothing (https://arxiv.org/abs/1901.04085 trains on what a first search returned).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from headrace.errors import DataInvalid, DataUnfit
from headrace.export.pytorch import load_encoder
from headrace.models.checkpoint import Checkpoint
from headrace.models.modules import PROMPTS
from headrace.training import metrics
from headrace.training.columns import Columns
from headrace.training.data import DataFiles, read_split
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.examples import Example, Split, sides
from headrace.training.numbers import Numbers
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.scores import predict_scores
from headrace.training.tables import Row, Table, text_of
from headrace.training.tokens import TextTokenizer
from headrace.training.vectors import embed_all
from headrace.types import parts_of

_CANDIDATES: Final = 20  # passages that a query is measured with: as many as a first search would hand over
# The file from which sentence-transformers, and the importer, know a cross-encoder.
_LAYOUT: Final = {"model_type": "CrossEncoder", "activation_fn": "torch.nn.modules.activation.Sigmoid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Numbers):
    """How a reranker is trained.

    Attributes:
        negatives: Passages that do not answer, for each one that does, where the data name none.
    """

    negatives: int = 4


# --- data ------------------------------------------------------------------------------------------------------------


def read(files: DataFiles, config: Config) -> Split[float]:
    """Read the pairs and check them. A pair without a relevance answers.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A row is broken, lacks a text, or has a relevance that is not between 0 and 1.
        DataUnfit: All pairs have the same passage, or none answers.
    """
    columns = Columns(("query", "passage"), ("relevance",), files.columns)
    split = read_split(files, columns, _examples, config, unit=lambda example: parts_of(example.text)[0])
    if len(set(sides(split.train)[1])) == 1:
        raise DataUnfit("every pair has the same passage; there is nothing to tell apart")
    if not any(example.target for example in split.train):
        raise DataUnfit("no passage answers its query; give pairs with a relevance of 1")
    return split


def _examples(table: Table, named: Mapping[str, str]) -> Iterable[Example[float]]:
    for row in table.rows:
        query, passage = (text_of(table, row, named[role]) for role in ("query", "passage"))
        relevance = _relevance(table, row, named["relevance"]) if "relevance" in named else 1.0
        yield Example((query, passage), relevance, row.line)


def _relevance(table: Table, row: Row, column: str) -> float:
    value = row.values.get(column)
    try:
        relevance = float(value)  # type: ignore[arg-type]  # whatever is no number raises
    except (TypeError, ValueError):
        relevance = -1.0
    if not 0.0 <= relevance <= 1.0:
        raise DataInvalid(f"{table.path.name}, line {row.line}: {str(value)[:40]!r} is no relevance; write 0 to 1")
    return relevance


# --- candidates ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs with their relevance, those of one query one after the other.

    Attributes:
        queries: Number of the query of each pair.
    """

    texts: tuple[tuple[str, str], ...]
    relevance: Tensor
    queries: NDArray[np.int64]


def with_candidates(examples: Sequence[Example[float]], nearest: Mapping[str, Sequence[str]], count: int) -> Pairs:
    """Return pairs, and for each query the nearest passages that are not said to answer it.

    Args:
        examples: The pairs of the data.
        nearest: Passages for each query, the nearest first.
        count: How many of them each query gets; 0 where the data have some that do not answer.
    """
    of_query: dict[str, dict[str, float]] = {}
    for example in examples:
        query, passage = parts_of(example.text)
        of_query.setdefault(query, {})[passage] = example.target
    texts, relevance, queries = [], [], []
    for number, (query, known) in enumerate(of_query.items()):
        others = [passage for passage in nearest.get(query, ()) if passage not in known][:count]
        for passage, value in [*known.items(), *((passage, 0.0) for passage in others)]:
            texts.append((query, passage))
            relevance.append(value)
            queries.append(number)
    return Pairs(tuple(texts), torch.tensor(relevance), np.asarray(queries))


def find_nearest(
    base: Checkpoint, tokenizer: TextTokenizer, split: Split[float], compute: Compute
) -> dict[str, list[str]]:
    """Return for each query the passages that the base's own vectors find nearest, some more than are measured with."""
    asked = list(dict.fromkeys(sides([*split.train, *split.held_out])[0]))
    corpus = list(dict.fromkeys(sides([*split.train, *split.held_out])[1]))
    encoder = load_encoder(base).to(compute.device)
    queries, passages = (embed_all(encoder, tokenizer.tokenize(texts), compute) for texts in (asked, corpus))
    count = min(len(corpus), 2 * _CANDIDATES)
    places = (queries @ passages.T).topk(count, dim=1).indices.tolist()  # (queries, count)
    return {query: [corpus[place] for place in row] for query, row in zip(asked, places, strict=True)}


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[float], run: Run, compute: Compute) -> Outcome:
    """Train a reranker.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceInvalid: The base is not whole.
    """
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    has_negatives = any(example.target < 1.0 for example in split.train)
    nearest = {} if has_negatives else find_nearest(base, tokenizer, split, compute)
    learned = with_candidates(split.train, nearest, config.negatives)
    measured = with_candidates(split.held_out, nearest, _CANDIDATES - 1)
    measure(torch.zeros(len(measured.texts)), measured)  # data that cannot be measured are refused before the work
    types = has_token_types(base)
    texts = tokenizer.tokenize(learned.texts, with_types=types)
    held_out = tokenizer.tokenize(measured.texts, with_types=types)
    targets = learned.relevance.to(compute.device)  # (n,)

    model = load_with_head(base, "SequenceClassification", config.seed, {"num_labels": 1}, compute.device)
    freeze_layers(model, config.freeze)
    optimizer = make_optimizer(model.parameters(), config)

    for update in run.updates(texts.lengths, model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        loss = 0.0
        with compute.reduced():
            for rows in update.batches:
                scores = model(**texts.inputs(rows, model)).logits.squeeze(-1)  # (b,)
                wanted = targets[torch.from_numpy(rows)]
                part = binary_cross_entropy_with_logits(scores.float(), wanted, reduction="sum") / len(update.rows)
                part.backward()  # gradients of the batches add up to that of the update
                loss += part.item()
        take_step(optimizer, config.clip)
        run.stepped(update, loss)
        if update.ends_epoch:
            run.measured(model, measure(predict_scores(model, held_out, compute).squeeze(-1), measured))

    run.take_best(model)
    scores = predict_scores(model, held_out, Compute(compute.device, uses_bf16=False)).squeeze(-1)
    return Outcome(
        model=model,
        metrics=measure(scores, measured),
        examples=(len(learned.texts), len(measured.texts)),
        files={PROMPTS: _LAYOUT},
    )


def has_token_types(base: Checkpoint) -> bool:
    """Whether the model is told which of two texts a token is of; RoBERTa and its like have one type for all."""
    usual = 2 if base.config["model_type"] in {"bert", "electra"} else 1
    return int(base.config.get("type_vocab_size", usual)) > 1


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(scores: Tensor, pairs: Pairs) -> dict[str, float]:
    """Return how high the best passage of each query is placed.

    Args:
        scores: Of the pairs, shape ``(n,)``.
        pairs: Those of a query with one passage, or with equal ones, tell nothing and are left out.
    """
    ranks = []
    for number in range(int(pairs.queries.max()) + 1):
        rows = np.flatnonzero(pairs.queries == number)
        relevance, given = pairs.relevance.numpy()[rows], scores.numpy()[rows]
        if relevance.max() > relevance.min():
            answers = relevance == relevance.max()
            ranks.append(1 + int((given[~answers] >= given[answers].max()).sum()))
    if not ranks:
        raise DataUnfit("no query that was held back has a passage that answers and one that does not; give more data")
    places = np.asarray(ranks)
    return {"mrr": metrics.mean_reciprocal_rank(places), "recall_at_1": metrics.recall_at(places, 1)}
