"""Asks with what llama-index has for text-embeddings-inference."""

from expected import KEY, QUERY, RANKING, TEXTS, URL, VECTORS, as_float32
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

embeddings = TextEmbeddingsInference(
    model_name="tiny", base_url=f"{URL}/models/tiny", auth_token=KEY, text_instruction=" ", query_instruction=" "
)
assert as_float32(embeddings.get_text_embedding_batch(TEXTS)) == VECTORS

ranker = TextEmbeddingInference(base_url=f"{URL}/models/ranker", auth_token=f"Bearer {KEY}", top_n=2)
nodes = [NodeWithScore(node=TextNode(text=text), score=0.0) for text in TEXTS]
ranked = ranker.postprocess_nodes(nodes, QueryBundle(QUERY))
assert len(ranked) == 2
assert [node.score for node in ranked] == [score for _, score in RANKING[:2]]
