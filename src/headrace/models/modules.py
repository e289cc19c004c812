"""Reads the sentence-transformers layout: what happens to the encoder's token vectors.

Without ``modules.json`` the tokens are averaged and not normalised, as sentence-transformers does itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, cast, get_args

from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.files import read_json, read_object, require_plain
from headrace.models.manifest import Pooling

MODULES: Final = "modules.json"
PROMPTS: Final = "config_sentence_transformers.json"
ENCODERS: Final = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)

MIN_WINDOW: Final = 4  # two special tokens and something between them

_PACKAGE: Final = "sentence_transformers."
_STEPS: Final = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_LEGACY_MODES: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Options of the encoder that mean what this importer does anyway; any other that is set changes the answers.
_HARMLESS: Final = {
    "max_seq_length",
    "do_lower_case",
    "modality_config",
    "unpad_inputs",
    "tokenizer_name_or_path",
}
_EXPECTED: Final = {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Modules:
    """The steps after the encoder, and the encoder's options.

    Attributes:
        max_tokens: Window that the authors chose, in tokens, special tokens included; ``None`` if they chose none.
        is_lowercased: Whether texts are to be lowercased before they are tokenized.
    """

    pooling: Pooling = "mean"
    normalize: bool = False
    max_tokens: int | None = None
    is_lowercased: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)


def read_modules(folder: Path) -> Modules:
    """Read what a checkpoint says about pooling, normalising, its window and its prompts.

    Raises:
        SourceUnsafe: A module is code of the checkpoint's own, or its path leads outside.
        SourceUnsupported: A step or option that cannot be exported.
        SourceInvalid: A file that is not what it should be.
    """
    paths = _read_steps(folder)
    options = next((found for name in ENCODERS if (found := read_object(folder, name))), {})
    _check_encoder(options)
    if "Normalize" in paths:
        _check_normalize(folder, paths["Normalize"])
    return Modules(
        pooling=_read_pooling(folder, paths["Pooling"]) if "Pooling" in paths else "mean",
        normalize="Normalize" in paths,
        max_tokens=_read_window(options.get("max_seq_length")),
        is_lowercased=options.get("do_lower_case") is True,
        prompts=_read_prompts(folder),
    )


def _read_steps(folder: Path) -> dict[str, str]:
    """Return the path of each module, by kind; empty if there is no ``modules.json``."""
    content = read_json(folder, MODULES)
    if content is None:
        return {}
    try:
        modules = [(str(module["type"]), str(module["path"])) for module in content]
    except (KeyError, TypeError) as error:
        raise SourceInvalid(f"{MODULES} is no list of modules; download it again", field=MODULES) from error
    for kind, path in modules:
        if not kind.startswith(_PACKAGE):
            raise SourceUnsafe(f"{MODULES} runs code of its own, {kind!r}; it is not imported", field=MODULES)
        if ".." in PurePosixPath(path).parts or path.startswith(("/", "\\")):
            raise SourceUnsafe(f"{MODULES} names {path!r}, which leads outside; do not use it", field=MODULES)
    kinds = [kind.rpartition(".")[2] for kind, _ in modules]
    if kinds not in _STEPS:
        raise SourceUnsupported(
            f"{MODULES} has the steps {kinds}; only Transformer, Pooling and Normalize can be exported", field=MODULES
        )
    if modules[0][1] not in {"", "."}:
        raise SourceUnsupported(f"the encoder lies in {modules[0][1]!r}; move its files to the top", field=MODULES)
    return {kind: path for kind, (_, path) in zip(kinds, modules, strict=True)}


def _read_pooling(folder: Path, path: str) -> Pooling:
    name = f"{path}/config.json"
    config = read_object(folder, name)
    if require_plain(folder, name) is None:
        # A guess would be in the gate's reference too, and nothing would ever tell.
        raise SourceInvalid(f"{MODULES} names {path!r}, and {name} is missing; download it again", field=name)
    modes = config.get("pooling_mode") or [mode for key, mode in _LEGACY_MODES.items() if config.get(key)]
    if not modes and config.get("pooling_mode_mean_tokens") is not False:
        modes = ["mean"]  # what sentence-transformers does when no mode is named
    modes = modes if isinstance(modes, list) else [modes]
    if len(modes) != 1 or modes[0] not in get_args(Pooling):
        raise SourceUnsupported(
            f"{name} pools by {modes}; one of mean, cls, max and lasttoken can be exported", field=name
        )
    if config.get("include_prompt") is False:
        raise SourceUnsupported(f"{name} leaves prompts out of the pooling, which cannot be exported", field=name)
    return cast("Pooling", modes[0])


def _check_normalize(folder: Path, path: str) -> None:
    name = f"{path}/config.json"
    target = read_object(folder, name).get("module_input_name", "sentence_embedding")
    if target != "sentence_embedding":
        raise SourceUnsupported(f"{name} normalises {target!r}; only sentence_embedding can be exported", field=name)


def _check_encoder(options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if value and key not in _HARMLESS and _EXPECTED.get(key) != value:
            raise SourceUnsupported(f"{ENCODERS[0]} sets {key} to {value!r}, which cannot be exported", field=key)


def _read_window(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < MIN_WINDOW:
        raise SourceInvalid(
            f"max_seq_length cannot be {value!r}; it is a number of tokens, {MIN_WINDOW} or more",
            field="max_seq_length",
        )
    return value


def _read_prompts(folder: Path) -> dict[str, str]:
    """Return the prompts that are not empty.

    One that is applied by default is refused: serving adds nothing to a text, so answers would differ in silence.
    """
    config = read_object(folder, PROMPTS)
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str) for prompt in prompts.values()):
        raise SourceInvalid(f"{PROMPTS}: prompts are no texts by name; download it again", field=PROMPTS)
    default = config.get("default_prompt_name")
    if default is not None and prompts.get(default):
        raise SourceUnsupported(
            f"{PROMPTS} puts the prompt {default!r} before every text; set default_prompt_name to null, and write"
            " the prompt before the texts yourself",
            field=PROMPTS,
        )
    return {str(name): prompt for name, prompt in prompts.items() if prompt}
