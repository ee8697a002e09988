"""Norms, activations and losses from ONNX, form by form, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cauce.ir import Array

from .build import agrees, single
from .test_single_ops import IMAGE, NEWEST, WITH_INF, floats

CASES: list[tuple[str, dict[str, Array], dict[str, Any], int, dict[str, Any]]] = []
CHANNELS = {"scale": floats(4), "bias": floats(4)}
TAILS = np.array([[-100, -20, -5.5, -1e-3], [1e-3, 0.7, 9, 100]], np.float32)


def case(
    op_type: str,
    feeds: tuple[Array, ...] | Array,
    stored: dict[str, Any] | None = None,
    opsets: tuple[int, ...] = (NEWEST,),
    **attributes: Any,
) -> None:
    named = dict(zip("xyz", feeds if isinstance(feeds, tuple) else (feeds,)))
    for opset in opsets:
        CASES.append((op_type, named, stored or {}, opset, attributes))


# ---- norms -------------------------------------------------------------------------------------

for axis in (-1, 1):
    shape = IMAGE.shape[axis:]
    case("LayerNormalization", IMAGE, {"g": floats(*shape), "b": floats(*shape)}, (17,), axis=axis)
case("LayerNormalization", IMAGE, {"g": floats(9)}, (17, NEWEST), epsilon=0.1)
case("InstanceNormalization", IMAGE, CHANNELS, (7, NEWEST), epsilon=0.1)
case("InstanceNormalization", floats(2, 4, 5), CHANNELS)
case("InstanceNormalization", floats(2, 4, 3, 2, 5), CHANNELS)
case("GroupNormalization", IMAGE, CHANNELS, (21,), num_groups=2)
case("GroupNormalization", IMAGE, {"g": floats(2), "b": floats(2)}, (18,), num_groups=2)
case("GroupNormalization", floats(2, 4, 5), CHANNELS, (21,), num_groups=4, epsilon=0.1)
case("RMSNormalization", IMAGE, {"g": floats(9)})
case("RMSNormalization", IMAGE, {"g": floats(7, 9)}, axis=2, epsilon=0.1)
case("LRN", floats(2, 9, 3, 4), None, (7, 13), size=3)
case("LRN", 9 * floats(2, 9, 3, 4), None, (13,), size=5, alpha=0.3, beta=0.6, bias=2.0)
case("MeanVarianceNormalization", IMAGE, None, (9, 13))
case("MeanVarianceNormalization", IMAGE, None, (9,), axes=[0, 1, 2, 3])
case("LpNormalization", IMAGE, None, (7, NEWEST))
case("LpNormalization", IMAGE, None, axis=1, p=1)

# ---- activations -------------------------------------------------------------------------------

for name in ("Elu", "Selu", "Softplus"):
    case(name, WITH_INF, None, (7, NEWEST))
    case(name, TAILS, None, (7, NEWEST))
case("Celu", WITH_INF, None, (12,))
case("Celu", IMAGE, None, (12,), alpha=0.4)
case("Elu", IMAGE, None, (7,), alpha=0.4)
case("Selu", IMAGE, None, (7,), alpha=2.0, gamma=3.0)
for approximate in ("none", "tanh"):
    case("Gelu", TAILS, None, (20,), approximate=approximate)
case("Mish", TAILS, None, (18, 22))
case("Swish", TAILS, None, (24,), alpha=1.5)
case("Softsign", IMAGE, None, (7, NEWEST))
case("Erf", TAILS, None, (9, 13))
case("HardSwish", TAILS, None, (14, 22))
case("ThresholdedRelu", WITH_INF, None, (10, 22))
case("ThresholdedRelu", IMAGE, None, (10,), alpha=0.1)
case("Shrink", IMAGE, None, (9,), lambd=0.3, bias=0.1)
case("Shrink", np.array([-3, -1, 0, 2], np.int32), None, (9,), lambd=1.5, bias=1.0)
case("PRelu", IMAGE, {"slope": floats(9)}, (7, 16))
case("PRelu", IMAGE, {"slope": floats(4, 7, 9)}, (16,))
case("PRelu", np.array([-3, 2], np.int32), {"slope": np.array([2, 2], np.int32)}, (16,))
TIES = np.array([[1, 3, 3], [2, 2, 0]], np.float32)
case("Hardmax", TIES, None, (7, 11, 13))
case("Hardmax", floats(2, 3, 4), None, (7, 11), axis=0)
case("Hardmax", floats(2, 3, 4), None, (7, 11, 13), axis=1)

# ---- losses ------------------------------------------------------------------------------------

LABELS = np.array([[0, 3, 2], [1, 0, 3]])
WEIGHT = np.array([0.5, 1, 2, 3], np.float32)
for loss in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"):
    for reduction in ("mean", "sum", "none"):
        case(loss, (floats(2, 4, 3), LABELS), None, (13,), reduction=reduction)
    case(loss, (floats(2, 4, 3), LABELS), {"w": WEIGHT}, (12, 13), ignore_index=3)
    case(loss, (floats(2, 4, 3), LABELS.astype(np.int32)), None, (13,), ignore_index=0)
    case(loss, (floats(2, 4), LABELS[:, 0]), {"w": WEIGHT}, (13,), ignore_index=-7)


@pytest.mark.parametrize(
    ("op_type", "feeds", "stored", "opset", "attributes"),
    CASES,
    ids=[f"{i}-{c[0]}-{c[3]}" for i, c in enumerate(CASES)],
)
def test_a_node_is_what_onnx_runtime_makes_of_it(
    op_type: str, feeds: dict[str, Array], stored: dict[str, Any], opset: int, attributes: Any
) -> None:
    agrees(single(op_type, feeds, stored, opset, **attributes), feeds)
