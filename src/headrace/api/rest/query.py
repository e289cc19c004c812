"""Reading what stands behind the question mark."""

from collections.abc import Collection

from starlette.requests import Request

from headrace.errors import RequestInvalid


def read_query(request: Request, names: Collection[str]) -> dict[str, str]:
    """Return the parameters of a request, each given once.

    Args:
        request: As it came.
        names: Of those that there are.

    Raises:
        RequestInvalid: There is another one, or one twice.
    """
    asked = request.query_params.multi_items()
    given = dict(asked)
    if unknown := sorted(given.keys() - set(names)):
        raise RequestInvalid(f"there is no parameter {unknown[0][:80]!r}; use {' and '.join(names)}", field="query")
    if len(asked) > len(given):
        raise RequestInvalid("a parameter is given twice; give each once", field="query")
    return given
