"""Tokenizers of the three common kinds, trained on a few lines: small, and with all the steps of the real ones."""

from collections.abc import Callable, Mapping
from typing import Final

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

CORPUS: Final = [
    "The water drives the wheel, and the wheel drives the mill.",
    "A headrace is the channel that brings a swift current to a mill wheel.",
    "It isn't 1888 any more: we're grinding 25 % more corn, don't we?",
    "Wasser treibt das Mühlrad; größere Räder brauchen mehr Wasser.",
    "Вода крутит колесо, колесо крутит жернов.",
    "水は水車を回す。水車は石臼を回す。",
    "الماء يدير العجلة. पानी पहिया घुमाता है।",
] * 4


def train_wordpiece() -> tokenizers.Tokenizer:
    """Return one like BERT's."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def train_byte_level() -> tokenizers.Tokenizer:
    """Return one like RoBERTa's, whose mask takes the space before it along."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def train_unigram() -> tokenizers.Tokenizer:
    """Return one like XLM-R's."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    many_spaces = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), many_spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


TRAIN: Final[Mapping[str, Callable[[], tokenizers.Tokenizer]]] = {
    "wordpiece": train_wordpiece,
    "byte_level": train_byte_level,
    "unigram": train_unigram,
}
