"""Reads and checks a checkpoint folder, before anything heavy is loaded.

Two layouts are read: plain transformers (``config.json``, ``model.safetensors``, ``tokenizer.json``) and that of
sentence-transformers, which adds ``modules.json`` and a folder for each step after the encoder. What the folder
asks for and cannot be exported faithfully is refused here, by name: an import never drops a step in silence.
"""

import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.files import read_object, require_plain
from headrace.models.manifest import MAX_WINDOW, Pooling
from headrace.models.modules import ENCODERS, MIN_WINDOW, MODULES, PROMPTS, Modules, read_modules
from headrace.models.tokenizer_parts import check_tokenizer
from headrace.models.weights import GRAPH_DATA, SHARDS, WEIGHTS, find_weights, read_header
from headrace.types import PAIRED, ModelTask, ScoreFunction, find_entailment

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"
README: Final = "README.md"
FILES: Final = (
    *(CONFIG, SHARDS, TOKENIZER, TOKENIZER_CONFIG, README, MODULES, PROMPTS, *ENCODERS),
    *("special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt"),
    *(f"{place}_{step}/config.json" for place in ("[0-9]", "[0-9][0-9]") for step in ("Pooling", "Normalize")),
)
"""Patterns of the files that an import needs beside the weights; no other is downloaded or unpacked."""

MAX_LABEL: Final = 256
"""Characters of a label's name."""

ADAPTER: Final = "adapter_config.json"
MODEL_TYPES: Final = frozenset(
    {"albert", "bert", "camembert", "deberta-v2", "distilbert", "electra", "modernbert", "mpnet", "roberta"}
    | {"xlm-roberta"}
)
"""Encoders that are known to export faithfully with ``input_ids`` and ``attention_mask`` alone."""

# They number positions from the padding id on, so that many places of the table are never used:
# 514 positions are a window of 512.
_OFFSET_POSITIONS: Final = frozenset({"camembert", "mpnet", "roberta", "xlm-roberta"})
_CLASSIFIER: Final = "ForSequenceClassification"
_CROSS_ENCODER: Final = "CrossEncoder"
_ACTIVATIONS: Final[Mapping[str, ScoreFunction]] = {"Sigmoid": "sigmoid", "Identity": "identity"}
_TAGGER: Final = "ForTokenClassification"
_READER: Final = "ForQuestionAnswering"
_FILLER: Final = "ForMaskedLM"
_WITHOUT_MASKS: Final = frozenset({"albert", "deberta-v2", "modernbert"})  # imported without their heads
_LABELLED: Final[frozenset[ModelTask]] = frozenset({"classify", "extract", "zeroshot"})
_LICENSE: Final = re.compile(r"^license:[ \t]*['\"]?([A-Za-z0-9][A-Za-z0-9 ._+-]{0,63})", re.MULTILINE)
_FRONT_MATTER: Final = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that can be exported, as far as its files tell.

    Attributes:
        config: The content of ``config.json``.
        architecture: Name of its class in transformers.
        weights: Name of the file that holds them: safetensors, or an ONNX graph that was shipped.
        labels: Of a classifier of texts or of tokens, in the order of its scores.
        function: What turns its scores into those that are told.
        mask: What stands in a text for a word that it is to find; nothing if it finds none.
        max_tokens: The window in tokens, special tokens included.
        license: As its model card says, if it has one.
    """

    folder: Path
    weights: str
    config: Mapping[str, Any]
    architecture: str
    task: ModelTask
    labels: tuple[str, ...]
    function: ScoreFunction | None
    pooling: Pooling
    normalize: bool
    max_tokens: int
    prompts: Mapping[str, str]
    license: str | None
    mask: str | None = None


def wanted_files(weights: str) -> tuple[str, ...]:
    """Return patterns of all files that an import needs.

    Args:
        weights: The one that holds the weights.
    """
    data = () if weights == WEIGHTS else tuple(weights + end for end in GRAPH_DATA)
    return (*FILES, weights, *data)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder's configuration and check every file that an export reads.

    Raises:
        SourceUnsafe: A link, a path that leads outside, a pickle instead of safetensors, or code of its own.
        SourceInvalid: A file is missing, broken, or not what it should be; the message names it.
        SourceUnsupported: Its architecture, layout or pooling cannot be exported.
    """
    _refuse_links(folder)
    config = _read_config(folder)
    weights = find_weights(_list_names(folder))
    require_plain(folder, weights)
    if weights == WEIGHTS:
        read_header(folder / weights)
    architecture = _read_architecture(config)
    task = _find_task(folder, architecture, config, has_weights=weights == WEIGHTS)
    # A cross-encoder that sentence-transformers has saved has modules too: the encoder alone.
    modules = Modules() if task in PAIRED else read_modules(folder)
    tokenizer = read_object(folder, TOKENIZER)
    _check_tokenizer(tokenizer, modules, config)
    labels = _read_labels(config) if task in _LABELLED else ()
    return Checkpoint(
        folder=folder,
        weights=weights,
        config=config,
        architecture=architecture,
        task=task,
        labels=labels,
        function=_read_function(folder, task, config, labels),
        pooling=modules.pooling if task in {"embed", "fill"} else "cls",
        normalize=modules.normalize,
        max_tokens=_find_window(config, modules, read_object(folder, TOKENIZER_CONFIG)),
        prompts=modules.prompts,
        license=_read_license(folder),
        mask=_read_mask(folder, tokenizer) if task == "fill" else None,
    )


def _refuse_links(folder: Path) -> None:
    """Refuse links and devices beside the files too: transformers looks for more files than we do."""
    for entry in sorted(folder.iterdir()):
        mode = entry.lstat().st_mode
        if not entry.name.startswith(".") and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SourceUnsafe(
                f"{entry.name!r} is a link or no plain file; copy the checkpoint with cp -rL, so that it holds its"
                " files",
                field=entry.name,
            )


def _list_names(folder: Path) -> list[str]:
    """Return the names of the files at the top, and of those in a folder of graphs."""
    graphs = folder / "onnx"
    beside = graphs.iterdir() if graphs.is_dir() and not graphs.is_symlink() else ()
    return [path.relative_to(folder).as_posix() for path in (*folder.iterdir(), *beside)]


def _read_config(folder: Path) -> dict[str, Any]:
    config = read_object(folder, CONFIG)
    if not config:
        raise SourceInvalid(f"{CONFIG} is missing or empty; name the folder that holds the checkpoint", field=CONFIG)
    if require_plain(folder, ADAPTER) is not None:
        raise SourceUnsupported(f"{ADAPTER} makes it an adapter; merge it into its model first", field=ADAPTER)
    for name, content in ((CONFIG, config), (TOKENIZER_CONFIG, read_object(folder, TOKENIZER_CONFIG))):
        if "auto_map" in content:
            raise SourceUnsafe(f"{name} runs code of its own (auto_map); it is not imported", field=name)
    return config


def _read_architecture(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        raise SourceUnsupported(
            f"{CONFIG} names the model type {kind!r}; these can be exported: {', '.join(sorted(MODEL_TYPES))}",
            field="model_type",
        )
    names = config.get("architectures") or [f"{kind} encoder"]
    name = str(names[0])
    if re.search(r"For(?!MaskedLM|PreTraining|QuestionAnswering|SequenceClassification|TokenClassification)", name):
        raise SourceUnsupported(
            f"{name!r} is made for a task that is not served here, and without its head it would be another model",
            field="architectures",
        )
    for key in ("is_decoder", "is_encoder_decoder", "quantization_config"):
        if config.get(key):
            raise SourceUnsupported(f"{CONFIG} sets {key}; only plain encoders can be exported", field=key)
    return name


def _find_task(folder: Path, architecture: str, config: Mapping[str, Any], *, has_weights: bool) -> ModelTask:
    if architecture.endswith(_FILLER) and has_weights and config["model_type"] not in _WITHOUT_MASKS:
        return "embed" if require_plain(folder, MODULES) is not None else "fill"
    if not architecture.endswith((_CLASSIFIER, _READER, _TAGGER)):
        return "embed"
    is_cross_encoder = read_object(folder, PROMPTS).get("model_type") == _CROSS_ENCODER
    if not is_cross_encoder and require_plain(folder, MODULES) is not None:
        raise SourceUnsupported(
            f"{CONFIG} says {architecture!r} and {MODULES} makes it an embedding model; remove the one that is wrong",
            field=MODULES,
        )
    if not architecture.endswith(_CLASSIFIER):
        return "extract" if architecture.endswith(_TAGGER) else "answer"
    if find_entailment(_read_labels(config)) is not None:
        return "zeroshot"
    return "rerank" if is_cross_encoder else _find_classifier(config)


def _find_classifier(config: Mapping[str, Any]) -> ModelTask:
    """Return what a classifier of texts does, as its configuration says."""
    if config.get("problem_type") is None and len(_read_labels(config)) == 1:
        return "rerank"  # as sentence-transformers reads it
    if config.get("problem_type") != "regression":
        return "classify"
    if (count := len(_read_labels(config))) > 1:
        raise SourceUnsupported(
            f"{CONFIG} makes it a regression to {count} numbers; those to one number can be imported", field="id2label"
        )
    return "regress"


def _read_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the labels, in the order of their scores.

    transformers leaves them out of the file where they are its own names of two.
    """
    named = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    labels = [named.get(str(number)) for number in range(len(named))] if isinstance(named, dict) else []
    if not labels or not all(isinstance(label, str) and 0 < len(label) <= MAX_LABEL for label in labels):
        raise SourceInvalid(
            f"{CONFIG} does not name each of its labels; set id2label to a name for each number from 0",
            field="id2label",
        )
    if len(set(labels)) < len(labels):
        raise SourceInvalid(f"{CONFIG} gives two labels the same name; rename one in id2label", field="id2label")
    return tuple(map(str, labels))


def _read_function(
    folder: Path, task: ModelTask, config: Mapping[str, Any], labels: Sequence[str]
) -> ScoreFunction | None:
    """Return what turns scores into those that are told, if the model has such scores."""
    if task == "rerank":
        return _read_activation(folder, config)
    return _read_probabilities(config, labels) if task in {"classify", "zeroshot"} else None


def _read_activation(folder: Path, config: Mapping[str, Any]) -> ScoreFunction:
    """Return what a cross-encoder does with its score, where sentence-transformers of any version keeps it."""
    if (count := len(_read_labels(config))) != 1:
        raise SourceUnsupported(
            f"{CONFIG} makes it a cross-encoder with {count} scores; one with one can be imported",
            field="id2label",
        )
    kept = config.get("sentence_transformers")
    named = (
        (kept.get("activation_fn") if isinstance(kept, dict) else None)
        or config.get("sbert_ce_default_activation_function")
        or read_object(folder, PROMPTS).get("activation_fn")
        or "Sigmoid"
    )
    function = _ACTIVATIONS.get(str(named).rpartition(".")[2])
    if function is None:
        raise SourceUnsupported(
            f"the cross-encoder's scores go through {str(named)[:80]!r}; Sigmoid and Identity can be imported",
            field="activation_fn",
        )
    return function


def _read_probabilities(config: Mapping[str, Any], labels: Sequence[str]) -> ScoreFunction:
    """Return what turns scores into probabilities, as transformers decides it."""
    problem = config.get("problem_type")
    if problem not in {None, "single_label_classification", "multi_label_classification"}:
        raise SourceUnsupported(
            f"{CONFIG} has the problem type {problem!r}; classifiers and regressions can be imported",
            field="problem_type",
        )
    if len(labels) == 1:
        raise SourceUnsupported(
            f"{CONFIG} has one label; set problem_type to 'regression' if the model reads a number from a text",
            field="problem_type",
        )
    return "sigmoid" if problem == "multi_label_classification" else "softmax"


def _read_mask(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    """Return the token that stands for a word to be found."""
    named = (read_object(folder, name).get("mask_token") for name in (TOKENIZER_CONFIG, "special_tokens_map.json"))
    found = next(filter(None, named), None)
    token = found.get("content") if isinstance(found, dict) else found
    if not isinstance(token, str) or not 0 < len(token) <= MAX_LABEL:
        raise SourceInvalid(
            f"{TOKENIZER_CONFIG} names no mask_token, which a model that finds words for masks needs; add it",
            field="mask_token",
        )
    if not any(isinstance(each, dict) and each.get("content") == token for each in tokenizer.get("added_tokens") or ()):
        raise SourceInvalid(
            f"{TOKENIZER} has no added token {token!r}, which {TOKENIZER_CONFIG} names as its mask; they do not belong"
            " together",
            field="mask_token",
        )
    return token


def _check_tokenizer(tokenizer: Mapping[str, Any], modules: Modules, config: Mapping[str, Any]) -> None:
    if "model" not in tokenizer:
        raise SourceInvalid(
            f"{TOKENIZER} is missing or no tokenizer; save it with AutoTokenizer.from_pretrained(...).save_pretrained",
            field=TOKENIZER,
        )
    rows = config.get("vocab_size")
    check_tokenizer(tokenizer, TOKENIZER, rows if type(rows) is int else None)
    if modules.is_lowercased and not _lowercases(tokenizer.get("normalizer")):
        raise SourceUnsupported(
            f"{ENCODERS[0]} asks for lowercase and {TOKENIZER} does none; add a Lowercase normalizer to {TOKENIZER}",
            field=TOKENIZER,
        )


def _lowercases(normalizer: Any) -> bool:
    if not isinstance(normalizer, dict):
        return False
    parts = normalizer.get("normalizers")
    if isinstance(parts, list):
        return any(_lowercases(part) for part in parts)
    return normalizer.get("type") == "Lowercase" or normalizer.get("lowercase") is True


def _find_window(config: Mapping[str, Any], modules: Modules, tokenizer: Mapping[str, Any]) -> int:
    """Return the smallest of the windows that the files name.

    ``model_max_length`` is 1e30 where nobody set it, so a number that no encoder has is none.
    """
    named = [modules.max_tokens, tokenizer.get("model_max_length"), _positions(config)]
    sane = [int(limit) for limit in named if isinstance(limit, int | float) and MIN_WINDOW <= limit <= MAX_WINDOW]
    if not sane:
        raise SourceInvalid(
            f"no file says how long a text may be; set max_seq_length in {ENCODERS[0]}", field="max_seq_length"
        )
    return min(sane)


def _positions(config: Mapping[str, Any]) -> int | None:
    positions, padding = config.get("max_position_embeddings"), config.get("pad_token_id", 1)
    if type(positions) is not int or type(padding) is not int:
        return None
    return positions - padding - 1 if config.get("model_type") in _OFFSET_POSITIONS else positions


def _read_license(folder: Path) -> str | None:
    """Return the license that the model card's front matter names."""
    path = require_plain(folder, README)
    if path is None:
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        front = _FRONT_MATTER.match(file.read(1 << 20))
    found = _LICENSE.search(front[1]) if front else None
    return found[1].strip() if found else None
