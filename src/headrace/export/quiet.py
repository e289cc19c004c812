"""Keeps what PyTorch's libraries say of themselves away from the user."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

_LOGGERS: Final = ("torch", "onnxscript", "onnx_ir")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' own talk away from the user, and leave their settings as they were.

    transformers draws a bar and logs a table of weights, which ``load_encoder`` checks itself; the exporter logs
    its passes and warns of its own deprecations, which a user of Headrace can do nothing about.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            for category in (DeprecationWarning, FutureWarning, UserWarning):
                warnings.filterwarnings(
                    "ignore", category=category, module=r"(torch|onnxscript|onnx_ir|transformers|copyreg)"
                )
            if "transformers" in sys.modules:  # one that is not loaded says nothing, and loads for seconds
                stack.enter_context(_quiet_transformers())
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    from transformers import logging as talk  # noqa: PLC0415 - as above

    verbosity, has_bar = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity(logging.CRITICAL)
    talk.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        talk.set_verbosity(verbosity)
        if has_bar:
            talk.enable_progress_bar()  # type: ignore[no-untyped-call]
