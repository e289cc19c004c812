import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.models import build_tokenizer
from tests.support.tiny_tokenizers import CORPUS, TRAIN
from tokenizers import pre_tokenizers, processors

from headrace.engine import tokenizer as tokenizer_module
from headrace.engine.base import Encoding
from headrace.engine.prefix import find_cut
from headrace.engine.tokenizer import FastTokenizer
from headrace.engine.windows import Body
from headrace.errors import HeadraceError, InputTooLong, ModelCorrupt, RequestInvalid
from headrace.options import Truncate

WINDOW = 8  # room for 6, so that a text is cut from 36 characters on

PIECES = [
    *(word for line in CORPUS for word in line.split()),
    *(" " * count for count in (1, 1, 1, 1, 1, 1, 2, 2, 3)),
    *"aжü水한ﬃ²٣\t\n\u00a0\u200b\u0301\u0308\u0600\u2028\u2581\u3000\u3164\ufc5e😀'`.,",
    *("<mask>", " <mask>", "  <mask>", "[MASK]", "[CLS] ", "x" * 120, "水" * 60, "don't"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=40).map("".join)


@pytest.fixture(scope="module", params=TRAIN)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / f"{kind}.json"
    TRAIN[kind]().save(str(path))
    return path


@cache
def load(path: Path) -> tuple[FastTokenizer, tokenizers.Tokenizer, tokenizers.Tokenizer]:
    """Return ours, and the library's own with and without its own truncation."""
    whole, cut = (tokenizers.Tokenizer.from_file(str(path)) for _ in range(2))
    cut.enable_truncation(WINDOW)
    return FastTokenizer(path, WINDOW), whole, cut


def save(tokenizer: tokenizers.Tokenizer, folder: Path) -> Path:
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def windows(item: tuple[Encoding, ...] | HeadraceError) -> tuple[Encoding, ...]:
    assert isinstance(item, tuple), item
    return item


class Spy:
    """Notes what a tokenizer is given."""

    def __init__(self, tokenizer: FastTokenizer) -> None:
        self.chars: list[int] = []
        self._tokenize = tokenizer._tokenize
        tokenizer._tokenize = self  # type: ignore[method-assign]

    def __call__(self, texts: list[str]) -> list[Body]:
        self.chars.append(sum(map(len, texts)))
        return self._tokenize(texts)


CHECKS: dict[Truncate, Callable[[Path, str], None]] = {}


def check(truncate: Truncate) -> Callable[[Callable[[Path, str], None]], Callable[[Path, str], None]]:
    def add(function: Callable[[Path, str], None]) -> Callable[[Path, str], None]:
        CHECKS[truncate] = function
        return function

    return add


@check("truncate")
def check_truncate(path: Path, text: str) -> None:
    ours, whole, cut = load(path)
    (window,) = windows(ours.encode([text], "truncate")[0])
    assert list(window.ids) == cut.encode(text).ids
    assert window.truncated == (len(whole.encode(text).ids) > WINDOW)


@check("error")
def check_error(path: Path, text: str) -> None:
    ours, whole, _ = load(path)
    ids = whole.encode(text).ids
    (item,) = ours.encode([text], "error")
    if len(ids) > WINDOW:
        assert isinstance(item, InputTooLong)
    else:
        assert [list(window.ids) for window in windows(item)] == [ids]


@check("chunk")
def check_chunk(path: Path, text: str) -> None:
    ours, whole, _ = load(path)
    body = whole.encode(text, add_special_tokens=False).ids
    found = windows(ours.encode([text], "chunk")[0])
    fresh = [id_ for window in found for id_ in list(window.ids)[-1 - window.weight : -1]]
    assert fresh == body
    assert all(len(window.ids) <= WINDOW and not window.truncated for window in found)


@pytest.fixture
def _early_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let beginnings be so short that what lies at the cut is in the window."""
    monkeypatch.setattr(tokenizer_module, "_CHARS_PER_TOKEN", 1)


@pytest.mark.usefixtures("_early_cuts")
@pytest.mark.parametrize("truncate", CHECKS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_a_text_has_the_tokens_it_has_when_all_of_it_is_tokenized(path: Path, truncate: Truncate, text: str):
    CHECKS[truncate](path, text)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_the_tokens_up_to_any_cut_are_the_first_of_the_whole(path: Path, text: str):
    _, whole, _ = load(path)
    ids = whole.encode(text, add_special_tokens=False).ids
    cuts = {find_cut(text, min_chars) for min_chars in range(1, len(text))}
    for beginning in whole.encode_batch([text[:cut] for cut in cuts], add_special_tokens=False):
        assert beginning.ids == ids[: len(beginning.ids)]


def shorten(texts: Iterable[str], chars: int) -> list[str]:
    return [text[:length] for text in texts for length in range(0, chars, 7)]


def test_texts_of_a_batch_have_the_tokens_they_have_alone(path: Path):
    ours, _, _ = load(path)
    texts = shorten(CORPUS[:7], 70)
    for truncate in CHECKS:
        together = ours.encode(texts, truncate)
        alone = [ours.encode([text], truncate)[0] for text in texts]
        assert [_comparable(item) for item in together] == [_comparable(item) for item in alone]


def _comparable(item: tuple[Encoding, ...] | HeadraceError) -> object:
    return str(item) if isinstance(item, HeadraceError) else item


@pytest.mark.parametrize("truncate", ["truncate", "error"])
def test_no_book_is_tokenized_to_fill_a_window(path: Path, truncate: Truncate):
    tokenizer = FastTokenizer(path, WINDOW)
    spy = Spy(tokenizer)
    tokenizer.encode(["the water drives the wheel, " * 10_000] * 3, truncate)
    assert sum(spy.chars) < 3 * 120


def test_more_is_taken_when_few_tokens_came_of_much_text(tmp_path: Path):
    tokenizer = FastTokenizer(save(build_tokenizer(), tmp_path), WINDOW)
    spy = Spy(tokenizer)
    (window,) = windows(tokenizer.encode([f"{'x' * 60} {'y' * 60} w1 w2 w3 w4 w5 w6 w7 " + "w8 " * 99], "truncate")[0])
    assert list(window.ids) == [2, 1, 1, *(5 + number for number in range(1, 5)), 3]
    assert window.truncated
    assert spy.chars == [60, 121, 244]


def test_to_chunk_a_text_all_of_it_is_tokenized_once(path: Path):
    tokenizer = FastTokenizer(path, WINDOW)
    spy = Spy(tokenizer)
    tokenizer.encode(["the water drives the wheel, " * 100], "chunk")
    assert spy.chars == [2800]


def test_a_tokenizer_that_may_not_be_given_a_beginning_gets_the_whole_text(tmp_path: Path):
    whole = build_tokenizer()
    whole.pre_tokenizer = pre_tokenizers.CharDelimiterSplit("_")
    tokenizer = FastTokenizer(save(whole, tmp_path), WINDOW)
    spy = Spy(tokenizer)
    tokenizer.encode(["w1_w2 " * 100], "truncate")
    assert spy.chars == [600]


@pytest.mark.parametrize("truncate", ["error", "truncate", "chunk"])
def test_a_lone_surrogate_is_the_error_of_its_text_also_behind_the_window(path: Path, truncate: Truncate):
    ours, _, _ = load(path)
    items = ours.encode(["water", "water " * 100 + "\ud800", "wheel"], truncate)
    assert [isinstance(item, RequestInvalid) for item in items] == [False, True, False]
    assert items[2] == ours.encode(["wheel"], truncate)[0]


@pytest.mark.parametrize(
    ("processor", "ids"),
    [
        (None, [6]),
        (processors.ByteLevel(), [6]),
        (processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)), [2, 6, 3]),
        (processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)]), [6, 3]),
        (
            processors.Sequence(
                [
                    processors.ByteLevel(),
                    processors.TemplateProcessing(
                        single="[CLS] [UNK] $A [SEP]", special_tokens=[("[CLS]", 2), ("[UNK]", 1), ("[SEP]", 3)]
                    ),
                ]
            ),
            [2, 1, 6, 3],
        ),
    ],
)
def test_special_tokens_stand_where_the_file_puts_them(
    tmp_path: Path, processor: processors.PostProcessor | None, ids: Sequence[int]
):
    tokenizer = build_tokenizer()
    tokenizer.post_processor = processor
    (window,) = windows(FastTokenizer(save(tokenizer, tmp_path), WINDOW).encode(["w1"], "truncate")[0])
    assert list(window.ids) == ids
    assert window.weight == 1


def test_a_tokenizer_that_repeats_the_text_is_refused(tmp_path: Path):
    tokenizer = build_tokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [SEP] $A", pair="$A $B", special_tokens=[("[SEP]", 3)]
    )
    with pytest.raises(ModelCorrupt, match="elsewhere than around a text"):
        FastTokenizer(save(tokenizer, tmp_path), WINDOW)


def test_a_window_without_room_for_a_text_is_refused(tmp_path: Path):
    path = save(build_tokenizer(), tmp_path)
    FastTokenizer(path, 3)
    with pytest.raises(ModelCorrupt, match="no room for a text"):
        FastTokenizer(path, 2)


@pytest.mark.parametrize(("before", "after"), [({}, "false"), ({"TOKENIZERS_PARALLELISM": "true"}, "true")])
def test_the_library_starts_no_threads_unless_it_is_told_to(before: dict[str, str], after: str):
    program = "import headrace.engine.tokenizer, os; print(os.environ['TOKENIZERS_PARALLELISM'])"
    done = subprocess.run([sys.executable, "-c", program], env=before, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == after
