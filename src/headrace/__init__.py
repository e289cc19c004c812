"""Headrace: from a Hugging Face text model to a fast, guarded production API on CPUs.

Importing this package is cheap on purpose (no NumPy, no runtime, no web framework): the command line
and the tools that only want the version pay nothing for the engine.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.version import VERSION

if TYPE_CHECKING:
    from headrace.client import AsyncClient, Client
    from headrace.library import Model

__all__ = ["AsyncClient", "Client", "HeadraceError", "__version__", "load"]

__version__ = VERSION


def load(name: str, settings: Mapping[str, Any] | None = None) -> "Model":
    """Load a model of the store into this process.

        with headrace.load("minilm") as model:
            vectors = model.embed(["Hello, mill."])

    The arguments and errors are those of ``headrace.library.Model``.
    """
    from headrace.library import Model  # noqa: PLC0415 - the runtime, which an import must not wait for

    return Model(name, settings)


def __getattr__(name: str) -> Any:
    """Return a client when somebody asks for one: who only loads a model needs no network."""
    if name in {"AsyncClient", "Client"}:
        return getattr(importlib.import_module("headrace.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
