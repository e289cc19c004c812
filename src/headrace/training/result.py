"""The folder that a training leaves: a checkpoint as transformers writes it, and how it came about.

Anybody's tools can read it, and another training can start from it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from headrace.export.quiet import quiet_libraries
from headrace.export.tokenizer import write_tokenizer
from headrace.models.checkpoint import README, TOKENIZER, TOKENIZER_CONFIG, Checkpoint
from headrace.models.disk import writing
from headrace.models.files import read_object
from headrace.training.charts import draw_confusion, draw_learning
from headrace.training.outcome import Outcome
from headrace.training.run import TrainingState

REPORT: Final = "report.json"
LEARNING: Final = "learning.png"
CONFUSION: Final = "confusion.png"

_CARD: Final = """\
---
{license}base_model: {base}
pipeline_tag: {recipe}
---

# {name}

Trained with the recipe `{recipe}` of Headrace from {base}, on {learned:,} examples.

On {held_out:,} others: {metrics}.

![Loss and {leading} over the steps]({learning})
{confusion}
`{report}` has every number of the training and every measurement.
"""


def write_result(
    folder: Path, name: str, base: Checkpoint, outcome: Outcome, state: TrainingState, identity: Mapping[str, Any]
) -> None:
    """Write the folder, in place of one that was there; nobody sees a half of it.

    Raises:
        StoreUnusable: The disk is full, or may not be written.
    """
    draft = folder.with_name(folder.name + ".new")
    with writing(folder):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        with quiet_libraries():
            outcome.model.save_pretrained(draft)
        write_tokenizer(base.folder, draft / TOKENIZER)
        _write_json(draft / TOKENIZER_CONFIG, _tokenizer_config(base))
        _write_json(draft / REPORT, _report(name, outcome, state, identity))
        for file, content in outcome.files.items():
            (draft / file).parent.mkdir(exist_ok=True)
            _write_json(draft / file, content)
        draw_learning(state, name, draft / LEARNING)
        if outcome.confusion is not None:
            draw_confusion(outcome.confusion, outcome.labels, draft / CONFUSION)
        (draft / README).write_text(_card(name, base, outcome, identity), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)


def _tokenizer_config(base: Checkpoint) -> dict[str, Any]:
    """Return the base's, with its window: of a sentence-transformers model another file has that."""
    return {**read_object(base.folder, TOKENIZER_CONFIG), "model_max_length": base.max_tokens}


def _report(name: str, outcome: Outcome, state: TrainingState, identity: Mapping[str, Any]) -> dict[str, Any]:
    learned, held_out = outcome.examples
    return {
        "name": name,
        "metrics": dict(outcome.metrics),
        "examples": {"train": learned, "held_out": held_out},
        "training": dict(identity),
        "steps": state.step,
        "best_step": state.best,
        "elapsed_s": round(state.elapsed_s, 1),
        "measured": [{"step": step, **metrics} for step, metrics in state.measured],
        "losses": [{"step": step, "loss": loss} for step, loss in state.losses],
        "labels": list(outcome.labels),
        "confusion": None if outcome.confusion is None else outcome.confusion.tolist(),
    }


def _card(name: str, base: Checkpoint, outcome: Outcome, identity: Mapping[str, Any]) -> str:
    learned, held_out = outcome.examples
    return _CARD.format(
        license=f"license: {base.license}\n" if base.license else "",
        base=identity["base"],
        recipe=identity["recipe"],
        name=name,
        learned=learned,
        held_out=held_out,
        metrics=", ".join(f"{key} {value:.4f}" for key, value in outcome.metrics.items()),
        leading=next(iter(outcome.metrics)),
        learning=LEARNING,
        confusion="" if outcome.confusion is None else f"![What was taken for what]({CONFUSION})\n",
        report=REPORT,
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
