import pytest

from headrace.engine.admission import Admission
from headrace.errors import QueueFull, RequestTooLarge


def test_texts_come_in_as_long_as_there_is_room():
    admission = Admission("m", 10)
    admission.enter(6, None)
    admission.enter(4, None)
    assert admission.texts == 10
    with pytest.raises(QueueFull, match="10 texts wait for 'm'"):
        admission.enter(1, None)
    admission.leave(4)
    admission.enter(1, None)
    assert admission.texts == 7


def test_who_is_refused_hears_when_there_will_be_room():
    admission = Admission("m", 10)
    admission.enter(8, None)
    with pytest.raises(QueueFull) as measured:
        admission.enter(6, 2.0)
    assert measured.value.retry_after_s == 2.0
    with pytest.raises(QueueFull) as unknown:
        admission.enter(6, None)
    assert unknown.value.retry_after_s == 1.0


def test_what_never_fits_is_told_to_be_smaller():
    with pytest.raises(RequestTooLarge, match="11 texts"):
        Admission("m", 10).enter(11, None)
