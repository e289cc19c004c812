import pytest
from tests.support.manifests import describe_model, make_lineage

from headrace.export.card import write_card
from headrace.models.manifest import Manifest


def make(*, normalize: bool = True, license_: str | None = "mit", source: str = "org/name") -> Manifest:
    lineage = make_lineage(license=license_, source=source, tools={"torch": "2.15.0", "onnx": "1.23.2"})
    return describe_model(dimensions=32, max_tokens=40, pooling="cls", normalize=normalize, lineage=lineage)


def test_the_card_holds_the_facts():
    card = write_card(make())
    for fact in (
        "# tiny",
        "| Source | org/name |",
        "| Source revision | none |",
        "| License of the original | mit |",
        "| Pooling | cls, scaled to length 1 |",
        "| Window | 40 tokens",
        "| Made with | onnx 1.23.2, torch 2.15.0 |",
        "| embedding | 0.9999999 | 1.0000000 | 3e-07 |",
        "55 texts",
        "one word",
    ):
        assert fact in card


def test_what_is_not_known_is_said():
    card = write_card(make(normalize=False, license_=None))
    assert "| License of the original | not stated |" in card
    assert "| Pooling | cls |" in card


@pytest.mark.parametrize(("count", "named"), [(2, "l0, l1"), (22, "l18, l19 and 2 more")])
def test_the_card_of_a_classifier_names_its_labels(count: int, named: str):
    card = write_card(describe_model(task="classify", labels=tuple(f"l{number}" for number in range(count))))
    assert "A text classifier for Headrace" in card
    assert "| Labels | l0, l1" in card
    assert f"{named} |" in card
    assert "Dimensions" not in card


def test_a_label_stays_text():
    card = write_card(describe_model(task="classify", labels=("a|b", "<i>")))
    assert "| Labels | a b,  i  |" in card


@pytest.mark.parametrize("source", ["/a|b", "/<script>", "/[x](http://example.org)", "/{name}"])
def test_what_a_checkpoint_says_of_itself_stays_text(source: str):
    line = next(line for line in write_card(make(source=source)).splitlines() if line.startswith("| Source |"))
    assert line.count("|") == 3
    assert not set(line) & set("<>[]")
