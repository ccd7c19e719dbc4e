import errno
import os
import pickle

import pytest
import torch

from decaseg.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from tests.storage.small_disk import small_disk


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "checkpoints" / "last.pt", tmp_path / "checkpoints" / "previous.pt"


def test_the_one_before_is_kept(paths):
    for step in (1, 2, 3):
        save_checkpoint(*paths, {"step": step, "w": torch.full((3,), float(step))})
    assert load_checkpoint(*paths)["step"] == 3
    assert torch.load(paths[1], weights_only=True)["step"] == 2
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["last.pt", "previous.pt"]


@pytest.mark.parametrize("damage", ["torn", "empty", "noise", "flip", "zeros"])
def test_a_damaged_last_falls_back_to_the_previous_and_says_so(paths, damage):
    for step in (1, 2):
        save_checkpoint(*paths, {"step": step, "w": torch.rand(4000)})
    last, told = paths[0], []
    whole = last.read_bytes()
    middle = whole.index(b"data/0") + 9000  # inside the tensor, which torch.load takes as it is
    last.unlink()
    last.write_bytes(
        {
            "torn": whole[: len(whole) // 2],
            "empty": b"",
            "noise": b"\x00" * 500,
            "flip": whole[:middle] + bytes([whole[middle] ^ 16]) + whole[middle + 1 :],
            "zeros": whole[:middle] + bytes(4096) + whole[middle + 4096 :],
        }[damage]
    )
    if damage in ("flip", "zeros"):
        assert torch.load(last, weights_only=True)["step"] == 2  # torch itself does not notice
    assert load_checkpoint(*paths, told.append)["step"] == 1
    assert len(told) == 2 and f"{last}: is damaged" in told[0] and "of step 1" in told[1]
    save_checkpoint(*paths, {"step": 3})  # the sound one stays: a damaged one must not take its place
    paths[0].write_bytes(b"")
    assert load_checkpoint(*paths)["step"] == 1


def test_any_flipped_bit_is_noticed_or_changes_nothing(paths):
    save_checkpoint(*paths, {"step": 1, "w": torch.arange(50.0), "optimiser": {"lr": 0.5}})
    whole = paths[0].read_bytes()
    noticed = 0
    for place in range(0, len(whole), 7):
        paths[0].write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            state = load_checkpoint(*paths)
        except ValueError:
            noticed += 1
        else:
            assert state["step"] == 1 and state["optimiser"] == {"lr": 0.5}
            assert torch.equal(state["w"], torch.arange(50.0))
    assert noticed > 50


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(paths, monkeypatch):
    """torch says so in a RuntimeError; renaming the file would cost what was trained."""
    save_checkpoint(*paths, {"step": 1, "x": torch.ones(3)})

    def refuse(*words, **more):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", refuse)
        with pytest.raises(MemoryError, match="can't allocate memory"):
            load_checkpoint(*paths)
    assert load_checkpoint(*paths)["step"] == 1


def test_an_absent_last_falls_back_and_says_so(paths):
    for step in (1, 2):
        save_checkpoint(*paths, {"step": step})
    paths[0].unlink()
    told = []
    assert load_checkpoint(*paths, told.append)["step"] == 1 and len(told) == 1


def test_where_files_cannot_have_two_names_the_one_before_is_kept_too(paths, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    for step in (1, 2, 3):
        save_checkpoint(*paths, {"step": step})
    assert load_checkpoint(*paths)["step"] == 3
    assert torch.load(paths[1], weights_only=True)["step"] == 2


def test_nothing_to_load_says_what_to_do(paths):
    with pytest.raises(ValueError, match=r"last\.pt: no checkpoint"):
        load_checkpoint(*paths)


class Evil:
    """Runs a command where it is unpickled; without that being forbidden, the file appears."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return (os.system, (f"touch {self.witness}",))


def test_code_in_a_checkpoint_is_not_run(paths, tmp_path):
    witness = tmp_path / "witness"
    paths[0].parent.mkdir(parents=True)
    torch.save({"step": Evil(witness)}, paths[0])
    paths[1].write_bytes(pickle.dumps({"step": Evil(witness)}))
    kept = [path.read_bytes() for path in paths]
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(*paths)
    assert not witness.exists()
    paths[0].write_bytes(kept[0])
    torch.load(paths[0], weights_only=False)  # the test's own weapon does fire
    pickle.loads(kept[1])
    assert witness.exists()


def test_a_full_disk_keeps_the_old_ones_and_is_named(tmp_path):
    with small_disk(tmp_path / "disk", 256) as disk:
        paths = disk / "last.pt", disk / "previous.pt"
        for step in (1, 2):
            save_checkpoint(*paths, {"step": step, "w": torch.rand(10_000)})
        before = [p.read_bytes() for p in paths]
        for floats in (60_000, 45_000):  # torch notices at the first block, or at the end
            with pytest.raises(OSError) as caught:
                save_checkpoint(*paths, {"step": 3, "w": torch.rand(floats)})
            assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(paths[0])
            assert [p.read_bytes() for p in paths] == before and len(list(disk.iterdir())) == 2
        save_checkpoint(*paths, {"step": 4})
        assert load_checkpoint(*paths)["step"] == 4


def test_a_failing_save_leaves_both_as_they_were(paths):
    for step in (1, 2):
        save_checkpoint(*paths, {"step": step})
    before = [p.read_bytes() for p in paths]
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint(*paths, {"step": lambda: None})
    assert [p.read_bytes() for p in paths] == before
    assert len(list(paths[0].parent.iterdir())) == 2


def test_weights_are_contiguous_safetensors(tmp_path):
    from safetensors.torch import load_file

    weight = torch.rand(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    save_weights(tmp_path / "w.safetensors", {"a": weight})
    assert torch.equal(load_file(tmp_path / "w.safetensors")["a"], weight)
