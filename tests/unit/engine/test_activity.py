import time

import pytest

from headrace.engine.activity import Activity, make_activity
from headrace.engine.base import text_number


@pytest.fixture
def activity():
    activity = make_activity(slots=3, max_texts=4)
    yield activity
    activity.close()


def test_nothing_runs_at_first(activity: Activity):
    assert activity.read() == []


def test_what_runs_is_there_as_long_as_it_runs(activity: Activity):
    before = time.monotonic()
    with activity.running(1, [7, 1 << 60], 12):
        (running,) = activity.read()
    assert (running.texts, running.tokens) == ((7, 1 << 60), 12)
    assert before <= running.began_at <= time.monotonic()
    assert activity.read() == []


def test_what_raises_runs_no_more(activity: Activity):
    with pytest.raises(KeyError), activity.running(0, [1], 1):
        raise KeyError
    assert activity.read() == []


def test_slots_do_not_meet(activity: Activity):
    with activity.running(2, [1, 2, 3, 4], 1), activity.running(0, [5], 1):
        assert [running.texts for running in activity.read()] == [(5,), (1, 2, 3, 4)]


def test_another_mapping_of_the_memory_sees_it(activity: Activity):
    other = Activity(activity.handle, activity.slots, activity.max_texts)
    with activity.running(1, [3], 5):
        assert [running.texts for running in other.read()] == [(3,)]
        other.clear()
        assert activity.read() == []


def test_whose_caller_has_left_is_seen_by_the_other_mapping(activity: Activity):
    other = Activity(activity.handle, activity.slots, activity.max_texts)
    assert not other.has_left(text_number(5, 0))
    activity.leave(5)
    assert [other.has_left(text_number(job, index)) for job, index in ((5, 0), (5, 3), (6, 0))] == [True, True, False]
    assert other.read() == []


def test_a_later_job_takes_the_cell_of_one_that_left(activity: Activity):
    activity.leave(3)
    assert not activity.has_left(text_number(3 + activity.max_texts, 0))
    activity.leave(3 + activity.max_texts)
    assert not activity.has_left(text_number(3, 0))


def test_a_caller_that_leaves_after_the_end_is_not_written_down():
    activity = make_activity(1, 1)
    activity.close()
    activity.leave(1)


def test_closing_twice_is_closing_once():
    activity = make_activity(1, 1)
    activity.close()
    activity.close()
