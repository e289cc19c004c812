"""Asks with Cohere's own client, of both versions of its API."""

from array import array
from base64 import b64decode

import cohere
from expected import KEY, QUERY, RANKING, TEXTS, URL, VECTORS, as_float32, refusal


def ranks_of(answer: "cohere.RerankResponse | cohere.V2RerankResponse") -> list[tuple[int, float]]:
    return [(result.index, result.relevance_score) for result in answer.results]


client = cohere.ClientV2(api_key=KEY, base_url=URL)
assert ranks_of(client.rerank(model="ranker", query=QUERY, documents=TEXTS)) == RANKING
assert ranks_of(client.rerank(model="ranker", query=QUERY, documents=TEXTS, top_n=2)) == RANKING[:2]

old = cohere.Client(api_key=KEY, base_url=URL)
answer = old.rerank(model="ranker", query=QUERY, documents=[{"text": text} for text in TEXTS], return_documents=True)
assert ranks_of(answer) == RANKING
assert [result.document.text for result in answer.results if result.document] == [TEXTS[index] for index, _ in RANKING]

embedded = client.embed(
    model="tiny",
    texts=TEXTS,
    input_type="search_document",
    embedding_types=["float", "base64", "binary", "ubinary"],
    truncate="END",
)
forms = embedded.embeddings
assert as_float32(forms.float_ or []) == VECTORS
assert [array("f", b64decode(each)) for each in forms.base64 or []] == VECTORS
signs = [[int("".join(str(int(value > 0)) for value in vector), 2)] for vector in VECTORS]  # of eight numbers
assert forms.ubinary == signs
assert forms.binary == [[byte - 128 for byte in row] for row in signs]
assert embedded.texts == TEXTS
assert embedded.meta is not None
assert embedded.meta.billed_units is not None
assert (embedded.meta.billed_units.input_tokens or 0) > 0
assert as_float32(client.embed(model="tiny", texts=TEXTS, input_type="search_query").embeddings.float_ or []) == VECTORS
assert as_float32(old.embed(model="tiny", texts=TEXTS, input_type="search_document").embeddings) == VECTORS
by_type = old.embed(model="tiny", texts=TEXTS, embedding_types=["float"]).embeddings
assert as_float32(by_type.float_ or []) == VECTORS
image = refusal(
    cohere.UnprocessableEntityError, lambda: client.embed(model="tiny", input_type="image", images=["data:image/png;,"])
)
assert "only texts are read" in image.body["message"], image

missing = refusal(cohere.NotFoundError, lambda: client.rerank(model="nothing", query=QUERY, documents=TEXTS))
assert "'nothing'" in missing.body["message"], missing
unfit = refusal(cohere.core.ApiError, lambda: client.rerank(model="tiny", query=QUERY, documents=TEXTS))
assert "'tiny'" in unfit.body["message"], unfit
