"""What all errors have."""

from collections.abc import Iterator
from typing import ClassVar, Self


class HeadraceError(Exception):
    """Base of all errors that Headrace raises on purpose.

    Attributes:
        code: Stable ``noun.state`` identifier; clients may switch on it.
        retryable: Whether the same request can succeed later without being changed.
        field: Path of the offending value in the request, such as ``inputs[3]``, if there is one.
        retry_after_s: Seconds after which a retry is worth it, if that is known.
    """

    code: ClassVar[str] = "headrace.error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    def at(self, field: str) -> Self:
        """Return the same error, pointing at a place in the request."""
        return type(self)(self.message, field=field, retry_after_s=self.retry_after_s)


def error_classes(root: type[HeadraceError] = HeadraceError) -> Iterator[type[HeadraceError]]:
    """Yield every concrete error class, in the order of the tree."""
    for child in root.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from error_classes(child)


def errors_by_code() -> dict[str, type[HeadraceError]]:
    """Return every concrete error class by its code, to make an error again that came from another process."""
    return {kind.code: kind for kind in error_classes()}
