"""Cases overlap, results do not change, errors come out, and nothing hangs."""

import threading
import time

import pytest

from decaseg.inference.overlap import overlapped, side_by_side


def test_the_results_and_their_order_are_those_of_one_after_the_other():
    written = []
    overlapped(range(7), lambda i: i * 2, lambda i, x: x + i, lambda i, x: written.append((i, x)))
    assert written == [(i, 3 * i) for i in range(7)]
    overlapped([], None, None, None)


def test_the_next_is_read_and_the_previous_written_while_one_is_computed():
    reading, writing = {i: threading.Event() for i in range(4)}, {i: threading.Event() for i in range(4)}

    def compute(i, _):
        if i < 3:
            assert reading[i + 1].wait(60)
        if i > 0:
            assert writing[i - 1].wait(60)

    overlapped(range(4), lambda i: reading[i].set(), compute, lambda i, _: writing[i].set())


def test_at_most_one_waits_on_each_side():
    read, computed = [], []

    def compute(i, _):
        time.sleep(0.02)
        assert max(read) <= i + 1
        computed.append(i)

    def write(i, _):
        time.sleep(0.05)
        assert max(computed, default=0) <= i + 2

    overlapped(range(6), read.append, compute, write)


def test_a_large_one_is_read_when_nothing_else_is_held():
    held, most, reading = set(), {}, [threading.Event() for _ in range(5)]

    def read(i):
        held.add(i)
        most[i] = len(held)
        reading[i].set()

    def compute(i, _):
        assert i != 0 or reading[1].wait(60)  # item 0 is held until item 1 is
        time.sleep(0.02)

    overlapped(range(5), read, compute, lambda i, _: held.discard(i), lambda i: i != 2)
    assert most[2] == 1 and most[1] == 2


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_error_ends_the_work_with_what_was_finished_written(stage):
    written = []

    def step(name):
        def work(i, *_):
            if name == stage and i == 3:
                raise ValueError(f"{name} of 3 failed")
            if name == "write":
                time.sleep(0.02)
                written.append(i)

        return work

    with pytest.raises(ValueError, match=f"{stage} of 3 failed"):
        overlapped(range(100), step("read"), step("compute"), step("write"))
    assert written == [0, 1, 2]
    assert not [t for t in threading.enumerate() if t.name.startswith(("read", "write"))]


def test_an_interruption_waits_for_what_is_being_written():
    written = []

    def compute(i, _):
        if i == 2:
            raise KeyboardInterrupt

    def write(i, _):
        time.sleep(0.05)
        written.append(i)

    with pytest.raises(KeyboardInterrupt):
        overlapped(range(100), lambda i: i, compute, write)
    assert written == [0, 1]


def test_side_by_side_many_are_at_work_and_come_out_in_order():
    met = threading.Barrier(3, timeout=60)  # breaks unless three are at work at once

    def work(i):
        met.wait()
        time.sleep(0.01 * (2 - i % 3))

    assert list(side_by_side(range(6), work, 3)) == list(range(6))
    assert list(side_by_side([], None, 3)) == []


def test_side_by_side_an_error_ends_the_work_after_what_was_begun():
    begun, ended = [], []

    def work(i):
        begun.append(i)
        if i == 2:
            raise ValueError("the third")
        time.sleep(0.02)
        ended.append(i)

    with pytest.raises(ValueError, match="the third"):
        list(side_by_side(range(500), work, 2))  # 5 s of work
    assert set(begun) - {2} == set(ended) and len(begun) < 400
