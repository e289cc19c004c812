"""The program of an engine process: loads one model and answers its supervisor.

``app.py`` starts it; it is no command for people. It trusts its command line, and the model folder whose files the
supervisor has just compared with their manifest: what was read once is not read again.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from headrace.settings import EngineSettings, LogSettings, instruct_libraries

instruct_libraries()  # before NumPy is loaded by what follows: it starts its threads then

from headrace.engine.base import Engine, Watch  # noqa: E402 - see above
from headrace.engine.loaded import load_engine  # noqa: E402
from headrace.engine.worker import Handles, run_worker  # noqa: E402
from headrace.machine import IDLE, stand_aside  # noqa: E402
from headrace.models.folder import read_manifest  # noqa: E402
from headrace.observe.base import Observer  # noqa: E402
from headrace.observe.logs import configure_logs  # noqa: E402


def main(arguments: Sequence[str]) -> None:
    """Be an engine until the supervisor hangs up.

    Args:
        arguments: The model folder, the engine's and the log's settings as JSON, the priority, then what ``Handles``
            says.
    """
    folder, engine, log, priority = Path(arguments[0]), *arguments[1:4]
    configure_logs(LogSettings.model_validate_json(log), sys.stderr)
    settings = EngineSettings.model_validate_json(engine)

    def make_engine(observer: Observer, watch: Watch) -> Engine:
        manifest = read_manifest(folder)
        return load_engine(folder, manifest, settings, observer, watch)

    # Only when all is loaded: on a busy machine that would not end otherwise.
    on_loaded = stand_aside if priority == IDLE else None
    run_worker(Handles.parse(arguments), make_engine, uvloop.new_event_loop, on_loaded)


if __name__ == "__main__":
    main(sys.argv[1:])
