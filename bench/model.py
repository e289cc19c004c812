"""The model that everybody runs: Headrace's folder of it, and the checkpoint for libraries that read one."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.real import MODEL_SHA256, MODEL_SOURCE, unpack_checkpoint

from bench.places import cache_folder
from bench.progress import say
from bench.worker import clean_variables
from headrace.models.store import LocalStore

NAME: Final = "minilm"
_IMPORT_LIMIT_S: Final = 900


@dataclass(frozen=True, slots=True)
class Model:
    """The model on disk.

    Attributes:
        home: Headrace's data folder.
        folder: The model folder in it: graph and tokenizer.
        checkpoint: The original, as Hugging Face libraries read it.
        window: Most tokens of a text.
        hidden: Width of a layer.
        inner: Width of the middle of its feed-forward part.
    """

    home: Path
    folder: Path
    checkpoint: Path
    revision: str
    window: int
    hidden: int
    inner: int
    layers: int

    @property
    def flop_per_token(self) -> int:
        """Floating-point operations of the linear layers for one token."""
        return 2 * self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.inner)


def prepare_model() -> Model:
    """Import and unpack the model, unless that was done before."""
    cache = cache_folder()
    home, checkpoint = cache / "home", cache / "checkpoints" / MODEL_SHA256[:16]
    say(f"importing {MODEL_SOURCE} if it is not here yet")
    command = [sys.executable, "-m", "headrace", "import", MODEL_SOURCE, "--sha256", MODEL_SHA256, "--name", NAME]
    subprocess.run(
        [*command, "--if-missing", "--home", str(home)],
        check=True,
        env=clean_variables(offline=False),
        stdout=subprocess.DEVNULL,
        timeout=_IMPORT_LIMIT_S,
    )
    if not (checkpoint / "config.json").is_file():
        unpack_checkpoint(checkpoint)
    stored = LocalStore(home / "models").find(NAME)
    shape = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return Model(
        home=home,
        folder=stored.path,
        checkpoint=checkpoint,
        revision=stored.manifest.revision,
        window=stored.manifest.max_tokens,
        hidden=shape["hidden_size"],
        inner=shape["intermediate_size"],
        layers=shape["num_hidden_layers"],
    )
