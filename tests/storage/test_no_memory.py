import errno

import numpy as np
import pytest

from decaseg.arguments import one_line
from decaseg.storage import no_memory

REFUSALS = [
    MemoryError(),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: …"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("could not create a primitive"),
    RuntimeError("can't start new thread"),
    SystemError("error return without exception set"),
    RuntimeError("Check 'ptr' failed at intel_cpu/src/cpu_memory.cpp:257:\nFailed to allocate 96 bytes of memory"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
]  # fmt: skip


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_memory_that_was_refused_is_one_line_with_a_way_out_whoever_says_so(error):
    line = one_line(error)
    assert line is not None and line.startswith("decaseg: not enough memory") and "ulimit -v" in line
    assert len(line.splitlines()) == 1 and " ".join(str(error).split())[-40:] in line
    assert isinstance(no_memory.or_else(error, ValueError("damaged")), MemoryError)


def test_numpy_s_own_is_one_of_them():
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)
    assert no_memory.refused(caught.value)


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_it_is_seen_behind_a_library_s_own_words(link):
    hidden = RuntimeError("Couldn't get TorchScript module by tracing.")  # OpenVINO's converter
    setattr(hidden, link, MemoryError())
    assert no_memory.refused(hidden)
    own = ValueError("our own reason")
    setattr(own, link, MemoryError())
    assert not no_memory.refused(own)


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), ValueError("bad_alloc.nii.gz: is no image")])
def test_other_errors_stay_what_they_are(error):
    assert not no_memory.refused(error)
    reason = ValueError("damaged")
    assert no_memory.or_else(RuntimeError("a fault of ours"), reason) is reason
