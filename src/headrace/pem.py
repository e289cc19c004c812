"""Files of certificates and keys, in PEM."""

from pathlib import Path
from typing import Final

_LONGEST: Final = 1 << 20  # bytes of a file; a bundle of all public authorities has 230 KB


def read_pem(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        ValueError: It cannot be read, or is too long; says which.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    if len(data) > _LONGEST:
        raise ValueError("it is no certificate or key, it is too long")
    return data


def refuse_password() -> str:
    """Refuse to ask somebody at a terminal for the password of a key, as OpenSSL would.

    Raises:
        ValueError: Always.
    """
    raise ValueError("the key has a password")
