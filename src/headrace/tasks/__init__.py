"""What a task means: pure functions, no I/O. One file for each task, one word for it on every surface."""

from collections.abc import Mapping
from typing import Final

from headrace.tasks import classify, embed
from headrace.tasks.base import Task
from headrace.types import TaskName

TASKS: Final[Mapping[TaskName, Task]] = {task.name: task for task in (classify.TASK, embed.TASK)}
