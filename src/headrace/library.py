"""Headrace as a library: models of the store, asked from ordinary Python.

The service is asynchronous. Here it runs on a loop in a thread of its own, in this process, and callers wait for it.
"""

import contextlib
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, Unpack, cast

import numpy as np

from headrace.app import count_at_once, for_one_caller, open_service
from headrace.background import Background
from headrace.errors import HeadraceError, RequestInvalid, ServiceStopping
from headrace.options import (
    AnswerOptions,
    ClassifyOptions,
    EmbedOptions,
    ExtractOptions,
    FillOptions,
    Options,
    RerankOptions,
    SimilarityOptions,
    TextOptions,
    ZeroshotOptions,
)
from headrace.settings import load_settings
from headrace.tasks.base import shift_input
from headrace.tasks.rerank import choose_best
from headrace.types import (
    Caller,
    Classification,
    Embedding,
    Extraction,
    Filling,
    Finding,
    FloatArray,
    Ranking,
    Regression,
    Request,
    Result,
    Scope,
    Similarity,
    TaskName,
)

if TYPE_CHECKING:
    from headrace.service import Service

_LIMIT_S: Final = 3600.0  # for one part of a long list; it only bounds a wait that would never end
_CALLER: Final = Caller("library", frozenset(Scope))


class Model:
    """A loaded model.

    Each method does one task; which one the model can do, ``headrace models`` tells. Texts are a list of any length,
    and there is one result for each, in their order. Methods may be called from several threads at once, and their
    texts are then computed together.

    Every method raises ``HeadraceError`` if a text cannot be answered: ``error.code`` says why and ``error.field`` for
    which one, such as ``inputs[3]``. What the options mean, ``headrace.options.Options`` tells.

    Args:
        name: Name in the store.
        settings: Options by key, such as ``{"engine.runtime": "onnx"}``; those that are not given come from the
            environment and the settings file.

    Raises:
        ModelUnknown: The name is not in the store.
        ModelCorrupt: The model folder is not as it was written.
        SettingInvalid: A key is no option, or an option cannot have such a value.
    """

    def __init__(self, name: str, settings: Mapping[str, Any] | None = None) -> None:
        loaded = for_one_caller(load_settings(settings))
        self._settings = loaded.settings
        self._name = name
        self._loop = Background(f"headrace-{name}")
        self._stack = contextlib.AsyncExitStack()
        try:
            opening = self._stack.enter_async_context(open_service(loaded, [name]))
            self._service: Service = self._loop.wait(lambda: opening)
        except BaseException:
            self._loop.close(self._stack.aclose)
            raise
        self._close = weakref.finalize(self, self._loop.close, self._stack.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the model; may be called twice. Otherwise it is released when nobody refers to it any more."""
        self._close()

    def embed(self, texts: Sequence[str], **options: Unpack[EmbedOptions]) -> FloatArray:
        """Return the texts as vectors, shape ``(n, d)``, float32."""
        vectors = [cast("Embedding", each).values for each in self._ask("embed", texts, Options(**options))]
        return np.stack(vectors) if vectors else np.empty((0, 0), np.float32)

    def similarity(self, texts: Sequence[str], query: str, **options: Unpack[SimilarityOptions]) -> list[Similarity]:
        """Return how near each text is to a query."""
        return cast("list[Similarity]", self._ask("similarity", texts, Options(**options), query))

    def classify(self, texts: Sequence[str], **options: Unpack[ClassifyOptions]) -> list[Classification]:
        """Return the labels of each text, the best first."""
        return cast("list[Classification]", self._ask("classify", texts, Options(**options)))

    def zeroshot(
        self, texts: Sequence[str], labels: Sequence[str], **options: Unpack[ZeroshotOptions]
    ) -> list[Classification]:
        """Return for each text which of some labels it has, the best first."""
        return cast("list[Classification]", self._ask("zeroshot", texts, Options(**options), labels=labels))

    def extract(self, texts: Sequence[str], **options: Unpack[ExtractOptions]) -> list[Extraction]:
        """Return the spans of each text that have labels."""
        return cast("list[Extraction]", self._ask("extract", texts, Options(**options)))

    def fill(self, texts: Sequence[str], **options: Unpack[FillOptions]) -> list[Filling]:
        """Return the masks of each text with the words that may stand there; what a mask is, the model says."""
        return cast("list[Filling]", self._ask("fill", texts, Options(**options)))

    def answer(self, texts: Sequence[str], query: str, **options: Unpack[AnswerOptions]) -> list[Finding]:
        """Return the parts of each text that answer a question, which is the query."""
        return cast("list[Finding]", self._ask("answer", texts, Options(**options), query))

    def rerank(self, texts: Sequence[str], query: str, **options: Unpack[RerankOptions]) -> list[Ranking]:
        """Return the texts, the best answer to the query first, by ``index``; as many as were asked for."""
        chosen = Options(**options)
        return list(choose_best(cast("list[Ranking]", self._ask("rerank", texts, chosen, query)), chosen))

    def regress(self, texts: Sequence[str], **options: Unpack[TextOptions]) -> list[Regression]:
        """Return the number of each text."""
        return cast("list[Regression]", self._ask("regress", texts, Options(**options)))

    def _ask(
        self,
        task: TaskName,
        texts: Sequence[str],
        options: Options,
        query: str | None = None,
        labels: Sequence[str] = (),
    ) -> list[Result]:
        if not self._close.alive:
            raise ServiceStopping(f"{self._name!r} was closed; load it again")
        for name, given in (("inputs", texts), ("labels", labels)):
            if isinstance(given, str):
                raise RequestInvalid(f"{name} is one text; put it in a list", field=name)
        found: list[Result] = []
        size = count_at_once(self._settings, len(labels))
        for start in range(0, len(texts), size):
            request = Request(
                task=task,
                model=self._name,
                inputs=tuple(texts[start : start + size]),
                query=query,
                labels=tuple(labels),
                caller=_CALLER,
                request_id="library",
                deadline=time.monotonic() + _LIMIT_S,
                options=options,
            )
            found += self._answer(request, start)
        return found

    def _answer(self, request: Request, start: int) -> Sequence[Result]:
        """Return the results of a part that begins at an index of the list; errors name places in the list."""
        try:
            results = self._loop.wait(lambda: self._service.run(request)).results
        except HeadraceError as error:
            raise shift_input(error, start) from None
        if request.task != "rerank":
            return results
        return [replace(each, index=start + each.index) for each in cast("Sequence[Ranking]", results)]
