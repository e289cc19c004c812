import pytest

from headrace.api.rest.weights import read_weights


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", {"": 1.0}),
        ("gzip", {"gzip": 1.0}),
        ("GZip ; Q=0.5,br;q=0", {"gzip": 0.5, "br": 0.0}),
        ("a;q=1.000, b;q=0.001", {"a": 1.0, "b": 0.001}),
        ("a;q=1.001, b;q=-1, c;q=nan, d;q=0.1234", {"a": 1.0, "b": 1.0, "c": 1.0, "d": 1.0}),
        ("a;version=2;q=0.1;x", {"a": 0.1}),
    ],
)
def test_a_list_is_read(header: str, found: dict[str, float]):
    assert read_weights(header) == found


def test_of_a_list_that_is_absurd_only_the_begin_is_read():
    assert list(read_weights(",".join(f"c{number}" for number in range(10_000)))) == [f"c{n}" for n in range(64)]
