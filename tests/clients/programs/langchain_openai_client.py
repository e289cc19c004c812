"""Asks with langchain's client of OpenAI."""

from expected import KEY, TEXTS, URL, VECTORS, as_float32
from langchain_openai import OpenAIEmbeddings

embeddings = OpenAIEmbeddings(model="tiny", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False)
assert as_float32(embeddings.embed_documents(TEXTS)) == VECTORS
assert as_float32([embeddings.embed_query(TEXTS[0])]) == VECTORS[:1]
