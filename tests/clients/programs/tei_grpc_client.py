"""Asks with tei-client over gRPC; it sends no key, so the server asks for none."""

from collections.abc import Iterable

from expected import LABELS, OPEN_GRPC, QUERY, RANKING, TEXTS, VECTORS
from tei_client import GrpcClient


def are_near(left: Iterable[Iterable[float]], right: Iterable[Iterable[float]]) -> bool:
    """Tell whether vectors are the same but for rounding: here each text comes alone, and was in a batch before."""
    pairs = [pair for rows in zip(left, right, strict=True) for pair in zip(*rows, strict=True)]
    return bool(pairs) and all(abs(one - other) < 1e-6 for one, other in pairs)


embedder = GrpcClient(OPEN_GRPC["tiny"])
assert embedder.health()
assert embedder.info().max_client_batch_size == 256
assert are_near(embedder.embed(TEXTS), VECTORS)
assert are_near(embedder.embed(TEXTS[0]), VECTORS[:1])

found = GrpcClient(OPEN_GRPC["judge"]).classify(TEXTS)
assert [[each.label for each in result.scores] for result in found] == [
    [each["label"] for each in labels] for labels in LABELS
]
ranks = GrpcClient(OPEN_GRPC["ranker"]).rerank(QUERY, TEXTS, return_text=True).ranks
assert [each.index for each in ranks] == [index for index, _ in RANKING]
assert [each.text for each in ranks] == [TEXTS[index] for index, _ in RANKING]
