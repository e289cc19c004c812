import gc

from headrace.memory import settle_memory


def test_what_was_loaded_is_not_looked_at_again():
    loaded = {"a": [1]}
    try:
        settle_memory()
        assert not any(each is loaded for each in gc.get_objects())
        assert any(each is later for later in [[2]] for each in gc.get_objects())
    finally:
        gc.unfreeze()
