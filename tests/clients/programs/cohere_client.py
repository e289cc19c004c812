"""Asks with Cohere's own client, of both versions of its API."""

import cohere
from expected import KEY, QUERY, RANKING, TEXTS, URL, refusal


def ranks_of(answer: "cohere.RerankResponse | cohere.V2RerankResponse") -> list[tuple[int, float]]:
    return [(result.index, result.relevance_score) for result in answer.results]


client = cohere.ClientV2(api_key=KEY, base_url=URL)
assert ranks_of(client.rerank(model="ranker", query=QUERY, documents=TEXTS)) == RANKING
assert ranks_of(client.rerank(model="ranker", query=QUERY, documents=TEXTS, top_n=2)) == RANKING[:2]

old = cohere.Client(api_key=KEY, base_url=URL)
answer = old.rerank(model="ranker", query=QUERY, documents=[{"text": text} for text in TEXTS], return_documents=True)
assert ranks_of(answer) == RANKING
assert [result.document.text for result in answer.results if result.document] == [TEXTS[index] for index, _ in RANKING]

missing = refusal(cohere.NotFoundError, lambda: client.rerank(model="nothing", query=QUERY, documents=TEXTS))
assert "'nothing'" in missing.body["message"], missing
unfit = refusal(cohere.core.ApiError, lambda: client.rerank(model="tiny", query=QUERY, documents=TEXTS))
assert "'tiny'" in unfit.body["message"], unfit
