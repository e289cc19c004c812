"""Asks with OpenAI's own client. Usage: openai_client.py URL KEY EXPECTED_FILE"""

import asyncio
import json
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import openai

URL: Final = sys.argv[1]
KEY: Final = sys.argv[2]
# Compared as float32: in JSON they are written with as many digits as that needs.
EXPECTED: Final = {text: array("f", vector) for text, vector in json.loads(Path(sys.argv[3]).read_text()).items()}
TEXTS: Final = list(EXPECTED)
CLIENT: Final = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
Refused = TypeVar("Refused", bound=openai.APIStatusError)


def embed(client: openai.OpenAI = CLIENT, **options: Any) -> "list[array[float]]":
    answer = client.embeddings.create(**{"model": "tiny", "input": TEXTS, **options})
    assert answer.model == "tiny"
    assert answer.usage.prompt_tokens > 0
    return [array("f", item.embedding) for item in answer.data]


def refusal(error: type[Refused], ask: Callable[[], object]) -> Refused:
    try:
        ask()
    except error as refused:
        return refused
    raise AssertionError(f"{error.__name__} was not raised")


assert embed() == list(EXPECTED.values())  # it asks for base64 by itself
assert embed(encoding_format="float") == list(EXPECTED.values())
assert embed(input=TEXTS[0]) == [EXPECTED[TEXTS[0]]]


async def embed_at_once() -> "list[array[float]]":
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as client:
        asked = [client.embeddings.create(model="tiny", input=text) for text in TEXTS]
        return [array("f", answer.data[0].embedding) for answer in await asyncio.gather(*asked)]


assert asyncio.run(embed_at_once()) == list(EXPECTED.values())

assert [model.id for model in CLIENT.models.list()] == ["tiny"]
assert CLIENT.models.retrieve("tiny").created > 1_600_000_000
assert refusal(openai.NotFoundError, lambda: CLIENT.models.retrieve("org/model")).code == "model_not_found"

missing = refusal(openai.NotFoundError, lambda: embed(model="gpt"))
assert (missing.code, missing.param) == ("model_not_found", "model")
assert missing.request_id
long = refusal(openai.BadRequestError, lambda: embed(input=[TEXTS[0], "w1 " * 500]))
assert (long.code, long.param) == ("context_length_exceeded", "input[1]")
assert len(embed(input="w1 " * 500, extra_body={"truncate": "chunk"})) == 1
assert "check_embedding_ctx_length=False" in refusal(openai.BadRequestError, lambda: embed(input=[1, 2, 3])).message
assert refusal(openai.BadRequestError, lambda: embed(dimensions=10_000)).param == "dimensions"
stranger = openai.OpenAI(base_url=f"{URL}/v1", api_key="another-key-than-that-one", max_retries=0)
assert refusal(openai.AuthenticationError, lambda: embed(stranger)).code == "invalid_api_key"
