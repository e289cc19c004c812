"""Headrace: from a Hugging Face text model to a fast, guarded production API on CPUs.

Importing this package is cheap on purpose (no NumPy, no runtime, no web framework): the command line
and the tools that only want the version pay nothing for the engine.
"""

from headrace.errors import HeadraceError

__all__ = ["HeadraceError", "__version__"]

__version__ = "0.1.0.dev0"
