import sys
from pathlib import Path

import pytest
from bench import resumed, trained


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_training_that_ends_before_it_has_a_checkpoint_is_no_proof(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="wrote no checkpoint before it ended"):
        resumed._kill(python("pass"), tmp_path / "checkpoint")


def test_a_training_is_killed_once_it_has_a_checkpoint(tmp_path: Path) -> None:
    checkpoint, end = tmp_path / "checkpoint", tmp_path / "end"
    resumed._kill(
        python(f"open({str(checkpoint)!r}, 'w'); import time; time.sleep(60); open({str(end)!r}, 'w')"), checkpoint
    )
    assert checkpoint.exists()
    assert not end.exists()


def test_a_training_that_fails_is_told_with_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="ended with 3: because"):
        trained.finish(python("import sys; print('because', file=sys.stderr); sys.exit(3)"))


def test_other_weights_are_told_from_the_same() -> None:
    assert resumed._say_same("a", "a") == "same weights"
    assert resumed._say_same("a", "b") == "**other weights**"
    assert resumed._value({"text": "ab abcd", "label": "x"}) == {"text": "ab abcd", "value": 3.0}
