"""Compares every task with the library whose answers users know, text by text.

Usage: python -m bench.agreement

Heads for most tasks come in no package, so each is made here: the encoder of all-MiniLM-L6-v2 with a head of random
weights, scaled so that its answers differ. What is compared is what each side makes of the same weights: tokens,
windows, graph, scores, labels and spans.
"""

import argparse
import importlib.metadata
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer
from tests.support.real import real_texts, unpack_checkpoint

import headrace
from bench.places import ROOT
from bench.progress import say
from bench.tables import table as markdown
from headrace.cli.progress import SilentSteps
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.export.probes import make_probes
from headrace.export.quiet import quiet_libraries
from headrace.library import Model
from headrace.models.store import LocalStore

PAGE: Final = ROOT / "docs/agreement.md"
_REAL: Final = 150
_WINDOW: Final = 256
_QUERY: Final = "What is wrong with the film?"
_TOPICS: Final = ("film", "sport", "an invoice", "größere Räder")
_TEMPLATE: Final = "This text is about {}."
_SCALE: Final = 20.0  # of a head's random weights
_SCORE_TOLERANCE: Final = 1e-4
_AGGREGATIONS: Final = ("simple", "first", "average", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """How one task compares.

    Attributes:
        compared: How many labels, spans, vectors or scores.
        same: How many of them are the same: the label, the place; of vectors and scores, within the tolerance.
        difference: Largest of any number.
    """

    task: str
    reference: str
    compared: int
    same: int
    difference: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where the models of this run are."""

    checkpoint: Path
    home: Path

    def make(self, head: Any, name: str, **config: Any) -> Path:
        """Write a checkpoint: the encoder with a new head."""
        torch.manual_seed(7)
        folder = self.home / f"checkpoint-{name}"
        with quiet_libraries():
            model = head.from_pretrained(self.checkpoint, **config)
            with torch.no_grad():
                for part, weight in model.named_parameters():
                    if part in {"classifier.weight", "qa_outputs.weight"}:
                        weight.mul_(_SCALE)
            model.save_pretrained(folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.checkpoint, model_max_length=_WINDOW)
            tokenizer.save_pretrained(folder)
        return folder

    def load(self, source: Path, name: str) -> Model:
        """Import a checkpoint, and load it in float32 by ONNX Runtime."""
        store = LocalStore(self.home / "models")
        import_model(ImportRequest(source=str(source), name=name), store, SilentSteps(), convert_here)
        return headrace.load(
            name,
            {
                "store.home": str(self.home),
                "engine.runtime": "onnxruntime",
                "engine.tune": False,
                "engine.max_wait_s": 3600,
            },
        )


def compare_numbers(task: str, reference: str, found: Any, wanted: Any) -> Row:
    """Compare numbers: each is the same if it is within the tolerance."""
    apart = np.abs(np.asarray(found, dtype=np.float64) - np.asarray(wanted, dtype=np.float64))
    rows = apart.reshape(len(apart), -1).max(axis=1)
    return Row(task, reference, len(rows), int((rows <= _SCORE_TOLERANCE).sum()), float(rows.max()))


def compare_named(
    task: str, reference: str, found: Sequence[Mapping[Any, float]], wanted: Sequence[Mapping[Any, float]]
) -> Row:
    """Compare scores by what they are of: of a text, the same things must have the same scores."""
    compared = same = 0
    difference = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        compared += 1
        is_same = ours.keys() == theirs.keys()
        if is_same and ours:
            apart = max(abs(ours[key] - theirs[key]) for key in ours)
            difference = max(difference, apart)
            is_same = apart <= _SCORE_TOLERANCE
        same += is_same
    return Row(task, reference, compared, same, difference)


def embed(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare vectors with those of sentence-transformers."""
    with place.load(place.checkpoint, "minilm") as model, quiet_libraries():
        original = SentenceTransformer(str(place.checkpoint), device="cpu", local_files_only=True)
        wanted = np.asarray(original.encode(list(texts), convert_to_numpy=True, show_progress_bar=False))
        yield compare_numbers("`embed`", "sentence-transformers", model.embed(texts), wanted)
        query = np.asarray(original.encode([_QUERY], convert_to_numpy=True, show_progress_bar=False))[0]
        scores = wanted @ query / np.linalg.norm(wanted, axis=1) / np.linalg.norm(query)
        found = [each.score for each in model.similarity(texts, _QUERY)]
        yield compare_numbers("`similarity`", "sentence-transformers", found, scores)


def classify(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare labels with those of transformers' pipeline, one among all and each by itself."""
    names = {number: f"label {number}" for number in range(5)}
    kinds = (
        ("single_label_classification", "one label among all"),
        ("multi_label_classification", "labels by themselves"),
    )
    for problem, told in kinds:
        source = place.make(
            transformers.AutoModelForSequenceClassification,
            problem.replace("_", "-"),
            id2label=names,
            problem_type=problem,
        )
        pipe = _pipeline("text-classification", source)
        wanted = pipe(list(texts), top_k=None, truncation=True, max_length=_WINDOW)
        with place.load(source, problem.replace("_", "-")) as model:
            found = [{each.name: each.score for each in one.labels} for one in model.classify(texts)]
        expected = [{each["label"]: each["score"] for each in one} for one in wanted]
        yield compare_named(f"`classify`, {told}", "transformers, text-classification", found, expected)


def regress(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare numbers with those of transformers' pipeline."""
    source = place.make(
        transformers.AutoModelForSequenceClassification, "regress", num_labels=1, problem_type="regression"
    )
    wanted = _pipeline("text-classification", source)(
        list(texts), function_to_apply="none", truncation=True, max_length=_WINDOW
    )
    with place.load(source, "regress") as model:
        found = [each.value for each in model.regress(texts)]
    yield compare_numbers("`regress`", "transformers, text-classification", found, [each["score"] for each in wanted])


def extract(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare spans with those of transformers' pipeline; the slice of the text must be what it says."""
    names = dict(enumerate(("O", "B-PER", "I-PER", "B-LOC", "I-LOC")))
    source = place.make(transformers.AutoModelForTokenClassification, "extract", id2label=names)
    with place.load(source, "extract") as model:
        for aggregation in _AGGREGATIONS:
            pipe = _pipeline("token-classification", source, aggregation_strategy=aggregation)
            wanted = [
                {(each["entity_group"], each["start"], each["end"]): float(each["score"]) for each in pipe(text)}
                if text
                else {}
                for text in texts
            ]
            found = []
            for text, one in zip(texts, model.extract(texts, aggregation=aggregation), strict=True):
                if any(text[each.start : each.end] != each.text for each in one.entities):
                    raise ValueError(f"a span of {text[:40]!r} is not its slice")
                found.append({(each.label, each.start, each.end): each.score for each in one.entities})
            yield compare_named(f"`extract`, {aggregation}", "transformers, token-classification", found, wanted)


def rerank(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare scores with those of a CrossEncoder."""
    source = place.make(transformers.AutoModelForSequenceClassification, "rerank", num_labels=1)
    with quiet_libraries():
        original = CrossEncoder(str(source), device="cpu", local_files_only=True, max_length=_WINDOW)
        wanted = original.predict([(_QUERY, text) for text in texts], show_progress_bar=False)
    with place.load(source, "rerank") as model:
        ranked = model.rerank(texts, _QUERY)
    found = [each.score for each in sorted(ranked, key=lambda each: each.index)]
    yield compare_numbers("`rerank`", "sentence-transformers, CrossEncoder", found, wanted)


def zeroshot(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare labels with those of transformers' pipeline, which takes an empty text for no text."""
    names = dict(enumerate(("contradiction", "neutral", "entailment")))
    numbers = {name: number for number, name in names.items()}
    source = place.make(transformers.AutoModelForSequenceClassification, "zeroshot", id2label=names, label2id=numbers)
    texts = [text for text in texts if text]
    pipe = _pipeline("zero-shot-classification", source)
    with place.load(source, "zeroshot") as model:
        for multi_label in (False, True):
            wanted = pipe(texts, candidate_labels=list(_TOPICS), hypothesis_template=_TEMPLATE, multi_label=multi_label)
            found = model.zeroshot(texts, _TOPICS, template=_TEMPLATE, multi_label=multi_label)
            told = "labels by themselves" if multi_label else "one label among all"
            yield compare_named(
                f"`zeroshot`, {told}",
                "transformers, zero-shot-classification",
                [{each.name: each.score for each in one.labels} for one in found],
                [dict(zip(one["labels"], one["scores"], strict=True)) for one in wanted],
            )


def fill(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare words for a mask before each text with those of transformers' pipeline."""
    source = place.make(transformers.AutoModelForMaskedLM, "fill")
    pipe = _pipeline("fill-mask", source, tokenizer_kwargs={"truncation": True, "max_length": _WINDOW})
    mask = pipe.tokenizer.mask_token
    asked = [f"{mask} {text}".replace(mask, "", text.count(mask)) for text in texts]  # one each
    with place.load(source, "fill") as model:
        found = [{word.text: word.score for word in one.masks[0].words} for one in model.fill(asked)]
    wanted = [{each["token_str"]: each["score"] for each in pipe(text)} for text in asked]
    yield compare_named("`fill`", "transformers, fill-mask", found, wanted)


def answer(place: Place, texts: Sequence[str]) -> Iterator[Row]:
    """Compare the best answer with what PyTorch's scores say, pair of tokens by pair; there is no pipeline any more."""
    source = place.make(transformers.AutoModelForQuestionAnswering, "answer")
    with quiet_libraries():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        original = transformers.AutoModelForQuestionAnswering.from_pretrained(source).eval()
    wanted = [_best_answer(tokenizer, original, text) for text in texts]
    with place.load(source, "answer") as model:
        found = []
        for text, one in zip(texts, model.answer(texts, _QUERY), strict=True):
            if any(text[each.start : each.end] != each.text for each in one.answers):
                raise ValueError(f"an answer in {text[:40]!r} is not its slice")
            found.append({(each.start, each.end): each.score for each in one.answers})
    yield compare_named("`answer`", "transformers' model in PyTorch, all pairs of tokens", found, wanted)


def _best_answer(tokenizer: Any, model: Any, text: str, most: int = 15) -> dict[tuple[int, int], float]:
    tokens = tokenizer(_QUERY, text, truncation=True, max_length=_WINDOW, return_tensors="pt")
    with torch.inference_mode():
        out = model(**tokens)
    own = [place for place, of in enumerate(tokens.sequence_ids(0)) if of == 1]
    shares = []
    for logits in (out.start_logits[0].double().numpy(), out.end_logits[0].double().numpy()):
        powers = np.exp(logits - logits.max())
        shares.append(powers / powers[[0, *own]].sum())
    starts, ends = shares
    pairs = [(starts[i] * ends[j], i, j) for i in own for j in own if i <= j < i + most]
    if not pairs:
        return {}
    score, first, last = max(pairs)
    begin = tokens.word_to_chars(0, tokens.token_to_word(0, first), 1).start
    end = tokens.word_to_chars(0, tokens.token_to_word(0, last), 1).end
    return {(begin, end): float(score)}


def _pipeline(task: str, source: Path, **options: Any) -> Any:
    with quiet_libraries():
        make: Any = transformers.pipeline  # its types know each task by a literal
        return make(task, model=str(source), device="cpu", **options)


CASES: Final[Mapping[str, Callable[[Place, Sequence[str]], Iterator[Row]]]] = {
    "embed": embed,
    "classify": classify,
    "zeroshot": zeroshot,
    "extract": extract,
    "answer": answer,
    "fill": fill,
    "rerank": rerank,
    "regress": regress,
}


def run(names: Sequence[str]) -> list[Row]:
    """Compare some tasks."""
    texts = [*real_texts(_REAL, seed=11), *(probe.text for probe in make_probes(_WINDOW))]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home:
        place = Place(unpack_checkpoint(Path(home) / "checkpoint"), Path(home))
        for name in names:
            say(f"comparing {name}")
            rows += CASES[name](place, texts)
    return rows


def render(rows: Sequence[Row]) -> str:
    """Return the page."""
    libraries = ("sentence-transformers", "tokenizers", "torch", "transformers")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    cells = [[row.task, row.reference, f"{row.same} of {row.compared}", f"{row.difference:.1e}"] for row in rows]
    table = "\n".join(markdown(["Task", "Beside", "The same", "Largest difference"], cells))
    return f"""<!-- Made by `python -m bench.agreement`; run it again instead of editing. -->

# Agreement

Each task beside the library whose answers its users know, on the same weights: the encoder of all-MiniLM-L6-v2, and
where a task needs a head, one of random weights. The texts are {_REAL} real ones (tweets, reviews, questions, e-mails,
news) and the {len(make_probes(_WINDOW))} of the accuracy gate, with emoji, combining marks, scripts from right to left,
control characters and texts over the window. Served in float32 by ONNX Runtime.

*The same* counts texts: the same labels or spans with scores within {_SCORE_TOLERANCE:g}, of vectors every number. The
slice of a text from `start` to `end` of each span is the text that is told.

{table}

Word by word (`first`, `average`, `max`), `extract` differs on purpose where transformers' pipeline takes a token for
the rest of a word because the slice of the text has another length than the token, as where accents or control
characters are dropped: the pipeline then joins a word to the one before it.

With {versions}.
"""


def main() -> int:
    """Compare, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.agreement", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=CASES, default=list(CASES))
    asked = parser.parse_args()
    rows = run(asked.tasks)
    page = render(rows)
    if asked.tasks == list(CASES):
        PAGE.write_text(page, encoding="utf-8")
    say(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
