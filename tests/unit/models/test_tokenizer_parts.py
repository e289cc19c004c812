import json
from typing import Any

import pytest
from tests.support.tiny_tokenizers import TRAIN

from headrace.errors import HeadraceError, SourceInvalid, SourceUnsafe
from headrace.models.tokenizer_parts import check_tokenizer

WORDPIECE: dict[str, Any] = {
    "model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "a": 1}},
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "added_tokens": [{"id": 0, "content": "[PAD]"}],
}


@pytest.mark.parametrize("train", TRAIN.values(), ids=TRAIN)
def test_the_common_kinds_pass(train: Any):
    tokenizer = train()
    check_tokenizer(json.loads(tokenizer.to_str()), "tokenizer.json", tokenizer.get_vocab_size())


def split(regex: Any) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pre_tokenizer": split("(a+)+")}, SourceUnsafe, r"'\(a\+\)\+'.*for ever"),
        ({"pre_tokenizer": split(7)}, SourceUnsafe, "'7'"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(" {2,}"), split(".*.*")]}}, SourceUnsafe, ".*"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a|a)*"}, "content": ""}},
            SourceUnsafe,
            "expression",
        ),
        ({"decoder": {"type": "Replace", "pattern": {"Regex": "(a|a)*"}, "content": ""}}, SourceUnsafe, "expression"),
        ({"normalizer": {"type": "Python"}}, SourceInvalid, "the normalizer 'Python'"),
        ({"pre_tokenizer": {"type": "Python"}}, SourceInvalid, "the pre_tokenizer"),
        ({"post_processor": {"type": "Python"}}, SourceInvalid, "the post_processor"),
        ({"decoder": {"type": ["Fuse"]}}, SourceInvalid, "the decoder"),
        ({"model": {"type": "Lua"}}, SourceInvalid, "the model 'Lua'"),
        ({"normalizer": "NFC"}, SourceInvalid, "a step that is none"),
        ({"normalizer": {"type": "Sequence", "normalizers": ["NFC"]}}, SourceInvalid, "a step that is none"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 2}}}, SourceInvalid, "the id 2; the model has 2"),
        ({"model": {"type": "WordPiece", "vocab": {"a": -1}}}, SourceInvalid, "the id -1"),
        ({"model": {"type": "WordPiece", "vocab": {"a": "1"}}}, SourceInvalid, "the id 1"),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]] * 3}}, SourceInvalid, "the id 2"),
        ({"added_tokens": [{"id": 10**9, "content": "x"}]}, SourceInvalid, "the id 1000000000"),
        ({"added_tokens": [{"content": "x"}]}, SourceInvalid, "the id None"),
    ],
)
def test_what_could_hang_or_does_not_belong_to_the_model_is_refused(
    changes: dict[str, Any], error: type[HeadraceError], message: str
):
    check_tokenizer(WORDPIECE, "tokenizer.json", 2)
    with pytest.raises(error, match=message) as caught:
        check_tokenizer(WORDPIECE | changes, "tokenizer.json", 2)
    assert caught.value.field == "tokenizer.json"


def test_steps_far_within_each_other_are_refused():
    step: dict[str, Any] = {"type": "NFC"}
    for _ in range(200):
        step = {"type": "Sequence", "normalizers": [step]}
    with pytest.raises(SourceInvalid, match="too many within each other"):
        check_tokenizer(WORDPIECE | {"normalizer": step}, "tokenizer.json", 2)


def test_without_a_number_of_rows_any_sane_id_passes():
    check_tokenizer(WORDPIECE | {"added_tokens": [{"id": 99, "content": "x"}]}, "tokenizer.json", None)
