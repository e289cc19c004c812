"""Triton's statistics of models, over REST and gRPC alike.

What its words mean here:

- ``success`` and ``fail`` are requests, with all their time in the service; of ``cache_hit`` every text was remembered.
- ``queue``, ``compute_input`` (tokenizing) and ``compute_infer`` are requests of which texts were computed, with the
  longest of each time: the texts of a request run in several batches at once. ``compute_output`` and ``cache_miss``
  take no time that is measured, and stay 0.
- ``inference_count`` are texts and ``execution_count`` batches, those of probes and of trials as well.

Requests that are refused unread, since the server is overloaded, are of no version and not in it.
"""

from typing import Any

from headrace.observe.counts import NEVER, Times, VersionCounts
from headrace.service import ServedModel


def describe_counts(known: VersionCounts, served: ServedModel) -> dict[str, Any]:
    """Return what a version has done since the server began."""
    name, revision = served.manifest.name, served.manifest.revision
    counts = known.read(name, revision)
    stats = {
        "success": _spell(counts.succeeded),
        "fail": _spell(counts.failed),
        "queue": _spell(counts.queued),
        "compute_input": _spell(counts.tokenized),
        "compute_infer": _spell(counts.computed),
        "compute_output": _spell(NEVER),
        "cache_hit": _spell(counts.remembered),
        "cache_miss": _spell(NEVER),
    }
    return {
        "name": name,
        "version": revision,
        "last_inference": counts.last_ms,
        "inference_count": counts.texts,
        "execution_count": counts.batches,
        "inference_stats": stats,
        "batch_stats": [_describe_batches(size, times) for size, times in sorted(counts.sizes.items())],
    }


def _describe_batches(size: int, times: Times) -> dict[str, Any]:
    never = _spell(NEVER)
    return {"batch_size": size, "compute_input": never, "compute_infer": _spell(times), "compute_output": never}


def _spell(times: Times) -> dict[str, int]:
    return {"count": times.count, "ns": times.ns}
