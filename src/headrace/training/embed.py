"""Recipe ``embed``: an encoder learns to put a question near its answer.

Top to bottom: the numbers, the data, the model, the loop, the measuring. Of each pair in an update the passage shall be
nearer to its query than the passages of all other pairs are: in-batch negatives, cross-entropy over scaled cosines
(https://arxiv.org/abs/1705.00652, 4.4; https://arxiv.org/abs/2004.04906, 3.2).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from headrace.errors import DataUnfit, SourceUnsupported
from headrace.export.pytorch import TextEncoder, load_encoder
from headrace.models.checkpoint import Checkpoint
from headrace.models.modules import ENCODERS, MODULES
from headrace.training import metrics
from headrace.training.columns import Columns
from headrace.training.data import DataFiles, read_split
from headrace.training.device import Compute
from headrace.training.examples import Example, Split, sides
from headrace.training.numbers import Numbers
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.tables import Table, text_of
from headrace.training.tokens import TextTokenizer
from headrace.training.vectors import embed, embed_all
from headrace.types import parts_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Numbers):
    """How an embedding model is trained.

    Attributes:
        scale: What cosines are multiplied with before the softmax, the inverse of its temperature.
    """

    # Every other row of an update is a negative, so more of them teach more; all their activations are kept at once.
    rows: int = 32
    # It is good already: what it learned from millions of pairs is not to be forgotten over some hundred.
    learning_rate: float = 2e-5
    # As sentence-transformers: between cosines of 0.5 and 0.6 lies a factor of 7.
    scale: float = 20.0


# --- data ------------------------------------------------------------------------------------------------------------


def read(files: DataFiles, config: Config) -> Split[None]:
    """Read the pairs and check them.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A row is broken, or lacks one of the two texts.
        DataUnfit: All pairs have the same passage.
    """
    split = read_split(files, Columns(("query", "passage"), chosen=files.columns), _examples, config)
    if len({parts_of(example.text)[1] for example in split.train}) == 1:
        raise DataUnfit("every pair has the same passage; there is nothing to tell apart")
    return split


def _examples(table: Table, named: Mapping[str, str]) -> Iterable[Example[None]]:
    for row in table.rows:
        query, passage = (text_of(table, row, named[role]) for role in ("query", "passage"))
        yield Example((query, passage), None, row.line)


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[None], run: Run, compute: Compute) -> Outcome:
    """Train an embedding model.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceUnsupported: The base is no embedding model.
        SourceInvalid: The base is not whole.
    """
    if base.task not in {"embed", "fill"}:
        raise SourceUnsupported(
            f"{base.architecture!r} has a head; take an embedding model or a bare encoder", field="base"
        )
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    queries, passages = (tokenizer.tokenize(texts) for texts in sides(split.train))
    twins = same_passage(split.train).to(compute.device)  # (n,) number of the passage of each pair
    model = load_encoder(base).train().to(compute.device)
    freeze_layers(model, config.freeze)
    optimizer = make_optimizer(model.parameters(), config)

    lengths = [one + other for one, other in zip(queries.lengths, passages.lengths, strict=True)]
    for update in run.updates(lengths, model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        with compute.reduced():
            # Each batch is computed by itself, and the loss over all of them together: every pair meets every other.
            asked = torch.cat([embed(model, queries, rows) for rows in update.batches])  # (r, d), of length 1
            given = torch.cat([embed(model, passages, rows) for rows in update.batches])  # (r, d), of length 1
        which = twins[torch.from_numpy(np.concatenate(update.batches))]  # (r,)
        loss = contrastive_loss(asked, given, which, config.scale)
        loss.backward()
        take_step(optimizer, config.clip)
        run.stepped(update, loss.item())
        if update.ends_epoch:
            run.measured(model, measure(model, tokenizer, split, compute))

    run.take_best(model)
    exact = Compute(compute.device, uses_bf16=False)
    return Outcome(
        model=cast("PreTrainedModel", model.encoder),
        metrics=measure(model, tokenizer, split, exact),
        examples=(len(split.train), len(split.held_out)),
        files=layout(base),
    )


def same_passage(pairs: Sequence[Example[None]]) -> Tensor:
    """Return the number of the passage of each pair, shape ``(n,)``; equal ones have the same."""
    number: dict[str, int] = {}
    return torch.tensor([number.setdefault(passage, len(number)) for passage in sides(pairs)[1]])


def contrastive_loss(asked: Tensor, given: Tensor, which: Tensor, scale: float) -> Tensor:
    """Return how far queries are from preferring their own passages, the mean over them.

    Args:
        asked: Vectors of the queries, shape ``(r, d)``, of length 1.
        given: Vectors of their passages, of the same shape.
        which: Number of each passage, shape ``(r,)``: an equal one is no negative of a query.
        scale: What cosines are multiplied with.
    """
    own = torch.arange(len(which), device=which.device)
    twins = (which[:, None] == which[None, :]) & (own[:, None] != own[None, :])
    return cross_entropy((scale * asked @ given.T).masked_fill(twins, -torch.inf), own)  # of (r, r), the diagonal


# --- measuring -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def measure(model: TextEncoder, tokenizer: TextTokenizer, split: Split[None], compute: Compute) -> dict[str, float]:
    """Return how well queries that were held back find their passages among all passages there are."""
    queries, wanted = sides(split.held_out)
    corpus = list(dict.fromkeys([*wanted, *sides(split.train)[1]]))
    place = {passage: number for number, passage in enumerate(corpus)}
    asked, known = (embed_all(model, tokenizer.tokenize(texts), compute) for texts in (queries, corpus))
    cosines = (asked @ known.T).numpy()  # (queries, passages)
    ranks = metrics.ranks_of(cosines, np.asarray([place[passage] for passage in wanted]))
    return {
        "mrr": metrics.mean_reciprocal_rank(ranks),
        "recall_at_1": metrics.recall_at(ranks, 1),
        "recall_at_10": metrics.recall_at(ranks, 10),
    }


# --- saving ----------------------------------------------------------------------------------------------------------


def layout(base: Checkpoint) -> dict[str, Any]:
    """Return the files that make a checkpoint an embedding model for sentence-transformers."""
    kinds = {"": "Transformer", "1_Pooling": "Pooling"} | ({"2_Normalize": "Normalize"} if base.normalize else {})
    return {
        MODULES: [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds.items())
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": base.config.get("hidden_size", base.config.get("dim")),
            "pooling_mode_cls_token": base.pooling == "cls",
            "pooling_mode_mean_tokens": base.pooling == "mean",
            "pooling_mode_max_tokens": base.pooling == "max",
        },
        ENCODERS[0]: {"max_seq_length": base.max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": dict(base.prompts), "default_prompt_name": None},
    }
