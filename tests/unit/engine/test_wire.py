import json
import math
import struct
import time
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine import wire
from headrace.engine.base import Job, JobResult, Output
from headrace.engine.wire import Message, cut, decode, encode
from headrace.errors import EngineFailed, HeadraceError, InputTooLong, QueueFull, error_classes
from headrace.options import Truncate
from headrace.types import Timings, Window

LENGTHS = struct.Struct("<II")


def split(frame: bytes) -> tuple[bytes, bytes]:
    head, body = LENGTHS.unpack(frame[:8])
    assert len(frame) == 8 + head + body
    return frame[8 : 8 + head], frame[8 + head :]


def there_and_back(message: Message) -> Message:
    return decode(*split(encode(message)))


def frame(header: object, body: bytes = b"") -> bytes:
    head = json.dumps(header).encode()
    return LENGTHS.pack(len(head), len(body)) + head + body


def output(**arrays: np.ndarray) -> Output:
    return Output(windows=(Window(arrays=arrays, tokens=3, weight=1),), truncated=True)


def done(*items: Output | HeadraceError) -> wire.Done:
    return wire.Done(7, JobResult(items=items, timings=Timings(queue_s=0.25, tokenize_s=0.5, run_s=1.5)))


def read(data: bytes) -> Message | None:
    return cut(data, 0)[0]


@pytest.mark.parametrize(
    "message",
    [
        wire.Ready(),
        wire.Probe(3),
        wire.Probed(3),
        wire.Cancel(3),
        wire.QueueSeen(12),
        wire.BatchSeen(texts=2, tokens=9, padded_tokens=10, failed=1, run_s=0.5),
    ],
)
def test_a_small_message_arrives_as_it_was(message: Message):
    assert there_and_back(message) == message


@given(
    st.lists(st.text(st.characters())), st.sampled_from(get_args(Truncate)), st.integers(0, 1 << 62), st.text("aé-_")
)
def test_a_job_arrives_as_it_was(texts: list[str], truncate: Truncate, number: int, tenant: str):
    deadline = time.monotonic() + 100
    job = Job(texts=tuple(texts), truncate=truncate, deadline=deadline, tenant=tenant, number=number)
    message = there_and_back(wire.Run(job))
    assert isinstance(message, wire.Run)
    assert (message.job.texts, message.job.truncate, message.job.number) == (job.texts, truncate, number)
    assert message.job.tenant == tenant
    assert math.isclose(message.job.deadline, job.deadline, abs_tol=5)


def test_a_lone_surrogate_travels_since_the_tokenizer_must_see_it():
    message = there_and_back(wire.Run(Job(texts=("a\ud800",), truncate="truncate", deadline=0)))
    assert isinstance(message, wire.Run)
    assert message.job.texts == ("a\ud800",)


def test_a_job_without_a_deadline_has_a_distant_one():
    message = there_and_back(wire.Run(Job(texts=(), truncate="truncate", deadline=math.inf)))
    assert isinstance(message, wire.Run)
    assert message.job.deadline > time.monotonic() + 1e8


def test_arrays_arrive_with_type_shape_and_values():
    arrays: dict[str, np.ndarray] = {
        "embedding": np.arange(4, dtype=np.float32),
        "big_endian": np.arange(3, dtype=">f4"),
        "grid": np.arange(6, dtype=np.int64).reshape(2, 3),
        "norm": np.array(2.5, dtype=np.float32),
        "nothing": np.zeros((0, 5), dtype=np.float64),
        "odd": np.array([True, False, True]),
    }
    message = there_and_back(done(output(**arrays), InputTooLong("too long", field="inputs[1]"), output()))
    assert isinstance(message, wire.Done)
    assert message.result.timings == Timings(queue_s=0.25, tokenize_s=0.5, run_s=1.5)
    first, second, third = message.result.items
    assert isinstance(first, Output)
    assert (first.tokens, first.truncated) == (3, True)
    assert list(first.arrays) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(first.arrays[name], array)
        assert first.arrays[name].shape == array.shape
        assert first.arrays[name].dtype == array.dtype.newbyteorder("=")
    assert isinstance(second, InputTooLong)
    assert second.field == "inputs[1]"
    assert isinstance(third, Output)
    assert third.arrays == {}


def test_windows_of_a_text_arrive_in_their_order():
    windows = tuple(
        Window(arrays={"scores": np.full(count, count, np.float32)}, tokens=count + 2, weight=count)
        for count in (5, 0, 3)
    )
    message = there_and_back(done(output(), Output(windows=windows, truncated=False), output()))
    assert isinstance(message, wire.Done)
    _, item, _ = message.result.items
    assert isinstance(item, Output)
    assert [(window.tokens, window.weight) for window in item.windows] == [(7, 5), (2, 0), (5, 3)]
    assert [window.arrays["scores"].tolist() for window in item.windows] == [[5.0] * 5, [], [3.0] * 3]
    assert (item.tokens, item.truncated) == (14, False)


@pytest.mark.parametrize("kind", list(error_classes()))
def test_every_error_arrives_as_its_class(kind: type[HeadraceError]):
    for message in (wire.Refused(1, kind("é", retry_after_s=0.5)), wire.StartFailed(kind("x", field="f"))):
        found = there_and_back(message)
        assert isinstance(found, wire.Refused | wire.StartFailed)
        assert type(found.error) is kind
        expected = message.error
        assert (found.error.message, found.error.field) == (expected.message, expected.field)
        assert found.error.retry_after_s == expected.retry_after_s


def test_a_lone_surrogate_in_an_error_arrives_as_it_is_written():
    message = there_and_back(wire.Refused(1, EngineFailed("é \ud800")))
    assert isinstance(message, wire.Refused)
    assert message.error.message == "é \\ud800"


def test_a_code_that_this_version_does_not_know_is_a_failed_engine():
    error = {"code": "engine.melted", "message": "m", "field": None, "retry_after_s": None}
    found = decode(json.dumps({"kind": "Refused", "number": 1, "error": error}).encode(), b"")
    assert isinstance(found, wire.Refused)
    assert type(found.error) is EngineFailed


def test_a_message_made_by_hand_is_one_unless_something_is_wrong_with_it():
    assert isinstance(read(frame(RUN)), wire.Run)
    assert isinstance(read(frame(DONE)), wire.Done)
    assert isinstance(read(frame(output_of(["a", "<f4", [1]]), b"1234")), wire.Done)


def test_what_all_texts_have_in_common_is_said_once():
    alone, many = (len(split(encode(done(*[output(embedding=np.ones(8))] * count)))[0]) for count in (1, 11))
    assert (many - alone) / 10 < 20


def test_an_array_of_objects_does_not_travel():
    with pytest.raises(ValueError, match="does not travel"):
        encode(done(output(things=np.array([object()]))))


def test_a_frame_over_the_bounds_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wire, "MAX_BODY_BYTES", 10)
    with pytest.raises(ValueError, match="over the bounds"):
        encode(wire.Run(Job(texts=("x" * 11,), truncate="truncate", deadline=0)))


@pytest.mark.parametrize(
    "lengths", [(wire.MAX_HEADER_BYTES + 1, 0), (2, wire.MAX_BODY_BYTES + 1), (2**32 - 1, 2**32 - 1)]
)
def test_lengths_are_checked_before_anything_is_read_for_them(lengths: tuple[int, int]):
    with pytest.raises(ValueError, match="over the bounds"):
        read(LENGTHS.pack(*lengths))


def output_of(
    *arrays: Sequence[object], tokens: object = 1, weight: object = 1, layout: object = 0
) -> dict[str, object]:
    return DONE | {"items": [[False, [[tokens, weight, layout]]]], "layouts": [list(arrays)]}


RUN = {"kind": "Run", "number": 1, "truncate": "error", "tenant": "mill", "remaining_s": 1, "sizes": []}
DONE = {"kind": "Done", "number": 1, "timings": [0, 0, 0], "items": [], "layouts": []}


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ([], b""),
        ({}, b""),
        ("text", b""),
        ({"kind": "Stop"}, b""),
        ({"kind": ["Run"]}, b""),
        ({"kind": "Cancel"}, b""),
        ({"kind": "Cancel", "number": -1}, b""),
        ({"kind": "Cancel", "number": True}, b""),
        ({"kind": "Cancel", "number": 1.5}, b""),
        (RUN | {"sizes": [2]}, b"abc"),
        (RUN | {"sizes": [4]}, b"abc"),
        (RUN | {"sizes": [-1, 4]}, b"abc"),
        (RUN | {"sizes": ["3"]}, b"abc"),
        (RUN | {"sizes": [1]}, b"\xff"),
        (RUN | {"truncate": "chop"}, b""),
        (RUN | {"remaining_s": float("nan")}, b""),
        (RUN | {"remaining_s": None}, b""),
        (RUN | {"tenant": None}, b""),
        (output_of(["a", "|O", [1]]), b"12345678"),
        (output_of(["a", "<f4", [-1]]), b"1234"),
        (output_of(["a", "<f4", [2]]), b"1234"),
        (output_of(["a", "<f4", [1]]), b"12345"),
        (output_of(["a", "<f4", [1, 1, 1, 1, 1]]), b"1234"),
        (output_of(["a", "<f4"]), b"1234"),
        (output_of(["a", "<f4", 1]), b"1234"),
        (output_of(*[[str(number), "<f4", [0]] for number in range(65)]), b""),
        (output_of(tokens=-1), b""),
        (output_of(weight=0.5), b""),
        (output_of(layout=1), b""),
        (output_of(layout=-1), b""),
        (DONE, b"1"),
        (DONE | {"layouts": 3}, b""),
        (DONE | {"items": [[False, [[1, 1]]]]}, b""),
        (DONE | {"items": [[False, []]]}, b""),
        (DONE | {"items": [[False]]}, b""),
        (DONE | {"items": [{}]}, b""),
        (DONE | {"items": 3}, b""),
        (DONE | {"timings": [0, 0]}, b""),
        ({"kind": "BatchSeen", "texts": 1}, b""),
    ],
)
def test_what_is_no_message_is_refused(header: object, body: bytes):
    with pytest.raises(ValueError, match=r".+"):
        read(frame(header, body))


@pytest.mark.parametrize("head", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(head: bytes):
    with pytest.raises(ValueError, match=r".+"):
        read(LENGTHS.pack(len(head), 0) + head)


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_whatever_comes_is_a_message_or_refused(head: bytes, body: bytes):
    with pytest.raises(ValueError, match=r".+"):
        decode(head, body)


@pytest.mark.parametrize("cut", [0, 3, 8, 12, -1])
def test_a_message_of_which_a_part_is_missing_is_none_yet(cut: int):
    data = encode(wire.Run(Job(texts=("abc",), truncate="truncate", deadline=0)))
    assert read(data[:cut]) is None


def test_messages_lie_one_after_the_other():
    first, second = encode(wire.Probe(1)), encode(wire.Probe(2))
    assert cut(first + second, 0) == (wire.Probe(1), len(first))
    assert cut(first + second, len(first)) == (wire.Probe(2), len(first + second))


def test_what_is_missing_of_a_message_is_known_from_its_lengths_on():
    data = encode(wire.Probe(1))
    assert [cut(data[:held], 0) for held in (0, 7, 8, len(data) - 1)] == [(None, 8), (None, 8)] + [
        (None, len(data))
    ] * 2


def test_a_full_queue_keeps_its_time():
    found = there_and_back(wire.Refused(1, QueueFull("full", retry_after_s=1.25)))
    assert isinstance(found, wire.Refused)
    assert found.error.retry_after_s == 1.25


@given(st.lists(st.one_of(st.text(max_size=5), st.tuples(st.text(max_size=5), st.text(max_size=5))), max_size=6))
def test_texts_and_pairs_of_them_arrive_as_they_were(texts: list[str | tuple[str, str]]):
    job = Job(texts=tuple(texts), truncate="truncate", deadline=time.monotonic() + 5)
    run = there_and_back(wire.Run(job))
    assert isinstance(run, wire.Run)
    assert run.job.texts == job.texts


@pytest.mark.parametrize("sizes", [[[]], [[1, 1, 1]], [[1, -1]], [[1, "1"]], [[3]], [[1, 1], 2]])
def test_parts_that_are_no_text_and_no_pair_are_refused(sizes: object):
    header = {"kind": "Run", "number": 1, "truncate": "truncate", "tenant": "", "remaining_s": 1.0, "sizes": sizes}
    with pytest.raises(ValueError, match=r"a text has one part or two|a length cannot be|do not add up"):
        read(frame(header, b"abc" if sizes != [[3]] else b"ab"))
