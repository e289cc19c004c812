"""The model that is trained: the encoder of a checkpoint, with a head for the task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from headrace.errors import SourceUnsupported
from headrace.export.families import is_known
from headrace.memory import loading_much
from headrace.models.checkpoint import Checkpoint
from headrace.models.weights import WEIGHTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
    checkpoint: Checkpoint,
    head: Literal["SequenceClassification", "TokenClassification"],
    seed: int,
    config: Mapping[str, Any],
    device: torch.device = _CPU,
) -> "PreTrainedModel":
    """Load the encoder as float32, with a head that is the checkpoint's own where it fits and random where not.

    Args:
        checkpoint: Where it comes from.
        head: What follows ``AutoModelFor`` in the name of a class of transformers.
        seed: Of a random head.
        config: What differs from the checkpoint's configuration, such as labels.
        device: Where it is to compute.

    Raises:
        SourceUnsupported: This version of transformers cannot load it.
        SourceInvalid: A weight of the encoder is missing or has another shape.
    """
    kind = _auto_class(f"AutoModelFor{head}")
    torch.manual_seed(seed)
    changes = {"ignore_mismatched_sizes": True, **config}
    return _load(checkpoint, kind, changes).train().to(device)  # type: ignore[no-any-return]


def load_body(checkpoint: Checkpoint, device: torch.device) -> "PreTrainedModel":
    """Load the encoder alone as float32, ready for inference.

    Raises:
        SourceUnsupported: As of ``load_with_head``.
        SourceInvalid: As of ``load_with_head``.
    """
    return _load(checkpoint, _auto_class("AutoModel"), {}).eval().to(device)  # type: ignore[no-any-return]


def _auto_class(name: str) -> Any:
    with loading_much():  # half of what loading PyTorch takes, and a head alone is trained without it
        import transformers  # noqa: PLC0415
    return getattr(transformers, name)


def _load(checkpoint: Checkpoint, kind: Any, changes: Mapping[str, Any]) -> Any:
    from headrace.export.pytorch import load_pretrained  # noqa: PLC0415 - loads transformers

    return load_pretrained(checkpoint, kind, _HEADS, **changes)
