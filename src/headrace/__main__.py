"""``python -m headrace``: the command line, where no script is on the path."""

from headrace.cli.main import main

if __name__ == "__main__":
    main()
