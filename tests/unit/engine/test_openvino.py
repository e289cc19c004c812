import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.support.models import WORDS, build_graph

from headrace.engine.base import TokenBatch
from headrace.engine.mapped import MappedFile
from headrace.engine.onnx import OnnxBackend
from headrace.engine.openvino import _DROP_EVERY, OpenvinoBackend, _settings
from headrace.errors import EngineFailed, ModelCorrupt

ROWS = 4096  # of 32 bytes: twice as large as what is worth mapping


def write_graph(folder: Path, rows: int = ROWS) -> Path:
    path = folder / "model.onnx"
    onnx.save(build_graph(rows), path)
    return path


def batch(*rows: list[int]) -> TokenBatch:
    ids = np.array(rows, np.int64)
    return TokenBatch(input_ids=ids, attention_mask=np.ones_like(ids))


def mappings(path: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(path))


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ModelCorrupt, match="import the model again"):
        OpenvinoBackend(path, 1, "fp32")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process maps")
def test_weights_stay_in_the_file_until_the_backend_is_closed(tmp_path: Path):
    path = write_graph(tmp_path)
    backend = OpenvinoBackend(path, 1, "fp32")
    backend.run(batch([5, 6]))
    assert mappings(path) == 1
    backend.close()
    gc.collect()
    assert mappings(path) == 0


def test_every_large_constant_is_found_in_the_file_and_no_small_one_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = []
    find = MappedFile.find

    def note(file: MappedFile, array: np.ndarray) -> np.ndarray | None:
        found.append(find(file, array))
        return found[-1]

    monkeypatch.setattr(MappedFile, "find", note)
    OpenvinoBackend(write_graph(tmp_path), 1, "fp32").close()
    assert [view is not None and view.shape for view in found] == [(ROWS, 8)]


def test_answers_are_the_same_bit_for_bit_with_and_without_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_graph(tmp_path)
    texts = batch([5, 6, 7], [8, 4000, 10])
    mapped = OpenvinoBackend(path, 1, "fp32").run(texts)
    monkeypatch.setattr(MappedFile, "find", lambda *_: None)
    copied = OpenvinoBackend(path, 1, "fp32").run(texts)
    assert {name: array.tobytes() for name, array in mapped.items()} == {
        name: array.tobytes() for name, array in copied.items()
    }


def test_answers_stay_the_same_when_pages_are_given_back(tmp_path: Path):
    backend = OpenvinoBackend(write_graph(tmp_path), 1, "fp32")
    first = backend.run(batch([5, 4000]))["embedding"]
    for _ in range(_DROP_EVERY):
        again = backend.run(batch([5, 4000]))["embedding"]
        assert np.array_equal(again, first)


def test_the_pages_are_given_back_after_the_first_run_and_then_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drops: list[int] = []
    backend = OpenvinoBackend(write_graph(tmp_path), 1, "fp32")
    monkeypatch.setattr(MappedFile, "drop", lambda _: drops.append(backend._runs))
    for _ in range(2 * _DROP_EVERY):
        backend.run(batch([5]))
    assert drops == [0, _DROP_EVERY]


def test_a_model_that_is_removed_while_it_is_served_goes_on_answering(tmp_path: Path):
    path = write_graph(tmp_path)
    backend = OpenvinoBackend(path, 1, "fp32")
    first = backend.run(batch([5, 6]))["embedding"]
    path.unlink()
    assert np.array_equal(backend.run(batch([5, 6]))["embedding"], first)


def test_layers_keep_code_for_few_shapes():
    """OpenVINO's default of 5,000 shapes costs 1 MiB each; it tells nobody what it was set to."""
    assert _settings(1, "fp32")["CPU_RUNTIME_CACHE_CAPACITY"] <= 32


def test_a_token_beyond_the_table_is_refused(tmp_path: Path):
    backend = OpenvinoBackend(write_graph(tmp_path, len(WORDS) - 1), 1, "fp32")
    with pytest.raises(EngineFailed, match="no token beyond"):
        backend.run(batch([len(WORDS) - 1]))


def test_what_the_runtime_raises_is_an_error_of_ours(tmp_path: Path):
    backend = OpenvinoBackend(write_graph(tmp_path), 1, "fp32")
    ids = np.ones((2, 3, 4), np.int64)
    with pytest.raises(EngineFailed, match="failed on this text"):
        backend.run(TokenBatch(input_ids=ids, attention_mask=ids))


def test_both_runtimes_agree(tmp_path: Path):
    path = write_graph(tmp_path)
    texts = batch([5, 6, 7], [8, 4000, 10])
    ours, theirs = OpenvinoBackend(path, 1, "fp32").run(texts), OnnxBackend(path, 1).run(texts)
    assert ours.keys() == theirs.keys()
    assert all(np.allclose(ours[name], theirs[name], atol=1e-6) for name in ours)


def test_onednn_is_told_to_keep_few_kernels():
    program = "import headrace.engine.openvino, os; print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "64\n"
