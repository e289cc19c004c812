"""The original model in PyTorch: encoder, pooling and normalising as one module.

This is what is exported, and what the exported graph is compared with.
"""

from typing import Any, Final

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.export.architecture import MIN_NORM
from headrace.export.quiet import quiet_libraries
from headrace.models.checkpoint import Checkpoint
from headrace.models.manifest import Pooling
from headrace.models.weights import WEIGHTS
from headrace.types import Arrays, Text, parts_of

_MIN_TOKENS: Final = 1e-9  # as sentence-transformers: it only keeps a text without tokens from dividing by zero
_UNUSED: Final = ("pooler.",)  # the head for next-sentence prediction; embeddings do not pass through it


class TextEncoder(nn.Module):
    """Token ids in, one vector for each text out."""

    def __init__(self, encoder: nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vectors of length 1, and the lengths they had.

        Args:
            input_ids: Shape ``(n, s)``, int64.
            attention_mask: Shape ``(n, s)``, int64, 1 for a token and 0 for padding.

        Returns:
            ``embedding`` of shape ``(n, d)`` and ``norm`` of shape ``(n,)``, float32; their product is the vector
            before it was normalised.
        """
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()  # (n, s, d)
        pooled = self._pool(states, attention_mask.unsqueeze(-1))  # (n, d)
        norm = torch.linalg.vector_norm(pooled, dim=-1)  # (n,)
        return pooled / norm.clamp(min=MIN_NORM).unsqueeze(-1), norm

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "lasttoken":
            last = mask.sum(dim=1, keepdim=True) - 1  # (n, 1, 1): padding is on the right
            return states.gather(1, last.expand(-1, -1, states.shape[-1])).squeeze(1)
        if self.pooling == "max":
            return states.masked_fill(mask == 0, torch.finfo(states.dtype).min).amax(dim=1)
        weights = mask.to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=_MIN_TOKENS)


def load_encoder(checkpoint: Checkpoint) -> TextEncoder:
    """Load a checkpoint's weights as float32, ready for inference.

    Raises:
        SourceUnsupported: This version of transformers cannot load it.
        SourceInvalid: A weight is missing or has another shape; it would be replaced by random numbers.
    """
    return TextEncoder(load_pretrained(checkpoint, AutoModel, _UNUSED), checkpoint.pooling).eval()


def load_pretrained(checkpoint: Checkpoint, kind: Any, unneeded: tuple[str, ...], **changes: Any) -> Any:
    """Load a checkpoint's weights as float32 into a model of transformers.

    Args:
        checkpoint: Where they are.
        kind: One of transformers' ``AutoModel...``.
        unneeded: What the names of weights begin with that may be missing, or of another shape if ``changes`` allow it.
        changes: What else ``from_pretrained`` is told, such as what differs from the checkpoint's configuration.

    Raises:
        SourceUnsupported: This version of transformers cannot load it.
        SourceInvalid: Another weight is missing or has another shape; it would be replaced by random numbers.
    """
    try:
        with quiet_libraries():
            model, report = kind.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **changes,
            )
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
        raise SourceUnsupported(
            f"transformers {transformers.__version__} cannot load {checkpoint.architecture!r}; check config.json"
        ) from error
    differing = [*report["missing_keys"], *report["mismatched_keys"]]
    names = [str(key[0] if isinstance(key, tuple) else key) for key in differing]
    if lost := [name for name in names if not name.startswith(unneeded)]:
        raise SourceInvalid(
            f"{WEIGHTS} lacks {len(lost)} weights that config.json asks for, such as {min(lost)!r}; download it again",
            field=WEIGHTS,
        )
    return model


class TorchOriginal:
    """Embeds texts with PyTorch, one at a time: no padding, no neighbours, no runtime of ours."""

    def __init__(self, checkpoint: Checkpoint, encoder: TextEncoder) -> None:
        with quiet_libraries():
            self._tokenizer = AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
        self._max_tokens = checkpoint.max_tokens
        self._encoder = encoder

    def answer(self, text: Text) -> Arrays:
        """Return ``embedding`` of shape ``(d,)`` and ``norm`` of shape ``()``, float32."""
        tokens = self._tokenizer(*parts_of(text), truncation=True, max_length=self._max_tokens, return_tensors="pt")
        with torch.inference_mode():
            embedding, norm = self._encoder(tokens["input_ids"], tokens["attention_mask"])
        return {"embedding": embedding[0].numpy(), "norm": norm[0].numpy()}
