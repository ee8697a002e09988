"""Pretrained models from ONNX files: cauce's native code against four engines.

    python benchmarks/models.py [--models ppocr5-det nudenet] [--threads 1 2] [--peers MNN]
    python benchmarks/models.py --start [--models ...]      # from the file to the first result

All read the file of ``pretrained.py``, with the size of one photo fixed where they take it. With
``--start`` a step is all that comes before too: reading the file, compiling (with cauce's cache
warm), and the first run; ONNX Runtime alone is compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import engines
import numpy as np
import report
from pretrained import FOLDER, INSTALL, MODELS
from protocol import Benchmark, Case, Prepared

import cauce
from cauce.ir import Array

# Of each output, so many elements at equal distances are compared.
COMPARED = 5000


def opened(case: Case) -> tuple[str, Array]:
    """The path of the file, and one image."""
    model = MODELS[case["model"]]
    return str(model.path), np.ascontiguousarray(model.image(model.photo))


def prepared(step: Callable[[], Any], versions: dict[str, str]) -> Prepared:
    """A peer whose step returns one output, or several."""
    found = step()
    evidence: list[float] = []
    for array in found if isinstance(found, (tuple, list)) else (found,):
        flat = np.asarray(array).ravel()
        evidence += flat[:: max(1, flat.size // COMPARED)].tolist()
    return Prepared(step, evidence, versions)


def compile_file(path: str, image: Array, threads: int) -> Callable[[], Any]:
    """cauce's native code for one size."""
    ((name,), _) = names_of(path)
    model = cauce.load_onnx(path, inputs={name: image.shape})
    predict = cauce.compile(model, backend="llvm", threads=threads)
    return lambda: predict(image)


def native(case: Case) -> Prepared:
    """cauce's native code."""
    versions = {"cauce": cauce.__version__, "llvmlite": version("llvmlite")}
    path, image = opened(case)
    if not case.get("start"):
        return prepared(compile_file(path, image, case["threads"]), versions)

    def step() -> Any:
        model = cauce.load_onnx(path)
        return cauce.compile(model, backend="llvm", threads=case["threads"])(image)

    return prepared(step, versions)


def onnx_runtime(case: Case) -> Prepared:
    """ONNX Runtime on its processor provider, with all of its own rewrites."""
    import onnxruntime

    path, image = opened(case)

    def session(**sizes: int) -> Any:
        options = engines.session_options(case["threads"])
        options.log_severity_level = 3
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    free = session()
    (taken,) = free.get_inputs()
    versions = {"onnxruntime": onnxruntime.__version__}
    if case.get("start"):
        return prepared(lambda: session().run(None, {taken.name: image}), versions)
    named = {(name, size) for name, size in zip(taken.shape, image.shape) if isinstance(name, str)}
    sizes = dict(named)
    # Some files call different sizes alike.
    fixed = session(**sizes) if len(sizes) == len(named) else free
    return prepared(lambda: fixed.run(None, {taken.name: image}), versions)


def openvino(case: Case) -> Prepared:
    """OpenVINO, tuned for latency, in float32 (by default it may choose bfloat16)."""
    import openvino

    path, image = opened(case)
    settings = engines.openvino_settings(case["threads"])
    core = openvino.Core()
    network = core.read_model(path)
    network.reshape(list(image.shape))
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))

    def step() -> list[Array]:
        request.infer()
        return [tensor.data for tensor in request.output_tensors]

    return prepared(step, {"openvino": version("openvino")})


def ncnn(case: Case) -> Prepared:
    """ncnn, converted by pnnx."""
    path, image = opened(case)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, Path(folder) / "model.onnx")
        _, outputs = names_of(path)
        return prepared(*engines.by_ncnn(str(copy), image, case["threads"], len(outputs)))


def mnn(case: Case) -> Prepared:
    """MNN in high precision."""
    path, image = opened(case)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copy(path, Path(folder) / "model.onnx")
        return prepared(*engines.by_mnn(str(copy), image, case["threads"], *names_of(path)))


def names_of(path: str) -> tuple[list[str], list[str]]:
    """The inputs and outputs of a file."""
    import onnx

    graph = onnx.load(path).graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in stored]
    return inputs, [value.name for value in graph.output]


BENCHMARK = Benchmark(
    script=__file__,
    base="cauce llvm",
    peers={
        "cauce llvm": native,
        "ONNX Runtime": onnx_runtime,
        "OpenVINO": openvino,
        "ncnn": ncnn,
        "MNN": mnn,
    },
    tolerance=3e-4,  # as in inference.py
    lenient=True,  # not every converter knows every form of an operator
)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--start", action="store_true", help="from the file to the first result")
    options = parser.parse_args()
    report.work(BENCHMARK, options)
    if not FOLDER.is_dir():
        raise SystemExit(f"no pretrained models are here: {INSTALL}")
    if options.start:
        options.peers = ["ONNX Runtime"]
    cases = (
        {"model": model, "threads": threads, **({"start": True} if options.start else {})}
        for model in options.models
        for threads in options.threads
    )
    report.run(BENCHMARK, options, cases)


if __name__ == "__main__":
    main()
