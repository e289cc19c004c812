import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.facts import Recorder
from tests.support.manifests import describe_model
from tests.support.models import add_model, build_tokenizer, write_files
from tests.support.services import PLAN

from headrace.engine.fake import FakeBackend, FakeTokenizer
from headrace.engine.loaded import LoadedEngine, load_engine
from headrace.engine.onnx import OnnxBackend
from headrace.engine.registry import LoadedModel, Registry
from headrace.engine.tokenizer import FastTokenizer
from headrace.errors import ModelCorrupt, ModelUnknown
from headrace.models.store import LocalStore
from headrace.observe.base import Observers
from headrace.settings import EngineSettings


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(ModelCorrupt, match="import the model again"):
        OnnxBackend(path, 1)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ModelCorrupt, match="import the model again"):
        FastTokenizer(path, 8)


def test_truncation_and_padding_in_the_file_do_not_matter(tmp_path: Path):
    write_files(tmp_path)
    plain = FastTokenizer(tmp_path / "tokenizer.json", 16).encode(["w1 w2"] * 2, "error")
    tokenizer = build_tokenizer()
    tokenizer.enable_truncation(max_length=3)
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert FastTokenizer(tmp_path / "tokenizer.json", 16).encode(["w1 w2"] * 2, "error") == plain


def test_without_a_name_the_first_model_that_does_the_task_is_chosen():
    engine = LoadedEngine("fake", FakeTokenizer, FakeBackend, EngineSettings(), Recorder())
    models = [
        LoadedModel(describe_model(name=name, task=task), engine, PLAN)
        for name, task in (("a", "embed"), ("b", "classify"), ("c", "classify"))
    ]
    registry = Registry(models)
    assert [registry.choose(None, "embed").name, registry.choose(None, "classify").name] == ["a", "b"]


async def test_a_registry_serves_several_models_and_the_first_by_default(tmp_path: Path):
    store = LocalStore(tmp_path)
    stored = [add_model(store, name, seed) for seed, name in enumerate(["one", "two"])]
    registry = Registry(
        [
            LoadedModel(s.manifest, load_engine(s.path, s.manifest, EngineSettings(threads=1), Recorder()), PLAN)
            for s in stored
        ]
    )
    assert not registry.is_ready
    await registry.start(Observers([]))
    assert registry.is_ready
    assert registry.choose(None, "embed").name == registry.choose(None, "classify").name == "one"
    assert registry.choose("two", "embed").name == registry.deployment("two").champion.name == "two"
    assert [model.name for model in registry] == ["one", "two"]
    with pytest.raises(ModelUnknown, match="'three'"):
        registry.deployment("three")
    await registry.aclose()
    assert not registry.is_ready


def test_the_runtime_keeps_nothing_for_its_maker(tmp_path: Path):
    """Without the opt-out ONNX Runtime 1.32 keeps a database of events in the user's cache folder."""
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    program = "import headrace.engine.onnx, os, time; time.sleep(0.5); print(os.environ['ORT_DISABLE_TELEMETRY'])"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert list(tmp_path.rglob("*")) == []


async def test_a_model_that_is_not_as_its_manifest_says_is_not_served(tmp_path: Path):
    write_files(tmp_path)
    manifest = describe_model(name="liar", dimensions=9)
    engine = load_engine(tmp_path, manifest, EngineSettings(threads=1), Recorder())
    registry = Registry([LoadedModel(manifest, engine, PLAN)])
    with pytest.raises(ModelCorrupt, match="its manifest promises"):
        await registry.start(Observers([]))
    assert not registry.is_ready
    await registry.aclose()
