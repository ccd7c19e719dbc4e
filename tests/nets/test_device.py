"""Which precision `auto` is, on processors of several kinds, and what the system gives memory in."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from decaseg.nets import device

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("vendor", "flags", "precision"),
    [
        ("GenuineIntel", {"avx512_bf16", "amx_bf16"}, "bf16"),
        ("GenuineIntel", {"avx512_bf16"}, "fp32"),
        ("AuthenticAMD", {"avx512_bf16"}, "bf16"),
        ("AuthenticAMD", {"avx2"}, "fp32"),
        ("", set(), "fp32"),
    ],
)
def test_auto_is_bf16_where_the_processor_is_faster_with_it(monkeypatch, vendor, flags, precision):
    monkeypatch.setattr(device, "cpu_vendor", lambda: vendor)
    monkeypatch.setattr(device, "cpu_flags", lambda: frozenset(flags))
    assert device.choose_precision("auto", CPU) == precision
    assert device.choose_precision("fp32", CPU) == "fp32"


def test_training_with_little_memory_asks_for_large_pages_after_all_that_train_imports():
    """Whether it gets them is the kernel's matter: memory may be in pieces."""
    choice = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not choice.exists() or "[never]" in choice.read_text():
        pytest.skip("no large pages here")
    program = """
import torch
import decaseg.workflows.train
from decaseg.nets.device import return_freed_memory, set_threads
set_threads(1)
return_freed_memory()
block = torch.empty(32 * 2**20).fill_(1.0)
inside = False
for line in open("/proc/self/smaps"):
    first = line.split()[0]
    if "-" in first and not first.endswith(":"):
        low, high = (int(end, 16) for end in first.split("-"))
        inside = low <= block.data_ptr() + 64 * 2**20 < high
    elif inside and first == "VmFlags:":
        print("hg" in line.split())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
