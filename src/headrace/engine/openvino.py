"""OpenVINO on the CPU: fp32, and bfloat16 on processors that compute in it."""

import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import TYPES, Bell, Steps, TokenBatch, feeds_of, in_one_go
from headrace.engine.mapped import MappedFile
from headrace.engine.plan import Precision
from headrace.errors import EngineFailed, ModelCorrupt
from headrace.settings import instruct_libraries

instruct_libraries()  # before the import: it is read once
# The package imports its model converter, and that its telemetry: 0.16 s for what is not used here. A name that is
# ``None`` cannot be imported, which the package takes for a converter that is not installed.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]
import openvino  # noqa: E402 - see above

_ELEMENTS: Final[dict[Precision, str]] = {"fp32": "f32", "bf16": "bf16"}
_WEIGHT_BYTES: Final = 1 << 16  # smaller constants are not worth a search: all of a MiniLM's together have 0.2 MiB
_DROP_EVERY: Final = 1024
"""Runs between two times that the pages of the model file are given back.

The weights are read to be packed, in the first run; the table of words is read in every run, in the end all of it.
"""
_SHAPES_KEPT: Final = 8
"""Shapes of batches for which layers keep code; the default is 5,000, and each costs 1 MiB (decision 0008)."""


class OpenvinoBackend:
    """One compiled graph with one request.

    Args:
        path: The ``.onnx`` file, weights inside.
        threads: Threads of one inference.
        precision: What it computes in; the outputs are float32.

    Raises:
        ModelCorrupt: OpenVINO cannot load the graph.
    """

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        core = openvino.Core()
        try:
            model = core.read_model(str(path))
            self._rows = _table_rows(model)
            self._file = MappedFile(path)
            _map_weights(model, self._file)
            self._compiled = core.compile_model(model, "CPU", _settings(threads, precision))
        except RuntimeError as error:  # all that the library raises
            raise ModelCorrupt(f"OpenVINO cannot load {path}; import the model again") from error
        self._outputs = {output.get_any_name(): index for index, output in enumerate(self._compiled.outputs)}
        self._has_types = TYPES in {given.get_any_name() for given in self._compiled.inputs}
        self._request = self._compiled.create_infer_request()
        self._runs = 0

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; the first axis of each is the batch."""
        if int(batch.input_ids.max(initial=0)) >= self._rows:
            # It would be computed with zeros where ONNX Runtime fails: a wrong answer that looks like a right one.
            raise EngineFailed(f"the model has no token beyond {self._rows - 1}; import it again")
        feeds = feeds_of(batch, has_types=self._has_types)
        try:
            self._request.infer(feeds, share_inputs=True, share_outputs=True)
        except RuntimeError as error:  # as above
            raise EngineFailed("the model failed on this text") from error
        if self._runs % _DROP_EVERY == 0:
            self._file.drop()
        self._runs += 1
        # Copied: the request writes its next answer into the same memory.
        return {name: np.array(self._request.get_output_tensor(place).data) for name, place in self._outputs.items()}

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:  # noqa: ARG002 - as every backend
        """Compute a batch as ``run`` does, in one go."""
        return in_one_go(self.run, batch)

    def close(self) -> None:
        """Release the model."""
        del self._request, self._compiled, self._file


def _table_rows(model: openvino.Model) -> int:
    """Return how many tokens the graph has vectors for."""
    users = [target.get_node() for target in model.input("input_ids").get_target_inputs()]
    tables = [user.input(0).get_partial_shape() for user in users if user.get_type_name() == "Gather"]
    return min((shape[0].get_length() for shape in tables if shape[0].is_static), default=sys.maxsize)


def _map_weights(model: openvino.Model, file: MappedFile) -> None:
    """Replace large constants by views of the file they were read from.

    A compiled model keeps every constant as it was read, though it computes with what it packed for itself: 86 MiB of
    a MiniLM. What is not found in the file stays as it is.
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_byte_size() >= _WEIGHT_BYTES and _is_plain(node):
            view = file.find(node.data)
            if view is not None:
                node.output(0).replace(openvino.op.Constant(view, shared_memory=True).output(0))


def _is_plain(constant: openvino.Node) -> bool:
    """Whether NumPy has the constant's type; bfloat16 and packed integers would come back as something else."""
    return constant.get_element_type() in {openvino.Type.f32, openvino.Type.i8}


def _settings(threads: int, precision: Precision) -> dict[str, Any]:
    return {
        "INFERENCE_PRECISION_HINT": _ELEMENTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,  # a session is a backend of its own
        # Pinned, two sessions of one thread share the first core: 13,300 tokens/s instead of 26,900 on two cores.
        "ENABLE_CPU_PINNING": False,
        # Its own int8, of weights that a graph holds in int8, is a precision of its own and no default.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "CPU_RUNTIME_CACHE_CAPACITY": _SHAPES_KEPT,
    }
