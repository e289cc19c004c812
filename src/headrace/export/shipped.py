"""A checkpoint that carries an ONNX graph and no other weights: imported as it is, with what serving adds.

The graph is somebody else's, so only operators that compute are let in, and only such whose answer to a text does not
depend on the texts beside it. What it takes and gives gets the names and types that serving relies on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from headrace.engine.base import PER_TOKEN, TYPES
from headrace.errors import SourceInvalid, SourceUnsafe, SourceUnsupported
from headrace.export.architecture import MIN_NORM
from headrace.export.graph import INPUTS, OUTPUTS
from headrace.export.plain import load_tokenizer, pool, scale
from headrace.models.checkpoint import CONFIG, Checkpoint
from headrace.models.files import require_plain
from headrace.models.weights import GRAPH_DATA, WEIGHTS
from headrace.types import PAIRED, Arrays, ModelTask, Text

_MAX_BYTES: Final = (2 << 30) - 1  # protobuf's limit, of a graph with its weights
_INTEGERS: Final[Mapping[int, type[np.signedinteger[Any]]]] = {TensorProto.INT64: np.int64, TensorProto.INT32: np.int32}
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
_SEVERITY_FATAL: Final = 4
_IR_VERSION: Final = 4  # the first in which weights need not be inputs
_OWN: Final = "headrace/adapter/"
"""What the names begin with that are added here."""

# What encoders are made of. No control flow, which may not end; no randomness; nothing that keeps a state.
_STANDARD: Final = """
    Abs Add And ArgMax Cast CastLike Ceil Clip Concat Constant ConstantOfShape Cos CumSum DequantizeLinear Div Dropout
    Einsum Equal Erf Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Gemm Greater GreaterOrEqual Identity
    IsNaN LayerNormalization Less LessOrEqual Log LogSoftmax MatMul MatMulInteger Max Mean Min Mod Mul Neg Not OneHot Or
    Pad Pow QLinearMatMul QuantizeLinear Range Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    Relu Reshape Round ScatterElements ScatterND Shape Sigmoid Sign SimplifiedLayerNormalization Sin Size Slice Softmax
    Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
"""
_MICROSOFT: Final = """
    Attention BiasGelu EmbedLayerNormalization FastGelu FusedMatMul GatherBlockQuantized Gelu MatMulNBits
    MultiHeadAttention QuickGelu SkipLayerNormalization
"""
_OPERATORS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(_STANDARD.split()),
    "com.microsoft": frozenset(_MICROSOFT.split()),
}
# They choose one scale for a whole batch.
_SHARED_SCALES: Final = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "QAttention"})

# What a graph may call the output that a task needs, and how many axes that has.
_OUTPUTS: Final[Mapping[ModelTask, Mapping[str, int]]] = {
    "classify": {"logits": 2},
    "embed": {"sentence_embedding": 2, "last_hidden_state": 3, "token_embeddings": 3},
    "extract": {"logits": 3},
    "regress": {"logits": 2},
    "rerank": {"logits": 2},
    "zeroshot": {"logits": 2},
}


@dataclass(frozen=True, slots=True)
class _Output:
    """The output that a task needs.

    Attributes:
        axes: 2 if there is a row for each text, 3 if there is one for each token.
        width: Length of a row.
    """

    name: str
    kind: int
    axes: int
    width: int


class ShippedOriginal:
    """Answers texts as the shipped graph does, one at a time.

    Args:
        checkpoint: Its ``weights`` are the graph.

    Raises:
        SourceInvalid: It is no graph, or its weights are not all there.
        SourceUnsafe: It reads files elsewhere.
        SourceUnsupported: It takes, gives or does what is not served here.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._model = _read(checkpoint.folder, checkpoint.weights)
        _check_operators(self._model)
        weights = {tensor.name for tensor in self._model.graph.initializer}  # inputs too in old files
        given = [value for value in self._model.graph.input if value.name not in weights]
        self._inputs = {value.name: _integer_type(value) for value in given}
        _check_inputs(self._inputs)
        self._output = _choose_output(self._model, checkpoint)
        self._tokenize = load_tokenizer(checkpoint)
        self._run = _load(self._model, self._output.name)

    def answer(self, text: Text) -> Arrays:
        """Return what the task's graph gives for a text, the batch axis taken away."""
        ids, types = (row[None] for row in self._tokenize(text))
        values = {"input_ids": ids, "attention_mask": np.ones_like(ids), TYPES: types}
        feeds = {name: values[name].astype(_INTEGERS[kind]) for name, kind in self._inputs.items()}
        found = np.asarray(self._run(feeds), dtype=np.float32)
        if self._checkpoint.task != "embed":
            return {OUTPUTS[self._checkpoint.task][0]: found}
        return scale(pool(found, self._checkpoint.pooling) if self._output.axes == 3 else found)  # noqa: PLR2004 - (s, h)

    def adapt(self) -> onnx.ModelProto:
        """Return the graph with the inputs and outputs of serving."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        model.ir_version = max(model.ir_version, _IR_VERSION)
        graph = model.graph
        del graph.value_info[:], graph.input[:], graph.output[:], model.metadata_props[:]
        adapter = _Adapter(graph, self._inputs, self._output, reads_pairs=self._checkpoint.task in PAIRED)
        adapter.take_inputs()
        if self._checkpoint.task == "embed":
            adapter.give_embedding(self._checkpoint.pooling)
        else:
            adapter.give_scores(OUTPUTS[self._checkpoint.task][0])
        return model


class _Adapter:
    """Changes what a graph takes and gives.

    All that is added are operators that have been the same since opset 11: a shipped graph keeps the one it was made
    with, in which an axis may be an attribute or an input.
    """

    def __init__(
        self, graph: onnx.GraphProto, inputs: Mapping[str, int], output: _Output, *, reads_pairs: bool
    ) -> None:
        self._graph = graph
        self._reads_pairs = reads_pairs
        self._inputs = inputs
        self._output = output
        self._count = 0

    def take_inputs(self) -> None:
        """Take ids and mask as int64, in a rectangle of any size; types only of two texts."""
        first: list[onnx.NodeProto] = []
        renamed: dict[str, str] = {}
        for name, kind in self._inputs.items():
            source = name
            if name == TYPES and not self._reads_pairs:  # of texts alone: zeros
                source = f"{_OWN}zeros"
                first.append(helper.make_node("Sub", ["input_ids", "input_ids"], [source]))
                renamed[name] = source
            if kind != TensorProto.INT64:
                renamed[name] = f"{_OWN}{name}"
                first.append(helper.make_node("Cast", [source], [renamed[name]], to=kind))
        for node in self._graph.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        nodes = [*first, *self._graph.node]
        del self._graph.node[:]
        self._graph.node.extend(nodes)
        keeps_types = self._reads_pairs and TYPES in self._inputs
        for name in (*INPUTS, TYPES) if keeps_types else INPUTS:
            self._graph.input.append(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]))

    def give_scores(self, name: str) -> None:
        """Give the task's output as float32."""
        rows = ["batch", "length"] if name.startswith(PER_TOKEN) else ["batch"]
        if self._output.name != name or self._output.kind != TensorProto.FLOAT:
            self._rename(name)  # the shipped one may have this name and another type
            self._node("Cast", [self._output.name], name, to=TensorProto.FLOAT)
        self._give(name, [*rows, self._output.width])

    def give_embedding(self, pooling: str) -> None:
        """Give a vector of length 1 for each text, and the length it had."""
        self._rename("embedding")
        self._rename("norm")
        pooled = self._node("Cast", [self._output.name], to=TensorProto.FLOAT)
        if self._output.axes == 3:  # noqa: PLR2004 - (n, s, h)
            pooled = self._pool(pooled, pooling)
        ones = self._constant(np.ones((self._output.width, 1), np.float32))
        squares = self._node("MatMul", [self._node("Mul", [pooled, pooled]), ones])  # (n, 1)
        length = self._node("Sqrt", [squares])
        safe = self._node("Max", [length, self._constant(np.float32(MIN_NORM))])
        self._node("Div", [pooled, safe], "embedding")
        self._node("Reshape", [length, self._constant(np.array([-1]))], "norm")
        self._give("embedding", ["batch", self._output.width])
        self._give("norm", ["batch"])

    def _pool(self, states: str, pooling: str) -> str:
        """Return one vector for each text, shape ``(n, h)``."""
        if pooling == "cls":
            return self._node("Gather", [states, self._constant(np.int64(0))], axis=1)
        if pooling != "mean":
            raise SourceUnsupported(
                f"a shipped graph cannot be pooled by {pooling}; mean and cls can", field="pooling_mode"
            )
        mask = self._node("Cast", ["attention_mask"], to=TensorProto.FLOAT)  # (n, s)
        row = self._node("Reshape", [mask, self._constant(np.array([0, 1, -1]))])  # (n, 1, s)
        column = self._node("Reshape", [mask, self._constant(np.array([0, -1, 1]))])  # (n, s, 1)
        flat = self._constant(np.array([0, -1]))
        total = self._node("Reshape", [self._node("MatMul", [row, states]), flat])
        count = self._node("Reshape", [self._node("MatMul", [row, column]), flat])
        return self._node("Div", [total, count])

    def _rename(self, name: str) -> None:
        """Give another name to a value of the graph that has one we need."""
        for node in self._graph.node:
            node.input[:] = [f"{_OWN}was.{name}" if each == name else each for each in node.input]
            node.output[:] = [f"{_OWN}was.{name}" if each == name else each for each in node.output]
        if self._output.name == name:
            self._output = replace(self._output, name=f"{_OWN}was.{name}")

    def _constant(self, value: Any) -> str:
        name = self._next()
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str | None = None, **attributes: Any) -> str:
        output = output or self._next()
        self._graph.node.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _next(self) -> str:
        self._count += 1
        return f"{_OWN}{self._count}"

    def _give(self, name: str, shape: list[str | int]) -> None:
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _read(folder: Path, name: str) -> onnx.ModelProto:
    """Read a graph with its weights, also those in the file beside it.

    Raises:
        SourceInvalid: It is no graph, or its weights are not all there.
        SourceUnsafe: It names a file elsewhere.
        SourceUnsupported: It is too large.
    """
    path = folder / name
    data = [folder / f"{name}{end}" for end in GRAPH_DATA]
    if path.stat().st_size + sum(each.stat().st_size for each in data if each.exists()) > _MAX_BYTES:
        raise SourceUnsupported(f"{name} has more than {_MAX_BYTES} bytes with its weights; one file holds no more")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own, whose home is not here
        raise SourceInvalid(f"{name} is no ONNX graph; download it again", field=name) from error
    if (
        model.functions
        or model.graph.sparse_initializer
        or any(each.domain not in _OPERATORS for each in model.opset_import)
    ):
        raise SourceUnsupported(f"{name} has operators or tensors of a kind that is not read here", field=name)
    _check_data(model, folder, name)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (ValueError, OSError, onnx.checker.ValidationError) as error:
        raise SourceInvalid(f"the weights of {name} are cut off or changed; download them again", field=name) from error
    return model


def _check_data(model: onnx.ModelProto, folder: Path, name: str) -> None:
    """Let a graph take weights from the file beside it, and from no other."""
    allowed = [f"{PurePosixPath(name).name}{end}" for end in GRAPH_DATA]
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        if location not in allowed:
            raise SourceUnsafe(
                f"{name} takes the weights {tensor.name[:80]!r} from {location[:80]!r}; they may lie beside it in"
                f" {' or '.join(allowed)}",
                field=name,
            )
        if require_plain(folder, str(PurePosixPath(name).parent / location)) is None:
            raise SourceInvalid(f"{location!r} is missing, which holds the weights of {name}", field=location)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)


def _check_operators(model: onnx.ModelProto) -> None:
    """Refuse a graph that does more than compute.

    Raises:
        SourceUnsupported: It has an operator that is not let in.
    """
    for node in model.graph.node:
        if node.op_type in _SHARED_SCALES:
            raise SourceUnsupported(
                f"the graph has the operator {node.op_type}, with which an answer depends on the texts beside it; use a"
                " graph in float32, or one of which only the weights are quantized",
                field=node.op_type,
            )
        has_graph = any(each.HasField("g") or each.graphs for each in node.attribute)
        if has_graph or node.op_type not in _OPERATORS.get(node.domain, ()):
            name = f"{node.domain}.{node.op_type}".lstrip(".")
            raise SourceUnsupported(f"the graph has the operator {name}, which no encoder needs", field=name)


def _integer_type(value: onnx.ValueInfoProto) -> int:
    kind = value.type.tensor_type.elem_type
    if kind not in _INTEGERS:
        raise SourceUnsupported(f"the graph takes {value.name!r} as no integers", field=value.name)
    return int(kind)


def _check_inputs(inputs: Mapping[str, int]) -> None:
    unknown = inputs.keys() - {*INPUTS, TYPES}
    missing = set(INPUTS) - inputs.keys()
    if unknown or missing:
        raise SourceUnsupported(
            f"the graph takes {', '.join(sorted(inputs))}; it needs {' and '.join(INPUTS)}, and may take {TYPES}",
            field=min(unknown or missing),
        )


def _choose_output(model: onnx.ModelProto, checkpoint: Checkpoint) -> _Output:
    """Return the output that the checkpoint's task needs.

    Raises:
        SourceInvalid: It gives other scores than config.json has labels for.
        SourceUnsupported: There is none.
    """
    task, labels = checkpoint.task, len(checkpoint.labels)
    if task not in _OUTPUTS:
        raise SourceUnsupported(
            f"a shipped graph cannot be imported to {task}; import a checkpoint with {WEIGHTS}", field="architectures"
        )
    found = {value.name: value for value in model.graph.output}
    for name, axes in _OUTPUTS[task].items():
        if name not in found:
            continue
        tensor = found[name].type.tensor_type
        width = tensor.shape.dim[-1].dim_value if len(tensor.shape.dim) == axes else 0
        if width == 0 or tensor.elem_type not in _FLOATS:
            continue
        if labels not in {0, width}:
            raise SourceInvalid(
                f"the graph's {name!r} has {width} numbers and {CONFIG} names {labels} labels; they do not belong"
                " together",
                field="id2label",
            )
        return _Output(name, tensor.elem_type, axes, width)
    wanted = " or ".join(f"{name} of {axes} axes" for name, axes in _OUTPUTS[task].items())
    raise SourceUnsupported(
        f"the graph gives {', '.join(found)}; to {task}, it needs {wanted}, of floats and with a last axis of known"
        " length",
        field=next(iter(found), "outputs"),
    )


def _load(model: onnx.ModelProto, output: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return what runs a graph as it is, for one text; the batch axis is taken away."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SEVERITY_FATAL
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base but Exception
        raise SourceInvalid("ONNX Runtime cannot load the graph; download it again") from error

    def run(feeds: Mapping[str, Any]) -> Any:
        try:
            return session.run([output], dict(feeds))[0][0]
        except Exception as error:  # as above
            raise SourceInvalid(
                "the graph fails on a text; its tokenizer may be that of another model", field="tokenizer.json"
            ) from error

    return run
