import gc

import numpy as np
import orjson

from headrace.api.fragments import Fragments
from headrace.tasks import spell
from headrace.types import Embedding, Regression


def plain(result: Embedding | Regression, task: str) -> bytes:
    return orjson.dumps(spell(task, result), option=orjson.OPT_SERIALIZE_NUMPY)  # type: ignore[arg-type]


def embedding(size: int = 4, seed: int = 0) -> Embedding:
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    return Embedding(values=values, tokens=3, truncated=False, windows=1)


def test_a_result_is_written_as_it_would_be_and_once():
    fragments, result = Fragments(), embedding()
    first = fragments.spell("embed", result)
    assert orjson.dumps(first) == plain(result, "embed")
    assert fragments.spell("embed", result) is first
    assert orjson.dumps({"results": [first, first]}).count(b"embedding") == 2


def test_another_object_is_written_by_itself():
    fragments, one, other = Fragments(), embedding(seed=1), embedding(seed=2)
    assert orjson.dumps(fragments.spell("embed", one)) != orjson.dumps(fragments.spell("embed", other))


def test_the_place_of_a_result_is_never_that_of_another():
    """A number by which an object is known is given to another one when the first is gone."""
    fragments = Fragments()
    for seed in range(3000):
        result = embedding(seed=seed)
        assert orjson.dumps(fragments.spell("embed", result)) == plain(result, "embed")
        del result
    gc.collect()
    assert len(fragments._kept) == 1024


def test_what_is_large_is_not_kept():
    fragments, result = Fragments(), embedding(size=4096)
    assert orjson.dumps(fragments.spell("embed", result)) == plain(result, "embed")
    assert not fragments._kept
