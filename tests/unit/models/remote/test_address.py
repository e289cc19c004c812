import pytest

from headrace.errors import SettingInvalid
from headrace.models.remote.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "bucket", "prefix", "key"),
    [
        ("s3://models", "models", "", "minilm/roles.json"),
        ("s3://models/", "models", "", "minilm/roles.json"),
        ("s3://my.models-1/prod", "my.models-1", "prod", "prod/minilm/roles.json"),
        ("s3://models/team=a/v1.2/", "models", "team=a/v1.2", "team=a/v1.2/minilm/roles.json"),
    ],
)
def test_an_address_is_a_bucket_and_a_prefix(text: str, bucket: str, prefix: str, key: str):
    address = parse_address(text)
    assert address == Address(bucket, prefix)
    assert address.key("minilm", "roles.json") == key
    assert address.spell(key) == f"{address!s}/minilm/roles.json"
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "models",
        "s3:/models",
        "S3://models",
        "https://models",
        "s3://",
        "s3://UPPER",
        "s3://a",
        "s3://models//x",
        "s3://models/../x",
        "s3://models/x/..",
        "s3://models/./x",
        "s3://models/a b",
        "s3://models/x\n",
        "s3://models/x?endpoint=evil",
        "s3://id:secret@models/x",
        "s3://models/" + "x" * 600,
    ],
)
def test_anything_else_is_refused_without_being_quoted(text: str):
    with pytest.raises(SettingInvalid, match="s3://BUCKET/PREFIX") as caught:
        parse_address(text)
    assert "secret" not in caught.value.message
    assert caught.value.field == "store.remote"


@pytest.mark.parametrize("text", [None, ""])
def test_without_an_address_the_option_is_named(text: str | None):
    with pytest.raises(SettingInvalid, match=r"no remote store was named; set store\.remote to"):
        parse_address(text)
