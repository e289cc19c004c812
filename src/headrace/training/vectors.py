"""Texts as vectors, by a model that may be learning."""

from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from headrace.export.pytorch import TextEncoder
from headrace.training.batches import Rows, in_order
from headrace.training.device import Compute
from headrace.training.tokens import Tokenized

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def embed(model: TextEncoder, texts: Tokenized, rows: Rows) -> Tensor:
    """Return the vectors of some of the texts, shape ``(n, d)``, float32, of length 1."""
    batch = texts.inputs(rows, cast("PreTrainedModel", model.encoder))
    vectors, _ = model(batch["input_ids"], batch["attention_mask"])
    return vectors.float()  # type: ignore[no-any-return]


@torch.inference_mode()
def embed_all(model: TextEncoder, texts: Tokenized, compute: Compute) -> Tensor:
    """Return the vectors of all texts, in their order, on the CPU, while nothing is learned."""
    was_learning = model.training
    model.eval()
    parts = in_order(texts.lengths)
    with compute.reduced():
        vectors = torch.cat([embed(model, texts, rows).cpu() for rows in parts])
    model.train(was_learning)
    return vectors[torch.from_numpy(np.argsort(np.concatenate(parts)))]
