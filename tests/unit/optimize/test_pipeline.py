from pathlib import Path
from typing import get_args

import pytest
from tests.unit.optimize.conftest import NAME, TEXTS, Silent

from headrace.engine.plan import installed_runtimes, precisions
from headrace.errors import DataInvalid, SourceUnsupported
from headrace.library import Model
from headrace.machine import read_machine
from headrace.models.folder import ModelFolder
from headrace.models.manifest import VariantReport
from headrace.models.store import LocalStore
from headrace.optimize import pipeline
from headrace.optimize.pipeline import Optimized, OptimizeRequest, optimize_model
from headrace.optimize.variants import EXACT, Method, list_variants

BLOCKS, DYNAMIC, STATIC = (f"onnxruntime {method}" for method in get_args(Method))

pytestmark = pytest.mark.usefixtures("folder")


def optimize(store: LocalStore, home: Path, **changes: object) -> Optimized:
    request = OptimizeRequest(**{"name": NAME, "home": home, "rounds": 1, **changes})  # type: ignore[arg-type]
    return optimize_model(request, store, Silent())


@pytest.fixture
def _has_only_made_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the precisions of runtimes, each of which starts a process."""
    made = [each for each in list_variants(read_machine()) if each == EXACT or each.method]
    monkeypatch.setattr(pipeline, "list_variants", lambda _: made)


def report(found: Optimized, name: str) -> VariantReport:
    return next(each for each in found.comparison.variants if each.name == name)


def test_every_precision_is_measured_and_what_loses_is_not_stored(store: LocalStore, home: Path, folder: ModelFolder):
    found = optimize(store, home, least_agreement=0.999)
    machine = read_machine()
    expected = {f"{name} {each}" for name in installed_runtimes() for each in precisions(name, machine)}
    assert {each.name for each in found.comparison.variants} == expected | {BLOCKS, DYNAMIC, STATIC}
    assert found.comparison.variants[0].name == "onnxruntime fp32"
    assert report(found, "openvino fp32").passed
    assert "depends on the texts beside it" in report(found, DYNAMIC).verdict
    assert report(found, STATIC).verdict.startswith("refused: least cosine is 0.")
    assert report(found, STATIC).size_bytes < report(found, "onnxruntime fp32").size_bytes
    assert report(found, BLOCKS).size_bytes < report(found, "onnxruntime fp32").size_bytes
    assert set(found.stored) == {BLOCKS}
    revisions = {folder.manifest.revision, found.stored[BLOCKS].manifest.revision}
    assert {each.manifest.revision for each in store.versions(NAME)} == revisions
    assert report(found, STATIC).verdict.replace("'", "&#x27;") in found.page.read_text()
    assert [path.name for path in home.iterdir()] in (["models", "reports"], ["reports", "models"])


@pytest.mark.usefixtures("_has_only_made_ones")
def test_a_graph_that_passes_is_a_version_that_waits_to_be_promoted(store: LocalStore, home: Path, folder: ModelFolder):
    found = optimize(store, home, least_agreement=-1.0)
    # Answers that depend on their neighbours are none, however little is asked.
    assert set(found.stored) == {BLOCKS, STATIC}
    made = found.stored[BLOCKS]
    assert not made.is_current
    assert store.find(NAME).manifest.revision == folder.manifest.revision
    about = store.open(NAME, made.manifest.revision).manifest
    assert about.precision == "quantized"
    assert about.comparison is not None
    assert (about.comparison.chosen, about.comparison.of_revision) == (BLOCKS, folder.manifest.revision)
    assert about.gate.outputs[0].min_cosine == pytest.approx(report(found, BLOCKS).agreement, abs=0.01)
    store.promote(NAME, made.manifest.revision)
    with Model(NAME, {"store.home": str(home), "engine.tune": False}) as served:
        vectors = served.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 64)
    with pytest.raises(SourceUnsupported, match="is in quantized already"):
        optimize(store, home)


@pytest.mark.usefixtures("_has_only_made_ones")
def test_with_known_answers_the_figure_of_the_task_decides(store: LocalStore, home: Path, tmp_path: Path):
    data = tmp_path / "pairs.csv"
    data.write_text("question,answer\n" + "".join(f"{text},{text}\n" for text in TEXTS))
    found = optimize(store, home, data=data)
    assert found.comparison.metric == "recall@1"
    assert report(found, "onnxruntime fp32").score == 1.0  # each text is nearest to itself
    assert report(found, STATIC).passed  # in any precision
    assert report(found, STATIC).score == 1.0


def test_data_that_cannot_be_read_leave_everything_as_it_was(store: LocalStore, home: Path, tmp_path: Path):
    data = tmp_path / "pairs.csv"
    data.write_text("question,answer\na,b,c\n")
    with pytest.raises(DataInvalid, match="line 2"):
        optimize(store, home, data=data)
    assert [path.name for path in home.iterdir()] == ["models"]
