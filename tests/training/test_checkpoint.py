import pickle

import pytest
import torch

from decaseg.training.checkpoint import load_checkpoint, save_checkpoint, save_weights


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "checkpoints" / "last.pt", tmp_path / "checkpoints" / "previous.pt"


def test_the_one_before_is_kept(paths):
    for step in (1, 2, 3):
        save_checkpoint(*paths, {"step": step, "w": torch.full((3,), float(step))})
    assert load_checkpoint(*paths)["step"] == 3
    assert torch.load(paths[1], weights_only=True)["step"] == 2
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["last.pt", "previous.pt"]


@pytest.mark.parametrize("damage", ["torn", "empty", "absent", "noise"])
def test_a_damaged_last_falls_back_to_the_previous(paths, damage):
    for step in (1, 2):
        save_checkpoint(*paths, {"step": step, "w": torch.rand(1000)})
    last = paths[0]
    if damage == "absent":
        last.unlink()
    else:
        whole = last.read_bytes()
        last.unlink()
        last.write_bytes({"torn": whole[: len(whole) // 2], "empty": b"", "noise": b"\x00" * 500}[damage])
    assert load_checkpoint(*paths)["step"] == 1


def test_nothing_to_load_says_what_to_do(paths):
    with pytest.raises(ValueError, match=r"last\.pt: no checkpoint"):
        load_checkpoint(*paths)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("code from the file was run",))


def test_code_in_a_checkpoint_is_not_run(paths):
    paths[0].parent.mkdir(parents=True)
    torch.save({"step": Evil()}, paths[0])
    paths[1].write_bytes(pickle.dumps({"step": Evil()}))
    with pytest.raises(ValueError, match="cannot be read"):
        load_checkpoint(*paths)


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
