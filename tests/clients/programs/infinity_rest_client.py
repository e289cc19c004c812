"""Asks with Infinity's own client, which is made from the description of its API."""

from expected import KEY, LABELS, QUERY, RANKING, TEXTS, URL, VECTORS, as_float32
from infinity_client import AuthenticatedClient
from infinity_client.api.default import classify, embeddings, health, models, rerank
from infinity_client.models import (
    ClassifyInput,
    ClassifyResult,
    OpenAIEmbeddingInputText,
    OpenAIEmbeddingResult,
    OpenAIModelInfo,
    RerankInput,
    ReRankResult,
)

with AuthenticatedClient(f"{URL}/infinity", token=KEY) as client:
    assert health.sync(client=client) is not None

    listed = models.sync(client=client)
    assert isinstance(listed, OpenAIModelInfo)
    assert [model.id for model in listed.data][:2] == ["tiny", "judge"]

    for asked in (OpenAIEmbeddingInputText(TEXTS), OpenAIEmbeddingInputText(TEXTS, model="tiny")):
        embedded = embeddings.sync(client=client, body=asked)
        assert isinstance(embedded, OpenAIEmbeddingResult)
        assert as_float32([item.embedding for item in embedded.data]) == VECTORS

    ranked = rerank.sync(client=client, body=RerankInput(QUERY, TEXTS, model="ranker", return_documents=True))
    assert isinstance(ranked, ReRankResult)
    assert [(each.index, each.relevance_score) for each in ranked.results] == RANKING
    assert [each.document for each in ranked.results] == [TEXTS[index] for index, _ in RANKING]

    judged = classify.sync(client=client, body=ClassifyInput(TEXTS, model="judge"))
    assert isinstance(judged, ClassifyResult)
    assert [[(each.label, each.score) for each in labels] for labels in judged.data] == [
        [(each["label"], each["score"]) for each in labels] for labels in LABELS
    ]
