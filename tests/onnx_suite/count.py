"""Count what passes on both backends and in ONNX Runtime: ``python -m tests.onnx_suite.count``.

Writes the table in docs/onnx.md. With ``--accept`` what fails now is listed in failing.txt, to be
looked at in the diff. Each backend has a process of its own: ONNX Runtime may end its process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from .cases import all_cases, cnn_subset
from .reasons import reason
from .runs import BACKENDS, OnnxRuntime, failures, write_known

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"
BEGIN, END = "<!-- counted by tests/onnx_suite/count.py -->", "<!-- end of the count -->"
RUNTIME = "ONNX Runtime"
NAMES = {"numpy": "cauce, NumPy", "llvm": "cauce, native", RUNTIME: RUNTIME}
# Rows of the table: cases of single operators, by what the operators are for.
GROUPS: dict[str, str] = {
    "convolution and pooling": "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool "
    "GlobalMaxPool LpPool MaxUnpool DeformConv Col2Im CausalConvWithState",
    "normalisation": "BatchNormalization InstanceNormalization LayerNormalization LRN "
    "GroupNormalization RMSNormalization MeanVarianceNormalization LpNormalization Dropout",
    "activations": "Relu LeakyRelu PRelu Elu Selu Celu Gelu Mish Swish Softplus Softsign "
    "HardSigmoid HardSwish Hardmax ThresholdedRelu Shrink Sigmoid Tanh Softmax LogSoftmax Erf "
    "Clip SwiGLU",
    "losses": "SoftmaxCrossEntropyLoss NegativeLogLikelihoodLoss",
    "reductions, scans, the greatest": "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare ArgMax ArgMin TopK CumSum CumProd",
    "elementwise, logic, matrix products": "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift "
    "BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Cos Cosh Div Equal Exp Floor Greater "
    "GreaterOrEqual IsInf IsNaN Less LessOrEqual Log Max Mean Min Mod Mul Neg Not Or Pow "
    "Reciprocal Round Sign Sin Sinh Sqrt Sub Sum Tan Where Xor Gemm MatMul Det Einsum",
    "shapes and indices": "Concat Constant ConstantOfShape Expand EyeLike Flatten Gather "
    "GatherElements GatherND Identity OneHot Pad Range Reshape Scatter ScatterElements ScatterND "
    "Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Compress ReverseSequence "
    "TensorScatter CenterCropPad NonZero Unique",
    "resizing and sampling": "Resize Upsample DepthToSpace SpaceToDepth GridSample AffineGrid "
    "RoiAlign",
    "conversion": "Cast CastLike BitCast",
    "attention": "Attention FlexAttention LinearAttention RotaryEmbedding",
    "quantised": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul "
    "ConvInteger MatMulInteger",
    "recurrent": "LSTM GRU RNN",
}
MODELS = ("simple models", "pytorch-converted models", "pytorch-operator models", "light models")


def count(backend: str) -> dict[str, str]:
    """What fails on a backend, counted in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", __spec__.name, "--only", backend],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(found: Mapping[str, Mapping[str, str]]) -> str:
    """The counts by group."""
    group_of = {op: group for group, ops in GROUPS.items() for op in ops.split()}
    group_of |= {name: name for name in MODELS}
    other = "control flow, sequences, strings, signals and others"
    rows: dict[str, list[str]] = {group: [] for group in (*GROUPS, other, *MODELS)}
    for name, case in all_cases().items():
        rows[group_of.get(case.family, other)].append(name)
    rows["**all**"] = list(all_cases())
    rows["of these, of convolutional networks"] = cnn_subset()
    lines = [f"| cases | | {' | '.join(NAMES[name] for name in found)} |", "|---" * 5 + "|"]
    for row, names in rows.items():
        passed = [sum(name not in failed for name in names) for failed in found.values()]
        lines.append(f"| {row} | {len(names):,} | {' | '.join(f'{n:,}' for n in passed)} |")
    reasons = Counter(reason(all_cases()[name]) for name in found["llvm"])
    lines += ["", "Why the others fail on the native backend:", ""]
    lines += [f"- {why or 'no reason known'}: {n}" for why, n in reasons.most_common()]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    if "--only" in arguments:
        name = arguments[arguments.index("--only") + 1]
        print(json.dumps(failures(all_cases().values(), {**BACKENDS, RUNTIME: OnnxRuntime}[name])))
        return
    found = {name: count(name) for name in NAMES}
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(found)}\n{END}{after}")
    if "--accept" in arguments:
        write_known({name: found[name] for name in BACKENDS})
    for name, failed in found.items():
        print(f"{NAMES[name]}: {len(all_cases()) - len(failed):,} of {len(all_cases()):,} pass")
    for name in sorted({*found["numpy"], *found["llvm"]}):
        if not reason(all_cases()[name]):
            print(f"no reason: {name}: {found['llvm'].get(name) or found['numpy'][name]}")


if __name__ == "__main__":
    main(sys.argv[1:])
