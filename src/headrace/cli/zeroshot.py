"""``headrace zeroshot``: which of some labels the lines of a file have that no model was trained on."""

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace.cli.classify import ThresholdFlag, TopKFlag
from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings

LabelFlag = Annotated[
    list[str], typer.Option("--label", help="What a line may be about; once for each label.", show_default=False)
]
TemplateFlag = Annotated[
    str, typer.Option("--template", help="Makes a sentence of a label, which is put where it has {}.")
]
MultiLabelFlag = Annotated[
    bool, typer.Option("--multi-label", help="Score each label by itself, so that none or several may hold.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroshotArguments(TextArguments):
    """What ``headrace zeroshot`` is called with."""

    label: LabelFlag
    template: TemplateFlag = "This example is {}."
    multi_label: MultiLabelFlag = False
    top_k: TopKFlag = None
    threshold: ThresholdFlag = None


@with_settings("engine", "store", "limits")
def zeroshot(loaded: LoadedSettings, asked: ZeroshotArguments) -> None:
    """Classify the lines of a file by labels of your own; prints one JSON object for each: index, labels, and so on."""
    options = Options(
        truncate=asked.truncate,
        top_k=asked.top_k,
        threshold=asked.threshold,
        template=asked.template,
        multi_label=asked.multi_label,
    )
    answer_file(loaded, asked, "zeroshot", options, labels=asked.label)
