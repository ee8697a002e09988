"""The page on clusters: its Python runs as it stands, and its other blocks are what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import cauce
from cauce import nn
from tests.project.house import ROOT

from .calls import PIXELS

PAGE = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@cauce.network
def flowers(image):
    return nn.linear(nn.flatten(nn.avg_pool2d(nn.normalize(image, 0.5, 0.25), 8)), 3)


@pytest.mark.slow
def test_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    for package in ("distributed", "joblib", "ray"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "photos").mkdir()
    for number, pixels in enumerate(PIXELS):
        image.fromarray(pixels).save(tmp_path / "photos" / f"{number:04}.jpg")
    model = flowers.init(image=("N", 3, 32, 32), dtype="u8", seed=0)
    model.preprocessing = cauce.Preprocessing(32, classes=("daisy", "rose", "tulip"))
    model.save(tmp_path / "flowers.safetensors")
    names: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks("python")):
        exec(compile(block, f"clusters.md, block {number + 1}", "exec"), names)
    assert "20 images in" in capsys.readouterr().out
    wanted = [model.predict(file) for file in names["files"]]
    for engine in ("processes", "loky", "dask", "ray"):
        results = names[f"by_{engine}"]
        assert [result.found for result in results] == wanted, engine
    assert [output.shape for output in names["outputs"]] == 8 * [(4, 3)]


def test_the_yaml_of_the_page_is_yaml() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    told = yaml.safe_load(text)
    containers = told["spec"]["worker"]["spec"]["containers"]
    assert containers[0]["args"][:2] == ["dask", "worker"] and told["kind"] == "DaskCluster"


def test_the_script_for_slurm_is_a_script() -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    (text,) = blocks("bash")
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
