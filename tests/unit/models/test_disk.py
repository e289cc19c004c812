import errno
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from headrace.errors import ModelCorrupt, StoreUnusable
from headrace.models.disk import filling, reading, writing

Translate = Callable[[Path], AbstractContextManager[None]]
PLACE = Path("/models")


@pytest.mark.parametrize(("translate", "verb"), [(reading, "read"), (writing, "write to")])
@pytest.mark.parametrize(("named", "shown"), [("/a/b", "/a/b"), (None, "/models")])
def test_what_the_system_refuses_has_the_path_the_cause_and_a_remedy(
    translate: Translate, verb: str, named: str | None, shown: str
):
    with pytest.raises(StoreUnusable, match=f"^cannot {verb} {shown}: Permission denied; .*--home"), translate(PLACE):
        raise PermissionError(errno.EACCES, "Permission denied", named)


@pytest.mark.parametrize("translate", [reading, writing, filling])
def test_other_errors_pass_unchanged(translate: Translate):
    with pytest.raises(ModelCorrupt, match="it is"), translate(PLACE):
        raise ModelCorrupt("it is")


@pytest.mark.parametrize("translate", [reading, writing, filling])
def test_nothing_happens_where_nothing_is_refused(translate: Translate):
    with translate(PLACE):
        done = True
    assert done


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_whoever_fills_it(number: int):
    with pytest.raises(StoreUnusable, match="cannot write to /models: full; "), filling(PLACE):
        raise OSError(number, "full")


def test_what_else_they_meet_who_fill_it_is_theirs():
    with pytest.raises(ConnectionResetError), filling(PLACE):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
