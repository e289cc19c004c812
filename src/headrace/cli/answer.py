"""``headrace answer``: the answers to a question that the lines of a file have."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.classify import ThresholdFlag
from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

QuestionFlag = Annotated[str, typer.Option("--query", help="The question.", show_default=False)]
TopKFlag = Annotated[int, typer.Option("--top-k", min=1, max=100, help="How many answers of each line at most.")]
LengthFlag = Annotated[
    int, typer.Option("--max-answer-tokens", min=1, max=128, help="Longest answer, in tokens of the model.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerArguments(TextArguments):
    """What ``headrace answer`` is called with."""

    query: QuestionFlag
    top_k: TopKFlag = 1
    threshold: ThresholdFlag = None
    max_answer_tokens: LengthFlag = 15


@with_settings("engine", "store", "limits")
def answer(loaded: LoadedSettings, asked: AnswerArguments) -> None:
    """Find the answers to a question in the lines of a file; prints one JSON object for each: index, answers, ..."""
    options = Options(
        truncate=asked.truncate,
        top_k=asked.top_k,
        threshold=asked.threshold,
        max_answer_tokens=asked.max_answer_tokens,
    )
    answer_file(loaded, asked, "answer", options, asked.query)
