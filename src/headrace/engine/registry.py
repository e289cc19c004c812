"""The models that are loaded, by name."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.engine.base import Engine
from headrace.errors import ModelUnknown
from headrace.models.manifest import Manifest


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and the engine that runs it."""

    manifest: Manifest
    engine: Engine

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name


class Registry:
    """Loaded models; the first is the one that answers a request that names none."""

    def __init__(self, models: Sequence[LoadedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._default = models[0].name
        self._is_ready = False

    def __iter__(self) -> Iterator[LoadedModel]:
        return iter(self._models.values())

    @property
    def is_ready(self) -> bool:
        """Whether every model has answered a real probe inference and none is being stopped."""
        return self._is_ready

    def get(self, name: str | None) -> LoadedModel:
        """Return a model by name, the default for none.

        Raises:
            ModelUnknown: No model of that name is loaded.
        """
        model = self._models.get(self._default if name is None else name)
        if model is None:
            raise ModelUnknown(
                f"no model {(name or '')[:80]!r} is served here; ask for the list of models", field="model"
            )
        return model

    async def start(self) -> None:
        """Load every model and let it answer a probe."""
        for model in self:
            await model.engine.start()
            await model.engine.probe()
        self._is_ready = True

    async def aclose(self) -> None:
        """Stop every model."""
        self._is_ready = False
        await asyncio.gather(*(model.engine.aclose() for model in self))
