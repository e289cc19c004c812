"""How a server is asked, whichever way: one request, one answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from headrace.types import FloatArray, Result, TaskName

R = TypeVar("R")

# 256 embeddings of 4,096 numbers are 4 MiB, and as many texts of 32,768 characters with all their entities still fewer.
MOST_BYTES: Final = 64 << 20
"""Of an answer; what is longer is none of ours, and would only fill the memory."""
MOST_MESSAGE: Final = 1000
"""Characters of an error's message that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request.

    Attributes:
        model: A model, or one of its versions as ``name@version``; nothing for the first that does the task.
        options: As the caller chose them, by name; those that it left open are not there.
        routing_key: Requests with the same one are answered by the same version while another is tried out.
    """

    task: TaskName
    inputs: tuple[str, ...]
    model: str | None = None
    query: str | None = None
    labels: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    routing_key: str


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """The answer to one request.

    Attributes:
        revision: Of the model that answered.
    """

    revision: str
    results: R


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShown:
    """A model that is served, as ``GET /api/v1/models`` tells of it.

    Attributes:
        role: ``champion``: answers; ``canary``: answers a share; ``shadow``: is only compared.
        share: Of the requests, of a version that is tried out.
        runtime: Library that computes.
        precision: What it computes in.
        dimensions: Numbers that it gives for a text or a token.
        labels: Of a classifier of texts or tokens.
        mask: What stands for a word that it is to find.
        prompts: What it was trained to see before a text, by name.
    """

    name: str
    revision: str
    role: str
    share: float | None
    task: str
    runtime: str
    precision: str
    dimensions: int
    labels: tuple[str, ...]
    mask: str | None
    prompts: Mapping[str, str]
    max_tokens: int
    pooling: str
    normalize: bool
    source: str
    license: str | None


class Transport(Protocol):
    """A way to a server. It belongs to the event loop that first asks, and asks once: whether again, others decide.

    What a server refuses is raised as the error that it names. ``ServerUnreachable`` says that there was none, or that
    it hung up, and ``AnswerInvalid`` that what it answered cannot be the answer; no answer takes more memory than
    ``MOST_BYTES``. Nobody is told the key but the server.
    """

    async def ask(self, question: Question, timeout_s: float) -> Part[list[Result]]:
        """Return the results of any task but ``embed``: one for each input, or of a ranking as many as were asked for.

        Args:
            question: What is asked.
            timeout_s: Seconds that the caller waits, which the server is told.

        Raises:
            HeadraceError: As above.
        """
        ...

    async def embed(self, question: Question, timeout_s: float) -> Part[FloatArray]:
        """Return embeddings, shape ``(n, d)``, float32; else as ``ask``."""
        ...

    async def list_models(self, timeout_s: float) -> list[ModelShown]:
        """Return the models that the caller may use, the default first; raises as ``ask``."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...
