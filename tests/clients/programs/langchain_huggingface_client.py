"""Asks with langchain's client of Hugging Face's endpoints."""

import asyncio

from expected import KEY, TEXTS, URL, VECTORS, as_float32, refusal
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from langchain_huggingface import HuggingFaceEndpointEmbeddings


def embeddings_of(model: str, key: str = KEY) -> HuggingFaceEndpointEmbeddings:
    # It takes no URL as its model, so the clients that it asks with are told.
    embeddings = HuggingFaceEndpointEmbeddings(model=model, huggingfacehub_api_token=key)
    embeddings.client = InferenceClient(base_url=f"{URL}/models/{model}", api_key=key)
    embeddings.async_client = AsyncInferenceClient(base_url=f"{URL}/models/{model}", api_key=key)
    return embeddings


embeddings = embeddings_of("tiny")
assert as_float32(embeddings.embed_documents(TEXTS)) == VECTORS
assert as_float32([embeddings.embed_query(TEXTS[0])]) == VECTORS[:1]
assert as_float32(asyncio.run(embeddings_of("tiny").aembed_documents(TEXTS))) == VECTORS

missing = refusal(HfHubHTTPError, lambda: embeddings_of("nothing").embed_documents(TEXTS))
assert missing.response.status_code == 404
assert "'nothing'" in str(missing), missing
denied = refusal(HfHubHTTPError, lambda: embeddings_of("tiny", "another-key-than-that-one").embed_documents(TEXTS))
assert denied.response.status_code == 401
