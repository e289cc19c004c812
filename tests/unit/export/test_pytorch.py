import dataclasses
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from tests.unit.export.conftest import MAX_TOKENS, write_checkpoint

from headrace.errors import SourceInvalid, SourceUnsupported
from headrace.export.pytorch import TextEncoder, TorchOriginal, load_encoder
from headrace.export.quiet import quiet_libraries
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.models.manifest import Pooling

TEXTS = ["the water wheel", "a", "", "water " * 60]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_the_reference_agrees_with_sentence_transformers(tmp_path: Path, pooling: str):
    checkpoint = read_checkpoint(write_checkpoint(tmp_path, pooling))
    reference = TorchOriginal(checkpoint, load_encoder(checkpoint))
    with quiet_libraries():
        model = SentenceTransformer(str(tmp_path), device="cpu", local_files_only=True)
    expected = np.asarray(model.encode(TEXTS, batch_size=1, show_progress_bar=False))
    found = np.stack([reference.answer(text)["embedding"] for text in TEXTS])
    assert np.abs(found - expected).max() < 1e-6


class Fixed(torch.nn.Module):
    """An encoder that answers what it was made with."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> object:
        return type("Answer", (), {"last_hidden_state": self.states})


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [-2.0, 3.0]), ("cls", [-1.0, 2.0]), ("max", [-1.0, 4.0]), ("lasttoken", [-3.0, 4.0])],
)
def test_padding_is_left_out_of_every_pooling(pooling: Pooling, expected: list[float]):
    states = torch.tensor([[[-1.0, 2.0], [-3.0, 4.0], [99.0, 99.0]]])
    encoder = TextEncoder(Fixed(states), pooling)
    embedding, norm = encoder(torch.ones(1, 3, dtype=torch.int64), torch.tensor([[1, 1, 0]]))
    assert torch.allclose(embedding * norm, torch.tensor([expected]))
    assert torch.allclose(embedding.norm(dim=-1), torch.ones(1))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_vector_of_zeros_stays_one_and_is_no_nan(pooling: Pooling):
    encoder = TextEncoder(Fixed(torch.zeros(1, 2, 4)), pooling)
    embedding, norm = encoder(torch.ones(1, 2, dtype=torch.int64), torch.zeros(1, 2, dtype=torch.int64))
    assert embedding.tolist() == [[0.0] * 4]
    assert norm.tolist() == [0.0]


def test_a_text_over_the_window_is_cut_and_the_files_own_truncation_is_not(tiny: Checkpoint, tiny_encoder: TextEncoder):
    reference = TorchOriginal(tiny, tiny_encoder)
    embeddings = [reference.answer("water " * count)["embedding"] for count in (7, MAX_TOKENS - 2, MAX_TOKENS - 1, 200)]
    assert not np.allclose(embeddings[0], embeddings[1])
    assert np.array_equal(embeddings[1], embeddings[2])
    assert np.array_equal(embeddings[1], embeddings[3])


def test_weights_that_are_missing_are_refused_and_not_made_up(tiny_folder: Path, tmp_path: Path):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    path = folder / "model.safetensors"
    path.write_bytes(
        path.read_bytes().replace(b"encoder.layer.1.output.dense.weight", b"encoder.layer.1.output.dense.weighs")
    )
    with pytest.raises(SourceInvalid, match=r"lacks 1 weights.*layer\.1\.output"):
        load_encoder(read_checkpoint(folder))


def test_a_configuration_that_transformers_cannot_load_is_unsupported(tiny: Checkpoint, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "hidden_size": 33, "num_attention_heads": 4}')
    with pytest.raises(SourceUnsupported, match="transformers"):
        load_encoder(dataclasses.replace(tiny, folder=tmp_path))


def test_loading_says_nothing_and_leaves_the_libraries_as_they_were(
    tiny: Checkpoint, capfd: pytest.CaptureFixture[str]
):
    before = (
        transformers.logging.get_verbosity(),
        transformers.logging.is_progress_bar_enabled(),
        logging.getLogger("torch").level,
    )
    load_encoder(tiny)
    after = (
        transformers.logging.get_verbosity(),
        transformers.logging.is_progress_bar_enabled(),
        logging.getLogger("torch").level,
    )
    assert after == before
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_that_was_off_stays_off():
    transformers.logging.disable_progress_bar()
    try:
        with quiet_libraries():
            pass
        assert not transformers.logging.is_progress_bar_enabled()
    finally:
        transformers.logging.enable_progress_bar()
