"""The model that is trained: the encoder of a checkpoint, with a head for the task."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from transformers import PreTrainedModel

from headrace.errors import SourceUnsupported
from headrace.export.families import is_known
from headrace.export.pytorch import load_pretrained
from headrace.models.checkpoint import Checkpoint
from headrace.models.weights import WEIGHTS

_CPU: Final = torch.device("cpu")
# What a head is called in the families that we import; it is new where the base was trained for another task.
_HEADS: Final = ("classifier.", "pre_classifier.", "pooler.", "bert.pooler.", "electra.pooler.")


def require_trainable(checkpoint: Checkpoint) -> None:
    """Refuse, before anything is trained, a base from which no model could be imported afterwards.

    Raises:
        SourceUnsupported: It is a graph that was shipped, or of a family whose graph we do not write.
    """
    if checkpoint.weights != WEIGHTS:
        raise SourceUnsupported(
            f"{checkpoint.weights!r} is a finished graph; a training starts from {WEIGHTS}", field=checkpoint.weights
        )
    if not is_known(checkpoint.config):
        raise SourceUnsupported(
            f"{checkpoint.architecture!r} with a head cannot be imported, so none is trained; take a BERT, RoBERTa,"
            " XLM-R, CamemBERT, ELECTRA, DistilBERT or MPNet",
            field="architectures",
        )


def load_with_head(
    checkpoint: Checkpoint, head: type[Any], seed: int, config: Mapping[str, Any], device: torch.device = _CPU
) -> PreTrainedModel:
    """Load the encoder as float32, with a head that is the checkpoint's own where it fits and random where not.

    Args:
        checkpoint: Where it comes from.
        head: One of transformers' ``AutoModelFor...``.
        seed: Of a random head.
        config: What differs from the checkpoint's configuration, such as labels.
        device: Where it is to compute.

    Raises:
        SourceUnsupported: This version of transformers cannot load it.
        SourceInvalid: A weight of the encoder is missing or has another shape.
    """
    torch.manual_seed(seed)
    changes = {"ignore_mismatched_sizes": True, **config}
    return load_pretrained(checkpoint, head, _HEADS, **changes).train().to(device)  # type: ignore[no-any-return]
