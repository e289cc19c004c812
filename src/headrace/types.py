"""Frozen values that cross layers.

They are parsed once at the border and trusted inside. Times are seconds on the monotonic clock unless a
name says otherwise; a deadline is a point on that clock, never a duration.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from headrace.allowance import Allowance
from headrace.options import Options

FloatArray = NDArray[np.float32]
Arrays = Mapping[str, NDArray[Any]]
"""Named arrays of one text: the model's outputs with the batch axis taken away."""

ModelTask = Literal["answer", "classify", "embed", "extract", "fill", "regress", "rerank", "zeroshot"]
"""What a model does by itself."""

PAIRED: Final[frozenset[ModelTask]] = frozenset({"answer", "rerank", "zeroshot"})
"""What is done by models that read two texts at a time."""

TaskName = Literal[ModelTask, "similarity"]
"""What can be asked for: what a model does, or what is made of several of its results."""
ScoreFunction = Literal["softmax", "sigmoid", "identity"]
"""What turns a model's scores into those that are told: probabilities of one label among all, or of each by itself, or
what they are already."""

MODEL_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""The whole grammar of a model name. It has no separator of any file system or URL, so a name can be a folder."""


Text = str | tuple[str, str]
"""What a model reads at a time: a text, or two that it reads as one, such as a question and a passage."""


def parts_of(text: Text) -> tuple[str, ...]:
    """Return the text, or the two."""
    return (text,) if isinstance(text, str) else text


_ENTAILMENT: Final = "entail"


def find_entailment(labels: Sequence[str]) -> int | None:
    """Return which of a model's labels says that a sentence follows from a text; nothing if none does.

    It is known by its name, as in transformers; a model that has such a label is one of natural language inference.
    """
    return next((index for index, label in enumerate(labels) if label.lower().startswith(_ENTAILMENT)), None)


class Scope(enum.StrEnum):
    """What a caller may do."""

    INFER = "infer"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    METRICS_READ = "metrics:read"
    EVENTS_READ = "events:read"
    KEYS = "keys"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, as the guard established it.

    Attributes:
        name: Identifier for limits and logs; never the key itself.
        scopes: What this caller may do.
        tenant: Whose caller it is: what one tenant asked is remembered for no other. Empty where there is only one.
        models: Names of the models that it may use; ``None`` for all.
    """

    name: str
    scopes: frozenset[Scope]
    tenant: str = ""
    models: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a model is, as far as its task must know to make results of its outputs.

    Attributes:
        labels: Names of the scores, of a text or of a token, in the order in which the model gives them.
        function: Turns scores into probabilities.
        mask: What stands in a text for a word that is to be found; nothing if the model finds none.
        dimensions: Numbers of its embeddings.
        prompts: What it was trained to see before a text, by name.
    """

    labels: tuple[str, ...] = ()
    function: ScoreFunction = "softmax"
    mask: str | None = None
    dimensions: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call, whichever way it came in.

    Attributes:
        query: What the inputs are compared with, for a task that compares, or what is asked of them.
        labels: What the inputs may be about, for a task that is told so with each request.
        deadline: Point on the monotonic clock after which nobody waits for the answer any more.
        model: A model, or one of its versions as ``name@version``; nothing for the first that does the task.
        routing_key: Requests with the same one are answered by the same version while another is tried out.
        may_recall: Whether what is remembered will do; else all of it is computed, and remembered.
    """

    task: TaskName
    inputs: tuple[str, ...]
    caller: Caller
    request_id: str
    deadline: float
    model: str | None = None
    routing_key: str | None = None
    query: str | None = None
    labels: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    may_recall: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the model gave for one window of a text; an ordinary text is one window.

    Attributes:
        arrays: The graph's outputs by name, the batch axis taken away; for an embedding model
            ``embedding`` of shape ``(d,)`` and ``norm`` of shape ``()``, float32. Where the graph says something of
            each token, ``spans`` of shape ``(s, 3)``, int32, has the first character and the one after the last of
            each of them, and the number of its word in the text, which is -1 for a special token. Of two texts that is
            the second; the tokens of the first are marked like special ones. A model that finds words for masks says
            nothing of other tokens: its arrays and ``spans`` have a row for each mask.
        tokens: Tokens computed, special tokens included, padding not.
        weight: How many of them are the text's own and were not in the window before; 0 only for an empty text.
    """

    arrays: Arrays
    tokens: int
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What every answer to one text says.

    Attributes:
        tokens: Tokens that were computed, special tokens included, those of all windows together.
        truncated: Whether the text was longer than the model's window and was cut.
        windows: In how many windows it was computed; more than one only if the caller chose ``chunk``.
    """

    tokens: int
    truncated: bool
    windows: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding(Result):
    """One text as a vector.

    Attributes:
        values: Shape ``(d,)``, float32.
    """

    values: FloatArray


@dataclass(frozen=True, slots=True)
class Label:
    """A label with its score: a probability, unless the caller asked for the model's own scores."""

    name: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Result):
    """The labels of one text.

    Attributes:
        labels: The best first; equal ones in the model's order.
    """

    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Entity:
    """A span of a text with its label.

    Attributes:
        score: Probability of the label, over the tokens of the span as the aggregation says.
        start: Index of its first character, in Unicode code points.
        end: Index after its last character.
        text: The slice of the text from start to end.
    """

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction(Result):
    """The entities of one text, in its order."""

    entities: tuple[Entity, ...]


@dataclass(frozen=True, slots=True)
class Word:
    """What may stand in the place of a mask.

    Attributes:
        text: With the space before it, where the model's words have one.
        score: Probability among all words of the model.
    """

    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask in a text, and what may stand there.

    Attributes:
        start: Index of its first character, in Unicode code points.
        end: Index after its last character.
        words: The best first.
    """

    start: int
    end: int
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling(Result):
    """The masks of one text, in its order."""

    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression(Result):
    """The number that a model reads from one text."""

    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarity(Result):
    """How near one text is to the query.

    Attributes:
        score: Cosine of the angle between their embeddings.
    """

    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking(Result):
    """How well one text answers the query.

    Attributes:
        index: Its place among the inputs.
        score: As the model was trained to give it, or its own if raw scores were asked for.
    """

    index: int = 0
    score: float


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a text that answers a question.

    Attributes:
        score: Probability that the answer is this part of what the model read.
        start: Index of its first character, in Unicode code points.
        end: Index after its last character.
        text: The slice of the text from start to end.
    """

    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Result):
    """What one text says to a question.

    Attributes:
        answers: The best first.
        no_answer: Probability that the text has no answer, as the model sees it; of a model that was not trained on
            questions without an answer it means little.
    """

    answers: tuple[Span, ...]
    no_answer: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entailment(Result):
    """Whether one sentence follows from a text, as a model of natural language inference gives it.

    Attributes:
        entailment: Its score for "it follows"; no probability.
        contradiction: Its score for "it cannot be".
    """

    entailment: float
    contradiction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Where the time of one request went, in seconds.

    The texts of a request, and the windows of a text, run in several batches at once, so the parts are the
    maximum over them and need not add up to the total.
    """

    queue_s: float = 0.0
    tokenize_s: float = 0.0
    run_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request gets back: one result for each input, in the order of the inputs; of a ranking, the best first.

    Attributes:
        tokens: Of all that had to be read, the query and what the cache had included.
        cached: How many texts the cache had.
        is_remembered: Whether it had all of them.
        allowances: What the caller may still use, of the limit first that is nearest to its end; nothing where there is
            no limit.
    """

    model: str
    revision: str
    task: TaskName
    results: tuple[Result, ...]
    timings: Timings
    tokens: int
    cached: int
    is_remembered: bool = False
    allowances: Sequence[Allowance] = ()
