"""The client for ordinary Python."""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Self, TypeVar, Unpack

from headrace.background import Background, Work
from headrace.client.asynchronous import AsyncClient, ClientOptions
from headrace.client.base import ModelShown
from headrace.errors import ServiceStopping
from headrace.options import (
    AnswerOptions,
    ClassifyOptions,
    EmbedOptions,
    ExtractOptions,
    FillOptions,
    RerankOptions,
    SimilarityOptions,
    TextOptions,
    ZeroshotOptions,
)
from headrace.types import (
    Classification,
    Extraction,
    Filling,
    Finding,
    FloatArray,
    Ranking,
    Regression,
    Similarity,
)

R = TypeVar("R")


class Client:
    """Asks a server what ``headrace.load`` answers in this process, with the same words and the same results.

        with headrace.Client("http://127.0.0.1:8000", key="...") as client:
            vectors = client.embed(["Hello, mill."])

    Each method does one task. ``model`` is a model, or one of its versions as ``name@version``; by default the first
    that does the task. Texts are a list of any length, of which so many are sent at a time as the server takes, and
    there is one result for each, in their order. All of a list are answered by one version, also while another is tried
    out. ``within_s`` are the seconds that the caller waits for all of the list; by default as long as it takes. What
    the other options mean, ``headrace.options.Options`` tells.

    What may succeed later is asked again: after a pause that grows and is drawn by chance, as late as the server says,
    and at most a tenth more often than without. Every method raises ``HeadraceError`` if a text cannot be answered:
    ``error.code`` says why and ``error.field`` for which one, such as ``inputs[1234]``; the rest is given up.

    Methods may be called from several threads at once, and where an event loop runs. A process that is forked asks over
    connections of its own.

    Args:
        url: ``http://HOST[:PORT][/PATH]``, ``https://...``, ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` for TLS.
        key: Is shown to the server, and to nobody else; over a network use ``https`` or ``grpcs``.
        authorities: File in PEM with those whose certificates the server may have; by default those of this system.
        certificate: Files in PEM with a certificate and its key, shown to a server that wants one (``tls_clients``).
        timeout_s: For one request, all its attempts included; 30. The server is told, and gives up what comes too late.
        retries: How often one request is repeated at most; 3.
        max_inputs: Texts of one request at most; 256. A server that takes fewer is asked for fewer.
        max_requests: At once, of all callers together; 8.

    Raises:
        SettingInvalid: One of them cannot have such a value.
        DependencyMissing: The address is one of gRPC, which is not installed.
    """

    def __init__(self, url: str, *, key: str | None = None, **options: Unpack[ClientOptions]) -> None:
        make = partial(AsyncClient, url, key=key, **options)
        self._shown = repr(make()).removeprefix("Async")  # refuses what is wrong now, not with the first call
        self._asked = _Asked(make)
        self._close = weakref.finalize(self, self._asked.close)

    def __repr__(self) -> str:
        return self._shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; may be called twice. Otherwise they are when nobody refers to it any more."""
        self._close()

    def models(self) -> list[ModelShown]:
        """Return the models that the key may use, the default first."""
        return self._wait(lambda client: client.models())

    def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[EmbedOptions],
    ) -> FloatArray:
        """Return the texts as vectors, shape ``(n, d)``, float32."""
        return self._wait(lambda client: client.embed(texts, model=model, within_s=within_s, **options))

    def similarity(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[SimilarityOptions],
    ) -> list[Similarity]:
        """Return how near each text is to a query."""
        return self._wait(lambda client: client.similarity(texts, query, model=model, within_s=within_s, **options))

    def classify(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> list[Classification]:
        """Return the labels of each text, the best first."""
        return self._wait(lambda client: client.classify(texts, model=model, within_s=within_s, **options))

    def zeroshot(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ZeroshotOptions],
    ) -> list[Classification]:
        """Return for each text which of some labels it has, the best first."""
        return self._wait(lambda client: client.zeroshot(texts, labels, model=model, within_s=within_s, **options))

    def extract(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ExtractOptions],
    ) -> list[Extraction]:
        """Return the spans of each text that have labels."""
        return self._wait(lambda client: client.extract(texts, model=model, within_s=within_s, **options))

    def fill(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[FillOptions],
    ) -> list[Filling]:
        """Return the masks of each text with the words that may stand there; what a mask is, the model says."""
        return self._wait(lambda client: client.fill(texts, model=model, within_s=within_s, **options))

    def answer(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[AnswerOptions],
    ) -> list[Finding]:
        """Return the parts of each text that answer a question, which is the query."""
        return self._wait(lambda client: client.answer(texts, query, model=model, within_s=within_s, **options))

    def rerank(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[RerankOptions],
    ) -> list[Ranking]:
        """Return the texts, the best answer to the query first, by ``index``; as many as were asked for."""
        return self._wait(lambda client: client.rerank(texts, query, model=model, within_s=within_s, **options))

    def regress(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[TextOptions],
    ) -> list[Regression]:
        """Return the number of each text."""
        return self._wait(lambda client: client.regress(texts, model=model, within_s=within_s, **options))

    def _wait(self, ask: Callable[[AsyncClient], Work[R]]) -> R:
        if not self._close.alive:
            raise ServiceStopping(f"{self!r} was closed; make another one")
        return self._asked.wait(ask)


class _Asked:
    """An asynchronous client and the loop that it is on, which begin with the first call."""

    def __init__(self, make: Callable[[], AsyncClient]) -> None:
        self._make = make
        self._opening = threading.Lock()
        self._opened: tuple[Background, AsyncClient] | None = None
        _ALL.add(self)

    def wait(self, ask: Callable[[AsyncClient], Work[R]]) -> R:
        """Return what comes of asking."""
        with self._opening:
            if self._opened is None:
                self._opened = Background("headrace-client"), self._make()
            loop, client = self._opened
        return loop.wait(lambda: ask(client))

    def close(self) -> None:
        """Close the connections and end the loop."""
        with self._opening:
            opened = self._opened
        if opened is not None:
            loop, client = opened
            loop.close(client.aclose)

    def leave_behind(self) -> None:
        """Begin anew in a process that was forked: the thread is not in it, and the connections are the parent's."""
        _LEFT.append(self._opened)
        self._opening = threading.Lock()
        self._opened = None


_ALL: Final["weakref.WeakSet[_Asked]"] = weakref.WeakSet()
_LEFT: Final[list[object]] = []  # for ever: to take them down would end in the parent what both watch (epoll(7))


def _begin_anew() -> None:
    for asked in list(_ALL):
        asked.leave_behind()


os.register_at_fork(after_in_child=_begin_anew)
