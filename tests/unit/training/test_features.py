from pathlib import Path

import pytest
import torch
from tests.support import needs
from tests.unit.export.conftest import write_checkpoint

from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.training import features
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.features import FeatureReader
from headrace.training.tokens import TextTokenizer

CPU = Compute(torch.device("cpu"), uses_bf16=False)
TEXTS = ["the water", "wheel", "a b c d e f", "the " * 40, "water wheel " * 15]


@pytest.fixture
def wide(tmp_path: Path) -> Checkpoint:
    """An encoder that the kernels compute."""
    return read_checkpoint(write_checkpoint(tmp_path, hidden_size=64, num_attention_heads=2, initializer_range=0.1))


def read(base: Checkpoint) -> tuple[FeatureReader, torch.Tensor]:
    reader = FeatureReader(base, CPU)
    found = reader.read(TextTokenizer(base, None, print).tokenize(TEXTS))
    assert not found.is_inference()  # so that a head can be learned from it
    return reader, found


def by_torch(base: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(features, "installed_runtimes", lambda: ("onnxruntime",))
        reader, found = read(base)
    assert reader._kernels is None
    return found


@needs.native
def test_kernels_see_what_pytorch_sees(wide: Checkpoint, monkeypatch: pytest.MonkeyPatch):
    reader, found = read(wide)
    assert reader._kernels is not None
    expected = by_torch(wide, monkeypatch)
    assert found.shape == expected.shape == (len(TEXTS), 64)
    assert torch.nn.functional.cosine_similarity(found, expected).min() > 0.999
    assert torch.allclose(found.norm(dim=1), expected.norm(dim=1), rtol=0.02)
    assert found.std(dim=0).min() > 0.01  # texts differ


@needs.native
def test_an_encoder_that_kernels_do_not_compute_is_left_to_pytorch(base: Checkpoint):
    reader, found = read(base)  # heads of 8
    assert reader._kernels is None
    model = load_with_head(base, "SequenceClassification", 0, {"num_labels": 2}).eval()
    texts = TextTokenizer(base, None, print).tokenize(TEXTS)
    for row, ids in zip(found, texts.ids, strict=True):
        with torch.inference_mode():
            alone = model.base_model(torch.tensor([list(ids)])).last_hidden_state[0, 0]
        assert torch.allclose(row, alone, atol=1e-5)
