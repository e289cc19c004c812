"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headrace.engine.base import TYPES, Bell, Steps, TokenBatch, feeds_of, in_one_go
from headrace.errors import EngineFailed, ModelCorrupt
from headrace.settings import instruct_libraries

instruct_libraries()
import onnxruntime  # noqa: E402 - it reads the environment when it is imported

_SEVERITY_FATAL: Final = 4  # an error is an exception too, and standard error is for our own lines


class OnnxBackend:
    """One session on one graph.

    Args:
        path: The ``.onnx`` file, weights inside.
        threads: Threads of one inference.

    Raises:
        ModelCorrupt: ONNX Runtime cannot load the graph.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                path, _session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors share no base but Exception
            raise ModelCorrupt(f"ONNX Runtime cannot load {path}; import the model again") from error
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._has_types = TYPES in {given.name for given in self._session.get_inputs()}

    def run(self, batch: TokenBatch) -> dict[str, NDArray[Any]]:
        """Return the outputs by name; the first axis of each is the batch."""
        feeds = feeds_of(batch, has_types=self._has_types)
        try:
            arrays = self._session.run(self._outputs, feeds)
        except Exception as error:  # as above
            raise EngineFailed("the model failed on this text") from error
        return {name: np.asarray(array) for name, array in zip(self._outputs, arrays, strict=True)}

    def steps(self, batch: TokenBatch, bell: Bell) -> Steps:  # noqa: ARG002 - as every backend
        """Compute a batch as ``run`` does, in one go."""
        return in_one_go(self.run, batch)

    def close(self) -> None:
        """Release the model."""
        del self._session


def _session_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1  # encoder graphs are chains: there is nothing to run side by side
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # The arena keeps the largest shape it ever saw and grows with each new one (onnxruntime#9313).
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _SEVERITY_FATAL
    return options
