import hashlib

from headrace.engine.quarantine import Quarantine


def test_a_text_is_known_again_by_its_digest_alone():
    quarantine = Quarantine()
    assert "evil" not in quarantine
    assert quarantine.add("evil") == hashlib.sha256(b"evil").hexdigest()
    assert "evil" in quarantine
    assert "evil " not in quarantine
    assert "evil" not in repr(vars(quarantine))


def test_the_text_not_asked_for_longest_is_forgotten():
    quarantine = Quarantine(max_texts=2)
    quarantine.add("a")
    quarantine.add("b")
    assert "a" in quarantine
    quarantine.add("c")
    assert [text in quarantine for text in "abc"] == [True, False, True]
    assert len(quarantine) == 2


def test_a_lone_surrogate_can_be_guilty_too():
    quarantine = Quarantine()
    quarantine.add("\ud800")
    assert "\ud800" in quarantine


def test_two_texts_are_known_by_where_one_ends():
    quarantine = Quarantine()
    quarantine.add(("ab", "c"))
    assert ("ab", "c") in quarantine
    assert not any(text in quarantine for text in ("abc", ("a", "bc"), ("abc", ""), ("c", "ab"), "ab", "c"))
