"""``card.md``: what a model folder is, for the person who finds it."""

from collections.abc import Mapping
from typing import Final

from headrace.models.manifest import Manifest
from headrace.types import ModelTask

_TEMPLATE = """\
# {name}

{kind} for Headrace, exported from {source}.

| | |
|---|---|
| Source | {source} |
| Source revision | {source_revision} |
| SHA-256 of the original weights | {weights_sha256} |
| License of the original | {license} |
| Architecture | {architecture} |
| {gives} |
| Window | {max_tokens} tokens, special tokens included |
| Pooling | {pooling}{normalized} |
| Precision | {precision} |
| Made with | {tools} |
| Imported | {created_at} |

## Accuracy

Compared with the original on {texts} texts, through the engine that serves.
At least {min_cosine_required} as cosine and at most {max_difference_allowed} as difference were asked for.

| Output | Lowest cosine | Mean cosine | Largest difference |
|---|---|---|---|
{outputs}

The text that differed most: {worst_text}.
"""


_KINDS: Final[Mapping[ModelTask, str]] = {
    "answer": "A model that finds the answer to a question in a text",
    "classify": "A text classifier",
    "embed": "A text embedding model",
    "extract": "A model that finds entities in a text",
    "fill": "A model that finds words for masks in a text",
    "regress": "A model that reads a number from a text",
    "rerank": "A model that ranks texts by how well they answer a query",
    "zeroshot": "A model of natural language inference, which gives texts labels that it was not trained on",
}
_CELLS: Final = frozenset({"gives", "outputs"})  # have cells of their own
_MOST_LABELS: Final = 20  # that are named; some classifiers have thousands


def write_card(manifest: Manifest) -> str:
    """Return the card of a model, in Markdown."""
    lineage, gate = manifest.lineage, manifest.gate
    facts = manifest.model_dump() | lineage.model_dump() | gate.model_dump()
    rows = (
        f"| {row.name} | {row.min_cosine:.7f} | {row.mean_cosine:.7f} | {row.max_difference:.2g} |"
        for row in gate.outputs
    )
    facts |= {
        "source_revision": lineage.source_revision or "none",
        "license": lineage.license or "not stated",
        "normalized": ", scaled to length 1" if manifest.normalize else "",
        "kind": _KINDS[manifest.task],
        "gives": f"Labels | {_name_labels(manifest)}" if manifest.labels else f"Dimensions | {manifest.dimensions}",
        "tools": ", ".join(f"{tool} {version}" for tool, version in sorted(lineage.tools.items())),
        "outputs": "\n".join(rows),
    }
    return _TEMPLATE.format(**{key: value if key in _CELLS else _plain(value) for key, value in facts.items()})


def _name_labels(manifest: Manifest) -> str:
    named = ", ".join(str(_plain(label)) for label in manifest.labels[:_MOST_LABELS])
    more = len(manifest.labels) - _MOST_LABELS
    return f"{named} and {more} more" if more > 0 else named


def _plain(value: object) -> object:
    """Keep what a checkpoint says of itself from opening a table cell, a link or HTML of its own."""
    if not isinstance(value, str):
        return value
    return value.translate({ord(mark): " " for mark in "|<>[]`"})
