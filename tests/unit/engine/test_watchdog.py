from headrace.engine.activity import Running
from headrace.engine.watchdog import Watchdog
from headrace.observe.base import BatchFinished


def batch(texts: int, tokens: int, run_s: float) -> BatchFinished:
    return BatchFinished(model="m", texts=texts, tokens=tokens, padded_tokens=tokens, failed=0, run_s=run_s)


def is_overdue(watchdog: Watchdog, tokens: int, seconds: float) -> bool:
    return watchdog.is_overdue([Running(100.0, tokens, (1,)), Running(100.0 + seconds, 1, (2,))], 100.0 + seconds)


def test_before_anything_is_measured_a_batch_has_a_minute():
    watchdog = Watchdog(5)
    assert not is_overdue(watchdog, 1, 59)
    assert is_overdue(watchdog, 1, 61)


def test_a_small_batch_has_the_least_time_and_a_large_one_in_proportion():
    watchdog = Watchdog(5)
    watchdog.learn(batch(10, 1000, 1.0))
    assert not is_overdue(watchdog, 10, 4.9)
    assert is_overdue(watchdog, 10, 5.1)
    assert not is_overdue(watchdog, 2000, 39)
    assert is_overdue(watchdog, 2000, 41)


def test_the_speed_follows_the_batches():
    watchdog = Watchdog(5)
    watchdog.learn(batch(10, 1000, 1.0))
    watchdog.learn(batch(10, 2000, 1.0))  # 1,200 tokens/s from here on
    assert not is_overdue(watchdog, 1200, 19)
    assert is_overdue(watchdog, 1200, 21)


def test_a_text_that_failed_alone_says_nothing_about_speed():
    watchdog = Watchdog(5)
    watchdog.learn(batch(1, 10, 0.0))
    assert not is_overdue(watchdog, 1, 59)


def test_nothing_that_runs_is_never_overdue():
    assert not Watchdog(5).is_overdue([], 1e9)
