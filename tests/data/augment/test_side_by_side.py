"""Pieces are made at once, each by one thread, and come out as if one after the other."""

import threading
from functools import partial

import pytest
import torch

from decaseg.data.augment import intensity, spatial
from decaseg.data.augment.intensity import Intensity
from decaseg.data.augment.pipeline import Augmentation
from decaseg.data.augment.side_by_side import side_by_side
from decaseg.data.augment.spatial import Spatial

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_piece_is_made_once_and_the_callers_threads_stay(threads):
    seen = []
    side_by_side([partial(seen.append, i) for i in range(5)], CPU)
    assert sorted(seen) == list(range(5))
    assert torch.get_num_threads() == threads


def test_several_pieces_are_made_at_once_by_one_thread_each(threads):
    if threads == 1:
        pytest.skip("one thread has no one beside it")
    together, inner = threading.Barrier(threads, timeout=60), []

    def work(_: int) -> None:
        together.wait()  # breaks unless as many pieces as threads are under way
        torch.ones(200_000).add(1)
        inner.append(torch.get_num_threads())

    side_by_side([partial(work, i) for i in range(2 * threads)], CPU)
    assert inner == [1] * 2 * threads


def test_what_goes_wrong_with_a_piece_is_raised(threads):
    def work(piece: int) -> None:
        if piece == 1:
            raise ValueError("piece 1")

    with pytest.raises(ValueError, match="piece 1"):
        side_by_side([partial(work, i) for i in range(3)], CPU)


TURNED = Spatial(rotation_share=1, elastic_share=0.5, smooth_labels=True)
SCALED = Spatial(rotation_share=0, scale_share=1)
MIRRORED = Spatial(rotation_share=0, scale_share=0)


@pytest.mark.parametrize("what", [TURNED, SCALED, MIRRORED], ids=["turned", "scaled", "mirrored"])
def test_the_number_of_threads_changes_no_bit(what):
    image = torch.randn(4, 2, 46, 44, 42, generator=torch.Generator().manual_seed(0))
    label = (image[:, 0] > 1).to(torch.uint8)
    augment = Augmentation((40, 38, 36), what, Intensity().times(3), seed=1)
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(augment(7, image.clone(), label))
    torch.set_num_threads(before)
    for changed, labels in found[1:]:
        assert torch.equal(changed, found[0][0])
        assert torch.equal(labels, found[0][1])


@pytest.mark.parametrize("what", [TURNED, SCALED, MIRRORED], ids=["turned", "scaled", "mirrored"])
def test_one_sample_is_enough_for_two_threads(what, monkeypatch):
    shared = []
    for module in (spatial, intensity):
        monkeypatch.setattr(module, "side_by_side", lambda pieces, device: shared.append(len(pieces)))
    image = torch.zeros(1, 2, 74, 74, 74)
    Augmentation((64, 64, 64), what, Intensity(), seed=1)(7, image, torch.zeros(1, 74, 74, 74, dtype=torch.uint8))
    assert len(shared) == 2 and min(shared) >= 2
