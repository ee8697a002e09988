"""The page for those who come from PyTorch runs as it stands, on a file that PyTorch wrote."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cauce
from tests.project.house import ROOT

PAGE = (ROOT / "docs" / "coming-from-pytorch.md").read_text(encoding="utf-8")
FILES = Path(__file__).parents[1] / "frontends" / "onnx" / "files"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    monkeypatch.chdir(tmp_path)
    shutil.copy(FILES / "torch_dynamo.onnx", "net.onnx")
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks):
        code = compile(block, f"coming-from-pytorch.md, block {number + 1}", "exec")
        if "torch" not in re.sub("load_torch_weights|of PyTorch", "", block):
            exec(code, names)
    loaded = cauce.load_onnx("net.onnx")
    data = np.load(FILES / "torch_net.npz")
    for model in (loaded, names["written"]):
        got = cauce.compile(model, backend="numpy")(data["image"])
        np.testing.assert_allclose(got, data["scores"], rtol=1e-4, atol=1e-6)
    tuned = names["tuned"]
    assert tuned.keys() == loaded.state_dict().keys() == names["written"].state_dict().keys()
    changed = {n for n, a in loaded.values.items() if not np.array_equal(a, tuned[n])}
    assert changed == {n for n in tuned if not n.startswith(("conv1.", "bn1."))}
    assert cauce.load_onnx("tuned.onnx").state_dict().keys() == tuned.keys()
    assert len(names["history"]) == 2


def test_the_names_of_cauce_on_the_page_exist() -> None:
    for name in re.findall(r"`(?:@)?cauce\.([A-Za-z_]+)", PAGE):
        assert hasattr(cauce, name), name
    for name in re.findall(r"^\|.*\| .*?`nn\.([a-z_0-9]+)", PAGE, re.MULTILINE):
        assert hasattr(cauce.nn, name), name
