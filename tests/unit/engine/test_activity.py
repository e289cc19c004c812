import time

import pytest

from headrace.engine.activity import Activity, make_activity


@pytest.fixture
def activity():
    activity = make_activity(slots=3, max_texts=4)
    yield activity
    activity.close()


def test_nothing_runs_at_first(activity: Activity):
    assert activity.read() == []


def test_what_runs_is_there_as_long_as_it_runs(activity: Activity):
    before = time.monotonic()
    with activity.watch(1, [7, 1 << 60], 12):
        (running,) = activity.read()
    assert (running.texts, running.tokens) == ((7, 1 << 60), 12)
    assert before <= running.began_at <= time.monotonic()
    assert activity.read() == []


def test_what_raises_runs_no_more(activity: Activity):
    with pytest.raises(KeyError), activity.watch(0, [1], 1):
        raise KeyError
    assert activity.read() == []


def test_slots_do_not_meet(activity: Activity):
    with activity.watch(2, [1, 2, 3, 4], 1), activity.watch(0, [5], 1):
        assert [running.texts for running in activity.read()] == [(5,), (1, 2, 3, 4)]


def test_another_mapping_of_the_memory_sees_it(activity: Activity):
    other = Activity(activity.handle, activity.slots, activity.max_texts)
    with activity.watch(1, [3], 5):
        assert [running.texts for running in other.read()] == [(3,)]
        other.clear()
        assert activity.read() == []


def test_closing_twice_is_closing_once():
    activity = make_activity(1, 1)
    activity.close()
    activity.close()
