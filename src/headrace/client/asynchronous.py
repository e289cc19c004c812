"""The client for programs that run an event loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Self, TypedDict, Unpack, cast

from headrace.client.address import read_address
from headrace.client.asking import Asking, Call, Limits
from headrace.client.base import ModelShown, Transport
from headrace.client.transports import choose_transport
from headrace.client.trust import StrPath, trust_of
from headrace.errors import ServiceStopping, SettingInvalid
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


class ClientOptions(TypedDict, total=False):
    """What ``Client`` may be told beside the address and the key, as it says there."""

    authorities: StrPath
    certificate: tuple[StrPath, StrPath]
    timeout_s: float
    retries: int
    max_inputs: int
    max_requests: int


class AsyncClient:
    """Asks a server what ``headrace.load`` answers in this process: ``Client`` tells the rest.

        async with headrace.AsyncClient("http://127.0.0.1:8000") as client:
            vectors = await client.embed(["Hello, mill."])

    It belongs to the event loop that first asks, as its connections do. A call that is cancelled is given up at once.

    Args:
        url: As of ``Client``, and so are the others.
        key: Is shown to the server.
        options: As of ``Client``.

    Raises:
        SettingInvalid: One of them cannot have such a value.
        DependencyMissing: The address is one of gRPC, which is not installed.
    """

    def __init__(self, url: str, *, key: str | None = None, **options: Unpack[ClientOptions]) -> None:
        trust = trust_of(options.pop("authorities", None), options.pop("certificate", None))
        address = read_address(url, key, trust)
        self._url = address.url
        self._limits = Limits(**cast("dict[str, Any]", options))  # without those two, which mypy does not see
        _check(self._limits)
        self._make: Callable[[], Transport] = choose_transport(address)
        self._asking: Asking | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        self._is_closed = True
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.aclose()

    async def models(self) -> list[ModelShown]:
        """Return the models that the key may use, the default first."""
        return await self._open().list_models()

    async def embed(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[EmbedOptions],
    ) -> FloatArray:
        """Return the texts as vectors, shape ``(n, d)``, float32."""
        return await self._open().embed(Call("embed", texts, options, model, within_s))

    async def similarity(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[SimilarityOptions],
    ) -> list[Similarity]:
        """Return how near each text is to a query."""
        return cast(
            "list[Similarity]", await self._open().ask(Call("similarity", texts, options, model, within_s, query=query))
        )

    async def classify(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> list[Classification]:
        """Return the labels of each text, the best first."""
        return cast("list[Classification]", await self._open().ask(Call("classify", texts, options, model, within_s)))

    async def zeroshot(
        self,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ZeroshotOptions],
    ) -> list[Classification]:
        """Return for each text which of some labels it has, the best first."""
        return cast(
            "list[Classification]",
            await self._open().ask(Call("zeroshot", texts, options, model, within_s, labels=labels)),
        )

    async def extract(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[ExtractOptions],
    ) -> list[Extraction]:
        """Return the spans of each text that have labels."""
        return cast("list[Extraction]", await self._open().ask(Call("extract", texts, options, model, within_s)))

    async def fill(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[FillOptions],
    ) -> list[Filling]:
        """Return the masks of each text with the words that may stand there; what a mask is, the model says."""
        return cast("list[Filling]", await self._open().ask(Call("fill", texts, options, model, within_s)))

    async def answer(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[AnswerOptions],
    ) -> list[Finding]:
        """Return the parts of each text that answer a question, which is the query."""
        return cast(
            "list[Finding]", await self._open().ask(Call("answer", texts, options, model, within_s, query=query))
        )

    async def rerank(
        self,
        texts: Sequence[str],
        query: str,
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[RerankOptions],
    ) -> list[Ranking]:
        """Return the texts, the best answer to the query first, by ``index``; as many as were asked for."""
        return cast(
            "list[Ranking]", await self._open().ask(Call("rerank", texts, options, model, within_s, query=query))
        )

    async def regress(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        within_s: float | None = None,
        **options: Unpack[TextOptions],
    ) -> list[Regression]:
        """Return the number of each text."""
        return cast("list[Regression]", await self._open().ask(Call("regress", texts, options, model, within_s)))

    def _open(self) -> Asking:
        """Return what asks on the running loop."""
        if self._is_closed:
            raise ServiceStopping(f"the client of {self._url} was closed; make another one")
        loop = asyncio.get_running_loop()
        if self._asking is None:
            self._loop, self._asking = loop, Asking(self._make(), self._limits)
        if self._loop is not loop:
            raise RuntimeError(f"the client of {self._url} belongs to another event loop; make one for each")
        return self._asking


def _check(limits: Limits) -> None:
    """Check how a server is to be asked.

    Raises:
        SettingInvalid: Not so.
    """
    least = {"timeout_s": 0.001, "retries": 0, "max_inputs": 1, "max_requests": 1}
    for name, most in {"timeout_s": 3600, "retries": 10, "max_inputs": 65536, "max_requests": 1024}.items():
        value = getattr(limits, name)
        if not least[name] <= value <= most:
            raise SettingInvalid(f"{name} is {value!r}; give one from {least[name]} to {most}", field=name)
