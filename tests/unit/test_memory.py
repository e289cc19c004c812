import gc
import importlib

import pytest

from headrace.memory import loading_much, settle_memory


def test_what_was_loaded_is_not_looked_at_again():
    loaded = {"a": [1]}
    try:
        settle_memory()
        assert not any(each is loaded for each in gc.get_objects())
        assert any(each is later for later in [[2]] for each in gc.get_objects())
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("was_enabled", [True, False])
def test_nothing_is_looked_at_while_much_is_loaded(was_enabled: bool, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(gc, "isenabled", lambda: was_enabled)
    monkeypatch.setattr(gc, "disable", lambda: calls.append("disable"))
    monkeypatch.setattr(gc, "enable", lambda: calls.append("enable"))
    with loading_much():
        assert calls == ["disable"]
    assert calls == ["disable", *(["enable"] if was_enabled else [])]


def test_what_cannot_be_loaded_leaves_the_collector_as_it_was():
    with pytest.raises(ModuleNotFoundError), loading_much():
        importlib.import_module("headrace.nowhere")
    assert gc.isenabled()
