from decaseg.storage import processor


def test_what_linux_tells_is_read_and_its_absence_is_nothing(monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx512_bf16\n")
    for path, vendor, flags in ((tmp_path / "cpuinfo", "AuthenticAMD", {"fpu", "avx512_bf16"}), (tmp_path, "", set())):
        processor._cpu_fact.cache_clear()
        monkeypatch.setattr(processor, "Path", lambda _, path=path: path)
        assert processor.cpu_vendor() == vendor and processor.cpu_flags() == flags
        assert processor.processor_name()
    processor._cpu_fact.cache_clear()
