"""What a model with a head says of texts, while nothing is learned."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headrace.training.batches import in_order
from headrace.training.device import Compute
from headrace.training.tokens import Tokenized

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.inference_mode()
def predict_scores(model: "PreTrainedModel", texts: Tokenized, compute: Compute) -> Tensor:
    """Return the scores of texts, shape ``(n, labels)``, float32, in their order."""
    model.eval()
    scores = torch.zeros(len(texts.ids), int(model.config.num_labels or 0))
    with compute.reduced():
        for rows in in_order(texts.lengths):
            scores[torch.from_numpy(rows)] = model(**texts.inputs(rows, model)).logits.float().cpu()  # (b, labels)
    model.train()
    return scores


@torch.inference_mode()
def predict_labels(model: "PreTrainedModel", texts: Tokenized, compute: Compute) -> list[Tensor]:
    """Return the likeliest label of each token of each text, shapes ``(s,)``, int64, in their order."""
    model.eval()
    found = [torch.zeros(0)] * len(texts.ids)
    with compute.reduced():
        for rows in in_order(texts.lengths):
            labels = model(**texts.inputs(rows, model)).logits.argmax(dim=-1).cpu()  # (b, s)
            for row, of_text in zip(rows, labels, strict=True):
                found[row] = of_text[: len(texts.ids[row])]
    model.train()
    return found
