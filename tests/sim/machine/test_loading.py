"""While things are loaded the collector of cycles rests; afterwards it goes on as before."""

import gc

import pytest

from sim.machine.loading import loading


@pytest.fixture(autouse=True)
def _collector():
    yield
    gc.enable()


def test_the_collector_rests_meanwhile_and_looks_at_nothing_twice():
    with loading():
        assert not gc.isenabled()
        kept = [[] for _ in range(50_000)]
        young = gc.get_count()[0]
    assert gc.isenabled() and gc.get_freeze_count() == 0
    assert young >= len(kept) and len(gc.get_objects(generation=0)) < 10_000


def test_it_rests_until_the_outermost_is_done_also_after_a_failure():
    with pytest.raises(KeyError), loading():
        with loading():
            pass
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_who_switched_it_off_keeps_it_off():
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()
