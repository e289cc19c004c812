"""Words for masks, in NumPy, behind any backend."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.encoders import random_encoder, write_encoder
from tests.support.tiny_tokenizers import TRAIN

from headrace.engine.base import Bell, Steps, TokenBatch, complete
from headrace.engine.tokenizer import Spelling
from headrace.engine.vocabulary import (
    HEAD,
    VocabularyBackend,
    VocabularyHead,
    VocabularyModel,
    read_head,
    write_head,
)
from headrace.errors import ModelCorrupt, StoreUnusable

MASK = {"wordpiece": "[MASK]", "byte_level": "<mask>", "unigram": "<mask>"}


def random_head(words: int = 60, hidden: int = 64, width: int = 64) -> VocabularyHead:
    chooser = np.random.default_rng(3)

    def numbers(*shape: int) -> np.ndarray:
        return chooser.normal(size=shape).astype(np.float32)

    return VocabularyHead(
        inner=numbers(hidden, width),
        inner_bias=numbers(width),
        activation="gelu",
        scale=numbers(width),
        shift=numbers(width),
        epsilon=1e-12,
        words=numbers(words, width),
        bias=numbers(words),
    )


def test_the_likeliest_words_come_with_their_shares_among_all() -> None:
    head = random_head()
    states = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)  # more than are looked at at a time
    ids, shares = head.choose(states, 7)
    scores = (states @ head.words.T + head.bias).astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    order = np.argsort(-expected, axis=1)[:, :7]
    np.testing.assert_array_equal(ids, order)
    np.testing.assert_allclose(shares, np.take_along_axis(expected, order, 1), rtol=1e-5)
    assert head.choose(states[:0], 7)[0].shape == (0, 7)


def test_of_equally_likely_words_that_with_the_smaller_id_comes_first() -> None:
    head = replace(random_head(), words=np.zeros((60, 64), np.float32), bias=np.repeat([1.0, 2.0], 30).astype("f4"))
    ids, shares = head.choose(np.ones((2, 64), np.float32), 30)
    assert ids.tolist() == [[*range(30, 60)]] * 2
    assert np.ptp(shares) == 0


@pytest.mark.parametrize("are_tied", [True, False])
def test_a_head_comes_back_from_its_file(tmp_path: Path, are_tied: bool) -> None:
    encoder = random_encoder()
    graph = write_encoder(tmp_path / "model.onnx", encoder)
    head = replace(random_head(), words=encoder.words) if are_tied else random_head()
    write_head(tmp_path / HEAD, head, are_words_tied=are_tied)
    found = read_head(tmp_path / HEAD, graph)
    for name in VocabularyHead.__slots__:
        np.testing.assert_array_equal(getattr(found, name), getattr(head, name))
    assert found.words.flags.aligned
    before = (tmp_path / HEAD).read_bytes()
    write_head(tmp_path / HEAD, head, are_words_tied=are_tied)
    assert (tmp_path / HEAD).read_bytes() == before  # else the same model would have two revisions


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _write_pickle(path: Path) -> None:
    np.savez(path, inner=np.array([print], dtype=object))


@pytest.mark.parametrize("spoil", [_cut, _write_pickle, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_a_broken_file_is_no_head(tmp_path: Path, spoil: Any) -> None:
    graph = write_encoder(tmp_path / "model.onnx", random_encoder())
    write_head(tmp_path / HEAD, random_head(), are_words_tied=True)
    spoil(tmp_path / HEAD)
    with pytest.raises((ModelCorrupt, StoreUnusable)):
        read_head(tmp_path / HEAD, graph)


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": np.zeros(59, np.float32)},
        {"scale": np.zeros(63, np.float32)},
        {"inner": np.zeros((64, 32), np.float32)},
        {"inner": np.zeros(64, np.float32)},
        {"activation": "swish"},
    ],
)
def test_a_head_that_does_not_belong_to_the_graph_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    graph = write_encoder(tmp_path / "model.onnx", random_encoder())
    write_head(tmp_path / HEAD, replace(random_head(), **changes), are_words_tied=True)
    with pytest.raises(ModelCorrupt):
        read_head(tmp_path / HEAD, graph)


class StatesBackend:
    """Gives states that tell where they are; stops once on the way."""

    is_closed = False

    def run(self, batch: TokenBatch) -> dict[str, np.ndarray]:
        texts, length = batch.input_ids.shape
        return {"token_states": np.arange(texts * length * 64, dtype=np.float32).reshape(texts, length, 64) / 999}

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:
        yield
        return self.run(batch)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(params=TRAIN)
def spelling(request: pytest.FixtureRequest, tmp_path: Path) -> Spelling:
    tokenizer = TRAIN[request.param]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return Spelling(tmp_path / "tokenizer.json", MASK[request.param])


def test_masks_get_words_and_other_tokens_zeros(spelling: Spelling) -> None:
    ids = np.array([[5, spelling.mask, 7, 0], [spelling.mask, 9, 11, spelling.mask]])
    batch = TokenBatch(input_ids=ids, attention_mask=np.array([[1, 1, 1, 0], [1, 1, 1, 1]]))
    inner, head = StatesBackend(), random_head(words=40)
    backend = VocabularyBackend(inner, head, spelling)
    arrays = backend.run(batch)
    places = np.nonzero(ids == spelling.mask)
    states = head.transform(inner.run(batch)["token_states"][places])
    chosen, shares = head.choose(states, 40)  # as many as there are, though more might be told
    np.testing.assert_array_equal(arrays["token_states"][places], states)
    np.testing.assert_array_equal(arrays["token_scores"][places], shares)
    np.testing.assert_array_equal(arrays["token_words"][places], spelling.spell(chosen))
    for array in arrays.values():
        assert array.shape[:2] == ids.shape
        assert not array[ids != spelling.mask].any()
    stepped = complete(backend.steps(batch, Bell()))
    assert all(np.array_equal(stepped[name], array) for name, array in arrays.items())
    without = replace(batch, input_ids=np.where(ids == spelling.mask, 5, ids))
    assert not any(array.any() for array in backend.run(without).values())
    backend.close()
    assert inner.is_closed


def test_tokens_are_written_as_the_tokenizer_decodes_them(spelling: Spelling) -> None:
    ids = np.arange(60).reshape(3, 20)
    spelled = spelling.spell(ids)
    assert (spelled.shape[:2], spelled.dtype.name) == ((3, 20), "uint8")
    found = [row.tobytes().rstrip(b"\0").decode() for row in spelled.reshape(60, -1)]
    assert found == [spelling._tokenizer.decode([token], skip_special_tokens=False) for token in range(60)]
    assert len(set(found)) > 50
    assert spelling.spell(np.zeros((0, 4), np.int64)).shape[:2] == (0, 4)


def test_a_mask_that_the_tokenizer_does_not_have_is_told(tmp_path: Path) -> None:
    TRAIN["wordpiece"]().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ModelCorrupt, match="no token '<mask>'"):
        Spelling(tmp_path / "tokenizer.json", "<mask>")


def test_what_comes_after_the_graph_is_loaded_once_for_all_sessions(tmp_path: Path) -> None:
    graph = write_encoder(tmp_path / "model.onnx", random_encoder())
    write_head(tmp_path / HEAD, random_head(), are_words_tied=True)
    TRAIN["wordpiece"]().save(str(tmp_path / "tokenizer.json"))
    made: list[Spelling] = []

    def spell() -> Spelling:
        made.append(Spelling(tmp_path / "tokenizer.json", "[MASK]"))
        return made[-1]

    model = VocabularyModel(graph, spell, StatesBackend)
    first, second = model.session(), model.session()
    assert len(made) == 1
    assert first._head is second._head
    assert first._backend is not second._backend
