from headrace.allowance import Allowance
from headrace.api.allowance import allowance_headers

TOKENS = Allowance(limit="tokens-day", unit="tokens", quota=10**12, window_s=86_400.0, remaining=5, reset_s=0.25)
RUNNING = Allowance(limit="concurrent", unit="concurrent-requests", quota=8, window_s=None, remaining=7, reset_s=None)
REQUESTS = Allowance(limit="requests", unit="requests", quota=64, window_s=1.28, remaining=61, reset_s=0.0)


def test_all_policies_are_told_in_one_order_and_what_is_left_of_the_first_limit() -> None:
    policies = (
        b'"concurrent";q=8;qu="concurrent-requests", "requests";q=64;w=2,'
        b' "tokens-day";q=1000000000000;qu="tokens";w=86400'
    )
    assert dict(allowance_headers((TOKENS, RUNNING, REQUESTS))) == {
        b"ratelimit-policy": policies,
        b"ratelimit": b'"tokens-day";r=5;t=1',
    }
    assert dict(allowance_headers((RUNNING, REQUESTS, TOKENS))) == {
        b"ratelimit-policy": policies,
        b"ratelimit": b'"concurrent";r=7',
    }
    assert dict(allowance_headers((REQUESTS,))) == {
        b"ratelimit-policy": b'"requests";q=64;w=2',
        b"ratelimit": b'"requests";r=61;t=0',
    }


def test_without_limits_nothing_is_told() -> None:
    assert allowance_headers(()) == []
