"""What text-embeddings-inference says, over REST and gRPC alike: which model answers, and what it takes."""

from typing import Any

from headrace.service import ServedModel
from headrace.settings import Settings
from headrace.version import VERSION


def describe_server(served: ServedModel, settings: Settings) -> dict[str, Any]:
    """Return what a client asks before it sends texts, but for the kind of model."""
    manifest, plan = served.manifest, served.plan
    return {
        "model_id": manifest.lineage.source,
        "model_sha": manifest.revision,
        "model_dtype": plan.precision,
        "max_concurrent_requests": settings.engine.max_queued_texts,
        "max_input_length": manifest.max_tokens,
        "max_batch_tokens": plan.token_budget,
        "max_client_batch_size": settings.limits.max_inputs,
        "tokenization_workers": plan.sessions,
        "version": VERSION,
    }
