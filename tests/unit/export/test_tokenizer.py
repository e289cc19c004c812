from pathlib import Path

from tokenizers import Tokenizer

from headrace.export.tokenizer import write_tokenizer


def test_the_tokenizer_is_copied_without_truncation_and_padding(tiny_folder: Path, tmp_path: Path):
    write_tokenizer(tiny_folder, tmp_path / "tokenizer.json")
    original = Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))
    copied = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "the water wheel, grüße, 水车 " * 3
    assert len(original.encode(text).ids) == 8
    original.no_truncation()
    original.no_padding()
    assert copied.encode(text).ids == original.encode(text).ids
    assert copied.truncation is None
    assert copied.padding is None
