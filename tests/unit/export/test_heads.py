"""What each family has after the encoder, beside transformers."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import transformers
from tests.support.families import CONFIGS, MAX_TOKENS, save, with_head

from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.export.builder import build_classifier, build_filler, build_tagger
from headrace.export.heads import read_classifier, read_filler, read_span_finder, read_tagger
from headrace.export.plain import classify, encode, look_for_words, tag


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_classifiers_of_a_family_agree_with_transformers(config: transformers.PretrainedConfig, tmp_path: Path):
    model = with_head(transformers.AutoModelForSequenceClassification, config)
    encoder, head = read_classifier(*save(model, tmp_path), MAX_TOKENS, 3)
    graph = build_classifier(encoder, head).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(4, 50, (3, 20))
    mask = np.ones_like(ids)
    (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        wanted = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    assert np.ptp(wanted, axis=0).min() > 0.01  # else any text would do
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    plain = [classify(encode(encoder, row), head) for row in ids]
    np.testing.assert_allclose(np.stack(plain), wanted, atol=2e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_taggers_of_a_family_agree_with_transformers(config: transformers.PretrainedConfig, tmp_path: Path):
    model = with_head(transformers.AutoModelForTokenClassification, config)
    encoder, head = read_tagger(*save(model, tmp_path), MAX_TOKENS, 3)
    session = onnxruntime.InferenceSession(
        build_tagger(encoder, head).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids = np.random.default_rng(0).integers(4, 50, (3, 20))
    mask = (np.arange(20) < np.array([[20], [1], [13]])).astype(np.int64)
    ids[mask == 0] = config.pad_token_id
    (found,) = session.run(["token_logits"], {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        wanted = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    assert found.shape == (3, 20, 3)
    assert np.ptp(wanted, axis=(0, 1)).min() > 0.01  # else any text would do
    np.testing.assert_allclose(found[mask == 1], wanted[mask == 1], atol=2e-5)
    for row, own_mask, scores in zip(ids, mask, wanted, strict=True):
        plain = tag(encode(encoder, row[own_mask == 1]), head)
        np.testing.assert_allclose(plain, scores[own_mask == 1], atol=2e-5)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_what_finds_answers_of_a_family_agrees_with_transformers(config: transformers.PretrainedConfig, tmp_path: Path):
    model = with_head(transformers.AutoModelForQuestionAnswering, config, labels=2)
    encoder, head = read_span_finder(*save(model, tmp_path), MAX_TOKENS)
    ids, types = np.random.default_rng(0).integers(4, 50, 20), np.repeat([0, 1], [8, 12])
    has_types = encoder.segment is not None
    given = {"token_type_ids": torch.from_numpy(types)[None]} if has_types else {}
    with torch.inference_mode():
        out = model(torch.from_numpy(ids)[None], **given)
    wanted = np.stack([out.start_logits[0].numpy(), out.end_logits[0].numpy()], axis=1)
    assert np.ptp(wanted, axis=0).min() > 0.01  # else any text would do
    np.testing.assert_allclose(tag(encode(encoder, ids, types), head), wanted, atol=2e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_words_for_masks_of_a_family_are_those_of_transformers(name: str, tmp_path: Path):
    model = with_head(transformers.AutoModelForMaskedLM, CONFIGS[name])
    with torch.no_grad():  # they are zeros and ones as they begin
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    encoder, head = read_filler(*save(model, tmp_path), MAX_TOKENS)
    session = onnxruntime.InferenceSession(
        build_filler(encoder).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    ids = np.random.default_rng(0).integers(4, 50, (3, 20))
    mask = (np.arange(20) < np.array([[20], [1], [13]])).astype(np.int64)
    ids[mask == 0] = CONFIGS[name].pad_token_id
    (states,) = session.run(["token_states"], {"input_ids": ids, "attention_mask": mask})
    with torch.inference_mode():
        wanted = model(torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits.numpy()
    assert np.median(np.ptp(wanted, axis=(0, 1))) > 0.01  # else any text would do; that for padding never changes
    for row, own in enumerate(mask == 1):
        plain = encode(encoder, ids[row][own])
        np.testing.assert_allclose(states[row][own], plain, atol=2e-5)
        found = look_for_words(plain, head) @ head.words.T + head.bias
        np.testing.assert_allclose(found, wanted[row][own], atol=1e-4)


def test_words_that_are_not_those_of_the_encoder_are_taken(tmp_path: Path):
    config = CONFIGS["bert"].__class__(**{**CONFIGS["bert"].to_dict(), "tie_word_embeddings": False})
    own_config, weights = save(with_head(transformers.AutoModelForMaskedLM, config), tmp_path)
    assert "cls.predictions.decoder.weight" in weights
    encoder, head = read_filler(own_config, weights, MAX_TOKENS)
    assert not np.array_equal(head.words, encoder.words)
    np.testing.assert_array_equal(head.words, weights["cls.predictions.decoder.weight"])


def test_a_head_that_is_not_whole_is_refused(tmp_path: Path):
    config, weights = save(with_head(transformers.AutoModelForMaskedLM, CONFIGS["roberta"]), tmp_path)
    for name in ("lm_head.dense.weight", "lm_head.layer_norm.bias", "lm_head.bias"):
        with pytest.raises(SourceInvalid, match="lack") as caught:
            read_filler(config, {key: value for key, value in weights.items() if key != name}, MAX_TOKENS)
        assert caught.value.field == name
    with pytest.raises(SourceInvalid, match="asks for"):
        read_filler(config, weights | {"lm_head.bias": np.zeros(7, np.float32)}, MAX_TOKENS)
    with pytest.raises(SourceUnsupported, match=r"'adapter\.weight'"):
        read_filler(config, weights | {"adapter.weight": np.zeros(1, np.float32)}, MAX_TOKENS)
