"""Write what is generated from proto/; ``--check`` only compares and names the files that differ.

Usage: python scripts/protos.py [--check]
"""

import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from grpc_tools import protoc

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ROOT / "proto"
FOLDER: Final = ROOT / "src/headrace/api/grpc/generated"


def main() -> None:
    """Write or compare every file."""
    made = generate()
    if sys.argv[1:] == ["--check"]:
        stale = stale_files(made, FOLDER)
        for name in stale:
            print(f"{FOLDER.relative_to(ROOT)}/{name} is not what proto/ says; run: make protos", file=sys.stderr)
        sys.exit(bool(stale))
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def generate() -> dict[str, str]:
    """Return the files that the contracts make, by name.

    Raises:
        ValueError: A contract is wrong; the compiler has said where.
    """
    known = str(resources.files("grpc_tools") / "_proto")
    sources = sorted(str(path) for path in SOURCES.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["protoc", f"-I{SOURCES}", f"-I{known}", f"--python_out={folder}", f"--pyi_out={folder}", *sources]
        if protoc.main(arguments):
            raise ValueError("protoc refused what is in proto/")
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(folder).iterdir())}


def stale_files(made: Mapping[str, str], folder: Path) -> list[str]:
    """Return the files that differ from what was made, are missing, or are made no more."""
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*_pb2.py*")}
    return sorted(name for name in {*made, *present} if made.get(name) != present.get(name))


if __name__ == "__main__":
    main()
