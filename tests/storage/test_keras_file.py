"""Keras' HDF5 files, sound, odd, damaged and hostile: arrays or one line, whatever libhdf5 does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decaseg.storage import hdf5
from decaseg.storage.keras_file import read_keras

h5py = pytest.importorskip("h5py")
KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def write(path, config='{"config": {"layers": []}}', names=(b"conv", b"act"), **layers):
    """A file in Keras 2's layout with the layer `conv`, and the groups or functions of `layers`."""
    with h5py.File(path, "w") as file:
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = np.array(names)
        if config is not None:
            file.attrs["model_config"] = config
        file.attrs["keras_version"] = b"2.3.0-tf"
        conv = weights.create_group("conv")
        conv["conv/kernel:0"], conv["conv/bias:0"] = KERNEL, np.zeros(4)
        weights.create_group("act")
        for name, make in layers.items():
            make(weights.create_group(name), file)
    return path


def refused(path):
    with pytest.raises(ValueError) as error:
        read_keras(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_layers_come_in_keras_order_with_short_names(tmp_path):
    found = read_keras(write(tmp_path / "m.h5", names=(b"act", b"conv")))
    assert list(found.layers) == ["act", "conv"] and found.keras_version == "2.3.0-tf"
    assert set(found.layers["conv"]) == {"kernel", "bias"}
    np.testing.assert_array_equal(found.layers["conv"]["kernel"], KERNEL)
    assert found.config == {"config": {"layers": []}}


def test_packed_halves_and_doubles_become_float32(tmp_path):
    def odd(group, file):
        group.create_dataset("kernel", data=KERNEL.astype(">f8"), compression="gzip", shuffle=True, fletcher32=True)
        group.create_dataset("bias", data=np.ones(3, np.float16))

    layer = read_keras(write(tmp_path / "m.h5", odd=odd)).layers["odd"]
    np.testing.assert_array_equal(layer["kernel"], KERNEL)
    assert layer["kernel"].dtype == layer["bias"].dtype == np.float32


def test_names_that_keras_cut_in_pieces_are_put_together(tmp_path):
    path = write(tmp_path / "m.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights"].attrs["layer_names"]
        for i, name in enumerate((b"conv", b"act")):
            file["model_weights"].attrs[f"layer_names{i}"] = np.array([name])
    assert list(read_keras(path).layers) == ["conv", "act"]


def soft(group, file):
    group["kernel"] = h5py.SoftLink("/model_weights/conv/conv/kernel:0")


def external_link(group, file):
    group["kernel"] = h5py.ExternalLink("/etc/hostname", "/x")


def external_storage(group, file):
    group.create_dataset("kernel", (4,), "f4", external=[("secret.bin", 0, 16)])


def virtual(group, file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    group.create_virtual_dataset("kernel", layout)


def bomb(group, file):
    group.create_dataset("kernel", (1 << 20, 1 << 20), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")


def integers(group, file):
    group["kernel"] = np.arange(3)


def pickled(group, file):
    group.create_dataset("kernel", data=np.array([b"x"], object), dtype=h5py.special_dtype(vlen=bytes))


def foreign_filter(group, file):
    group.create_dataset("kernel", data=KERNEL, compression="lzf")


def many_axes(group, file):
    group["kernel"] = np.zeros((1,) * 8, np.float32)


def deep(group, file):
    group.create_group("/".join("abcdefghij")).create_dataset("kernel", data=KERNEL)


def ring(group, file):
    group["again"] = group


def twice(group, file):
    group["a/kernel:0"], group["b/kernel:0"] = KERNEL, KERNEL


HOSTILE = {
    soft: "kernel is a link to somewhere else, which is not followed",
    external_link: "kernel is a link to somewhere else, which is not followed",
    external_storage: "evil/kernel keeps its values in another file",
    virtual: "evil/kernel keeps its values in another file",
    bomb: "more than 268435456 weights",
    integers: "evil/kernel holds int64",
    pickled: "evil/kernel holds object",
    foreign_filter: "packed in a way that Keras does not use",
    many_axes: "at most 5 axes",
    deep: "groups more than 6 deep",
    ring: "groups more than 6 deep",
    twice: "layer evil holds kernel twice",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_what_leads_out_of_the_file_or_out_of_bounds_is_refused(make, tmp_path):
    (tmp_path / "secret.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    assert HOSTILE[make] in refused(write(tmp_path / "m.h5", evil=make))


def test_model_weights_is_not_followed_elsewhere(tmp_path):
    other = write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(other), "/model_weights")
    assert "not followed" in refused(tmp_path / "m.h5")


@pytest.mark.parametrize(("config", "words"), [("{", "is not the JSON"), ("[" * 100_000, "is not the JSON")])
def test_a_description_that_is_no_json_is_refused(config, words, tmp_path):
    assert words in refused(write(tmp_path / "m.h5", config=config))


def test_other_kinds_of_files_are_told_apart(tmp_path):
    for name, data, words in (
        ("a.keras", b"PK\x03\x04", "Keras 3's .keras archive"),
        ("b.hdf5", b"not hdf5 at all", "is no HDF5 file"),
        ("c.hdf5", b"", "is no HDF5 file"),
    ):
        (tmp_path / name).write_bytes(data)
        assert words in refused(tmp_path / name)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert "SavedModel; open it where TensorFlow is installed" in refused(tmp_path / "saved")
    assert "there is no such file" in refused(tmp_path / "nothing.h5")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers/conv3d/vars/0"] = KERNEL
    assert "Keras 3's .weights.h5" in refused(tmp_path / "w.h5")


@pytest.mark.parametrize(("ending", "words"), [
    ("kill -SEGV $$", "reading it ended with SIGSEGV"),
    ("kill -XCPU $$", "reading it ended with SIGXCPU"),
    ("echo 'Exception: no' >&2; exit 3", "could not be read (Exception: no)"),
])  # fmt: skip
def test_the_death_of_the_reading_process_is_one_line(ending, words, tmp_path, monkeypatch):
    """libhdf5 of today survived every mutation tried, so what dies here stands in for the interpreter."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{ending}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert words in refused(write(tmp_path / "m.h5"))


def test_the_folder_one_stands_in_lends_no_code(tmp_path, monkeypatch):
    (tmp_path / "h5py.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    assert "conv" in read_keras(write(tmp_path / "m.h5")).layers


MUTANTS = 400
# A process of its own mutates and reads one file after another; where it dies, the number it printed last is known.
FUZZER = """
import io, random, sys
from pathlib import Path
from decaseg.storage import hdf5
hdf5.read.__globals__["MAX_VALUES"] = 1 << 22
base, first, last, place = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
import h5py
hdf5.limit.__globals__["PROCESSOR_S"] = 60
for seed in range(first, last):
    dice, data = random.Random(seed), bytearray(base)
    if seed % 4 == 0:
        data = data[: dice.randrange(len(data))]
    elif seed % 4 == 1:
        for _ in range(dice.choice((1, 2, 8))):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif seed % 4 == 2:
        at = dice.randrange(len(data))
        data[at : at + 8] = dice.choice((b"\\xff" * 8, bytes(8), dice.randbytes(8)))
    else:
        at, source, n = dice.randrange(len(data)), dice.randrange(len(data)), dice.choice((8, 64, 512))
        data[at : at + n] = data[source : source + n]
    place.write_bytes(data)
    print(seed, flush=True)
    out = io.BytesIO()
    hdf5.answer(str(place), out)
    assert len(out.getvalue()) > 8
"""


def test_mutated_files_give_arrays_or_words(tmp_path):
    """No exception leaves the reader. A crash of libhdf5 is allowed: it is the reason for the process of its own."""
    base, first, died = write(tmp_path / "m.h5"), 0, []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    while first < MUTANTS:
        command = [sys.executable, "-c", FUZZER, str(base), str(first), str(MUTANTS), str(tmp_path / "mutant.h5")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode <= 0, done.stderr
        first = int(done.stdout.split()[-1]) + 1
        died += [first - 1] if done.returncode < 0 else []
    assert len(died) < MUTANTS // 10, f"libhdf5 died of mutants {died}"


def test_the_first_mutants_go_the_whole_way(tmp_path):
    base = write(tmp_path / "m.h5").read_bytes()
    for length in (9, 100, 700, len(base) // 2, len(base) - 1):
        path = tmp_path / f"{length}.h5"
        path.write_bytes(base[:length])
        refused(path)


def test_the_reader_needs_little():
    """What runs in the reading process is numpy and h5py, so that it starts in tenths of a second."""
    code = (
        "import sys, decaseg.storage.hdf5; print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'scipy'}))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(hdf5.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"
