"""Recipe ``extract``: an encoder learns to find entities in texts.

Top to bottom: the numbers, the data, the model, the loop, the measuring. The data are words with tags (BIO, BILOU or
BIOES); the model sees them as the text they make, with a space between them, as it will see texts when it serves. Of a
word that is several tokens the first one learns its tag, and the others nothing
(https://arxiv.org/abs/1810.04805, 5.3).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from headrace.errors import DataInvalid, DataUnfit
from headrace.models.checkpoint import Checkpoint
from headrace.training import metrics
from headrace.training.columns import Columns
from headrace.training.data import DataFiles, read_split
from headrace.training.device import Compute
from headrace.training.encoders import load_with_head
from headrace.training.examples import Example, Split, describe_balance, lines, require_short
from headrace.training.numbers import Numbers
from headrace.training.optimizers import freeze_layers, make_optimizer, set_learning_rate, take_step
from headrace.training.outcome import Outcome
from headrace.training.run import Run
from headrace.training.scores import predict_labels
from headrace.training.tables import Row, Table
from headrace.training.tags import OUTSIDE, is_tag, spans_of, with_beginnings
from headrace.training.tokens import TextTokenizer, Tokenized

Tags = tuple[str, ...]

_IGNORED: Final = -100  # what PyTorch's cross-entropy leaves out
_GOES_ON: Final = frozenset("BI")  # a span may go on after such a tag


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Numbers):
    """How a tagger is trained."""

    # A sentence has few entities, so each of them has to be seen more often than a label of a whole text.
    epochs: int = 6
    rows: int = 16


# --- data ------------------------------------------------------------------------------------------------------------


def read(files: DataFiles, config: Config) -> Split[Tags]:
    """Read the examples and check them.

    Raises:
        DataMissing: A file is not there.
        DataInvalid: A row is broken, has no words, or a tag that is none.
        DataUnfit: No word has a tag but O, or there are labels to measure that are not among those to learn.
    """
    split = read_split(files, Columns(("words", "tags"), chosen=files.columns), _examples, config)
    labels = {label for example in split.train for label in _labels(example.target)}
    if not labels:
        raise DataUnfit(f"every word has the tag {OUTSIDE}; there is nothing to find")
    require_short(labels)
    unknown = [example.line for example in split.held_out if not set(_labels(example.target)) <= labels]
    if unknown:
        raise DataUnfit(f"of the sentences to measure, {lines(unknown)} a label that none to learn from has")
    return split.noting(f"entities: {describe_balance(split.train, _labels)}")


def _examples(table: Table, named: Mapping[str, str]) -> Iterable[Example[Tags]]:
    for row in table.rows:
        words, tags = (_strings(table, row, named[role]) for role in ("words", "tags"))
        if len(words) != len(tags):
            raise DataInvalid(f"{table.path.name}, line {row.line}: {len(words)} words and {len(tags)} tags")
        if wrong := [tag for tag in tags if not is_tag(tag)]:
            raise DataInvalid(
                f"{table.path.name}, line {row.line}: {wrong[0][:40]!r} is no tag; write O, or B- or I- before a label"
            )
        yield Example(" ".join(words), with_beginnings(tags), row.line)


def _strings(table: Table, row: Row, column: str) -> Tags:
    value = row.values.get(column)
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        raise DataInvalid(
            f"{table.path.name}, line {row.line}: {column} is no list of words; write it as ['Paris', 'is', ...]"
        )
    return tuple(each.replace(" ", "\N{NO-BREAK SPACE}") for each in value)  # a space is between words


def _labels(tags: Tags) -> Iterator[str]:
    return (label for _, _, label in spans_of(tags))


# --- training --------------------------------------------------------------------------------------------------------


def train(base: Checkpoint, config: Config, split: Split[Tags], run: Run, compute: Compute) -> Outcome:
    """Train a tagger.

    Raises:
        TrainingError: It was stopped, or came to nothing.
        SourceInvalid: The base is not whole.
    """
    names = _tag_names(split.train)
    tokenizer = TextTokenizer(base, config.max_tokens, run.watcher.say)
    texts = tokenizer.tokenize([str(example.text) for example in split.train])
    held_out = tokenizer.tokenize([str(example.text) for example in split.held_out])
    targets = _all_targets(split.train, texts, names)  # of each text (s,)

    numbered = dict(enumerate(names))
    head = {"id2label": numbered, "label2id": {name: number for number, name in numbered.items()}}
    model = load_with_head(base, "TokenClassification", config.seed, head, compute.device)
    freeze_layers(model, config.freeze)
    optimizer = make_optimizer(model.parameters(), config)

    for update in run.updates(texts.lengths, model, optimizer):
        set_learning_rate(optimizer, config, update.number, run.steps)
        words = sum(int((targets[row] != _IGNORED).sum()) for row in update.rows)
        loss = 0.0
        with compute.reduced():
            for rows in update.batches:
                scores = model(**texts.inputs(rows, model)).logits  # (b, s, tags)
                wanted = nn.utils.rnn.pad_sequence(
                    [targets[row] for row in rows], batch_first=True, padding_value=_IGNORED
                ).to(compute.device)  # (b, s)
                part = cross_entropy(scores.float().transpose(1, 2), wanted, ignore_index=_IGNORED, reduction="sum")
                (part / words).backward()  # gradients of the batches add up to that of the update
                loss += part.item() / words
        take_step(optimizer, config.clip)
        run.stepped(update, loss)
        if update.ends_epoch:
            run.measured(model, measure(predict_labels(model, held_out, compute), held_out, split.held_out, names))

    run.take_best(model)
    found = predict_labels(model, held_out, Compute(compute.device, uses_bf16=False))
    return Outcome(
        model=model,
        metrics=measure(found, held_out, split.held_out, names),
        examples=(len(split.train), len(split.held_out)),
        labels=names,
    )


def _tag_names(examples: Sequence[Example[Tags]]) -> list[str]:
    """Return every tag that occurs, and the I- of every B-, since a span that may begin may go on."""
    seen = {tag for example in examples for tag in example.target} | {OUTSIDE}
    seen |= {"I" + tag[1:] for tag in seen if tag.startswith("B-")}
    return [OUTSIDE, *sorted(seen - {OUTSIDE}, key=lambda tag: (tag[2:], tag))]


def _all_targets(examples: Sequence[Example[Tags]], texts: Tokenized, names: Sequence[str]) -> list[Tensor]:
    return [_as_targets(example, spans, names) for example, spans in zip(examples, texts.spans, strict=True)]


def _as_targets(example: Example[Tags], spans: NDArray[np.int32], names: Sequence[str]) -> Tensor:
    """Return what each token is to get: the tag of its word, and one that goes on after the first token of a word.

    Whoever asks the model knows nothing of these words, only tokens: with the first ones alone to learn from, a name
    with a mark in it ended there. Of tags that say where a span ends, the first token gets it and the others none.
    """
    number = {name: place for place, name in enumerate(names)}
    targets = torch.full((len(spans),), _IGNORED)
    known: set[int] = set()
    for token, word in _words_of_tokens(example, spans):
        tag = example.target[word]
        if word not in known:
            targets[token] = number[tag]
        elif tag == OUTSIDE or tag[0] in _GOES_ON:
            targets[token] = number[OUTSIDE if tag == OUTSIDE else "I" + tag[1:]]
        known.add(word)
    return targets


def _first_tokens(example: Example[Tags], spans: NDArray[np.int32]) -> list[int | None]:
    """Return the first token of each word; nothing for a word that was cut off, or of which no token is left."""
    first: list[int | None] = [None] * len(example.target)
    for token, word in _words_of_tokens(example, spans):
        first[word] = token if first[word] is None else first[word]
    return first


def _words_of_tokens(example: Example[Tags], spans: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Yield the tokens that are part of a word, each with its word.

    A token is part of the word that its last character is in: some tokenizers count the space before a word to it.
    """
    text = str(example.text)
    word_of = np.repeat(np.arange(len(example.target)), [len(word) + 1 for word in text.split(" ")])  # of a character
    for token, (begin, end) in enumerate(spans):
        if end > begin and text[end - 1] != " ":
            yield token, int(word_of[end - 1])


# --- measuring -------------------------------------------------------------------------------------------------------


def measure(
    found: Sequence[Tensor], texts: Tokenized, examples: Sequence[Example[Tags]], names: Sequence[str]
) -> dict[str, float]:
    """Return how many spans are found, and how many words have the right tag.

    Args:
        found: The likeliest tag of each token of each text.
        texts: The texts.
        examples: What is true of them.
        names: Of the tags.
    """
    said, right, words = [], 0, 0
    for labels, spans, example in zip(found, texts.spans, examples, strict=True):
        first = _first_tokens(example, spans)
        tags = [OUTSIDE if token is None else names[int(labels[token])] for token in first]
        said.append(spans_of(tags))
        right += sum(tag == wanted for tag, wanted in zip(tags, example.target, strict=True))
        words += len(tags)
    truth = [spans_of(example.target) for example in examples]
    return {"span_f1": metrics.span_f1(truth, said), "word_accuracy": right / max(1, words)}
