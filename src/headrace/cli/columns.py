"""Which column of a data file is what, as a user says it."""

from typing import Annotated

import typer

from headrace.errors import SettingInvalid

ColumnFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="ROLE=NAME", help="Which column is what, such as text=review.", show_default=False
    ),
]


def read_columns(pairs: list[str] | None) -> dict[str, str]:
    """Return the columns by role.

    Raises:
        SettingInvalid: One is not ``ROLE=NAME``.
    """
    from headrace.training.columns import NAMES  # noqa: PLC0415 - --help needs it not

    columns = {}
    for pair in pairs or []:
        role, equals, name = pair.partition("=")
        if not equals or role not in NAMES:
            raise SettingInvalid(
                f"--column cannot be {pair[:80]!r}; write ROLE=NAME with one of {', '.join(NAMES)}", field="column"
            )
        columns[role] = name
    return columns
