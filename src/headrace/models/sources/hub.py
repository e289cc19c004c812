"""A checkpoint on the Hugging Face Hub, or on a mirror that speaks its protocol (``HF_ENDPOINT``).

``huggingface_hub`` does the talking and reads the token from its own places (``HF_TOKEN`` or ``hf auth login``).
The files go to a folder of their own: its cache is made of links, which a checkpoint may not hold.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from headrace.errors import ModelError, SourceInvalid, SourceMissing, SourceUnreachable
from headrace.models.checkpoint import wanted_files
from headrace.models.sources.base import Progress, Source, SourceSpec
from headrace.models.weights import find_weights

_TIMEOUT_S: Final = 20.0  # to the first byte; the hub answers in well under a second
_REFUSED: Final = (401, 403)


@contextmanager
def download_repository(spec: SourceSpec, progress: Progress, *, endpoint: str | None = None) -> Iterator[Source]:
    """Download the files of a checkpoint, and no others; they are removed when the context ends.

    The branch or tag is resolved to a commit first, and every file is of that commit.

    Args:
        spec: The repository.
        progress: Hears the bytes that arrive.
        endpoint: The hub's address; by default what ``HF_ENDPOINT`` says, else huggingface.co.

    Raises:
        SourceMissing: No such repository or revision, or one that this token may not read.
        SourceUnreachable: The hub did not answer.
        SourceUnsafe: It has pickles instead of safetensors; nothing of them is downloaded.
        SourceInvalid: It holds no weights.
        SourceUnsupported: Its weights are in several files.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        with progress.step(f"Downloading {spec.label}"):
            commit = _download(spec, Path(folder), progress, endpoint)
        yield Source(spec=spec, folder=Path(folder), revision=commit)


def _download(spec: SourceSpec, folder: Path, progress: Progress, endpoint: str | None) -> str:
    with _translated(spec):
        info = HfApi(endpoint=endpoint).model_info(spec.name, revision=spec.revision, timeout=_TIMEOUT_S)
    weights = find_weights([sibling.rfilename for sibling in info.siblings or ()])
    if info.sha is None:
        raise SourceUnreachable(f"the hub names no commit for {spec.label!r}; check HF_ENDPOINT", field="source")
    with _translated(spec):
        snapshot_download(
            spec.name,
            revision=info.sha,
            local_dir=folder,
            allow_patterns=list(wanted_files(weights)),
            endpoint=endpoint,
            etag_timeout=_TIMEOUT_S,
            tqdm_class=_reporter(progress),
        )
    return info.sha


@contextmanager
def _translated(spec: SourceSpec) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the library lets its HTTP client's errors pass, and changed the client twice
        structlog.get_logger().debug("source.failed", source=spec.label, error=str(error))
        raise _translate(spec, error) from error


def _translate(spec: SourceSpec, error: Exception) -> ModelError:
    """Say what went wrong in our words; the order matters, since the library's classes inherit from each other."""
    name = spec.name
    kind: type[ModelError] = SourceMissing
    if isinstance(error, HFValidationError):
        kind, message = SourceInvalid, f"{name!r} is no id the hub could have; use org/name"
    elif isinstance(error, GatedRepoError):
        message = f"{name!r} is gated: accept its terms on its page, then set HF_TOKEN to your token"
    elif isinstance(error, RevisionNotFoundError):
        message = f"{name!r} has no revision {spec.revision!r}; name a branch, a tag or a commit"
    elif isinstance(error, RepositoryNotFoundError) or _status(error) in _REFUSED:
        message = f"the hub has no model {name!r} that you may read; check its name, and HF_TOKEN if it is private"
    elif isinstance(error, OfflineModeIsEnabled) or isinstance(error.__cause__, OfflineModeIsEnabled):
        kind, message = SourceUnreachable, f"HF_HUB_OFFLINE forbids to download {name!r}; unset it"
    else:
        kind, message = SourceUnreachable, f"the hub did not answer for {name!r}; check the network and HF_ENDPOINT"
    return kind(message, field="source")


def _status(error: Exception) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _reporter(progress: Progress) -> type[tqdm]:
    """Return a progress bar that draws nothing and passes the bytes on."""

    class Reporter(tqdm):
        """Stands for the library's bars: two of bytes (network, disk) and one of files."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self._is_network = kwargs.get("desc") == "Downloading bytes"
            self._done = 0
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            if self._is_network:
                self._done += int(n or 0)
                progress.transferred(self._done, int(self.total) if self.total else None)
            return None

    return Reporter
