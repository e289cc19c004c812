"""A variant's graph as a version of its model."""

import asyncio
import shutil
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx

from headrace.engine.agreement import Reference, answer_reference, read_reference, write_reference
from headrace.engine.base import Output
from headrace.errors import HeadraceError, OutputInvalid
from headrace.export.card import write_card
from headrace.export.conversion import serving_engine
from headrace.export.gate import GateLimits, compare
from headrace.export.graph import write_graph
from headrace.models.folder import GRAPH, TOKENIZER, ModelFolder, describe_files, open_folder
from headrace.models.manifest import CARD, REFERENCE, Comparison, Manifest, make_manifest
from headrace.models.store import LocalStore, StoredModel

# The comparison decides, not the distance of single numbers, which the gate's report still tells.
_ANY: Final = GateLimits(min_cosine=-1.0, max_difference=1e30)


def make_version(folder: ModelFolder, graph: Path, store: LocalStore) -> ModelFolder:
    """Put a model with another graph into a store.

    What the graph itself answers becomes what its later answers are held against: a runtime or a machine that answers
    something else is still noticed. How far that is from the original, the gate's report says.

    Raises:
        OutputInvalid: The graph does not answer.
        StoreUnusable: The store cannot be written.
    """
    reference = read_reference(folder.reference)
    with store.draft() as draft:
        shutil.copyfile(folder.tokenizer, draft / TOKENIZER)
        described = write_graph(onnx.load(str(graph)), folder.manifest.task, draft / GRAPH)
        shutil.copyfile(folder.reference, draft / REFERENCE)
        describe = partial(_describe, folder.manifest, precision=described.precision, opset=described.opset)
        answers = asyncio.run(_ask(draft, describe({"files": describe_files(draft)}), reference))
        labels = [f"text {number}" for number in range(1, len(answers) + 1)]
        report = compare(labels, reference.arrays, answers, _ANY)
        write_reference(draft / REFERENCE, Reference(reference.texts, tuple(each.arrays for each in answers)))
        final = partial(describe, gate=report)
        (draft / CARD).write_text(write_card(final({"files": describe_files(draft)})), encoding="utf-8")
        return open_folder(store.publish(draft, final).path)


def publish_variant(folder: ModelFolder, comparison: Comparison, name: str, store: LocalStore) -> StoredModel:
    """Put a version that was made into the store of its model, beside the one that answers.

    Raises:
        StoreUnusable: The store cannot be written.
    """
    with store.draft() as draft:
        for file in folder.manifest.files:
            shutil.copyfile(folder.path / file, draft / file)
        chosen = comparison.model_copy(update={"chosen": name})
        return store.publish(draft, partial(_describe, folder.manifest, comparison=chosen), promote=False)


async def _ask(draft: Path, manifest: Manifest, reference: Reference) -> list[Output]:
    engine = serving_engine(draft, manifest)
    await engine.start()
    try:
        found = await answer_reference(engine, reference)
    finally:
        await engine.aclose()
    return [_require(each) for each in found]


def _require(answer: Output | HeadraceError) -> Output:
    if isinstance(answer, HeadraceError):
        raise answer
    if not all(np.isfinite(array).all() for array in answer.arrays.values()):
        raise OutputInvalid("the quantized graph gives numbers that are none")
    return answer


def _describe(manifest: Manifest, content: dict[str, object], **changes: Any) -> Manifest:
    """Return the manifest with other files and whatever else is changed."""
    fields = {name: getattr(manifest, name) for name in type(manifest).model_fields if name != "revision"}
    return make_manifest(**{**fields, **content, **changes})
