"""An embedding model with prompts from a checkpoint to the answers of the service, beside sentence-transformers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tests.support.headed import TEXTS, import_into, rest_client
from tests.unit.export.conftest import write_checkpoint

from headrace.export.quiet import quiet_libraries

PROMPTS = {"query": "the wheel ", "passage": "water: "}


@pytest.fixture(scope="module", params=["mean", "lasttoken"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("embed")
    checkpoint = write_checkpoint(home / "checkpoint", request.param)
    (checkpoint / "config_sentence_transformers.json").write_text(json.dumps({"prompts": PROMPTS}))
    import_into(home, checkpoint)
    return home


def original(home: Path, texts: tuple[str, ...], **options: Any) -> np.ndarray:
    with quiet_libraries():
        model = SentenceTransformer(str(home / "checkpoint"), device="cpu", local_files_only=True)
        return np.asarray(model.encode(list(texts), batch_size=1, show_progress_bar=False, **options))


async def ask(home: Path, task: str, **body: Any) -> Any:
    async with rest_client(home) as client:
        return (await client.post(f"/api/v1/{task}", json=body)).json()


async def embed(home: Path, **options: Any) -> np.ndarray:
    answer = await ask(home, "embed", inputs=TEXTS, options=options)
    return np.array([each["embedding"] for each in answer["results"]])


@pytest.mark.parametrize("prompt", [None, *PROMPTS])
async def test_vectors_with_a_prompt_are_those_of_sentence_transformers(home: Path, prompt: str | None):
    found = await embed(home, prompt=prompt)
    np.testing.assert_allclose(found, original(home, TEXTS, prompt_name=prompt), atol=1e-5)
    if prompt is not None:
        assert np.abs(found - await embed(home)).max() > 0.01  # else any prompt would do


async def test_the_first_dimensions_are_those_of_sentence_transformers(home: Path):
    found = await embed(home, dimensions=8, prompt="query")
    wanted = original(home, TEXTS, truncate_dim=8, prompt_name="query", normalize_embeddings=True)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


async def test_query_and_texts_of_a_comparison_have_prompts_of_their_own(home: Path):
    options = {"prompt": "passage", "query_prompt": "query", "dimensions": 16}
    answer = await ask(home, "similarity", query="mill", inputs=TEXTS, options=options)
    (query,) = original(home, ("mill",), prompt_name="query")[:, :16]
    texts = original(home, TEXTS, prompt_name="passage")[:, :16]
    wanted = texts @ query / np.linalg.norm(texts, axis=1) / np.linalg.norm(query)
    assert [each["score"] for each in answer["results"]] == pytest.approx(wanted, abs=1e-5)


async def test_what_was_embedded_without_a_prompt_is_not_remembered_for_one(home: Path):
    async with rest_client(home) as client:
        bodies = [{}, {"prompt": "query"}, {"dimensions": 4}, {"prompt": "query", "dimensions": 4}]
        for options in bodies:
            answer = (await client.post("/api/v1/embed", json={"inputs": ["mill"], "options": options})).json()
            assert answer["usage"]["cached"] == 0
        for options in bodies:
            answer = (await client.post("/api/v1/embed", json={"inputs": ["mill"], "options": options})).json()
            assert answer["usage"]["cached"] == 1


async def test_the_model_tells_its_prompts_and_refuses_others(home: Path):
    async with rest_client(home) as client:
        assert (await client.get("/api/v1/models/mills")).json()["prompts"] == PROMPTS
    for options, field in (({"prompt": "document"}, "options.prompt"), ({"dimensions": 33}, "options.dimensions")):
        refused = await ask(home, "embed", inputs=["a"], options=options)
        assert (refused["code"], refused["field"]) == ("request.invalid", field)
