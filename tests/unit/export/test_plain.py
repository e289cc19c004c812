import dataclasses

import numpy as np
import pytest
from tests.unit.export.conftest import MAX_TOKENS

from headrace.export.families import read_encoder
from headrace.export.plain import PlainOriginal
from headrace.export.pytorch import TextEncoder, TorchOriginal
from headrace.export.tensors import read_tensors
from headrace.models.checkpoint import Checkpoint
from headrace.models.manifest import Pooling
from headrace.models.weights import WEIGHTS

TEXTS = ["the water wheel", "a", "", "water " * (MAX_TOKENS - 2), "water " * 200]


def plain(checkpoint: Checkpoint) -> PlainOriginal:
    weights = read_tensors(checkpoint.folder / WEIGHTS)
    return PlainOriginal(checkpoint, read_encoder(checkpoint.config, weights, checkpoint.max_tokens))


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_numpy_and_pytorch_give_the_same_original(tiny: Checkpoint, tiny_encoder: TextEncoder, pooling: Pooling):
    found = plain(dataclasses.replace(tiny, pooling=pooling))
    expected = TorchOriginal(tiny, TextEncoder(tiny_encoder.encoder, pooling).eval())
    for text in TEXTS:
        answers = found.answer(text)
        for name, wanted in expected.answer(text).items():
            assert (answers[name].dtype.name, answers[name].shape) == ("float32", wanted.shape)
            np.testing.assert_allclose(answers[name], wanted, atol=1e-5, rtol=1e-5)
