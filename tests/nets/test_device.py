"""Which precision `auto` is, on processors of several kinds."""

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


def test_what_linux_tells_is_read_and_its_absence_is_nothing(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16\n")
    for path, vendor, flags in ((tmp_path / "cpuinfo", "AuthenticAMD", {"fpu", "avx512_bf16"}), (tmp_path, "", set())):
        device._cpu_fact.cache_clear()
        monkeypatch.setattr(device, "Path", lambda _, path=path: path)
        assert device.cpu_vendor() == vendor and device.cpu_flags() == flags
    device._cpu_fact.cache_clear()
