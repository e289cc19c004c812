import unicodedata

import pytest

from headrace.export.probes import make_probes


def test_every_probe_has_a_label_and_a_text_of_its_own():
    probes = make_probes(256)
    assert len({probe.label for probe in probes}) == len({probe.text for probe in probes}) == len(probes) >= 48


def test_the_probes_hold_what_breaks_tokenizers():
    texts = [probe.text for probe in make_probes(256)]
    assert "" in texts
    assert " " in texts
    letters = "".join(texts)
    scripts = {unicodedata.name(letter).split()[0] for letter in letters if letter.isalpha() and letter < "\ue000"}
    assert {"LATIN", "CYRILLIC", "ARABIC", "CJK", "DEVANAGARI", "THAI", "HANGUL", "HEBREW", "GREEK"} <= scripts
    assert {"\x00", "\u200d", "\ufe0f", "\u0301", "\u202e", "\n"} <= set(letters)


@pytest.mark.parametrize("window", [4, 40, 256, 8192])
def test_some_probes_are_over_any_window_and_some_just_within(window: int):
    counts = {probe.label: len(probe.text.split()) for probe in make_probes(window)}
    assert counts["over the window"] > window
    assert counts["far over the window"] == 3 * window
    assert 1 <= counts["near the window"] < window


def test_every_probe_can_be_sent_as_json():
    for probe in make_probes(16):
        assert probe.text.encode("utf-8").decode("utf-8") == probe.text
