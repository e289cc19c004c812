"""Asks with Hugging Face's own client, which takes one URL for one model."""

from expected import ANSWERS, ENTITIES, KEY, LABELS, QUERY, TEXTS, TOPICAL, TOPICS, URL, VECTORS, as_float32, refusal
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError


def client_of(model: str) -> InferenceClient:
    return InferenceClient(base_url=f"{URL}/models/{model}", api_key=KEY)


embedder = client_of("tiny")
assert as_float32(embedder.feature_extraction(TEXTS).tolist()) == VECTORS
assert as_float32(embedder.feature_extraction(TEXTS[0], normalize=True, truncate=True).tolist()) == VECTORS[:1]
similarity = embedder.sentence_similarity(TEXTS[0], other_sentences=TEXTS)
assert abs(similarity[0] - 1) < 1e-6
assert similarity[0] > similarity[1]

for text, labels in zip(TEXTS, LABELS, strict=True):
    found = client_of("judge").text_classification(text)
    assert [(each.label, each.score) for each in found] == [(each["label"], each["score"]) for each in labels]
assert len(client_of("judge").text_classification(TEXTS[0], top_k=1)) == 1

assert any(ENTITIES)
for text, entities in zip(TEXTS, ENTITIES, strict=True):
    spans = client_of("tagger").token_classification(text)
    assert [(each.entity_group, each.score, each.word, each.start, each.end) for each in spans] == [
        (each["label"], each["score"], each["text"], each["start"], each["end"]) for each in entities
    ]

for text, labels in zip(TEXTS, TOPICAL, strict=True):
    chosen = client_of("logic").zero_shot_classification(text, TOPICS)
    assert [(each.label, each.score) for each in chosen] == [(each["label"], each["score"]) for each in labels]

assert any(ANSWERS)
for text, answers in zip(TEXTS, ANSWERS, strict=True):
    answer = client_of("oracle").question_answering(question=QUERY, context=text)
    assert not isinstance(answer, list)
    best = answers[0] if answers else None
    assert answer.answer == (best["text"] if best else "")
    if best:
        assert (answer.score, answer.start, answer.end) == (best["score"], best["start"], best["end"])
    several = client_of("oracle").question_answering(question=QUERY, context=text, top_k=2)
    assert isinstance(several, list)
    assert [each.answer for each in several] == [each["text"] for each in answers]

missing = refusal(HfHubHTTPError, lambda: client_of("nothing").text_classification(TEXTS[0]))
assert missing.response.status_code == 404
assert "'nothing'" in str(missing), missing
