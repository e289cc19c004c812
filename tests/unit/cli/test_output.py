import pytest

from headrace.cli.output import format_size, print_table


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (90934566, "86.7 MiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_are_shown_as_people_read_them(size: int, shown: str) -> None:
    assert format_size(size) == shown


def test_a_row_is_one_line_without_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["name", "note"], [["a\nb", ""], ["longer", "x"]])
    assert capsys.readouterr().out == "NAME    NOTE\na b\nlonger  x\n"
