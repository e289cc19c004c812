import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.models.conftest import WriteJson
from tests.unit.models.handmade import CHECKPOINT_FILES

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.models.checkpoint import MODEL_TYPES, read_checkpoint

CONFIG = json.loads(CHECKPOINT_FILES["config.json"])


def test_the_sentence_transformers_layout_is_read(checkpoint: Path):
    found = read_checkpoint(checkpoint)
    assert (found.architecture, found.pooling, found.normalize) == ("BertModel", "mean", True)
    assert (found.max_tokens, found.license, dict(found.prompts)) == (256, "apache-2.0", {})


def test_a_plain_transformers_layout_is_read(checkpoint: Path):
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "README.md"):
        (checkpoint / name).unlink()
    found = read_checkpoint(checkpoint)
    assert (found.pooling, found.normalize, found.max_tokens, found.license) == ("mean", False, 512, None)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(checkpoint: Path, name: str):
    (checkpoint / name).unlink()
    with pytest.raises(SourceInvalid, match=name) as caught:
        read_checkpoint(checkpoint)
    assert caught.value.field == name


@pytest.mark.parametrize("name", [*(name for name in CHECKPOINT_FILES if "/" not in name), "unknown.txt"])
@pytest.mark.parametrize("kind", ["symlink", "broken symlink", "fifo"])
def test_a_link_or_device_is_refused_by_name(checkpoint: Path, tmp_path: Path, name: str, kind: str):
    (tmp_path / "real").write_bytes(CHECKPOINT_FILES.get(name, b""))
    (checkpoint / name).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(checkpoint / name)
    else:
        (checkpoint / name).symlink_to(tmp_path / ("real" if kind == "symlink" else "nothing"))
    with pytest.raises(SourceUnsafe, match="cp -rL") as caught:
        read_checkpoint(checkpoint)
    assert caught.value.field == name


def test_a_folder_in_place_of_the_weights_is_refused(checkpoint: Path):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors").mkdir()
    with pytest.raises(SourceUnsafe, match=r"model\.safetensors"):
        read_checkpoint(checkpoint)


def test_hidden_files_are_let_be(checkpoint: Path):
    (checkpoint / ".gitattributes").symlink_to("/nowhere")
    read_checkpoint(checkpoint)


def test_a_pickle_instead_of_safetensors_is_refused(checkpoint: Path):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(SourceUnsafe, match=r"pytorch_model\.bin"):
        read_checkpoint(checkpoint)


def test_truncated_weights_are_refused(checkpoint: Path):
    (checkpoint / "model.safetensors").write_bytes(CHECKPOINT_FILES["model.safetensors"][:-1])
    with pytest.raises(SourceInvalid, match="cut off"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_the_checkpoint_is_refused(checkpoint: Path, write_json: WriteJson, name: str):
    write_json(name, CONFIG | {"auto_map": {"AutoModel": "modeling.Model"}})
    with pytest.raises(SourceUnsafe, match="auto_map"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"model_type": None},
        {"model_type": ["bert"]},
        {"architectures": ["BertForMultipleChoice"]},
        {"is_decoder": True},
        {"is_encoder_decoder": True},
        {"quantization_config": {"bits": 4}},
    ],
)
def test_what_cannot_be_exported_is_refused(checkpoint: Path, write_json: WriteJson, change: dict[str, Any]):
    write_json("config.json", CONFIG | change)
    with pytest.raises(SourceUnsupported) as caught:
        read_checkpoint(checkpoint)
    assert caught.value.field == next(iter(change))


def test_a_classifier_that_is_an_embedding_model_as_well_is_refused(checkpoint: Path, write_json: WriteJson):
    write_json("config.json", CONFIG | {"architectures": ["BertForSequenceClassification"]})
    with pytest.raises(SourceUnsupported, match="remove the one that is wrong") as caught:
        read_checkpoint(checkpoint)
    assert caught.value.field == "modules.json"


@pytest.mark.parametrize(
    ("architectures", "name"),
    [(["BertForMaskedLM"], "BertForMaskedLM"), (["BertForPreTraining"], "BertForPreTraining"), (None, "bert encoder")],
)
def test_heads_of_pretraining_are_let_be(checkpoint: Path, write_json: WriteJson, architectures: Any, name: str):
    write_json("config.json", CONFIG | {"architectures": architectures})
    assert read_checkpoint(checkpoint).architecture == name


@pytest.mark.parametrize("kind", sorted(MODEL_TYPES))
def test_every_known_encoder_passes(checkpoint: Path, write_json: WriteJson, kind: str):
    write_json("config.json", CONFIG | {"model_type": kind})
    assert read_checkpoint(checkpoint).max_tokens == 256


def test_an_adapter_is_refused(checkpoint: Path, write_json: WriteJson):
    write_json("adapter_config.json", {})
    with pytest.raises(SourceUnsupported, match="merge"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("config", "tokenizer", "window", "expected"),
    [
        ({"max_position_embeddings": 512}, 512, 256, 256),
        ({"max_position_embeddings": 512}, 128, 256, 128),
        ({"max_position_embeddings": 64}, 512, 256, 64),
        ({"max_position_embeddings": 512}, int(1e30), None, 512),
        ({"max_position_embeddings": 512}, 1e30, None, 512),
        ({"max_position_embeddings": 512}, None, None, 512),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, int(1e30), 514, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 1}, 600, None, 512),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, 8192, 8192, 8192),
        ({"max_position_embeddings": None}, 200, None, 200),
        ({"max_position_embeddings": 512, "pad_token_id": "x"}, 200, None, 200),
    ],
)
def test_the_window_is_the_smallest_that_the_files_name(
    checkpoint: Path,
    write_json: WriteJson,
    config: dict[str, Any],
    tokenizer: float | None,
    window: int | None,
    expected: int,
):
    write_json("config.json", CONFIG | config)
    write_json("tokenizer_config.json", {"model_max_length": tokenizer})
    write_json("sentence_bert_config.json", {"max_seq_length": window})
    assert read_checkpoint(checkpoint).max_tokens == expected


def test_a_checkpoint_without_any_window_is_refused(checkpoint: Path, write_json: WriteJson):
    write_json("config.json", CONFIG | {"max_position_embeddings": None})
    (checkpoint / "tokenizer_config.json").unlink()
    (checkpoint / "sentence_bert_config.json").unlink()
    with pytest.raises(SourceInvalid, match="max_seq_length"):
        read_checkpoint(checkpoint)


def test_a_tokenizer_that_is_none_is_refused(checkpoint: Path, write_json: WriteJson):
    write_json("tokenizer.json", {"version": "1.0"})
    with pytest.raises(SourceInvalid, match=r"tokenizer\.json"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("normalizer", "passes"),
    [
        ({"type": "BertNormalizer", "lowercase": True}, True),
        ({"type": "Lowercase"}, True),
        ({"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}, True),
        ({"type": "BertNormalizer", "lowercase": False}, False),
        ({"type": "Sequence", "normalizers": []}, False),
        (None, False),
    ],
)
def test_lowercase_that_the_tokenizer_does_not_do_is_refused(
    checkpoint: Path, write_json: WriteJson, normalizer: Any, passes: bool
):
    write_json("sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": True})
    write_json("tokenizer.json", {"model": {}, "normalizer": normalizer})
    if passes:
        read_checkpoint(checkpoint)
        return
    with pytest.raises(SourceUnsupported, match="lowercase"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("card", "license_"),
    [
        ("---\nlicense: mit\n---\n", "mit"),
        ('---\ntags:\n- a\nlicense: "cc-by-nc-4.0"\n---\n', "cc-by-nc-4.0"),
        ("---\nlanguage: en\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense:\n- mit\n---\n", None),
        ("---\nlicense: <script>\n---\n", None),
        ("", None),
    ],
)
def test_the_license_is_what_the_front_matter_names(checkpoint: Path, card: str, license_: str | None):
    (checkpoint / "README.md").write_text(card, encoding="utf-8")
    assert read_checkpoint(checkpoint).license == license_


@pytest.mark.parametrize("name", sorted(CHECKPOINT_FILES))
def test_a_file_of_random_bytes_never_raises_anything_but_a_named_error(checkpoint: Path, name: str):
    (checkpoint / name).write_bytes(b"\x00\xff{\x80" * 8)
    if name == "README.md":
        assert read_checkpoint(checkpoint).license is None
        return
    with pytest.raises(ModelError):
        read_checkpoint(checkpoint)


@pytest.fixture
def masked(checkpoint: Path, write_json: WriteJson) -> Path:
    """Return a checkpoint of a masked language model without the files of an embedding model."""
    (checkpoint / "modules.json").unlink()
    write_json("config.json", CONFIG | {"architectures": ["BertForMaskedLM"]})
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    write_json("tokenizer.json", tokenizer | {"added_tokens": [{"id": 4, "content": "[MASK]"}]})
    return checkpoint


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("told", ["[MASK]", {"content": "[MASK]", "lstrip": False}])
def test_a_masked_language_model_finds_words(masked: Path, write_json: WriteJson, name: str, told: Any):
    write_json("tokenizer_config.json", {"model_max_length": 128})
    write_json(name, {"model_max_length": 128, "mask_token": told})
    found = read_checkpoint(masked)
    assert (found.task, found.mask, found.labels) == ("fill", "[MASK]", ())


@pytest.mark.parametrize("told", [None, "", 7, "<mask>", "x" * 300, {"name": "[MASK]"}])
def test_a_mask_that_is_not_told_or_not_known_is_refused(masked: Path, write_json: WriteJson, told: Any):
    write_json("tokenizer_config.json", {"model_max_length": 128, "mask_token": told})
    with pytest.raises(SourceInvalid) as caught:
        read_checkpoint(masked)
    assert caught.value.field == "mask_token"


@pytest.mark.parametrize("kind", ["albert", "deberta-v2", "modernbert"])
def test_of_a_family_without_a_head_of_ours_the_encoder_is_imported(masked: Path, write_json: WriteJson, kind: str):
    write_json("config.json", CONFIG | {"architectures": ["XForMaskedLM"], "model_type": kind})
    write_json("tokenizer_config.json", {"model_max_length": 128})
    assert (read_checkpoint(masked).task, read_checkpoint(masked).mask) == ("embed", None)
