"""Which version this is; in a module of its own, since the package itself is at the top of the imports."""

from typing import Final

VERSION: Final = "0.1.0.dev0"
