"""The guide to training runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.project.house import ROOT


@pytest.mark.slow
def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 8
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "guide"}
    for number, block in enumerate(blocks):
        file = f"training.md, block {number + 1}"
        exec(compile(block, file, "exec", dont_inherit=True), names)
    assert {"run", "run.csv", "run.png"} <= {path.name for path in tmp_path.iterdir()}
    history = names["history"]
    assert history[2].validation["top5"] > 0.8
    answers, even = np.asarray(names["answers"]), names["even"]
    assert np.mean(answers[:, 0] == (even.labels == 1)) > 0.85
    assert not np.array_equal(names["before"], names["after"])
    labels = names["test"].labels
    found = [epoch.validation.get("accuracy", 0.0) for epoch in history]
    chosen = np.asarray(names["logits"]).argmax(1)
    np.testing.assert_allclose((chosen == labels).mean(), max(found[:3]))
    # The fifth to the seventh epoch are those of the call that restores the best of them.
    np.testing.assert_allclose(names["accuracy"], max(found[4:7]))
