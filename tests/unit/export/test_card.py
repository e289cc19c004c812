import pytest

from headrace.export.card import write_card
from headrace.models.manifest import FileEntry, GateOutput, GateReport, Lineage, Manifest, Tensor, make_manifest


def make(*, normalize: bool = True, license_: str | None = "mit", source: str = "org/name") -> Manifest:
    return make_manifest(
        name="tiny",
        task="embed",
        dimensions=32,
        max_tokens=40,
        pooling="cls",
        normalize=normalize,
        opset=20,
        inputs=(Tensor(name="input_ids", dtype="int64", shape=("batch", "length")),),
        outputs=(Tensor(name="embedding", dtype="float32", shape=("batch", 32)),),
        files={"model.onnx": FileEntry(sha256="0" * 64, size_bytes=0)},
        lineage=Lineage(
            source=source,
            source_revision=None,
            weights_sha256="1" * 64,
            architecture="BertModel",
            license=license_,
            created_at="2026-01-01T00:00:00+00:00",
            tools={"torch": "2.15.0", "onnx": "1.23.2"},
        ),
        gate=GateReport(
            passed=True,
            texts=55,
            min_cosine_required=0.9999,
            max_difference_allowed=1e-3,
            outputs=(GateOutput(name="embedding", min_cosine=0.9999999, mean_cosine=1.0, max_difference=3e-7),),
            worst_text="one mark",
        ),
    )


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
        "one mark",
    ):
        assert fact in card


def test_what_is_not_known_is_said():
    card = write_card(make(normalize=False, license_=None))
    assert "| License of the original | not stated |" in card
    assert "| Pooling | cls |" in card


@pytest.mark.parametrize("source", ["/a|b", "/<script>", "/[x](http://example.org)", "/{name}"])
def test_what_a_checkpoint_says_of_itself_stays_text(source: str):
    line = next(line for line in write_card(make(source=source)).splitlines() if line.startswith("| Source |"))
    assert line.count("|") == 3
    assert not set(line) & set("<>[]")
