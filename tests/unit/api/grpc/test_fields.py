import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from headrace.api.grpc.fields import merge_floats, read_fields
from headrace.api.grpc.generated import headrace_pb2 as pb


@given(arrays(np.float32, st.integers(0, 300), elements=st.floats(width=32, allow_nan=False)))
def test_numbers_go_in_as_if_each_were_given(values: np.ndarray):
    quick, plain = pb.EmbedResult(tokens=3), pb.EmbedResult(tokens=3, embedding=values.tolist())
    merge_floats(quick, "embedding", values.astype("<f4").tobytes())
    assert quick == plain
    assert quick.SerializeToString() == plain.SerializeToString()


def test_fields_are_those_of_json():
    message = pb.EmbedRequest(model="m", inputs=["a", ""], options={"truncate": "TRUNCATE_CHUNK", "normalize": False})
    assert read_fields(message) == {
        "model": "m",
        "inputs": ["a", ""],
        "options": {"truncate": "chunk", "normalize": False},
    }


def test_what_is_not_said_is_not_there_but_lists_are():
    assert read_fields(pb.ZeroshotRequest()) == {"inputs": [], "labels": []}


def test_what_is_said_to_be_nothing_is_there():
    assert read_fields(pb.RerankRequest(query="", options={"raw": False})) == {
        "query": "",
        "inputs": [],
        "options": {"raw": False},
    }


@pytest.mark.parametrize(("number", "read"), [(0, {}), (1, {"truncate": "error"}), (99, {"truncate": "99"})])
def test_a_value_of_an_enum_is_its_word(number: int, read: dict[str, str]):
    assert read_fields(pb.EmbedOptions.FromString(bytes([8, number]))) == read
