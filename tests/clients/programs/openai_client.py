"""Asks with OpenAI's own client."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

import openai
from expected import KEY, LABELS, TEXTS, URL, VECTORS, as_float32, refusal

if TYPE_CHECKING:
    from array import array

CLIENT: Final = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


def embed(client: openai.OpenAI = CLIENT, **options: Any) -> "list[array[float]]":
    answer = client.embeddings.create(**{"model": "tiny", "input": TEXTS, **options})
    assert answer.model == "tiny"
    assert answer.usage.prompt_tokens > 0
    return as_float32([item.embedding for item in answer.data])


assert embed() == VECTORS  # it asks for base64 by itself
assert embed(encoding_format="float") == VECTORS
assert embed(input=TEXTS[0]) == VECTORS[:1]


async def embed_at_once() -> "list[array[float]]":
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as client:
        asked = [client.embeddings.create(model="tiny", input=text) for text in TEXTS]
        return as_float32([answer.data[0].embedding for answer in await asyncio.gather(*asked)])


assert asyncio.run(embed_at_once()) == VECTORS

moderation = CLIENT.moderations.create(model="judge", input=TEXTS)
assert (moderation.model, bool(moderation.id)) == ("judge", True)
for result, labels in zip(moderation.results, LABELS, strict=True):
    scores = {each["label"]: each["score"] for each in labels}
    assert result.category_scores.to_dict() == scores
    assert result.categories.to_dict() == {name: score >= 0.5 for name, score in scores.items()}
    assert set(result.category_applied_input_types.to_dict()) == set(scores)
    assert result.flagged  # one of two labels is always the likelier, and neither says that there is nothing
(result,) = CLIENT.moderations.create(input=TEXTS[0]).results
assert result.category_scores.to_dict() == {each["label"]: each["score"] for each in LABELS[0]}
(result,) = CLIENT.moderations.create(input=TEXTS[0], extra_body={"harmless": ["mill", "river"]}).results
assert not result.flagged
(result,) = CLIENT.moderations.create(input=[{"type": "text", "text": TEXTS[0]}]).results
assert result.category_scores.to_dict() == {each["label"]: each["score"] for each in LABELS[0]}
image: Any = {"type": "image_url", "image_url": {"url": "https://example.org/mill.png"}}
assert refusal(openai.BadRequestError, lambda: CLIENT.moderations.create(input=[image])).param == "input"

assert [model.id for model in CLIENT.models.list()][:2] == ["tiny", "judge"]
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
