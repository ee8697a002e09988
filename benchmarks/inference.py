"""Inference of image classifiers: cauce's native code against seven peers, and the limit.

    python benchmarks/inference.py                                   # two models, batch 1
    python benchmarks/inference.py --models all --batch 1 4 16       # everything
    python benchmarks/inference.py --models vgg11 --threads 1 --peers "ONNX Runtime"

Sizes are fixed when a model is made, the batch too, and so each peer may specialise. ONNX Runtime
and OpenVINO read what ``cauce.export_onnx`` writes, ncnn and MNN what their converters make of it
(``engines.py``); PyTorch runs the same graph as a module. What the machine could do at best stands
beside it (``limit.py``).
"""

from __future__ import annotations

import tempfile
from importlib.metadata import version

import engines
import report
from classifiers import MODELS, exported, ready, start
from limit import Limits
from protocol import Benchmark, Case, Prepared

import cauce
from cauce.ir import Array

SHORT = ("resnet18", "resnet20")


def native(case: Case) -> Prepared:
    """cauce's native code."""
    model, image = start(case)
    predict = cauce.compile(model, backend="llvm", threads=case["threads"])
    versions = {"cauce": cauce.__version__, "llvmlite": version("llvmlite")}
    return ready(lambda: predict(image), versions)


def onnx_runtime(case: Case) -> Prepared:
    """ONNX Runtime on its processor provider, with all of its own rewrites."""
    import onnxruntime

    model, image = start(case)
    options = engines.session_options(case["threads"])
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(
            exported(model, folder), options, providers=["CPUExecutionProvider"]
        )
    feeds = {session.get_inputs()[0].name: image}
    return ready(lambda: session.run(None, feeds)[0], {"onnxruntime": onnxruntime.__version__})


def openvino(case: Case) -> Prepared:
    """OpenVINO, tuned for latency, in float32 (by default it may choose bfloat16)."""
    import openvino

    model, image = start(case)
    settings = engines.openvino_settings(case["threads"])
    with tempfile.TemporaryDirectory() as folder:
        compiled = openvino.Core().compile_model(exported(model, folder), "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(image, shared_memory=True))

    def step() -> Array:
        request.infer()
        return request.get_output_tensor().data

    return ready(step, {"openvino": version("openvino")})


def eager(case: Case) -> Prepared:
    """PyTorch, op by op."""
    return _torch(case)


def channels_last(case: Case) -> Prepared:
    """PyTorch, op by op, with images and weights channels last in memory."""
    return _torch(case, channels_last=True)


def compiled(case: Case) -> Prepared:
    """torch.compile with freezing, which lets it fold and pack weights."""
    return _torch(case, compiled=True)


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

    return ready(step, {"torch": torch.__version__})


BENCHMARK = Benchmark(
    script=__file__,
    base="cauce llvm",
    peers={
        "cauce llvm": native,
        "ONNX Runtime": onnx_runtime,
        "OpenVINO": openvino,
        "ncnn": engines.ncnn,
        "MNN": engines.mnn,
        "PyTorch eager": eager,
        "PyTorch channels_last": channels_last,
        "torch.compile": compiled,
    },
    # Winograd's algorithm on large tiles is off by as much as 9e-5 (MNN, vgg11); float16, which no
    # peer may use, by 5e-4 (ncnn, resnet18).
    tolerance=3e-4,
)


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.5)
    parser.add_argument("--models", nargs="+", default=SHORT, choices=(*MODELS, "all"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="1; see also 4 and 16")
    options = parser.parse_args()
    report.work(BENCHMARK, options)  # before the machine is measured
    limits = Limits(options.threads)
    cases = (
        {"model": model, "batch": batch, "threads": threads}
        for model in (MODELS if "all" in options.models else options.models)
        for batch in options.batch
        for threads in options.threads
    )
    report.run(BENCHMARK, options, cases, limits.of, {"capacity": limits.facts()})


if __name__ == "__main__":
    main()
