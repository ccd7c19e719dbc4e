"""Tensors that are lent, taken back and lent again."""

import pytest
import torch

from decaseg.nets.scratch import Scratch

LAST = torch.channels_last_3d


def test_what_is_lent_is_nobody_elses_until_it_is_taken_back():
    scratch, like = Scratch(), torch.zeros(1, 3, 4, 5, 6)
    with scratch.borrowed():
        outer = scratch.like(like)
        with scratch.borrowed():
            inner = scratch.like(like)
            place = inner.data_ptr()
            assert place != outer.data_ptr()
        again = scratch.like(like)
        assert again.data_ptr() == place
    with scratch.borrowed():
        assert {scratch.like(like).data_ptr(), scratch.like(like).data_ptr()} == {outer.data_ptr(), place}


@pytest.mark.parametrize("order", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shape_type_and_memory_order_are_those_asked_for(order, dtype):
    scratch = Scratch()
    for _ in range(2):
        for other in (LAST, torch.contiguous_format):
            with scratch.borrowed():
                scratch.like(torch.zeros(2, 3, 4, 5, 6).to(memory_format=other))
        with scratch.borrowed():
            mine = scratch.like(torch.zeros(2, 3, 4, 5, 6, dtype=dtype).to(memory_format=order), channels=7)
            assert mine.shape == (2, 7, 4, 5, 6) and mine.dtype == dtype and mine.is_contiguous(memory_format=order)


def test_a_part_that_fails_gives_back_and_clear_lets_go():
    scratch = Scratch()
    with pytest.raises(ZeroDivisionError), scratch.borrowed():
        place = scratch.like(torch.zeros(1, 1, 2, 2, 2)).data_ptr()
        raise ZeroDivisionError
    with scratch.borrowed():
        held = scratch.like(torch.zeros(1, 1, 2, 2, 2))
        assert held.data_ptr() == place
        scratch.clear()
        assert scratch.like(torch.zeros(1, 1, 2, 2, 2)).data_ptr() != place
