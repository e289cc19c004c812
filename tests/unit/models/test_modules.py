from pathlib import Path
from typing import Any

import pytest
from tests.unit.models.conftest import WriteJson

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.modules import Modules, read_modules


def modules(*kinds: str, path: str | None = None) -> list[dict[str, str]]:
    """Return what modules.json holds for these kinds of steps."""
    paths = ["", *(f"{number}_{kind.rpartition('.')[2]}" for number, kind in enumerate(kinds[1:], 1))]
    if path is not None:
        paths[-1] = path
    return [
        {"type": kind if "." in kind else f"sentence_transformers.models.{kind}", "path": place}
        for kind, place in zip(kinds, paths, strict=False)
    ]


def test_the_whole_layout_is_read(checkpoint: Path):
    assert read_modules(checkpoint) == Modules(pooling="mean", normalize=True, max_tokens=256)


def test_without_modules_the_tokens_are_averaged_and_not_normalised(tmp_path: Path):
    assert read_modules(tmp_path) == Modules(pooling="mean", normalize=False, max_tokens=None)


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": ["max"]}, "max"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, "lasttoken"),
        ({"pooling_mode_cls_token": False}, "mean"),
        ({}, "mean"),
    ],
)
def test_both_spellings_of_the_pooling_are_read(
    checkpoint: Path, write_json: WriteJson, config: dict[str, Any], pooling: str
):
    write_json("1_Pooling/config.json", config)
    assert read_modules(checkpoint).pooling == pooling


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_mean_tokens": False},
        {"pooling_mode_weightedmean_tokens": True},
        {"pooling_mode_mean_sqrt_len_tokens": True},
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode": 7},
        {"pooling_mode": {"a": 1}},
        {"pooling_mode_mean_tokens": True, "include_prompt": False},
    ],
)
def test_a_pooling_that_cannot_be_exported_is_refused(checkpoint: Path, write_json: WriteJson, config: dict[str, Any]):
    write_json("1_Pooling/config.json", config)
    with pytest.raises(SourceUnsupported, match="1_Pooling"):
        read_modules(checkpoint)


def test_a_pooling_without_its_file_is_not_guessed(checkpoint: Path):
    (checkpoint / "1_Pooling/config.json").unlink()
    with pytest.raises(SourceInvalid, match=r"1_Pooling/config\.json is missing"):
        read_modules(checkpoint)


def test_newer_module_names_are_read(checkpoint: Path, write_json: WriteJson):
    write_json(
        "modules.json",
        modules(
            "sentence_transformers.base.modules.transformer.Transformer",
            "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
        ),
    )
    assert read_modules(checkpoint) == Modules(pooling="mean", normalize=False, max_tokens=256)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (modules("Transformer", "Pooling", "Dense"), SourceUnsupported),
        (modules("Transformer", "Pooling", "Dense", "Normalize"), SourceUnsupported),
        (modules("Transformer"), SourceUnsupported),
        (modules("Transformer", "Normalize"), SourceUnsupported),
        (modules("Pooling", "Transformer"), SourceUnsupported),
        (modules("StaticEmbedding"), SourceUnsupported),
        ([], SourceUnsupported),
        (modules("Transformer", "my_package.Pooling"), SourceUnsafe),
        (modules("modeling.Encoder", "Pooling"), SourceUnsafe),
        (modules("Transformer", "Pooling", path="../x"), SourceUnsafe),
        (modules("Transformer", "Pooling", path="a/../../x"), SourceUnsafe),
        (modules("Transformer", "Pooling", path="/etc"), SourceUnsafe),
        (modules("Transformer", "Pooling", path="a\\b"), SourceUnsafe),
        ([{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}], SourceUnsupported),
        (
            [
                {"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"},
                {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            ],
            SourceUnsupported,
        ),
        ({}, SourceUnsupported),
        (["Transformer"], SourceInvalid),
        ([{"type": "x"}], SourceInvalid),
        (1, SourceInvalid),
    ],
)
def test_steps_that_cannot_be_exported_are_refused(
    checkpoint: Path, write_json: WriteJson, content: Any, kind: type[ModelError]
):
    write_json("modules.json", content)
    with pytest.raises(kind):
        read_modules(checkpoint)


def test_a_normalize_step_for_token_vectors_is_refused(checkpoint: Path, write_json: WriteJson):
    write_json("2_Normalize/config.json", {"module_input_name": "sentence_embedding"})
    assert read_modules(checkpoint).normalize
    write_json("2_Normalize/config.json", {"module_input_name": "token_embeddings"})
    with pytest.raises(SourceUnsupported, match="2_Normalize"):
        read_modules(checkpoint)


def test_a_module_folder_that_is_a_link_is_refused(checkpoint: Path, tmp_path: Path):
    (checkpoint / "1_Pooling").rename(tmp_path / "elsewhere")
    (checkpoint / "1_Pooling").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SourceUnsafe, match="1_Pooling"):
        read_modules(checkpoint)


@pytest.mark.parametrize("window", [0, -1, 3, "256", 256.0, True, [256]])
def test_a_window_that_is_none_is_refused(checkpoint: Path, write_json: WriteJson, window: Any):
    write_json("sentence_bert_config.json", {"max_seq_length": window})
    with pytest.raises(SourceInvalid, match="max_seq_length"):
        read_modules(checkpoint)


def test_options_of_the_encoder_that_mean_nothing_else_are_let_be(checkpoint: Path, write_json: WriteJson):
    write_json(
        "sentence_bert_config.json",
        {
            "max_seq_length": None,
            "do_lower_case": True,
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {}},
            "module_output_name": "token_embeddings",
            "query_length": None,
            "processing_kwargs": {},
        },
    )
    assert read_modules(checkpoint) == Modules(normalize=True, is_lowercased=True)


@pytest.mark.parametrize(
    "option",
    [
        {"transformer_task": "sequence-classification"},
        {"query_length": 32},
        {"processing_kwargs": {"text": {"padding": "max_length"}}},
        {"model_args": {"trust_remote_code": True}},
        {"module_output_name": "other"},
    ],
)
def test_an_option_of_the_encoder_that_changes_answers_is_refused(
    checkpoint: Path, write_json: WriteJson, option: dict[str, Any]
):
    write_json("sentence_bert_config.json", option)
    with pytest.raises(SourceUnsupported, match=next(iter(option))):
        read_modules(checkpoint)


def test_prompts_are_read_and_empty_ones_left_out(checkpoint: Path, write_json: WriteJson):
    write_json(
        "config_sentence_transformers.json",
        {"prompts": {"query": "query: ", "document": ""}, "default_prompt_name": "document"},
    )
    assert read_modules(checkpoint).prompts == {"query": "query: "}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"prompts": {"query": "query: "}, "default_prompt_name": "query"}, SourceUnsupported),
        ({"prompts": ["query: "]}, SourceInvalid),
        ({"prompts": {"query": 1}}, SourceInvalid),
    ],
)
def test_prompts_that_serving_would_drop_are_refused(
    checkpoint: Path, write_json: WriteJson, content: dict[str, Any], kind: type[ModelError]
):
    write_json("config_sentence_transformers.json", content)
    with pytest.raises(kind, match="prompt"):
        read_modules(checkpoint)
