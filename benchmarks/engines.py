"""How ONNX Runtime and OpenVINO are set up; and ncnn and MNN, which read files of their own,
converted in the run from cauce's ONNX export.

The last two choose Winograd's algorithm by themselves. Here they are as fast as their settings make
them in float32: where it depends on network and machine which setting is faster, both are tried
first. Neither that nor converting is measured.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from classifiers import exported, ready, start
from protocol import Case, Prepared

from cauce.ir import Array, Role

Step: TypeAlias = Callable[[], Any]
Versions: TypeAlias = dict[str, str]

# Memory pools, and keeping all intermediate results (no lightmode), bring nothing.
NCNN_OPTIONS = {
    "use_fp16_packed": False,
    "use_fp16_storage": False,
    "use_fp16_arithmetic": False,
    "use_bf16_packed": False,
    "use_bf16_storage": False,
    "use_packing_layout": True,
    "use_sgemm_convolution": True,
    "use_winograd_convolution": True,
    "lightmode": True,
}
# Larger tiles than F(2x2) have larger weights, which pay only where memory is fast enough.
NCNN_TRIED = ({}, {"use_winograd43_convolution": False, "use_winograd63_convolution": False})
MNN_OPTIONS = {"backend": "CPU", "precision": "high", "memory": "high", "power": "high"}


def session_options(threads: int) -> Any:
    """How ONNX Runtime is run."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return options


def openvino_settings(threads: int) -> dict[str, Any]:
    """How OpenVINO is run: tuned for latency, in float32 (by default it may choose bfloat16)."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }


def ncnn(case: Case) -> Prepared:
    """ncnn, converted by pnnx; a batch in one call, as its recent releases can."""
    model, images = start(case)
    with tempfile.TemporaryDirectory() as folder:
        return ready(*by_ncnn(exported(model, folder), images, case["threads"]))


def by_ncnn(path: str, images: Array, threads: int, outputs: int = 1) -> tuple[Step, Versions]:
    """ncnn on an ONNX file, beside which its converter writes: the step, and versions."""
    import ncnn

    ncnn.set_cpu_powersave(0)  # all cores alike
    shape = ",".join(map(str, images.shape))
    command = [str(pnnx()), path, f"inputshape=[{shape}]", "fp16=0"]
    converted(command, os.path.dirname(path))
    param = Path(path).with_suffix(".ncnn.param")
    unknown = unknown_layers(param.read_text(), ncnn.layer_to_index)
    if unknown:
        raise NotImplementedError(f"ncnn has no layer {', '.join(unknown)}")
    steps = [
        _ncnn_step(ncnn, param, images, {**tried, "num_threads": threads}, outputs)
        for tried in NCNN_TRIED
    ]
    return faster(steps), {"ncnn": version("ncnn"), "pnnx": version("pnnx")}


def _ncnn_step(
    ncnn: Any, param: Path, images: Array, options: Mapping[str, object], outputs: int = 1
) -> Step:
    net = ncnn.Net()
    for name, value in {**NCNN_OPTIONS, **options}.items():
        setattr(net.opt, name, value)
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise RuntimeError("ncnn cannot load what pnnx wrote")
    image = ncnn.Mat(images, batch_index=0)  # made once: as if the images had been read into it

    def step() -> Any:
        with net.create_extractor() as extractor:
            extractor.input("in0", image)
            found = [extractor.extract(f"out{place}")[1] for place in range(outputs)]
            arrays = [result.numpy(batch_index=0) for result in found]
            return arrays[0] if outputs == 1 else arrays

    return step


def pnnx() -> Path:
    """The program of the package ``pnnx``; the package itself wants PyTorch when it is imported."""
    found = importlib.util.find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'pnnx'")
    name = "pnnx.exe" if sys.platform == "win32" else "pnnx"
    return Path(found.submodule_search_locations[0]) / name


def unknown_layers(param: str, index: Callable[[str], int]) -> list[str]:
    """The kinds of layers in the text of a ``.param`` file that ncnn does not know.

    Args:
        param: the text: two lines of head, then a line for each layer, its kind first.
        index: ncnn's number of a kind of layer, -1 where it has none.
    """
    kinds = {line.split()[0] for line in param.splitlines()[2:] if line.strip()}
    return sorted(kind for kind in kinds if index(kind) < 0)


def mnn(case: Case) -> Prepared:
    """MNN in high precision, with weights rearranged when loaded or not, whichever is faster."""
    model, images = start(case)
    inputs = [value.name for value in model.graph.inputs_with(Role.DATA)]
    with tempfile.TemporaryDirectory() as folder:
        path = exported(model, folder)
        return ready(*by_mnn(path, images, case["threads"], inputs, list(model.graph.outputs)))


def by_mnn(
    file: str, images: Array, threads: int, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[Step, Versions]:
    """MNN on an ONNX file, beside which its converter writes: the step, and versions."""
    import MNN

    path = str(Path(file).with_suffix(".mnn"))
    # Not the script ``mnnconvert``: it sends to its makers what was converted, and installs what it
    # needs for that. This is the function behind it.
    code = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
    files = ["--modelFile", file, "--MNNModel", path]
    converted([sys.executable, "-c", code, "-f", "ONNX", *files], os.path.dirname(file))
    if not Path(path).is_file():
        raise RuntimeError("MNN cannot convert the ONNX file")
    steps = [
        _mnn_step(MNN, path, inputs, outputs, images, threads, rearrange)
        for rearrange in (False, True)
    ]
    return faster(steps), {"MNN": version("mnn")}


def _mnn_step(
    MNN: Any,
    path: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    images: Array,
    threads: int,
    rearrange: bool,
) -> Callable[[], Array]:
    manager = MNN.nn.create_runtime_manager(({**MNN_OPTIONS, "numThread": threads},))
    net = MNN.nn.load_module_from_file(
        path, inputs, outputs, runtime_manager=manager, shape_mutable=False, rearrange=rearrange
    )
    image = MNN.expr.placeholder(list(images.shape), MNN.expr.NCHW, MNN.expr.float)
    image.write(images)

    def step(_: object = manager) -> Any:  # the manager must live as long as the network
        found = net.forward(image)
        return [array.read() for array in found] if isinstance(found, list) else found.read()

    return step


def faster(steps: Sequence[Callable[[], Array]], rounds: int = 7) -> Callable[[], Array]:
    """The step that takes less time, in the best of some alternating rounds."""
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, taken in zip(steps, times):
            step()
            before = time.perf_counter()
            step()
            taken.append(time.perf_counter() - before)
    return min(zip(steps, times), key=lambda pair: min(pair[1]))[0]


def converted(command: list[str], folder: str) -> None:
    """Run a converter, which writes its files into ``folder``.

    Raises:
        RuntimeError: it failed; with the last line that it printed.
    """
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise RuntimeError(f"{Path(command[0]).name} failed: {''.join(last)}")
