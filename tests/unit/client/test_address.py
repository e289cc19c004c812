"""Where a server is, and what is shown to it."""

import pytest

import headrace
from headrace.client.address import Address, read_address
from headrace.errors import SettingInvalid


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", ("http://127.0.0.1:8000", False, False, "127.0.0.1:8000", "")),
        ("https://models.example.org/", ("https://models.example.org", False, True, "models.example.org", "")),
        ("http://[::1]:8000/headrace/", ("http://[::1]:8000/headrace", False, False, "[::1]:8000", "/headrace")),
        ("grpc://localhost:8001", ("grpc://localhost:8001", True, False, "localhost:8001", "")),
        ("grpcs://localhost:8001", ("grpcs://localhost:8001", True, True, "localhost:8001", "")),
    ],
)
def test_an_address_is_read(url: str, expected: tuple[object, ...]):
    assert read_address(url) == Address(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://a",
        "http://",
        "http://:8000",
        "http://a:port",
        "http://a:99999",
        "http://[::1",
        "http://user:secret@a",
        "http://secret@a",
        "http://a/?key=secret",
        "http://a/#secret",
        "http://a\r\nsecret: b",
        "http://a b",
        "http://ä",
        "grpc://a",
        "grpc://a:1/path",
        "file:///etc/passwd",
    ],
)
def test_what_is_none_is_refused_without_being_shown(url: str):
    with pytest.raises(SettingInvalid) as caught:
        headrace.Client(url)
    assert caught.value.field == "url"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("key", ["", "secret\n", "secret key", "sécret", "s" * 8193])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(key: str):
    with pytest.raises(SettingInvalid) as caught:
        headrace.AsyncClient("http://a", key=key)
    assert caught.value.field == "key"
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("kind", [headrace.Client, headrace.AsyncClient])
def test_a_client_does_not_show_its_key(kind: type):
    client = kind("http://a:1/b", key="very-secret")
    assert repr(client) == f"{kind.__name__}('http://a:1/b')"
    assert "secret" not in repr(read_address("http://a", "very-secret"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout_s", 0),
        ("timeout_s", float("nan")),
        ("timeout_s", 3601),
        ("retries", -1),
        ("retries", 11),
        ("max_inputs", 0),
        ("max_requests", 0),
    ],
)
def test_what_cannot_be_asked_so_is_refused_at_once(name: str, value: float):
    with pytest.raises(SettingInvalid) as caught:
        headrace.Client("http://a", **{name: value})  # type: ignore[arg-type]
    assert caught.value.field == name
