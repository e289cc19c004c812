import errno
import io
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.unit.cli.conftest import MakeModel, Run
from typer.testing import Result

from headrace.cli import texts
from headrace.errors import InputTooLong, QueueFull
from headrace.settings import LoadedSettings
from headrace.types import Answer, Embedding, Request, Timings


class FakeService:
    """Answers with the length of each text; refuses the text ``long`` where it may not be cut."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.loaded: LoadedSettings | None = None
        self.models: Sequence[str] = ()
        self.is_full = False

    async def run(self, request: Request) -> Answer:
        self.requests.append(request)
        if self.is_full:
            raise QueueFull("full")
        if request.options.truncate == "error" and "long" in request.inputs:
            raise InputTooLong("300 tokens", field=f"inputs[{request.inputs.index('long')}]")
        results = tuple(
            Embedding(values=np.array([len(text), 0.1], np.float32), tokens=len(text), truncated=text == "long")
            for text in request.inputs
        )
        return Answer(
            model="minilm", revision="0" * 64, task="embed", results=results, timings=Timings(), tokens=4, cached=0
        )


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, make_model: MakeModel) -> FakeService:
    make_model("minilm")
    fake = FakeService()

    @asynccontextmanager
    async def open_service(loaded: LoadedSettings, models: Sequence[str]) -> AsyncIterator[FakeService]:
        fake.loaded, fake.models = loaded, models
        yield fake

    monkeypatch.setattr("headrace.app.open_service", open_service)
    return fake


def indexes(result: Result) -> list[int]:
    return [json.loads(line)["index"] for line in result.stdout.splitlines()]


def test_each_line_of_a_file_becomes_a_line_of_json(run: Run, service: FakeService, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\n\nlong", encoding="utf-8")
    result = run("embed", str(file))
    assert result.exit_code == 0
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"index": 0, "embedding": [3.0, 0.1], "tokens": 3, "truncated": False, "windows": 1},
        {"index": 1, "embedding": [0.0, 0.1], "tokens": 0, "truncated": False, "windows": 1},
        {"index": 2, "embedding": [4.0, 0.1], "tokens": 4, "truncated": True, "windows": 1},
    ]


@pytest.mark.parametrize("truncate", ["error", "truncate", "chunk"])
def test_what_to_do_with_a_long_text_is_told_to_the_service(run: Run, service: FakeService, truncate: str) -> None:
    assert run("embed", "--truncate", truncate, stdin="one\n").exit_code == 0
    assert service.requests[0].options.truncate == truncate


@pytest.mark.parametrize("args", [(), ("-",)])
def test_texts_come_from_standard_input(run: Run, service: FakeService, args: tuple[str, ...]) -> None:
    result = run("embed", *args, stdin="one\ntwo\n")
    assert indexes(result) == [0, 1]
    assert service.requests[0].inputs == ("one", "two")


@pytest.mark.parametrize(
    ("name", "args"),
    [("a.jsonl", ()), ("a.txt", ("--jsonl",)), ("a.txt", ("--field", "text"))],
)
def test_json_lines_are_read_as_such(
    run: Run, service: FakeService, tmp_path: Path, name: str, args: tuple[str, ...]
) -> None:
    file = tmp_path / name
    file.write_text('{"text": "one"}\n\n{"text": "two"}\n', encoding="utf-8")
    assert indexes(run("embed", str(file), *args)) == [0, 1]
    assert service.requests[0].inputs == ("one", "two")


def test_the_field_can_be_named(run: Run, service: FakeService) -> None:
    run("embed", "--field", "body", stdin='{"body": "one"}')
    assert service.requests[0].inputs == ("one",)


def test_an_empty_file_gives_nothing(run: Run, service: FakeService) -> None:
    result = run("embed", stdin="")
    assert (result.exit_code, result.output, service.requests) == (0, "", [])


def test_a_large_file_goes_in_chunks_and_the_index_counts_on(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_LIMITS__MAX_INPUTS", "2")
    assert indexes(run("embed", stdin="a\nb\nc\nd\ne\n")) == [0, 1, 2, 3, 4]
    assert [request.inputs for request in service.requests] == [("a", "b"), ("c", "d"), ("e",)]


def test_no_chunk_is_larger_than_the_queue(run: Run, service: FakeService) -> None:
    run("embed", "--engine-max-queued-texts", "1", stdin="a\nb\n")
    assert [request.inputs for request in service.requests] == [("a",), ("b",)]


def test_a_bad_line_is_named_and_those_before_it_are_answered(run: Run, service: FakeService) -> None:
    result = run("embed", stdin=b"one\ntwo\n\xff\nfour\n")
    assert indexes(result) == [0, 1]
    assert result.exit_code == 1
    assert result.stderr.startswith("headrace: request.malformed: line 3 ")


def test_a_refused_text_is_named_by_its_line_and_those_before_it_are_answered(run: Run, service: FakeService) -> None:
    result = run("embed", "--jsonl", "--truncate", "error", "--json", stdin='{"text":"a"}\n\n{"text":"long"}\n')
    assert indexes(result) == [0]
    assert json.loads(result.stderr) == {
        "code": "input.too_long",
        "message": "line 3: 300 tokens",
        "retryable": False,
        "field": "line 3",
    }


def test_a_text_refused_at_the_first_line_leaves_nothing(run: Run, service: FakeService) -> None:
    result = run("embed", "--truncate", "error", stdin="long\n")
    assert (result.stdout, result.exit_code) == ("", 1)
    assert "line 1" in result.stderr


def test_an_error_that_is_no_text_s_fault_is_passed_on(run: Run, service: FakeService) -> None:
    service.is_full = True
    assert run("embed", stdin="a\n").stderr == "headrace: queue.full: full\n"


@pytest.mark.parametrize(("args", "normalize"), [((), None), (("--normalize",), True), (("--no-normalize",), False)])
def test_normalize_is_the_model_s_choice_unless_given(
    run: Run, service: FakeService, args: tuple[str, ...], normalize: bool | None
) -> None:
    run("embed", *args, stdin="a\n")
    assert service.requests[0].options.normalize is normalize


def test_the_model_is_the_first_by_name_or_the_one_named(run: Run, service: FakeService, make_model: MakeModel) -> None:
    make_model("another", content="other")
    run("embed", stdin="")
    assert service.models == ["another"]
    run("embed", "--model", "minilm", stdin="")
    assert service.models == ["minilm"]


def test_an_empty_store_names_the_import_command(run: Run) -> None:
    result = run("embed", stdin="a\n")
    assert result.exit_code == 1
    assert "headrace import" in result.stderr


def test_a_missing_file_is_wrong_usage(run: Run, service: FakeService) -> None:
    assert run("embed", "missing.txt").exit_code == 2


def test_a_server_s_rate_does_not_hold_here(run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_LIMITS__REQUESTS_PER_S", "0.1")
    run("embed", stdin="")
    assert service.loaded is not None
    assert service.loaded.settings.limits.requests_per_s is None


@pytest.mark.parametrize(("flags", "isolation"), [((), "none"), (("--engine-isolation", "process"), "process")])
def test_the_engine_runs_here_unless_a_process_is_asked_for(
    run: Run, service: FakeService, flags: tuple[str, ...], isolation: str
) -> None:
    run("embed", *flags, stdin="")
    assert service.loaded is not None
    assert service.loaded.settings.engine.isolation == isolation


def test_a_line_that_is_too_long_names_a_flag_that_helps(run: Run, service: FakeService) -> None:
    line = "x" * (12 * 100 + (1 << 20)) + "\n"
    args = ("embed", "--limits-max-text-chars", "100")
    result = run(*args, stdin=line)
    assert (result.exit_code, "--limits-max-text-chars" in result.stderr) == (1, True)
    assert run("embed", "--limits-max-text-chars", "200", stdin=line).exit_code == 0


def test_a_file_that_cannot_be_read_to_its_end_is_named(
    run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        name = "texts.txt"

        def readline(self, size: int | None = -1) -> bytes:
            if line := super().readline(size):
                return line
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(texts, "_open", lambda _file: Broken(b"one\n"))
    result = run("embed", "texts.txt")
    assert indexes(result) == [0]
    assert "cannot use 'texts.txt': Input/output error" in result.stderr


def test_ctrl_c_ends_with_130(run: Run, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(request: Request) -> Answer:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError(request)

    monkeypatch.setattr(service, "run", interrupted)
    assert run("embed", stdin="a\n").exit_code == 130
