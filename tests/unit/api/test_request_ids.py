"""Ids of requests."""

import re

import pytest

from headrace.api.request_ids import choose_request_id, new_request_id


def test_new_ids_differ_and_have_one_shape():
    ids = [new_request_id() for _ in range(1000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in ids)


def test_a_callers_id_is_kept():
    assert choose_request_id("order-7.a_B") == "order-7.a_B"


@pytest.mark.parametrize("given", [None, "", "a b", "a\r\nset-cookie: x", "é", "x" * 65])
def test_an_id_that_could_do_harm_is_replaced(given: str | None):
    assert re.fullmatch(r"[0-9a-f]{32}", choose_request_id(given))
