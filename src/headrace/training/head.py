"""The head of a classifier without its encoder, which it needs neither to learn nor to be written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from headrace.export.families import family_of, open_reader
from headrace.export.heads import head_names, name_classifier
from headrace.export.reader import Weights
from headrace.export.tensors import read_tensors
from headrace.models.checkpoint import CONFIG, Checkpoint
from headrace.models.weights import WEIGHTS

_ACTIVATIONS: Final = {"tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU}
# Under which names a configuration has the share of a head's inner state that dropout takes, and what it is where the
# configuration does not say, as in transformers' configuration_*.py.
_DROPOUTS: Final = {"distilbert": ("seq_classif_dropout", 0.2)}
_DROPOUT_NAMES: Final = ("classifier_dropout", "hidden_dropout_prob")
_DROPOUT: Final = 0.1
_OLD_DTYPE: Final = "torch_dtype"
_SPREAD: Final = 0.02  # of new weights, where the configuration does not say


class Head(nn.Module):
    """Two layers with a function between them that is not linear, as the family of the encoder has them.

    A part that the checkpoint has, in the same shape, begins as it is there; the others begin at random.
    """

    def __init__(self, base: Checkpoint, labels: int, seed: int) -> None:
        """Make it.

        Args:
            base: The checkpoint of the encoder.
            labels: How many scores it gives.
            seed: Of its random weights.

        Raises:
            SourceInvalid: The configuration lacks a size, or the weights are not whole.
        """
        super().__init__()
        reader = open_reader(base.config, read_tensors(base.folder / WEIGHTS), base.max_tokens)
        names, hidden = head_names(base.config), reader.sizes.hidden
        torch.manual_seed(seed)
        spread = float(base.config.get("initializer_range", _SPREAD))
        self.inner = _begin(nn.Linear(hidden, hidden), spread, reader.weights, names.inner)
        self.activation = _ACTIVATIONS[names.activation]()
        self.dropout = nn.Dropout(_dropout(base.config))
        self.outer = _begin(nn.Linear(hidden, labels), spread, reader.weights, names.outer)

    def forward(self, features: Tensor) -> Tensor:
        """Return the scores of texts, shape ``(n, labels)``, given what the encoder saw in them, ``(n, hidden)``."""
        return self.outer(self.dropout(self.activation(self.inner(features))))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class HeadedBase:
    """A classifier: an encoder as it was, and its new head.

    Attributes:
        changes: What makes the encoder's configuration that of the classifier, such as the names of its labels.
    """

    base: Checkpoint
    head: Head
    changes: Mapping[str, Any]

    def save_pretrained(self, folder: Path, /) -> None:
        """Write both as transformers writes a checkpoint.

        Raises:
            OSError: The disk is full, or may not be written.
        """
        base = self.base
        head = {name: tensor.detach().cpu().numpy() for name, tensor in self.head.named_parameters()}
        weights = name_classifier(base.config, read_tensors(base.folder / WEIGHTS), base.max_tokens, head)
        save_file(dict(weights), folder / WEIGHTS, {"format": "pt"})
        config = {
            **{key: value for key, value in base.config.items() if key != _OLD_DTYPE},
            "architectures": [f"{family_of(base.config).name}ForSequenceClassification"],
            "dtype": "float32",
            **self.changes,
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _begin(layer: nn.Linear, spread: float, known: Weights, name: str) -> nn.Linear:
    """Give a layer the weights that are known under a name if they fit, else random ones of this deviation."""
    nn.init.normal_(layer.weight, std=spread)
    nn.init.zeros_(layer.bias)
    weight, bias = known.get(f"{name}.weight"), known.get(f"{name}.bias")
    if weight is not None and bias is not None and weight.shape == layer.weight.shape:
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight.copy()))  # (out, in)
            layer.bias.copy_(torch.from_numpy(bias.copy()))  # (out,)
    return layer


def _dropout(config: Mapping[str, Any]) -> float:
    if config["model_type"] in _DROPOUTS:
        name, otherwise = _DROPOUTS[config["model_type"]]
        return float(config.get(name, otherwise))
    return next((float(config[name]) for name in _DROPOUT_NAMES if config.get(name) is not None), _DROPOUT)
