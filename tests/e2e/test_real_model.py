"""The real model on real texts: as good as the library it came from, alone or among others."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.real import real_texts, unpack_checkpoint
from tests.support.server import running_server
from tests.support.services import values

from headrace.app import open_service
from headrace.options import Options
from headrace.service import Service
from headrace.settings import load_settings
from headrace.types import Answer, Caller, Request, Scope

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

TEXTS = 400
CALLER = Caller("tester", frozenset(Scope))


@pytest.fixture
async def service(real_home: Path) -> AsyncIterator[Service]:
    loaded = load_settings({"store.home": str(real_home), "cache.max_bytes": 0, "engine.max_wait_s": 600.0})
    async with open_service(loaded, ["minilm"]) as service:
        yield service


async def run(service: Service, texts: list[str], options: Options | None = None) -> Answer:
    return await service.run(
        Request(
            task="embed",
            inputs=tuple(texts),
            caller=CALLER,
            request_id="test",
            deadline=time.monotonic() + 120,
            options=options or Options(),
        )
    )


async def embed(service: Service, texts: list[str]) -> NDArray[np.float32]:
    chunks = [texts[start : start + 100] for start in range(0, len(texts), 100)]
    answers = await asyncio.gather(*(run(service, chunk) for chunk in chunks))
    return np.stack([values(result) for answer in answers for result in answer.results])


async def test_real_texts_get_the_vectors_of_sentence_transformers(service: Service, tmp_path: Path):
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - loads PyTorch, some seconds

    texts = real_texts(TEXTS)
    ours = await embed(service, texts)
    reference = SentenceTransformer(str(unpack_checkpoint(tmp_path)), device="cpu", local_files_only=True)
    theirs = reference.encode(texts, batch_size=32, convert_to_numpy=True, show_progress_bar=False)
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(theirs, axis=1)
    assert len(texts) == TEXTS
    assert cosines.min() >= 0.99999
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


async def test_a_real_text_answers_the_same_alone_and_in_any_batch(service: Service):
    texts = real_texts(100, seed=1)
    together = await embed(service, texts)
    reversed_order = (await embed(service, texts[::-1]))[::-1]
    alone = np.stack([values((await run(service, [text])).results[0]) for text in texts])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(alone, reversed_order, atol=1e-5)


async def test_the_unnormalised_vector_points_the_same_way(service: Service):
    texts = real_texts(20, seed=2)
    unit = [values(result) for result in (await run(service, texts)).results]
    raw = [values(result) for result in (await run(service, texts, Options(normalize=False))).results]
    for one, other in zip(unit, raw, strict=True):
        length = np.linalg.norm(other)
        assert length != pytest.approx(1, abs=1e-2)
        np.testing.assert_allclose(other / length, one, atol=1e-5)


def test_the_server_answers_with_384_numbers(real_home: Path):
    with running_server(real_home, "minilm") as server:
        reply = server.embed({"inputs": ["The water drives the wheel.", "x " * 1000]})
    results = reply.json()["results"]
    assert [len(result["embedding"]) for result in results] == [384, 384]
    assert [result["truncated"] for result in results] == [False, True]
    assert results[1]["tokens"] == 256


async def test_bfloat16_keeps_to_the_originals_answers(real_home: Path):
    """Also on a processor that has no instructions for it, which computes in float32 then."""
    loaded = load_settings({"store.home": str(real_home), "cache.max_bytes": 0, "engine.max_wait_s": 600.0})
    texts = real_texts(100, seed=3)
    async with open_service(loaded, ["minilm"]) as service:
        exact = await embed(service, texts)
    given = {"store.home": str(real_home), "cache.max_bytes": 0, "engine.max_wait_s": 600.0, "engine.precision": "bf16"}
    async with open_service(load_settings(given), ["minilm"]) as service:
        found = await embed(service, texts)
    assert (exact * found).sum(axis=1).min() >= 0.999
