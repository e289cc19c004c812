"""For each task what it may be asked with, and a result."""

from typing import Any

import numpy as np

from headrace.types import (
    Classification,
    Embedding,
    Entity,
    Extraction,
    Filling,
    Finding,
    Label,
    Mask,
    Ranking,
    Regression,
    Result,
    Similarity,
    Span,
    TaskName,
    Word,
)

COUNTS: dict[str, Any] = {"tokens": 3, "truncated": True, "windows": 2}
LABELS = (Label("good", 0.75), Label("bad", 0.25))
RESULTS: dict[TaskName, Result] = {
    "answer": Finding(answers=(Span(0.5, 1, 3, "bc"),), no_answer=0.125, **COUNTS),
    "classify": Classification(labels=LABELS, **COUNTS),
    "embed": Embedding(values=np.array([0.5, -1.0], np.float32), **COUNTS),
    "extract": Extraction(entities=(Entity("PER", 0.5, 0, 2, "ab"),), **COUNTS),
    "fill": Filling(masks=(Mask(0, 6, (Word(" wheel", 0.5),)),), **COUNTS),
    "regress": Regression(value=2.5, **COUNTS),
    "rerank": Ranking(index=1, score=0.5, **COUNTS),
    "similarity": Similarity(score=0.5, **COUNTS),
    "zeroshot": Classification(labels=LABELS, **COUNTS),
}
BODIES: dict[TaskName, dict[str, Any]] = {
    "answer": {"query": "q", "options": {"top_k": 2, "max_answer_tokens": 3, "threshold": 0.5}},
    "classify": {"options": {"truncate": "chunk", "raw": True}},
    "embed": {"model": "fake", "options": {"normalize": False, "dimensions": 2, "prompt": "p"}},
    "extract": {"options": {"aggregation": "max"}},
    "fill": {"options": {"top_k": 3}},
    "regress": {"options": {"truncate": "error"}},
    "rerank": {"query": "", "options": {"raw": True, "top_k": 1}},
    "similarity": {"query": "q", "options": {"query_prompt": "p"}},
    "zeroshot": {"labels": ["x", "y"], "options": {"template": "About {}.", "multi_label": True}},
}
