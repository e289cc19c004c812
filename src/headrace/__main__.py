"""``headrace``, and ``python -m headrace`` where no script is on the path: a process that is the command line."""

from headrace.cli.main import run
from headrace.cli.program import end_process


def start() -> None:
    """Run the command line and end the process."""
    end_process(run())


if __name__ == "__main__":
    start()
