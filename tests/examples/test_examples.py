"""Every example runs as it stands, and shows what its docstring promises.

Each is a process of its own, in an empty folder. Those that take more than some ten seconds run
with ``--quick``; the others keep their promises in full.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import os
import re
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from ..distributed.mpiexec import MPI, NO_MPI, mpiexec
from ..project.house import ROOT

EXAMPLES = ROOT / "examples"
HERE = Path(__file__)
FASHION = Path("/usr/share/datasets/fashion-mnist")
ON_RANKS = EXAMPLES / "09_fashion_mnist_on_ranks.py"


def start(name: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run an example in ``folder``, with the cauce of this checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def run(name: str, *arguments: str, folder: Path) -> str:
    """What an example prints."""
    done = start(name, *arguments, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(pattern: str, output: str) -> list[float]:
    """The numbers behind a text, which must be there."""
    found = re.findall(pattern + r" ([-+.\de]*\d)", output)
    assert found, f"no {pattern!r} in:\n{output}"
    return [float(number) for number in found]


def test_every_example_has_a_test_and_a_docstring() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert len(names) == 10
    tested = HERE.read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f'"{name}"' not in tested] == []
    for name in names:
        doc = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
        assert doc and "Expect" in doc, name


@pytest.mark.slow
def test_define_and_inspect(tmp_path: Path) -> None:
    output = run("01_define_and_inspect.py", folder=tmp_path)
    assert "tiny_resnet: 246 parameters" in output
    assert re.search(r"%conv2 = conv2d\(%relu1, @conv2.weight\) .* loc\(01_define\S+:18 <", output)
    assert "read back, it is the same graph: True" in output
    runs = output.partition("---- what runs ----")[2].partition("----")[0]
    assert "conv2d" in runs and "batch_norm" not in runs
    assert "\n  . - - . . . . # # .\n" in output
    assert "all 10 values agree" in output
    assert "return x + y" in output.splitlines()[-3]
    assert "fix: sizes must be equal" in output.splitlines()[-1]


@pytest.mark.slow
def test_train_digits(tmp_path: Path) -> None:
    output = run("02_train_digits.py", folder=tmp_path)
    assert "digits: 9,978 parameters" in output
    assert "epoch 12 " in output
    assert "true \\ predicted" in output and "taken for a" in output
    assert min(numbers("test accuracy", output)) >= 0.98
    assert {path.name for path in tmp_path.iterdir()} == {"digits.png", "digits.safetensors"}


def write_idx(path: Path, array: np.ndarray) -> None:
    """Bytes as a gzip file in the IDX format."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def fashion_of_noise(folder: Path) -> None:
    """Pictures of noise, with a bright row that tells the class."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 600), ("t10k", 50)):
        labels = np.arange(count) % 10
        images = rng.integers(0, 60, (count, 28, 28))
        images[np.arange(count), 2 * labels + 4] = 250
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


@pytest.mark.slow
def test_fashion_mnist_on_made_up_data(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fashion_of_noise(data)
    arguments = ("--data", str(data), "--quick")
    output = run("03_fashion_mnist.py", *arguments, folder=tmp_path)
    assert "Dataset(512 images of 1 x 28 x 28" in output
    assert "fashion_resnet: 77,754 parameters" in output
    assert "epoch 1 " in output and "ankle boot" in output
    again = run("03_fashion_mnist.py", *arguments, folder=tmp_path)
    assert "an earlier run goes on" in again and "epoch 1 " not in again
    assert numbers("test accuracy", again) == numbers("test accuracy", output)
    assert "after 1 epochs" in again and "on the llvm backend" in again
    assert (tmp_path / "fashion_confusion.png").stat().st_size > 0


@pytest.mark.slow
def test_fashion_mnist_says_how_to_get_the_data(tmp_path: Path) -> None:
    done = start("03_fashion_mnist.py", "--data", "nowhere", folder=tmp_path)
    assert done.returncode == 1
    assert "There is no nowhere/train-images-idx3-ubyte.gz" in done.stderr
    assert "apt-get install dataset-fashion-mnist" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_export_onnx(tmp_path: Path) -> None:
    output = run("04_export_onnx.py", folder=tmp_path)
    assert re.search(r"Conv conv1, from \['conv1', 'conv2d', '04_export_onnx.py:\d+'\]", output)
    gaps = numbers("the largest difference from ONNX Runtime is", output)
    assert len(gaps) == 4 and max(gaps) < 1e-4
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"resnet20.onnx", "resnet20_bytes.onnx", "resnet20_step.onnx"}


@pytest.mark.slow
def test_custom_op_and_pass(tmp_path: Path) -> None:
    output = run("05_custom_op_and_pass.py", folder=tmp_path)
    before, after = output.split("\ngraph unaware")[1:]
    assert "pow(%relu1" in before and "squared_relu" not in before
    assert "squared_relu(%conv)" in after.partition("}")[0]
    assert "every node against the reference: all 9 values agree" in output
    assert min(numbers("test accuracy", output)) >= 0.96
    assert max(numbers("the largest difference from ONNX Runtime is", output)) < 1e-4


@pytest.mark.slow
def test_custom_loop(tmp_path: Path) -> None:
    output = run("06_custom_loop.py", folder=tmp_path)
    assert len(numbers("loss", output)) == 9
    assert numbers("test accuracy of the weights", output)[0] >= 0.98
    assert numbers("test accuracy of their average", output)[0] >= 0.98


@pytest.mark.slow
def test_vanishing_gradients(tmp_path: Path) -> None:
    output = run("07_vanishing_gradients.py", folder=tmp_path)
    ratios = {
        name: float(first) / float(last)
        for name, last, first in re.findall(
            r"^(\S.*): gradient (\S+) at the last layer, (\S+) at the first", output, re.MULTILINE
        )
    }
    assert ratios["31 layers, plain"] < 1e-12
    assert ratios["55 layers, plain"] < 1e-30
    assert 0.01 < ratios["31 layers, plain, He's first weights"] < 10
    assert 0.001 < ratios["55 layers, plain, He's first weights"] < 10
    assert 0.1 < ratios["31 layers, with shortcuts"] < 10
    assert 0.1 < ratios["55 layers, with shortcuts"] < 10
    assert ratios["plain56, with batch norms"] > 100
    assert ratios["resnet56, with batch norms"] < 10
    last = dict(re.findall(r"^(\S.*): loss .* (\S+) in the last$", output, re.MULTILINE))
    assert float(last["31 layers, plain"]) > 2.2 and float(last["55 layers, plain"]) > 2.2
    assert float(last["31 layers, plain, He's first weights"]) < 1.5
    assert float(last["31 layers, with shortcuts"]) < 1.5
    assert float(last["55 layers, with shortcuts"]) < 1.9
    assert len(last) == 6
    picture = (tmp_path / "vanishing_gradients.png").read_bytes()
    width, height = struct.unpack(">II", picture[16:24])
    assert picture[:4] == b"\x89PNG" and width > 1200 and height > 1000


def check_classes(output: str, folder: Path) -> None:
    assert re.search(r"360 images in \S+ s, 1 failed: ", output)
    assert min(numbers("accuracy", output)) >= 0.97
    with open(folder / "classes.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["file"] for row in rows] == sorted(row["file"] for row in rows)
    assert len(rows) == 360
    (failed,) = (row for row in rows if row["error"])
    assert failed["file"].endswith("broken.png") and not failed["class"]
    assert "no image that Pillow knows" in failed["error"]


@pytest.mark.slow
def test_classify_folder(tmp_path: Path) -> None:
    check_classes(run("08_classify_folder.py", folder=tmp_path), tmp_path)


@pytest.mark.slow
def test_classify_folder_on_a_scheduler(tmp_path: Path) -> None:
    """A scheduler and workers started as on a cluster."""
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    common = ["--scheduler-file", str(file), "--dashboard-address", ":0"]
    commands = [
        [*dask, "scheduler", "--port", "0", "--host", "127.0.0.1", *common],
        *2 * [[*dask, "worker", "--nthreads", "1", *common]],
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        for number, command in enumerate(commands):
            folder = tmp_path / f"process{number}"  # where its own files go
            folder.mkdir()
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for _ in range(600):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        output = run("08_classify_folder.py", "--scheduler", address, folder=tmp_path)
    check_classes(output, tmp_path)


def on_ranks(ranks: int, *arguments: str, folder: Path) -> str:
    """What the script for ranks prints, on one thread for each."""
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAUCE_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(ROOT))
        done = subprocess.run(
            [*mpiexec(), "-n", str(ranks), sys.executable, ON_RANKS, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not MPI, reason=NO_MPI)
@pytest.mark.skipif(not FASHION.is_dir(), reason="apt-get install dataset-fashion-mnist")
def test_fashion_mnist_is_learnt_as_well_on_two_and_four_ranks(tmp_path: Path) -> None:
    """On a tenth of the pictures; docs/distributed.md has the accuracies of all of them."""
    (one,) = numbers("test accuracy", on_ranks(1, "--quick", folder=tmp_path / "1"))
    assert one > 0.83
    for ranks, sync, gap in ((2, (), 0.02), (4, (), 0.02), (2, ("--sync-batch-norm",), 0.01)):
        folder = tmp_path / f"{ranks}{len(sync)}"
        (found,) = numbers("test accuracy", on_ranks(ranks, "--quick", *sync, folder=folder))
        assert abs(found - one) < gap, (ranks, sync)


@pytest.mark.slow
@pytest.mark.skipif(not MPI, reason=NO_MPI)
def test_a_run_of_two_ranks_goes_on_in_one_process(tmp_path: Path) -> None:
    fashion_of_noise(tmp_path)
    arguments = ("--quick", "--data", str(tmp_path), "--folder", str(tmp_path))
    first = on_ranks(2, *arguments, folder=tmp_path)
    assert first.count("test accuracy") == 1 and "on 2 ranks after 3 epochs" in first
    again = run(ON_RANKS.name, *arguments, folder=tmp_path)
    assert "an earlier run goes on" in again and "on 1 ranks after 3 epochs" in again
    assert numbers("test accuracy", again) == numbers("test accuracy", first)
    assert (tmp_path / "fashion_ranks.safetensors").is_file()


@pytest.mark.slow
def test_demo(tmp_path: Path) -> None:
    """One seed of the three: it ends with an error unless it keeps its promise."""
    output = run("demo.py", "--seeds", "0", folder=tmp_path)
    assert "of training on the llvm backend" in output
    assert "the same class for 359 of 359 test images" in output
    assert len(re.findall(r"takes [\d.]+ ms, [\d.]+ times as fast", output)) == 2
    assert max(numbers("their results are", output)) < 1e-4
