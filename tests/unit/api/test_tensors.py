"""Tensors of the Open Inference Protocol, as JSON and as bytes."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.tensors import InputTensor, OutputTensor, read_texts, split
from headrace.errors import RequestInvalid, RequestMalformed

TEXTS = ["a", "", "größer 水"]


def packed(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def tensor(texts: int, data: Any = None, *, size: Any = None, **changes: Any) -> InputTensor:
    parameters = {} if size is None else {"binary_data_size": size}
    fields = {"name": "text", "datatype": "BYTES", "shape": [texts], "data": data, "parameters": parameters, **changes}
    return InputTensor.model_validate(fields)


@pytest.mark.parametrize(
    ("data", "shape"), [(TEXTS, [3]), (TEXTS, [3, 1]), ([[text] for text in TEXTS], [3, 1]), ([TEXTS], [1, 3])]
)
def test_texts_may_be_nested_or_flat(data: Any, shape: list[int]):
    assert read_texts([tensor(3, data, shape=shape)], b"") == {"text": tuple(TEXTS)}


def test_texts_may_be_bytes_behind_the_json():
    first, second = packed("a", "b"), packed("c")
    tensors = [tensor(2, size=len(first)), tensor(1, ["j"], name="json"), tensor(1, size=len(second), name="last")]
    assert read_texts(tensors, first + second) == {"text": ("a", "b"), "json": ("j",), "last": ("c",)}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_read_again(texts: list[str]):
    described, data = OutputTensor("text", "BYTES", [len(texts)], texts).as_bytes()
    again = InputTensor.model_validate(described)
    assert read_texts([again], data) == {"text": tuple(texts)}


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes):
    for count in range(4):
        try:
            found = read_texts([tensor(count, size=len(data))], data)["text"]
        except RequestInvalid:
            continue
        assert packed(*found) == data


def nested(depth: int) -> Any:
    data: Any = "a"
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize(
    ("tensors", "blobs", "said"),
    [
        ([tensor(1, ["a"], datatype="FP32")], b"", "send texts"),
        ([tensor(1, ["a"]), tensor(1, ["b"])], b"", "twice"),
        ([tensor(2, ["a"])], b"", "shape"),
        ([tensor(1)], b"", "shape"),
        ([tensor(1, ["a"], shape=[-1])], b"", "shape"),
        ([tensor(1, [1])], b"", "no text"),
        ([tensor(1, [None])], b"", "no text"),
        ([tensor(1, nested(500))], b"", "no text"),
        ([tensor(1, size=6)], packed("a"), "binary_data_size"),
        ([tensor(1, size=-1)], packed("a"), "binary_data_size"),
        ([tensor(1, size=True)], packed("a"), "binary_data_size"),
        ([tensor(1, size="5")], packed("a"), "binary_data_size"),
        ([tensor(1, size=3)], packed("a")[:3], "length"),
        ([tensor(1, size=4)], packed("a")[:4], "in the middle of a text"),
        ([tensor(1, size=5)], struct.pack("<I", 1) + b"\xff", "UTF-8"),
        ([tensor(1, ["a"])], b"x", "belong to no input"),
    ],
)
def test_what_does_not_fit_is_refused(tensors: list[InputTensor], blobs: bytes, said: str):
    with pytest.raises(RequestInvalid, match=said) as caught:
        read_texts(tensors, blobs)
    assert caught.value.field is not None
    assert caught.value.field.startswith("inputs")


def test_the_json_ends_where_the_header_says():
    body = json.dumps({"a": 1}).encode()
    assert split(body, None) == ({"a": 1}, b"")
    assert split(body + b"xyz", str(len(body))) == ({"a": 1}, b"xyz")


@pytest.mark.parametrize("size", ["-1", "9", "", "x", "\u0661", "1_0", "99999999999999999999999"])
def test_a_size_that_does_not_fit_is_refused(size: str):
    with pytest.raises(RequestMalformed, match="inference-header-content-length"):
        split(b'{"a": 1}', size)


@pytest.mark.parametrize(("data", "size"), [(b"{", None), (b"", None), (b'{"a": 1}', "3")])
def test_what_is_no_json_is_refused(data: bytes, size: str | None):
    with pytest.raises(RequestMalformed, match="JSON"):
        split(data, size)


def test_numbers_are_little_endian_float32():
    described, data = OutputTensor("embedding", "FP32", [2, 2], np.array([1, 2, 3, 4], np.float32)).as_bytes()
    assert described == {
        "name": "embedding",
        "datatype": "FP32",
        "shape": [2, 2],
        "parameters": {"binary_data_size": 16},
    }
    assert np.frombuffer(data, "<f4").tolist() == [1, 2, 3, 4]
