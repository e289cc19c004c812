"""Which trace a request is part of, as its headers say; a hostile caller may send anything."""

import re
from collections.abc import Sequence

import pytest

from headrace.observe.traces import SampledTracer, Trace, Tracer, Untraced

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"


def begin(*parents: str, states: Sequence[str] = (), tracer: Tracer | None = None) -> Trace:
    headers = {"traceparent": list(parents), "tracestate": list(states)}
    trace = (tracer or SampledTracer(0.0)).begin(headers.__getitem__)
    assert trace is not None
    return trace


def test_a_trace_goes_on_with_a_span_of_its_own() -> None:
    trace = begin(PARENT)
    assert (trace.trace_id, trace.parent_id, trace.is_sampled) == (TRACE_ID, SPAN_ID, True)
    assert re.fullmatch("[0-9a-f]{16}", trace.span_id)
    assert trace.span_id != SPAN_ID
    assert trace.traceparent == f"00-{TRACE_ID}-{trace.span_id}-01"


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_caller_decides_whether_spans_are_kept(ratio: float, flags: str, is_sampled: bool) -> None:
    trace = begin(f"00-{TRACE_ID}-{SPAN_ID}-{flags}", tracer=SampledTracer(ratio))
    assert trace.is_sampled == is_sampled
    assert trace.traceparent.endswith("-01" if is_sampled else "-00")


@pytest.mark.parametrize("parent", [f"01-{TRACE_ID}-{SPAN_ID}-01", f"fe-{TRACE_ID}-{SPAN_ID}-01-more", f" {PARENT}\t"])
def test_a_later_version_is_read_as_far_as_it_is_known(parent: str) -> None:
    assert begin(parent).trace_id == TRACE_ID


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [""],
        ["x"],
        [PARENT, PARENT],
        [f"{PARENT},{PARENT}"],
        [f"00-{'0' * 32}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{'0' * 16}-01"],
        [f"ff-{TRACE_ID}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{SPAN_ID}-01-more"],
        [f"00-{TRACE_ID.upper()}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID[1:]}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{SPAN_ID}-1"],
        [f"00-{TRACE_ID}-{SPAN_ID}-01\n"],
        [f"00-{TRACE_ID}-{SPAN_ID}-0\N{ARABIC-INDIC DIGIT ONE}"],
        [f"01-{TRACE_ID}-{SPAN_ID}-01-{'a' * 1000}"],
        ["0" * 100_000],
    ],
)
def test_what_is_no_trace_is_as_if_it_had_not_been_sent(parents: list[str]) -> None:
    trace = begin(*parents, states=["a=b"])
    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)
    assert trace.trace_id not in {TRACE_ID, "0" * 32}
    assert (trace.parent_id, trace.state, trace.is_sampled) == ("", "", False)


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        ([], ""),
        (["congo=t61rcWkgMzE"], "congo=t61rcWkgMzE"),
        (["a=1 ,\t b=2", "", "c@d=x y", ","], "a=1,b=2,c@d=x y"),
        ([f"a={'b' * 255}"], f"a={'b' * 255}"),
        (["a=1,a=2"], ""),
        (["a"], ""),
        (["=1"], ""),
        (["a="], ""),
        (["A=1"], ""),
        (["a=b=c"], ""),
        (["a=b\x00"], ""),
        (["a=\xe9"], ""),
        ([f"a={'b' * 257}"], ""),
        (["a=b", "c=" + "d" * 510], ""),
        ([",".join(f"k{number}=1" for number in range(33))], ""),
        ([",".join(f"k{number}=1" for number in range(32))], ",".join(f"k{number}=1" for number in range(32))),
        (["a=1," * 100_000], ""),
        ([f"{key}={'1' * 200}" for key in "ab"], f"a={'1' * 200},b={'1' * 200}"),
        ([f"{key}={'1' * 200}" for key in "abc"], ""),
    ],
)
def test_what_was_added_on_the_way_is_kept_whole_or_not_at_all(states: list[str], kept: str) -> None:
    assert begin(PARENT, states=states).state == kept


def test_of_traces_that_begin_here_a_share_is_kept() -> None:
    def kept(ratio: float) -> int:
        tracer = SampledTracer(ratio)
        return sum(begin(tracer=tracer).is_sampled for _ in range(1000))

    assert (kept(0.0), kept(1.0)) == (0, 1000)
    assert 100 < kept(0.25) < 400  # in 10 standard deviations


def test_without_traces_no_header_is_looked_at() -> None:
    def refuse(name: str) -> Sequence[str]:
        raise AssertionError(name)

    assert Untraced().begin(refuse) is None
