import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.support.doors import KEY
from tests.support.headed import write_headed
from tests.support.models import add_model
from tests.support.server import RunningServer, running_server
from tests.support.tiny_tokenizers import TRAIN
from tests.support.toolchains import ToolMissing, build
from tests.unit.export.conftest import Silent

from headrace.auth.signing import make_key_file
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.models.store import LocalStore

TEXTS = ("w1 w2", "w3", "w4 w5 w6 w7", "the water wheel")
LONG = "w1 " * 500  # is over the models' windows
QUERY = "the wheel"
TOPICS = ("water", "grinding corn")
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("embed", {"inputs": TEXTS}),
    "judge": ("classify", {"inputs": TEXTS}),
    "ranker": ("rerank", {"inputs": TEXTS, "query": QUERY}),
    "tagger": ("extract", {"inputs": TEXTS}),
    "oracle": ("answer", {"inputs": TEXTS, "query": QUERY, "options": {"top_k": 2}}),
    "logic": ("zeroshot", {"inputs": TEXTS, "labels": TOPICS}),
}
HEADS: dict[str, tuple[type[transformers.PreTrainedModel], tuple[str, ...], dict[str, Any]]] = {
    "judge": (transformers.BertForSequenceClassification, ("mill", "river"), {}),
    "ranker": (transformers.BertForSequenceClassification, ("LABEL_0",), {}),
    "tagger": (transformers.BertForTokenClassification, ("O", "B-MILL", "I-MILL"), {}),
    "oracle": (transformers.BertForQuestionAnswering, ("LABEL_0", "LABEL_1"), {"initializer_range": 0.5}),
    "logic": (
        transformers.BertForSequenceClassification,
        ("entailment", "neutral", "contradiction"),
        {"label2id": {"entailment": 0, "neutral": 1, "contradiction": 2}},
    ),
}


@pytest.fixture(scope="session")
def built() -> Callable[[str], tuple[str, ...]]:
    """Return the command of a program of another language; a test is skipped where its language is not installed."""

    def command(program: str) -> tuple[str, ...]:
        try:
            return build(Path(__file__).with_name("programs") / program)
        except ToolMissing as missing:
            pytest.skip(str(missing))

    return command


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a key, a model for each task that clients ask for, and what it signs tokens with."""
    home = tmp_path_factory.mktemp("home")
    store = LocalStore(home / "models")
    add_model(store, "tiny", seed=0)
    for name, (head, labels, config) in HEADS.items():
        tokenizer = TRAIN["wordpiece"]()
        folder = tmp_path_factory.mktemp(name)
        checkpoint = write_headed(folder, head, dict(enumerate(labels)), tokenizer=tokenizer, seed=1, **config)
        import_model(ImportRequest(source=str(checkpoint), name=name), store, Silent(), convert_here)
    make_key_file(home / "signing.pem", "ES256")
    set_up = {
        "HEADRACE_AUTH__KEYS": KEY,
        "HEADRACE_AUTH__SIGNING_KEYS": str(home / "signing.pem"),
        "HEADRACE_SERVER__GRPC_PORT": "0",
    }
    with running_server(home, *BODIES, **set_up) as running:
        yield running


@pytest.fixture(scope="session")
def open_grpc(server: RunningServer) -> Iterator[dict[str, str]]:
    """Where servers without keys answer calls, each for one model."""
    with contextlib.ExitStack() as stack:
        homes = server.log.parent
        yield {
            model: stack.enter_context(running_server(homes, model, HEADRACE_SERVER__GRPC_PORT="0")).grpc
            for model in ("tiny", "judge", "ranker")
        }


@pytest.fixture(scope="session")
def expected(server: RunningServer, open_grpc: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with what the native dialect answers, by model, and what it was asked."""
    answers: dict[str, Any] = {"texts": TEXTS, "long": LONG, "query": QUERY, "topics": TOPICS, "open_grpc": open_grpc}
    for model, (task, body) in BODIES.items():
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        reply = server.request("POST", f"/api/v1/{task}", json.dumps({"model": model, **body}).encode(), headers)
        assert reply.status == 200, reply.body
        answers[model] = reply.json()["results"]
    path = tmp_path_factory.mktemp("expected") / "answers.json"
    path.write_text(json.dumps(answers))
    return path
