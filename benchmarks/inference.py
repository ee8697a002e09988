"""Inference of image classifiers: cauce's native code against five peers.

    python benchmarks/inference.py                                   # two models, batch 1
    python benchmarks/inference.py --models all --batch 1 16         # everything
    python benchmarks/inference.py --models vgg11 --threads 1 --peers "ONNX Runtime"

Sizes are fixed when a model is made, the batch too, and so each peer may specialise. ONNX Runtime
and OpenVINO read what ``cauce.export_onnx`` writes; PyTorch runs the same graph as a module.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import report
from protocol import Benchmark, Case, Prepared

import cauce
from cauce.ir import Array
from cauce.ir.dims import sizes
from cauce.ir.ops.normalize import BatchNorm

MODELS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20", "vgg11", "densenet121")
SHORT = ("resnet18", "resnet20")


def native(case: Case) -> Prepared:
    """cauce's native code."""
    model, image = start(case)
    predict = cauce.compile(model, backend="llvm", threads=case["threads"])
    versions = {"cauce": cauce.__version__, "llvmlite": version("llvmlite")}
    return _ready(lambda: predict(image), versions)


def onnx_runtime(case: Case) -> Prepared:
    """ONNX Runtime on its processor provider, with all of its own rewrites."""
    import onnxruntime

    model, image = start(case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            _exported(model, folder), options, providers=["CPUExecutionProvider"]
        )
    feeds = {session.get_inputs()[0].name: image}
    return _ready(lambda: session.run(None, feeds)[0], {"onnxruntime": onnxruntime.__version__})


def openvino(case: Case) -> Prepared:
    """OpenVINO, tuned for latency, in float32 (by default it may choose bfloat16)."""
    import openvino

    model, image = start(case)
    settings = {
        "INFERENCE_NUM_THREADS": case["threads"],
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        compiled = openvino.Core().compile_model(_exported(model, folder), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))

    def step() -> Array:
        request.infer()
        return request.get_output_tensor().data

    return _ready(step, {"openvino": version("openvino")})


def eager(case: Case) -> Prepared:
    """PyTorch, op by op."""
    return _torch(case)


def channels_last(case: Case) -> Prepared:
    """PyTorch, op by op, with images and weights channels last in memory."""
    return _torch(case, channels_last=True)


def compiled(case: Case) -> Prepared:
    """torch.compile with freezing, which lets it fold and pack weights."""
    return _torch(case, compiled=True)


def start(case: Case) -> tuple[cauce.Model, Array]:
    """The model and the images, which the peers must have alike.

    Fresh batch normalisations change nothing: here they have numbers as if trained.
    """
    size = 32 if case["model"] == "resnet20" else 224
    shape = (case["batch"], 3, size, size)
    model = getattr(cauce.models, case["model"]).init(image=shape, seed=0)
    rng = np.random.default_rng(0)
    numbers: dict[str, object] = {}
    for node in model.graph.nodes:
        if isinstance(node.op, BatchNorm):
            gamma, beta, mean, variance = (value.name for value in node.operands[1:])
            channels = sizes(node.operands[1].type.shape)
            numbers |= {name: rng.uniform(0.5, 1.5, channels) for name in (gamma, variance)}
            numbers |= {name: rng.normal(0, 0.1, channels) for name in (beta, mean)}
    model.load_state_dict(numbers, strict=False)
    return model, rng.standard_normal(shape, np.float32)


def _ready(step: Callable[[], Array], versions: dict[str, str]) -> Prepared:
    return Prepared(step, step().ravel().tolist(), versions)


def _exported(model: cauce.Model, folder: str) -> str:
    path = Path(folder) / "model.onnx"
    cauce.export_onnx(model, path)
    return str(path)


def _torch(case: Case, channels_last: bool = False, compiled: bool = False) -> Prepared:
    import torch
    from torch_network import torch_network

    torch.set_num_threads(case["threads"])
    model, images = start(case)
    image = torch.from_numpy(images)
    network = torch_network(model).eval()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        network = torch.compile(network)

    def step() -> Array:
        with torch.no_grad():
            return network(image).numpy()

    return _ready(step, {"torch": torch.__version__})


BENCHMARK = Benchmark(
    script=__file__,
    base="cauce llvm",
    peers={
        "cauce llvm": native,
        "ONNX Runtime": onnx_runtime,
        "OpenVINO": openvino,
        "PyTorch eager": eager,
        "PyTorch channels_last": channels_last,
        "torch.compile": compiled,
    },
    tolerance=1e-4,
)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.5)
    parser.add_argument("--models", nargs="+", default=SHORT, choices=(*MODELS, "all"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="1; see also 16")
    options = parser.parse_args()
    cases = (
        {"model": model, "batch": batch, "threads": threads}
        for model in (MODELS if "all" in options.models else options.models)
        for batch in options.batch
        for threads in options.threads
    )
    report.run(BENCHMARK, options, cases)


if __name__ == "__main__":
    main()
