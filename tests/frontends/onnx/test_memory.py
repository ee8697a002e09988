"""How much memory loading takes beside the weights: measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .build import model

MEBI = 2**20
_SCRIPT = """
import re, sys
import numpy, onnx, cauce
from cauce.importing import load_onnx
path, form = sys.argv[1:]
given = open(path, "rb").read() if form == "bytes" else path
def peak():
    # ru_maxrss would be that of the process which started this one, where it is larger.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
baseline = peak()
loaded = load_onnx(given)
assert sum(array.size for array in loaded.values.values()) > 0
print(peak() - baseline)
"""


def network(kind: str, mebibytes: int) -> onnx.ModelProto:
    """A matrix product whose weights, in several tensors, take so much."""
    count, nodes, tensors, at = 8, [], [], "x"
    number = TensorProto.BFLOAT16 if kind == "bfloat16" else TensorProto.FLOAT
    size = mebibytes * MEBI // count // (2 if kind == "bfloat16" else 4)
    for i in range(count):
        if kind == "typed":
            tensor = TensorProto(name=f"w{i}", data_type=number, dims=(1, size))
            tensor.float_data.extend(np.zeros(size, np.float32))
        else:
            content = bytes(size * (2 if kind == "bfloat16" else 4))
            tensor = helper.make_tensor(f"w{i}", number, (1, size), content, raw=True)
        if kind == "constants":
            nodes.append(helper.make_node("Constant", [], [f"w{i}"], value=tensor))
        else:
            tensors.append(tensor)
        nodes.append(helper.make_node("Add", [at, f"w{i}"], [f"y{i}"]))
        at = f"y{i}"
    proto = model(nodes, {"x": (1, size)}, [at])
    proto.graph.input[0].type.tensor_type.elem_type = number
    proto.graph.initializer.extend(tensors)
    return proto


_SLOW = pytest.mark.slow


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak")
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("raw", "path"),
        pytest.param("raw", "bytes", marks=_SLOW),
        pytest.param("external", "path", marks=_SLOW),
        pytest.param("typed", "path", marks=_SLOW),
        pytest.param("constants", "path", marks=_SLOW),
        pytest.param("bfloat16", "path", marks=_SLOW),
    ],
)
def test_loading_takes_little_more_than_the_file(kind: str, form: str, tmp_path: Path) -> None:
    size, path = 100, tmp_path / "net.onnx"
    onnx.save(network(kind, size), path, save_as_external_data=kind == "external", location="w")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(path), form], capture_output=True, text=True, check=True
    )
    taken = int(done.stdout) / (size * MEBI)
    print(f"{kind} {form}: {taken:.2f} times the file")
    assert taken <= 2.3 and (form == "bytes" or taken > 0.9)  # views need no memory of their own
