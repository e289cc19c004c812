"""From a checkpoint folder to the files of a model: read, exported, compared with the original.

The common families need no PyTorch: their graph is written from the weights (``families``, ``builder``), and the
original it is compared with is computed by NumPy (``plain``). For any other, PyTorch loads the model and exports it.
"""

import asyncio
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from headrace.engine.agreement import Reference, write_reference
from headrace.engine.base import Engine
from headrace.engine.loaded import load_engine
from headrace.engine.vocabulary import HEAD, VocabularyHead, write_head
from headrace.errors import SourceUnsupported
from headrace.export.architecture import Encoder, MaskHead
from headrace.export.card import write_card
from headrace.export.families import is_known, read_encoder
from headrace.export.gate import GateLimits, run_gate
from headrace.export.heads import read_classifier, read_filler, read_span_finder, read_tagger
from headrace.export.needs import BUILDING, TRACING, require
from headrace.export.plain import PlainOriginal
from headrace.export.probes import Probe, make_masked, make_pairs, make_probes
from headrace.export.tensors import read_tensors
from headrace.export.tokenizer import write_tokenizer
from headrace.models.checkpoint import Checkpoint, read_checkpoint
from headrace.models.folder import GRAPH, TOKENIZER, describe_file, describe_files
from headrace.models.manifest import CARD, REFERENCE, GateReport, Lineage, Manifest, make_manifest
from headrace.models.sources.base import Progress, Source
from headrace.models.weights import WEIGHTS
from headrace.observe.base import Observers
from headrace.settings import EngineSettings
from headrace.types import PAIRED, Arrays, ModelTask, Text
from headrace.version import VERSION

if TYPE_CHECKING:
    import onnx

    from headrace.export.graph import Graph

_NOT_GATED: Final = GateReport(
    passed=False, texts=0, min_cosine_required=0, max_difference_allowed=0, outputs=(), worst_text=""
)

MakeEngine = Callable[[Path, Manifest], Engine]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be converted.

    Attributes:
        name: Of the model that is made.
        draft: An empty folder for its files.
        limits: What the accuracy gate asks for.
    """

    source: Source
    name: str
    draft: Path
    limits: GateLimits


def serving_engine(folder: Path, manifest: Manifest) -> Engine:
    """Return the engine that will serve the model, as it is set up by default."""
    return load_engine(folder, manifest, EngineSettings(), Observers(()))


def convert_here(order: Order, progress: Progress, make_engine: MakeEngine = serving_engine) -> Manifest:
    """Write the files of a model, all but its manifest, and return that; whether the gate was passed, it says.

    Args:
        order: What to convert.
        progress: Hears of the steps.
        make_engine: Loads the exported folder for the gate.

    Raises:
        ModelError: The checkpoint; each class says what to do.
        DependencyMissing: For families we do not know, the extra ``export`` is not installed.
    """
    source, draft = order.source, order.draft
    with progress.step("Checking the files"):
        checkpoint = read_checkpoint(source.folder)
    with progress.step("Loading the original model"):
        original = _load(checkpoint)
    with progress.step("Exporting to ONNX"):
        graph = _export(original, checkpoint.task, draft / GRAPH)
        original.write_beside(draft)
        write_tokenizer(checkpoint.folder, draft / TOKENIZER)
        describe = _describe(order.name, source, checkpoint, graph, original.tools)
    with progress.step("Comparing with the original"):
        probes = _make_probes(checkpoint)
        # Text by text: not even padding decides what it answers.
        reference = Reference(
            tuple(probe.text for probe in probes), tuple(original.answer(probe.text) for probe in probes)
        )
        write_reference(draft / REFERENCE, reference)
        engine = make_engine(draft, describe(files=describe_files(draft), gate=_NOT_GATED))
        report = asyncio.run(run_gate(reference, engine, [probe.label for probe in probes], order.limits))
        final = partial(describe, gate=report)
        (draft / CARD).write_text(write_card(final(files=describe_files(draft))), encoding="utf-8")
        return final(files=describe_files(draft))


def _make_probes(checkpoint: Checkpoint) -> Sequence[Probe[Any]]:
    if checkpoint.mask is not None:
        return make_masked(checkpoint.max_tokens, checkpoint.mask)
    return make_pairs(checkpoint.max_tokens) if checkpoint.task in PAIRED else make_probes(checkpoint.max_tokens)


@dataclass(frozen=True, slots=True)
class _Original:
    """A loaded checkpoint.

    Attributes:
        answer: Returns what it gives for one text.
        make_graph: Returns the graph that answers the same.
        tools: Packages that made it.
        write_beside: Writes into the folder of the graph what is no part of it.
    """

    answer: Callable[[Text], Arrays]
    make_graph: Callable[[], "onnx.ModelProto"]
    tools: tuple[str, ...]
    write_beside: Callable[[Path], None] = lambda _folder: None


def _load(checkpoint: Checkpoint) -> _Original:
    """Load a checkpoint: by NumPy if it is of a family we know, else by PyTorch, which takes seconds to load itself."""
    if checkpoint.weights != WEIGHTS:
        from headrace.export.shipped import ShippedOriginal  # noqa: PLC0415 - loads onnx and its runtime

        shipped = ShippedOriginal(checkpoint)
        return _Original(shipped.answer, shipped.adapt, BUILDING)
    if is_known(checkpoint.config):
        return _load_known(checkpoint)
    if checkpoint.task != "embed":
        raise SourceUnsupported(
            f"{checkpoint.architecture!r} has a head, and with one these families can be imported: BERT, RoBERTa,"
            " XLM-R, CamemBERT, ELECTRA, DistilBERT and MPNet",
            field="architectures",
        )
    require(TRACING, "export", checkpoint.architecture)
    from headrace.export.pytorch import TorchOriginal, load_encoder  # noqa: PLC0415 - as above
    from headrace.export.trace import trace_graph  # noqa: PLC0415 - as above

    encoder = load_encoder(checkpoint)
    return _Original(
        TorchOriginal(checkpoint, encoder).answer, partial(trace_graph, encoder, checkpoint.max_tokens), TRACING
    )


def _load_known(checkpoint: Checkpoint) -> _Original:
    from headrace.export.builder import (  # noqa: PLC0415 - loads onnx, 1 s
        build_classifier,
        build_filler,
        build_graph,
        build_tagger,
    )

    given = (checkpoint.config, read_tensors(checkpoint.folder / WEIGHTS), checkpoint.max_tokens)
    if checkpoint.task == "embed":
        known = read_encoder(*given)
        original, graph = PlainOriginal(checkpoint, known), partial(build_graph, known, checkpoint.pooling)
    elif checkpoint.task == "fill":
        encoder, head = read_filler(*given)
        filler = PlainOriginal(checkpoint, encoder, head)
        return _Original(
            filler.answer, partial(build_filler, encoder), BUILDING, partial(_write_head, encoder=encoder, head=head)
        )
    elif checkpoint.task in {"answer", "extract"}:
        is_tagger = checkpoint.task == "extract"
        tagger = read_tagger(*given, len(checkpoint.labels)) if is_tagger else read_span_finder(*given)
        original, graph = PlainOriginal(checkpoint, *tagger), partial(build_tagger, *tagger)
    else:
        reads_pairs = checkpoint.task in PAIRED
        classifier = read_classifier(*given, len(checkpoint.labels) or 1, reads_pairs=reads_pairs)
        original, graph = PlainOriginal(checkpoint, *classifier), partial(build_classifier, *classifier)
    return _Original(original.answer, graph, BUILDING)


def _write_head(folder: Path, encoder: Encoder, head: MaskHead) -> None:
    are_tied = head.words is encoder.words or np.array_equal(head.words, encoder.words)
    written = VocabularyHead(
        inner=head.inner.weight,
        inner_bias=head.inner.bias,
        activation=head.activation,
        scale=head.norm.scale,
        shift=head.norm.shift,
        epsilon=head.epsilon,
        words=head.words,
        bias=head.bias,
    )
    write_head(folder / HEAD, written, are_words_tied=are_tied)


def _export(original: _Original, task: ModelTask, target: Path) -> "Graph":
    from headrace.export.graph import write_graph  # noqa: PLC0415 - loads onnx

    return write_graph(original.make_graph(), task, target)


def _describe(
    name: str, source: Source, checkpoint: Checkpoint, graph: "Graph", tools: Sequence[str]
) -> Callable[..., Manifest]:
    """Return what makes the manifest, given the files and the gate's report."""
    lineage = Lineage(
        source=source.spec.label,
        source_revision=source.revision,
        weights_sha256=describe_file(checkpoint.folder / checkpoint.weights).sha256,
        architecture=checkpoint.architecture,
        license=checkpoint.license,
        created_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        tools={"headrace": VERSION} | {tool: importlib.metadata.version(tool) for tool in tools},
    )
    return partial(
        make_manifest,
        name=name,
        task=checkpoint.task,
        labels=checkpoint.labels,
        mask=checkpoint.mask,
        function=checkpoint.function,
        dimensions=graph.dimensions,
        max_tokens=checkpoint.max_tokens,
        pooling=checkpoint.pooling,
        normalize=checkpoint.normalize,
        prompts=dict(checkpoint.prompts),
        precision=graph.precision,
        opset=graph.opset,
        inputs=graph.inputs,
        outputs=graph.outputs,
        lineage=lineage,
    )
