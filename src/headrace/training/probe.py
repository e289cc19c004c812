"""Recipe ``probe``: a small network learns to tell what a text is, from what an encoder that is not changed sees in it.

Top to bottom: the numbers, the head, the loop, the measuring. Each text runs through the encoder once;
then the head, two layers with a non-linear function between them, is trained in seconds. It is the head that
``classify`` trains together with the encoder, so what comes of it is served in the same way.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from headrace.models.checkpoint import Checkpoint
from headrace.training.classify import (
    Config as ClassifyConfig,
)
from headrace.training.classify import (
    Labels,
    as_targets,
    confusion_of,
    head_config,
    label_names,
    make_loss,
    measure,
    read,
)
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.examples import Split
from headrace.training.features import FeatureReader
from headrace.training.optimizers import make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.tokens import TextTokenizer

__all__ = ["Config", "read", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ClassifyConfig):
    """How a head is trained: as a classifier, with numbers that fit what is small and starts from nothing."""

    epochs: int = 30
    rows: int = 256
    learning_rate: float = 2e-3


# --- head -----------------------------------------------------------------------------------------------------------


def apply_head(model: Any, features: Tensor) -> Tensor:
    """Return the scores of texts, shape ``(n, labels)``; the families keep their two layers in three ways."""
    if hasattr(model, "pre_classifier"):  # DistilBERT
        inner = nn.functional.relu(model.pre_classifier(features))
        scores: Tensor = model.classifier(model.dropout(inner))
    elif has_pooler(model):  # BERT
        scores = model.classifier(model.dropout(model.base_model.pooler(features.unsqueeze(1))))
    else:
        scores = model.classifier(features.unsqueeze(1))  # takes the first token itself
    return scores


@torch.inference_mode()
def predict(model: Any, features: Tensor) -> Tensor:
    """Return the scores without dropout, shape ``(n, labels)``, on the CPU."""
    model.eval()
    scores = apply_head(model, features).cpu()
    model.train()
    return scores


def freeze_encoder(model: Any) -> None:
    """Keep all but the head as it is."""
    model.base_model.requires_grad_(False)
    if has_pooler(model):
        model.base_model.pooler.requires_grad_(True)


def has_pooler(model: Any) -> bool:
    """Whether the first layer of the head is kept with the encoder."""
    return getattr(model.base_model, "pooler", None) is not None


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[Labels], run: Run, compute: Compute) -> Outcome:
    """Train a head.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceInvalid: The base is not whole.
    """
    labels = label_names(split.train)
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    targets = as_targets(split.train, labels, config).to(compute.device)  # (n,) or (n, labels)
    truth = as_targets(split.held_out, labels, config)

    model = load_with_head(
        base, AutoModelForSequenceClassification, config.seed, head_config(labels, config), compute.device
    )
    freeze_encoder(model)
    reader = FeatureReader(base, model, compute)
    features, features_held_out = (  # (n, hidden)
        reader.read(tokenizer.tokenize([example.text for example in some])) for some in (split.train, split.held_out)
    )
    optimizer = make_optimizer(model.parameters(), config)
    loss_of = make_loss(split.train, labels, config, compute.device)

    for update in run.updates([1] * len(features), model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        rows = torch.from_numpy(update.rows)
        loss = loss_of(apply_head(model, features[rows]), targets[rows]) / len(rows)
        loss.backward()
        take_step(optimizer, config.clip)
        run.stepped(update, loss.item())
        if update.ends_epoch:
            run.measured(model, measure(predict(model, features_held_out), truth, config))

    run.take_best(model)
    scores = predict(model, features_held_out)
    return Outcome(
        model=model,
        metrics=measure(scores, truth, config),
        examples=(len(split.train), len(split.held_out)),
        labels=labels,
        confusion=None if config.multi_label else confusion_of(scores, truth),
    )
