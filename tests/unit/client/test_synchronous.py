"""The face for ordinary Python: threads, loops, forks, and ends."""

import asyncio
import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

import numpy as np
import pytest
from tests.support.doors import KEY
from tests.support.listening import serving

import headrace
from headrace.client import AsyncClient
from headrace.errors import InputTooLong, ServerUnreachable, ServiceStopping
from headrace.library import Model
from headrace.tasks import TASKS
from headrace.types import TaskName


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[headrace.Client]:
    with headrace.Client(url, key=KEY) as client:
        yield client


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "headrace-client"]


def test_threads_may_share_a_client(client: headrace.Client):
    texts = [[f"wheel {number % 5} {index}" for index in range(20)] for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(client.embed, texts))
    for number, vectors in enumerate(found):
        assert vectors.shape == (20, 8)
        np.testing.assert_array_equal(vectors, found[number % 5])
    assert threads() == ["headrace-client"]


async def test_it_works_where_a_loop_runs(client: headrace.Client):
    assert client.embed(["a"]).shape == (1, 8)
    assert (await asyncio.to_thread(client.embed, ["a"])).shape == (1, 8)


def test_an_error_is_that_of_the_server(client: headrace.Client):
    with pytest.raises(InputTooLong) as caught:
        client.embed(["a"] * 30 + ["w " * 40], truncate="error")
    assert caught.value.field == "inputs[30]"
    assert [model.name for model in client.models()] == ["fake"]


class Noted:
    """Takes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        async def ask(*given: Any, **options: Any) -> str:
            self.asked.append((name, given, options))
            return "answer"

        return ask


@pytest.mark.parametrize("task", TASKS)
def test_both_faces_and_the_library_take_the_same(task: TaskName):
    noted = Noted()
    names = list(inspect.signature(getattr(AsyncClient, task)).parameters)
    more = [name for name in names if name in {"query", "labels"}]
    with headrace.Client("http://a") as client:
        client._asked._make = lambda: noted  # type: ignore[assignment,return-value]
        found = getattr(client, task)(["a"], *more, model="m", within_s=3, truncate="chunk")
    assert found == "answer"
    assert noted.asked[0] == (task, (["a"], *more), {"model": "m", "within_s": 3, "truncate": "chunk"})
    for kind in (headrace.Client, Model):
        of_kind = list(inspect.signature(getattr(kind, task)).parameters)
        assert of_kind == [name for name in names if kind is headrace.Client or name not in {"model", "within_s"}]
    hints = [get_type_hints(getattr(kind, task))["options"] for kind in (AsyncClient, headrace.Client, Model)]
    assert hints[0] == hints[1] == hints[2]


def test_it_may_be_closed_twice_and_not_asked_then(url: str):
    client = headrace.Client(url, key=KEY)
    client.embed(["a"])
    client.close()
    client.close()
    assert threads() == []
    with pytest.raises(ServiceStopping, match="was closed"):
        client.embed(["a"])
    unused = headrace.Client(url)
    unused.close()
    assert threads() == []


def test_it_is_closed_when_nobody_refers_to_it(url: str):
    client = headrace.Client(url, key=KEY)
    client.embed(["a"])
    assert threads() != []
    del client
    gc.collect()
    assert threads() == []


def test_a_program_that_closes_nothing_ends(url: str):
    program = f"""
import headrace
print(headrace.Client({url!r}, key={KEY!r}).embed(["a", "b"]).shape)
client = headrace.Client({url!r}, key={KEY!r})
print(len(client.models()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("(2, 8)\n1\n", "", 0)


FORKS = """
import os, sys, threading
import headrace
client = headrace.Client(sys.argv[1], key=sys.argv[2])
client.embed(["a"])
asking = threading.Thread(target=lambda: [client.embed([f"text {n}"] * 20) for n in range(30)])
asking.start()
child = os.fork()
if child == 0:
    print("child", client.embed(["a"]).shape, flush=True)
    sys.exit(0)  # with all that is done at an end
print("ended with", os.waitpid(child, 0)[1], flush=True)
asking.join()
print("parent", client.embed(["a"]).shape)
"""


def test_a_process_that_is_forked_asks_by_itself_and_leaves_its_parent_alone(url: str):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS, url, KEY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["child (1, 8)", "ended with 0", "parent (1, 8)"], done.stderr
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_fork_after_grpc_is_refused_and_not_ended_without_a_word():
    program = """
import os, headrace
client = headrace.Client("grpc://127.0.0.1:9", retries=0)
def ask():
    try:
        client.embed(["a"])
    except headrace.HeadraceError as error:
        print(error.code, error.field, flush=True)
ask()
child = os.fork()
if child == 0:
    ask()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.stdout.splitlines() == ["server.unreachable None", "setting.invalid url", "0"], done.stderr


def test_a_client_of_one_loop_is_refused_on_another(url: str):
    client = AsyncClient(url, key=KEY)

    async def ask() -> None:
        await client.embed(["a"])

    with asyncio.Runner() as first:
        first.run(ask())
        with asyncio.Runner() as second, pytest.raises(RuntimeError, match="another event loop"):
            second.run(ask())
        first.run(client.aclose())
        first.run(client.aclose())
        with pytest.raises(ServiceStopping):
            first.run(ask())


def test_nobody_there_is_told_in_time(unused_tcp_port: int):
    with headrace.Client(f"http://127.0.0.1:{unused_tcp_port}", retries=1) as client, pytest.raises(ServerUnreachable):
        client.embed(["a"])


def test_other_names_of_the_package_are_none():
    with pytest.raises(AttributeError, match="Nobody"):
        _ = headrace.Nobody
