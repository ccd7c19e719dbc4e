"""An ONNX model is one file: what it asks to read beside that is not opened, wherever in the graph it stands."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from decaseg.inference.engines.onnx_engine import OnnxEngine

ELSEWHERE = "keeps its weights in other files, which are not opened; export it again"


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def within() -> TensorProto:
    return helper.make_tensor("w", TensorProto.FLOAT, [64], np.arange(64, dtype=np.float32))


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [64])


def model(tensor: TensorProto, kind: str) -> bytes:
    """y = x + w, with w an initializer, a constant node, or a constant in a branch of an If."""
    add = helper.make_node("Add", ["x", "w"], ["y"])
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    nodes, initializers = [add], [tensor]
    if kind == "constant":
        nodes, initializers = [constant, add], []
    elif kind == "branch":
        branch = helper.make_graph([constant], "branch", [], [value("w")])
        yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
        choose = helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
        nodes, initializers = [choose, add], [yes]
    graph = helper.make_graph(nodes, "g", [value("x")], [value("y")], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], doc_string="location")
    made.ir_version = 8
    return made.SerializeToString()


@pytest.mark.parametrize("kind", ["initializer", "constant", "branch"])
def test_weights_in_other_files_are_refused_and_weights_inside_are_not(tmp_path, kind):
    path = tmp_path / "model.onnx"
    (tmp_path / "inside.bin").write_bytes(bytes(256))
    for location in ("inside.bin", "../outside.bin", "/etc/passwd"):
        path.write_bytes(model(external(location), kind))
        with pytest.raises(ValueError, match=ELSEWHERE):
            OnnxEngine(path, 1)
    path.write_bytes(model(within(), kind))
    np.testing.assert_array_equal(OnnxEngine(path, 1)(np.zeros(64, np.float32)), np.arange(64))


def test_what_is_no_model_is_one_line(tmp_path):
    path = tmp_path / "model.onnx"
    for data, says in ((b"location", "damaged|cannot load"), (b"", "cannot load")):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=says):
            OnnxEngine(path, 1)
    with pytest.raises(ValueError, match="cannot be read"):
        OnnxEngine(tmp_path / "none.onnx", 1)


def test_windows_that_the_model_was_not_made_for_are_one_line(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model(within(), "initializer"))
    with pytest.raises(ValueError, match=r"ONNX Runtime cannot run it .*; export it again"):
        OnnxEngine(path, 1)(np.zeros(63, np.float32))
