"""The models that are loaded, by name."""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from headrace.engine.agreement import REQUIRED, Reference, answer_reference, compare
from headrace.engine.base import SPANS, Engine, Job
from headrace.engine.plan import Plan
from headrace.errors import HeadraceError, ModelCorrupt, ModelUnknown, PrecisionUnfit
from headrace.models.manifest import Manifest
from headrace.types import ModelTask

_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and the engine that runs it.

    Attributes:
        plan: How the engine runs it.
        reference: What the original model answers to some texts; without it the answers are not compared.
    """

    manifest: Manifest
    engine: Engine
    plan: Plan
    reference: Reference | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name


class Registry:
    """Loaded models; the first is the one that answers a request that names none."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._default = models[0]
        self._is_ready = False

    def __iter__(self) -> Iterator[LoadedModel]:
        return iter(self._models.values())

    @property
    def is_ready(self) -> bool:
        """Whether every model has answered a real probe inference and none is being stopped."""
        return self._is_ready and all(model.engine.is_ready for model in self)

    def retry_after_s(self, arriving: int, size_bytes: int) -> float | None:
        """Return the least time until some model could let in a text; nothing if one could now.

        Args:
            arriving: Requests that are on their way, to whichever model.
            size_bytes: Of their bodies together.
        """
        least = math.inf
        for model in self:
            wait = model.engine.retry_after_s(arriving, size_bytes)
            if wait is None:
                return None
            least = min(least, wait)
        return least

    def get(self, name: str) -> LoadedModel:
        """Return a model by name.

        Raises:
            ModelUnknown: No model of that name is loaded.
        """
        model = self._models.get(name)
        if model is None:
            raise ModelUnknown(f"no model {name[:80]!r} is served here; ask for the list of models", field="model")
        return model

    def choose(self, name: str | None, task: ModelTask) -> LoadedModel:
        """Return the model that was named, else the first that does a task, else the first.

        Raises:
            ModelUnknown: No model of that name is loaded.
        """
        if name is not None:
            return self.get(name)
        return next((model for model in self if model.manifest.task == task), self._default)

    async def start(self) -> None:
        """Load every model, let it answer a probe, and compare what it gives with what its manifest says.

        Raises:
            HeadraceError: A model does not answer.
            ModelCorrupt: It answers something else than its manifest says.
            PrecisionUnfit: Its answers are too far from the original model's.
        """
        for model in self:
            await model.engine.start()
            await model.engine.probe()
            await _hold_to_manifest(model)
            if model.reference is not None:
                await _hold_to_reference(model, model.reference)
        self._is_ready = True

    async def aclose(self) -> None:
        """Stop every model."""
        self._is_ready = False
        await asyncio.gather(*(model.engine.aclose() for model in self))


async def _hold_to_manifest(model: LoadedModel) -> None:
    """Run a text of the whole window and compare the outputs' names and shapes."""
    manifest = model.manifest
    text = " ".join(["a"] * manifest.max_tokens)
    job = Job(texts=(text,), truncate="truncate", deadline=time.monotonic() + _LIMIT_S)
    item = (await model.engine.run(job)).items[0]
    if isinstance(item, HeadraceError):
        raise ModelCorrupt(
            f"{model.name!r} fails on a text of the {manifest.max_tokens} tokens its manifest allows; import it again"
        ) from item
    found = {name: array.shape for name, array in item.arrays.items() if name != SPANS}  # which no graph gives
    sizes = {"length": item.tokens}
    promised = {each.name: tuple(sizes.get(str(axis), axis) for axis in each.shape[1:]) for each in manifest.outputs}
    if found != promised or found[manifest.outputs[0].name][-1:] != (manifest.dimensions,):
        raise ModelCorrupt(f"{model.name!r} gives {found} and its manifest promises {promised}; import it again")


async def _hold_to_reference(model: LoadedModel, reference: Reference) -> None:
    """Compare answers with the original's: a runtime, a processor or a precision may compute something else."""
    agreement, required = (
        compare(reference, await answer_reference(model.engine, reference)),
        REQUIRED[model.plan.precision],
    )
    if not agreement.reaches(required):
        raise PrecisionUnfit(
            f"{model.name!r} as {model.plan} gives answers with {agreement} to the original's ({required} are"
            f" required); use --precision fp32, or headrace tune {model.name}"
        )
