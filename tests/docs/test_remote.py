import os
import sys
from pathlib import Path

from tests.docs.snippets import Shell, matches, read_snippets
from tests.support.manifests import describe_model
from tests.support.s3_server import S3Server

from headrace.models.store import LocalStore

PAGE = Path(__file__).resolve().parents[2] / "docs/remote.md"
SHOWN_ADDRESS = "s3://models/prod"


def test_the_commands_of_the_page_print_what_it_says(s3: S3Server, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "home/models")
    with store.draft() as draft:
        for file in ("model.onnx", "reference.json", "tokenizer.json", "card.md"):
            (draft / file).write_text(file, encoding="utf-8")
        store.publish(draft, lambda files: describe_model(name="minilm", **files))
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HEADRACE_STORE__HOME": str(tmp_path / "home"),
        "HEADRACE_STORE__REMOTE": s3.address,  # each command of a page has a shell of its own
    }
    with Shell(tmp_path, environment) as shell:
        for snippet in read_snippets(PAGE.read_text(encoding="utf-8").replace(SHOWN_ADDRESS, s3.address)):
            printed = shell.run(snippet)
            assert matches(snippet.expected, printed), f"{snippet.command}\n{printed}"
