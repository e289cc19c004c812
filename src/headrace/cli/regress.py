"""``headrace regress``: numbers of the lines of a file."""

from headrace.cli.flags import with_settings
from headrace.cli.texts import TextArguments, answer_file
from headrace.options import Options
from headrace.settings import LoadedSettings


@with_settings("engine", "store", "limits")
def regress(loaded: LoadedSettings, asked: TextArguments) -> None:
    """Read a number from each line of a file; prints JSON for each: index, value, tokens, truncated, windows."""
    answer_file(loaded, asked, "regress", Options(truncate=asked.truncate))
