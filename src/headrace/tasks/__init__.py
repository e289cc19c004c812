"""What a task means: pure functions, no I/O. One file for each task, one word for it on every surface."""

from collections.abc import Mapping
from typing import Any, Final

from headrace.tasks import answer, classify, embed, extract, fill, regress, rerank, similarity, zeroshot
from headrace.tasks.base import Task
from headrace.types import Result, TaskName

TASKS: Final[Mapping[TaskName, Task]] = {
    each.TASK.name: each.TASK
    for each in (answer, classify, embed, extract, fill, regress, rerank, similarity, zeroshot)
}


def spell(task: TaskName, result: Result) -> dict[str, Any]:
    """Return the fields of a result, by the names that every surface has for them."""
    return {
        **TASKS[task].spell(result),
        "tokens": result.tokens,
        "truncated": result.truncated,
        "windows": result.windows,
    }
