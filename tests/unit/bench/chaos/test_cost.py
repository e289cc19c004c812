from pathlib import Path

import pytest
import tokenizers
from bench.chaos.cost import Comparison, comparisons, flop, promise, whole_words
from bench.model import Model
from bench.stats import Spread


@pytest.fixture
def model(tmp_path: Path) -> Model:
    words = ["[UNK]", "a", "##ing", "no", "Upper", *(f"{first}{last}x" for first in "bcdfgh" for last in "aeiou")]
    vocabulary = {word: number for number, word in enumerate(words)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    return Model(tmp_path, tmp_path, tmp_path, "revision", window=256, hidden=384, inner=1536, layers=6)


def test_operations_grow_faster_than_tokens_by_what_attention_takes(model: Model) -> None:
    assert flop(model, 1) == model.flop_per_token + 4 * 6 * 384
    assert 10 < flop(model, 250) / flop(model, 25) < 11.5


def test_texts_have_the_tokens_they_are_compared_by_and_are_all_different(model: Model) -> None:
    counter = tokenizers.Tokenizer.from_file(str(model.folder / "tokenizer.json"))
    for each in comparisons(model):
        texts = [*each.small, *each.large]
        assert len(set(texts)) == len(texts)
        lengths = [len(counter.encode(text).ids) + 2 for text in texts]
        assert sum(lengths[len(each.small) :]) == 10 * sum(lengths[: len(each.small)])


def test_only_whole_words_are_taken(model: Model) -> None:
    words = whole_words(tokenizers.Tokenizer.from_file(str(model.folder / "tokenizer.json")))
    assert len(words) == 30
    assert not {"##ing", "no", "Upper"} & set(words)


@pytest.mark.parametrize(("median", "is_kept"), [(11.49, True), (11.51, False)])
def test_a_time_over_what_the_operations_say_breaks_the_promise(median: float, is_kept: bool) -> None:
    compared = Comparison("long", ["a"], ["b"], operations=10.0, limit=1.15)
    assert promise(compared, Spread(median, 9.0, 12.0, 5)).is_kept == is_kept
