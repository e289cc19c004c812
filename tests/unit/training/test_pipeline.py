import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from tests.support.headed import NAME, ask
from tests.unit.training.conftest import Watching, mill_rows, write_rows

from headrace.errors import (
    DataInvalid,
    DataUnfit,
    SettingInvalid,
    SourceMissing,
    SourceUnsupported,
    TrainingStopped,
    TrainingUnfinished,
)
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.models.sources.base import SourceSpec
from headrace.models.store import LocalStore
from headrace.training.data import DataFiles
from headrace.training.pipeline import TrainRequest, find_base, train_model

NUMBERS = {"epochs": 6, "rows": 8, "learning_rate": 3e-3, "holdout": 0.2, "precision": "fp32"}


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "home/models")


@pytest.fixture
def request_(tmp_path: Path, base_folder: Path) -> TrainRequest:
    data = write_rows(tmp_path / "mills.jsonl", mill_rows())
    files = DataFiles(train=data, measure=None, columns={})
    return TrainRequest(recipe="classify", files=files, base=str(base_folder), name=NAME, numbers=NUMBERS)


def place(store: LocalStore) -> Path:
    return store.root.parent / "training"


def test_what_was_trained_serves(store: LocalStore, request_: TrainRequest):
    watching = Watching()
    trained = train_model(request_, store, watching)
    assert trained.metrics["accuracy"] == 1.0
    assert trained.stored.manifest.task == "classify"
    assert trained.stored.manifest.labels == ("dry", "wet")
    answer = asyncio.run(ask(store.root.parent, ("a water", "a wheel"), "classify"))
    assert [result.labels[0].name for result in answer.results] == ["wet", "dry"]  # type: ignore[attr-defined]
    assert watching.said[0] == "mills.jsonl: 60 rows; text is 'text', label is 'label'"
    assert "48 examples to learn from, 12 to measure with" in watching.said


def test_the_folder_tells_how_it_came_about(store: LocalStore, request_: TrainRequest):
    trained = train_model(request_, store, Watching())
    assert sorted(each.name for each in trained.folder.iterdir()) == [
        *("README.md", "config.json", "confusion.png", "learning.png", "model.safetensors", "report.json"),
        *("tokenizer.json", "tokenizer_config.json"),
    ]
    report = json.loads((trained.folder / "report.json").read_text(encoding="utf-8"))
    assert report["metrics"] == trained.metrics
    assert report["training"]["learning_rate"] == 3e-3
    assert report["confusion"] == [[6, 0], [0, 6]]
    assert len(report["measured"]) == 6
    card = (trained.folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: mit\nbase_model: ")
    assert "accuracy 1.0000" in card
    assert trained.stored.manifest.lineage.license == "mit"
    assert (trained.folder / "learning.png").read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in trained.folder.parent.iterdir()] == ["model"]


def test_a_second_training_takes_the_place_of_the_first(store: LocalStore, request_: TrainRequest):
    first = train_model(request_, store, Watching())
    second = train_model(dataclasses.replace(request_, numbers={**NUMBERS, "seed": 1}), store, Watching())
    assert store.find(NAME).manifest.revision == second.stored.manifest.revision != first.stored.manifest.revision


def test_what_was_trained_can_be_trained_on(store: LocalStore, request_: TrainRequest):
    train_model(request_, store, Watching())
    watching = Watching()
    again = dataclasses.replace(request_, base=NAME, name="more", numbers={**NUMBERS, "epochs": 1})
    assert train_model(again, store, watching).metrics["accuracy"] > 0.8


def test_a_model_is_not_trained_from_itself(store: LocalStore, request_: TrainRequest):
    train_model(request_, store, Watching())
    with pytest.raises(SettingInvalid, match="take another --name"):
        train_model(dataclasses.replace(request_, base=NAME), store, Watching())


def test_an_interrupted_training_leaves_the_store_as_it_was(store: LocalStore, request_: TrainRequest):
    with pytest.raises(TrainingStopped):
        train_model(request_, store, Watching(stop_after=7))
    assert not store.list_models()
    with pytest.raises(TrainingUnfinished):
        train_model(request_, store, Watching())
    whole = train_model(dataclasses.replace(request_, name="whole"), store, Watching())
    resumed = train_model(dataclasses.replace(request_, resume=True), store, Watching())
    assert resumed.stored.manifest.revision == whole.stored.manifest.revision


def test_bad_data_touches_nothing(store: LocalStore, request_: TrainRequest):
    with request_.files.train.open("a", encoding="utf-8") as file:
        file.write("{broken\n")
    with pytest.raises(DataInvalid, match="line 61"):
        train_model(request_, store, Watching())
    assert not store.root.exists()
    assert not place(store).exists()


@pytest.mark.parametrize("recipe", ["classify", "regress"])
def test_too_little_data_is_refused(store: LocalStore, request_: TrainRequest, recipe: str):
    write_rows(request_.files.train, [{"text": "a", "label": 1}, {"text": "b", "label": 2}])
    with pytest.raises(DataUnfit, match="too few"):
        train_model(dataclasses.replace(request_, recipe=recipe), store, Watching())  # type: ignore[arg-type]


def test_a_base_that_is_not_there_is_told(store: LocalStore, request_: TrainRequest, tmp_path: Path):
    with pytest.raises(SourceMissing):
        train_model(dataclasses.replace(request_, base=str(tmp_path / "gone")), store, Watching())
    assert not place(store).exists()


def test_a_base_that_could_not_be_imported_is_refused(
    store: LocalStore, request_: TrainRequest, base_folder: Path, tmp_path: Path
):
    folder = tmp_path / "relative"
    folder.mkdir()
    for each in base_folder.iterdir():
        if each.is_file():
            (folder / each.name).write_bytes(each.read_bytes())
    (folder / "modules.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "position_embedding_type": "relative_key"}))
    with pytest.raises(SourceUnsupported, match="so none is trained"):
        train_model(dataclasses.replace(request_, base=str(folder)), store, Watching())


def test_a_number_that_a_recipe_has_not_is_refused(store: LocalStore, request_: TrainRequest):
    asked = dataclasses.replace(request_, recipe="regress", numbers={"multi_label": True})
    with pytest.raises(SettingInvalid, match="the recipe 'regress' has no --multi-label"):
        train_model(asked, store, Watching())


def test_a_model_of_the_store_is_a_base(store: LocalStore, request_: TrainRequest, base_folder: Path):
    import_model(ImportRequest(source=str(base_folder), name="water"), store, Watching(), convert_here)
    spec = find_base(dataclasses.replace(request_, base="water"), store)
    assert spec == SourceSpec(kind="folder", name=str(base_folder.resolve()))
    assert find_base(dataclasses.replace(request_, base="other"), store) == SourceSpec(kind="hub", name="other")
