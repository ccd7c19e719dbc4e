import warnings

import pytest

from decaseg.exporting.onnx_model import write_onnx
from decaseg.exporting.openvino_ir import write_openvino
from decaseg.nets.spec import NetworkSpec
from decaseg.nets.unet import build


@pytest.mark.parametrize("norm", ["instance", "group", "batch"])
def test_converting_is_quiet(norm, tmp_path, capfd):
    spec = NetworkSpec(1, 2, (4, 8), ((1, 1, 1), (2, 2, 2)), ((3, 3, 3),) * 2, norm=norm, residual=True, blocks=(1,))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        write_openvino(build(spec), 1, (8, 8, 8), tmp_path / "ir", "fp32")
        write_onnx(build(spec), 1, (8, 8, 8), tmp_path / "model.onnx", "fp32")
    assert (tmp_path / "ir" / "model.xml").is_file() and (tmp_path / "model.onnx").is_file()
    assert [str(w.message) for w in found] == []
    assert capfd.readouterr().err == ""
