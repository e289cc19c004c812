"""Asks with tei-client, which takes one base URL for one model, and asks it first what it is."""

import asyncio

import httpx
from expected import KEY, LABELS, QUERY, RANKING, TEXTS, URL, VECTORS, as_float32, refusal
from tei_client import HttpClient


def client_of(model: str) -> HttpClient:
    return HttpClient(f"{URL}/models/{model}", headers={"authorization": f"Bearer {KEY}"})


embedder = client_of("tiny")
assert embedder.health()
assert embedder.info().max_client_batch_size == 256
assert as_float32(embedder.embed(TEXTS)) == VECTORS
assert as_float32(embedder.embed(TEXTS[0])) == VECTORS[:1]
assert as_float32(asyncio.run(embedder.async_embed(TEXTS))) == VECTORS
assert as_float32(HttpClient(URL, headers={"x-api-key": KEY}).embed(TEXTS)) == VECTORS  # the first model

found = client_of("judge").classify(TEXTS)
assert [[(each.label, each.score) for each in result.scores] for result in found] == [
    [(each["label"], each["score"]) for each in labels] for labels in LABELS
]

ranks = client_of("ranker").rerank(QUERY, TEXTS, return_text=True).ranks
assert [(each.index, each.score) for each in ranks] == RANKING
assert [each.text for each in ranks] == [TEXTS[index] for index, _ in RANKING]

# It looks at what the model is before it asks.
assert "embedding" in str(refusal(Exception, lambda: embedder.classify(TEXTS))).lower()
assert "embedding" in str(refusal(Exception, lambda: embedder.rerank(QUERY, TEXTS))).lower()

refused = httpx.post(f"{URL}/embed", json={"inputs": "w1 " * 500, "truncate": False}, headers={"x-api-key": KEY})
assert refused.status_code == 422
assert refused.json()["error_type"] == "Validation"
