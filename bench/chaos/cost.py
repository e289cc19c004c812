"""The part `cost`: ten times the work takes ten times as long, and not more.

A text that is ten times as long costs more than ten times as much, since attention is quadratic; so times are compared
with operations. Both sizes take turns, and the ratio is taken within each round.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import tokenizers

from bench.chaos.promise import Promise
from bench.dialects import http_request, request_body
from bench.http_client import AnswerInvalid, Client
from bench.load import probe
from bench.model import Model
from bench.progress import say
from bench.server import Running, read_servers, running_server, wait_for_answer
from bench.stats import Spread, ratios

PART: Final = "cost"
ROUNDS: Final = 30
_LENGTHS: Final = (8, 16, 25)  # tokens of the short text; ten times the last just fits the window of 256
_TEXTS: Final = (4, 16, 25)  # in the small request; ten times the last is about the most of one request
_TOKENS: Final = 32  # of each of these
_TIMES: Final = 10
_MAX_LONGER: Final = 1.15
_MAX_MORE: Final = 10.5
_SEED: Final = 13
_SPECIAL_TOKENS: Final = 2
_MIN_LETTERS: Final = 3
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """A request, and one with ten times the work.

    Attributes:
        operations: How many times the floating-point operations the second one takes.
        limit: Most that the ratio of the times may be, as a multiple of that.
    """

    name: str
    small: Sequence[str]
    large: Sequence[str]
    operations: float
    limit: float


def run_cost(model: Model, rounds: int = ROUNDS) -> list[Promise]:
    """Compare the times of requests to `headrace serve`, one at a time."""
    compared = list(comparisons(model))
    with running_server(read_servers(["headrace"])[0], model) as running:
        wait_for_answer(running, probe(running))
        say(f"cost: {len(compared)} comparisons in {rounds} rounds")
        times = asyncio.run(_measure(running, compared, rounds))
    return [promise(each, ratios(*times[each.name])) for each in compared]


def comparisons(model: Model) -> Iterator[Comparison]:
    """Yield what is compared."""
    words = whole_words(tokenizers.Tokenizer.from_file(str(model.folder / "tokenizer.json")))
    chooser = random.Random(_SEED)

    def text(tokens: int) -> str:
        return " ".join(chooser.choice(words) for _ in range(tokens - _SPECIAL_TOKENS))

    for tokens in _LENGTHS:
        operations = flop(model, _TIMES * tokens) / flop(model, tokens)
        name = f"a text of {_TIMES * tokens} tokens costs as its operations say, from one of {tokens}"
        yield Comparison(name, [text(tokens)], [text(_TIMES * tokens)], operations, _MAX_LONGER)
    for count in _TEXTS:
        texts = [text(_TOKENS) for _ in range(count + _TIMES * count)]  # all different: equal ones are computed once
        name = f"{_TIMES * count} texts cost {_TIMES} times as much as {count}"
        yield Comparison(name, texts[:count], texts[count:], _TIMES, _MAX_MORE / _TIMES)


def flop(model: Model, tokens: int) -> float:
    """Return the floating-point operations of one text: linear layers, then attention's two products."""
    attention = 2 * 2 * model.layers * tokens**2 * model.hidden
    return float(tokens * model.flop_per_token + attention)


def whole_words(tokenizer: tokenizers.Tokenizer) -> list[str]:
    """Return words that are one token each, wherever they stand."""
    found = sorted(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and word.islower())
    words = [word for word in found if len(word) >= _MIN_LETTERS]
    return [word for word in words if len(tokenizer.encode(f"a {word}", add_special_tokens=False).ids) == 2]  # noqa: PLR2004 - "a" is one


async def _measure(
    running: Running, compared: Sequence[Comparison], rounds: int
) -> Mapping[str, tuple[list[float], list[float]]]:
    """Return the times of the large and of the small requests, by name; the first round warms up and does not count."""
    client = Client(running.port)
    times: dict[str, tuple[list[float], list[float]]] = {each.name: ([], []) for each in compared}
    for number in range(rounds + 1):
        for each in compared:
            small_s = await _time(running, client, each.small)
            large_s = await _time(running, client, each.large)
            if number:
                times[each.name][0].append(large_s)
                times[each.name][1].append(small_s)
    client.close()
    return times


async def _time(running: Running, client: Client, texts: Sequence[str]) -> float:
    request = http_request(running.port, running.server.path, request_body(running.server.dialect, texts))
    started = time.perf_counter()
    status, body = await client.send(request)
    took_s = time.perf_counter() - started
    if status != _OK:
        raise AnswerInvalid(f"status {status}: {body[:200]!r}")
    return took_s


def promise(compared: Comparison, found: Spread) -> Promise:
    """Say whether the larger request takes no longer than it should."""
    factor = found.median / compared.operations
    values = {
        "time_ratio": found.median,
        "time_ratio_min": found.low,
        "time_ratio_max": found.high,
        "operations_ratio": compared.operations,
        "rounds": float(found.count),
    }
    measured = (
        f"{found.median:.2f} times the time ({found.low:.2f} to {found.high:.2f}), "
        f"{compared.operations:.2f} times the operations: {factor:.2f}"
    )
    return Promise(
        PART, f"{compared.name} (at most {compared.limit:.2f} times)", measured, factor <= compared.limit, values
    )
