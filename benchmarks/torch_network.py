"""A cauce model as a PyTorch module with the same weights, so that both compute the same.

The module is generated Python (``torch.fx``) that calls PyTorch's own layers, one line for each
node, as a person would write it. Like torchvision's models it works in place where a value has no
other reader.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

import cauce
from cauce.ir import Node, Role, Value
from cauce.ir.ops.activation import Clip, Relu
from cauce.ir.ops.adaptive_pool import AdaptiveAvgPool2d
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.normalize import BatchNorm
from cauce.ir.ops.pool import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from cauce.ir.ops.shape import Concat, Flatten, Pad, Slice


def torch_network(model: cauce.Model) -> fx.GraphModule:
    """The network in training mode; ``eval()`` makes it the inference graph of ``model``.

    Raises:
        NotImplementedError: an op, or attributes of one, that the benchmarks do not need.
    """
    weights = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    layers: dict[str, nn.Module] = {}
    graph = fx.Graph()
    values: dict[Value, fx.Node] = {}
    for value in model.graph.inputs_with(Role.DATA):
        values[value] = graph.placeholder(value.name)
    for node in model.graph.nodes:
        values[node.result] = _call(graph, node, layers, weights, values)
    (output,) = model.graph.outputs.values()
    graph.output(values[output])
    return fx.GraphModule(layers, graph, model.name)


def _call(
    graph: fx.Graph,
    node: Node,
    layers: dict[str, nn.Module],
    weights: dict[str, torch.Tensor],
    values: dict[Value, fx.Node],
) -> fx.Node:
    """Write the call of one node, and make its layer if it has weights."""
    owned = [weights[v.name] for v in node.operands if v.name in weights]
    args = tuple(values[v] for v in node.operands if v in values)

    def call(function: Any, **options: object) -> fx.Node:
        return graph.call_function(function, args, options)

    match node.op:
        case Conv2d() | Linear() | BatchNorm():
            layers[node.path] = _layer(node.op, owned)
            return graph.call_module(node.path, args)
        case Relu():
            return call(F.relu, inplace=_last_reader(node))
        case Clip(min=low, max=high):
            return call(F.hardtanh, min_val=low, max_val=high, inplace=_last_reader(node))
        case Add():
            return call(operator.iadd if _last_reader(node) else operator.add)
        case MaxPool2d(kernel_size=kernel, stride=stride, ceil_mode=ceil, dilation=dilation):
            return call(
                F.max_pool2d,
                kernel_size=kernel,
                stride=stride,
                padding=_symmetric(node.op.padding),
                dilation=dilation,
                ceil_mode=ceil,
            )
        case AvgPool2d(kernel_size=kernel, stride=stride, ceil_mode=ceil):
            return call(
                F.avg_pool2d,
                kernel_size=kernel,
                stride=stride,
                padding=_symmetric(node.op.padding),
                ceil_mode=ceil,
                count_include_pad=node.op.count_include_pad,
            )
        case AdaptiveAvgPool2d(output_size=size):
            return call(F.adaptive_avg_pool2d, output_size=size)
        case GlobalAvgPool2d():
            return call(F.adaptive_avg_pool2d, output_size=1)
        case Flatten(start_dim=start, end_dim=end):
            return call(torch.flatten, start_dim=start, end_dim=end)
        case Concat(axis=axis):
            return graph.call_function(torch.cat, (args, axis))
        case Pad(pads=pads, value=value):
            borders = [size for pair in reversed(pads) for size in pair]  # the last axis first
            return call(F.pad, pad=borders, value=value)
        case Slice():
            index: list[Any] = [slice(None)] * node.result.type.rank
            for sliced, first, stop, step in node.op.bounds(node.result.type.rank):
                index[sliced] = slice(first, stop, step)
            return graph.call_function(operator.getitem, (*args, tuple(index)))
    raise NotImplementedError(f"{node.op} has no counterpart here")


def _layer(op: Conv2d | Linear | BatchNorm, weights: list[torch.Tensor]) -> nn.Module:
    """PyTorch's layer for ``op`` with these weights, which are in its own order."""
    layer: nn.Module
    match op:
        case BatchNorm():
            layer = nn.BatchNorm2d(len(weights[0]), op.epsilon)
            names = ["weight", "bias", "running_mean", "running_var"]
        case Linear():
            features_out, features_in = weights[0].shape
            layer = nn.Linear(features_in, features_out, bias=len(weights) == 2)
            names = ["weight", "bias"][: len(weights)]
        case Conv2d():
            channels_out, channels_in, *kernel = weights[0].shape
            layer = nn.Conv2d(
                channels_in * op.groups,
                channels_out,
                tuple(kernel),
                op.stride,
                _symmetric(op.padding),
                op.dilation,
                op.groups,
                bias=len(weights) == 2,
            )
            names = ["weight", "bias"][: len(weights)]
    layer.load_state_dict(dict(zip(names, weights)), strict=False)
    return layer


def _symmetric(padding: tuple[tuple[int, int], tuple[int, int]]) -> tuple[int, int]:
    """(rows, columns), as PyTorch takes it."""
    (top, bottom), (left, right) = padding
    if top != bottom or left != right:
        raise NotImplementedError(f"padding {padding} is not the same on both sides")
    return (top, left)


def _last_reader(node: Node) -> bool:
    """Whether ``node`` may write over its first operand: a layer's own result, not read again."""
    first = node.operands[0]
    made = first.node is not None and isinstance(first.node.op, (Conv2d, Linear, BatchNorm, Add))
    return made and len(first.users) == 1
