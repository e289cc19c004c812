"""A checkpoint in a folder of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.errors import SourceMissing
from headrace.models.sources.base import Source, SourceSpec


@contextmanager
def use_folder(spec: SourceSpec) -> Iterator[Source]:
    """Give the folder as it is.

    Raises:
        SourceMissing: There is no such folder.
    """
    folder = Path(spec.name)
    if not folder.is_dir():
        raise SourceMissing(f"{spec.name!r} is no folder; name the folder that holds config.json", field="source")
    yield Source(spec=spec, folder=folder, revision=None)
