"""Hostile ONNX files: small models, changed at random in ways that say what files can get wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper

from cauce.frontends.onnx import families as families
from cauce.frontends.onnx.rules import FOLDS, RULES

from .build import model, single
from .test_indices_and_arithmetic import CASES as INDICES
from .test_norms import CASES as NORMS
from .test_single_ops import CASES
from .test_windows import CASES as WINDOWS

node = helper.make_node
INTS = (0, -1, 1, 2, 3, -(2**31), 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63))
# What becomes the bound of a loop, or the size of something, somewhere.
LARGE = (100, 2**12, 2**16 - 1, 2**16, 10**6, 2**24, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
FLOATS = (0.0, -0.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), -float("inf"), 1e-45)
NAMES = (
    *("", " ", "~", "/", "a/b", "a~b", "a b", "\n", "\t", '"', "'", "\\", "%x", "@x", "=", "x=y"),
    *("update", "return", "graph", "none", "true", "f32", "inf", "constant x", "random.key", "é"),
    *("\u202e", "\U0001f600", "x" * 5000, "{}", "%s", "<b>", "../../etc/passwd", "\x7f", "#", "0"),
)
LOCATIONS = (
    *("../secret", "/etc/passwd", "link", "folder", ".", "", "weights\0", "pipe", "/dev/zero"),
    *("weights", "none/../weights", "~/weights", "../secret/../model/weights", "x" * 300),
)


def bases() -> list[ModelProto]:
    """The models that are changed: networks, shape arithmetic, and a node of each kind."""
    cases = [*CASES, *INDICES, *NORMS]
    cases += [(op, {"x": x}, stored, o, a) for op, x, stored, o, a in WINDOWS]
    return [*networks(), *(single(op, feeds, stored, o, **a) for op, feeds, stored, o, a in cases)]


def networks() -> list[ModelProto]:
    """Models of several nodes."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    def ints(*values: int) -> Any:
        return np.array(values, np.int64)

    net = [
        node("Conv", ["x", "w"], ["a"], "stem/conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "g", "b", "m", "v"], ["c"], "stem/bn"),
        node("Relu", ["c"], ["d"], "relu"),
        node("MaxPool", ["d"], ["e"], "pool", kernel_shape=[3, 3], ceil_mode=1, pads=[1, 1, 1, 1]),
        node("Concat", ["d", "e"], ["f"], "join", axis=1),
        node("GlobalAveragePool", ["f"], ["h"], "average"),
        node("Flatten", ["h"], ["i"], "flat"),
        node("Dropout", ["i"], ["j"], "drop"),
        node("Gemm", ["j", "k", "l"], ["y"], "fc", transB=1),
    ]
    stored = {"w": floats(4, 3, 3, 3), "k": floats(5, 8), "l": floats(5)}
    stored |= {name: np.abs(floats(4)) for name in "gbmv"}
    chain = [
        *(node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"], axis=0)),
        *(node("Unsqueeze", ["n", "axis"], ["n1"]), node("Gather", ["s", "two"], ["h"])),
        *(node("Div", ["h", "two"], ["half"]), node("Unsqueeze", ["half", "axis"], ["h1"])),
        node("Concat", ["n1", "rest"], ["flat"], axis=0),
        *(node("Reshape", ["x", "flat"], ["y"]), node("Slice", ["x", "axis", "h1", "hw"], ["z"])),
        node("ConstantOfShape", ["s"], ["zeros"]),
        *(node("Expand", ["zeros", "s"], ["more"]), node("Add", ["more", "x"], ["out"])),
        node("Range", ["zero", "n", "one"], ["r"]),
        *(node("Cast", ["r"], ["rf"], to=1), node("ReduceSum", ["rf"], ["total"], keepdims=0)),
    ]
    known = {"zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "axis": ints(0)}
    known |= {"rest": ints(-1), "hw": ints(2)}
    split = [
        node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
        *(node("Mul", ["a", "b"], ["c"]), node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1])),
        node("Pad", ["d", "pads"], ["e"], mode="constant"),
        *(node("MatMul", ["e", "w"], ["f"]), node("Softmax", ["f"], ["y"], axis=-1)),
    ]
    image: dict[str, Any] = {"x": ("N", 3, "H", "W")}
    return [
        model(net, image, ["y"], stored),
        model(net, {"x": (2, 3, 8, 8)}, ["y", "d"], stored, 11),
        model(chain, {"x": ("N", 3, "H", 8)}, ["y", "z", "out", "total"], known),
        model(
            split,
            {"x": ("N", 4, "H", "H")},
            ["y"],
            {"pads": ints(0, 1, 0, 0, 0, 1, 0, 0), "w": floats(2, 3)},
        ),
    ]


def mutated(base: ModelProto, seed: int) -> bytes:
    """The bytes of a model after one to three changes, which the seed chooses."""
    rng, proto = random.Random(seed), ModelProto()
    proto.CopyFrom(base)
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice(CHANGES)
        if not proto.graph.node:
            break
        change(rng, proto)
    content = proto.SerializeToString()
    if rng.random() < 0.2:
        return rng.choice(BYTE_CHANGES)(rng, content)
    return content


# ---- changes of the message --------------------------------------------------------------------


def _node(rng: random.Random, proto: ModelProto) -> NodeProto:
    return rng.choice(proto.graph.node)


def _tensors(proto: ModelProto) -> list[str]:
    graph = proto.graph
    names = [value.name for value in (*graph.input, *graph.initializer)]
    return names + [name for n in graph.node for name in n.output] or [""]


def other_operand(rng: random.Random, proto: ModelProto) -> None:
    chosen, names = _node(rng, proto), [*_tensors(proto), "", "nothing"]
    if chosen.input and rng.random() < 0.7:
        chosen.input[rng.randrange(len(chosen.input))] = rng.choice(names)
    elif chosen.input and rng.random() < 0.5:
        del chosen.input[rng.randrange(len(chosen.input))]
    else:
        chosen.input.extend(rng.choices(names, k=rng.choice((1, 1, 70))))


def other_result(rng: random.Random, proto: ModelProto) -> None:
    chosen = _node(rng, proto)
    if chosen.output and rng.random() < 0.5:
        chosen.output[rng.randrange(len(chosen.output))] = rng.choice([*_tensors(proto), ""])
    elif chosen.output and rng.random() < 0.3:
        del chosen.output[:]
    else:
        chosen.output.extend([f"more{i}" for i in range(rng.choice((1, 2, 99)))])


def other_order(rng: random.Random, proto: ModelProto) -> None:
    nodes = list(proto.graph.node)
    rng.choice((rng.shuffle, list.reverse))(nodes)  # type: ignore[operator]
    if rng.random() < 0.3:
        nodes.append(rng.choice(nodes))
    elif rng.random() < 0.3:
        nodes.pop()
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def other_names(rng: random.Random, proto: ModelProto) -> None:
    """A tensor, or all nodes, under a hostile name."""
    if rng.random() < 0.3:
        name = rng.choice(NAMES)
        for n in proto.graph.node:
            n.name = name
        return
    old, new = rng.choice(_tensors(proto)), rng.choice(NAMES)
    for n in proto.graph.node:
        n.input[:] = [new if name == old else name for name in n.input]
        n.output[:] = [new if name == old else name for name in n.output]
    for value in (*proto.graph.input, *proto.graph.initializer, *proto.graph.output):
        value.name = new if value.name == old else value.name


def other_attribute(rng: random.Random, proto: ModelProto) -> None:
    with_some = [n for n in proto.graph.node if n.attribute]
    if not with_some or rng.random() < 0.1:
        chosen, other = _node(rng, proto), rng.choice(list(RULES))
        name = rng.choice(("axis", "axes", "pads", "group", "strides", "mode", other, ""))
        chosen.attribute.append(helper.make_attribute(name or "x", rng.choice((1, 2.0, "s", [1]))))
        return
    entry = rng.choice(rng.choice(with_some).attribute)
    kind = rng.randrange(5)
    if entry.ints and kind < 3:
        entry.ints[rng.randrange(len(entry.ints))] = rng.choice(INTS)
    elif entry.ints and kind == 3:
        entry.ints[:] = rng.choices(INTS, k=rng.choice((0, 1, 2, 3, 4, 6, 100)))
    elif kind == 4:
        entry.type = rng.choice(list(AttributeProto.AttributeType.values()))
    elif entry.type == AttributeProto.FLOAT:
        entry.f = rng.choice(FLOATS)
    elif entry.type == AttributeProto.STRING:
        entry.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"x" * 9999, b"linear"))
    else:
        entry.i = rng.choice(INTS)


def large_integer(rng: random.Random, proto: ModelProto) -> None:
    """Any integer attribute that the operator of a node can have, or a stored integer, large."""
    chosen, stored = _node(rng, proto), [t for t in proto.graph.initializer if t.data_type == 7]
    if stored and rng.random() < 0.3:
        tensor = rng.choice(stored)
        # Its bytes: an earlier change may have made its shape another one.
        content, count = tensor.raw_data, len(tensor.raw_data) // 8
        if count:
            at = 8 * rng.randrange(count)
            number = rng.choice(LARGE).to_bytes(8, "little")
            tensor.raw_data = content[:at] + number + content[at + 8 :]
        return
    opset = proto.opset_import[0].version
    try:
        schema = defs.get_schema(chosen.op_type, opset if 0 < opset < 99 else 18, chosen.domain)
    except defs.SchemaError:
        return
    kinds = {AttributeProto.INT: 1, AttributeProto.INTS: rng.choice((1, 2, 2, 2, 3, 4, 4))}
    whole = {name: kinds[a.type] for name, a in schema.attributes.items() if a.type in kinds}
    for name in rng.sample(sorted(whole), min(len(whole), rng.choice((1, 1, 2, 3)))):
        several = schema.attributes[name].type == AttributeProto.INTS
        own = next((a for a in chosen.attribute if a.name == name), None)
        if own is None:
            value = rng.choices((1, 2, *LARGE), k=whole[name]) if several else rng.choice(LARGE)
            chosen.attribute.append(helper.make_attribute(name, value))
        elif own.ints and several:
            own.ints[rng.randrange(len(own.ints))] = rng.choice(LARGE)
        else:
            own.i = rng.choice(LARGE)


def wide_window(rng: random.Random, proto: ModelProto) -> None:
    """A window that is large, and has so much padding that few of them fit."""
    sliding = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"}
    chosen = rng.choice([n for n in proto.graph.node if n.op_type in sliding] or [None])
    if chosen is None:
        return
    kernels = [a for a in chosen.attribute if a.name == "kernel_shape"]
    axes = len(kernels[0].ints) if kernels else rng.choice((1, 2, 2, 3))
    reach = [rng.choice((1, 1, *LARGE)) for _ in range(axes)]
    kept = [a for a in chosen.attribute if a.name not in ("kernel_shape", "dilations", "pads")]
    del chosen.attribute[:]
    chosen.attribute.extend(kept)
    grown = rng.choice(("kernel_shape", "dilations"))
    made = {grown: reach, "pads": [r // 2 for r in reach] * 2}
    if chosen.op_type not in ("Conv", "ConvTranspose") and grown != "kernel_shape":
        made["kernel_shape"] = [rng.choice((2, 3)) for _ in reach]
        made["pads"] = [r * (k - 1) // 2 for r, k in zip(reach, made["kernel_shape"])] * 2
    for name, value in made.items():
        whole = [min(number, 2**63 - 1) for number in value]
        chosen.attribute.append(helper.make_attribute(name, whole))


def other_tensor(rng: random.Random, proto: ModelProto) -> None:
    """A stored tensor with other contents, another shape or dtype, or elsewhere."""
    held = [*proto.graph.initializer]
    held += [e.t for n in proto.graph.node for e in n.attribute if e.HasField("t")]
    if not held:
        return
    tensor, kind = rng.choice(held), rng.randrange(8)
    if kind == 0:
        tensor.dims[:] = rng.choices(INTS, k=rng.choice((0, 1, 2, 4, 70)))
    elif kind == 1:
        tensor.data_type = rng.choice((*range(-1, 28), 1000))
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.raw_data = bytes(rng.randrange(256) for _ in range(len(tensor.raw_data)))
    elif kind == 4:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=rng.choice(LOCATIONS))
        for key in ("offset", "length"):
            if rng.random() < 0.5:
                value = str(rng.choice(INTS)) if rng.random() < 0.8 else "x" * 9
                tensor.external_data.add(key=key, value=value)
    elif kind == 5:
        tensor.dims[:] = [2**20, 2**20]
    elif tensor.data_type == TensorProto.INT64:
        count = len(tensor.raw_data) // 8
        tensor.raw_data = np.array(rng.choices(INTS, k=count), np.int64).tobytes()
    else:
        name = tensor.name
        array = np.array(rng.choices(FLOATS, k=rng.choice((1, 4, 9))), np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, name))


def sparse_tensor(rng: random.Random, proto: ModelProto) -> None:
    """A stored tensor as a sparse one."""
    if not proto.graph.initializer:
        return
    tensor = proto.graph.initializer[0]
    sparse = proto.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), tensor.name))
    indices = np.array(rng.choices(INTS, k=2), np.int64)
    sparse.indices.CopyFrom(numpy_helper.from_array(indices))
    sparse.dims[:] = rng.choice((list(tensor.dims), rng.choices(INTS, k=3), [2**13, 2**13]))
    if rng.random() < 0.8:
        del proto.graph.initializer[0]


def other_input(rng: random.Random, proto: ModelProto) -> None:
    if not proto.graph.input:
        return
    tensor = rng.choice(proto.graph.input).type.tensor_type
    kind = rng.randrange(4)
    if kind == 0:
        tensor.elem_type = rng.choice((*range(-1, 28), 1000))
    elif kind == 1:
        tensor.ClearField("shape")
    elif kind == 2:
        for _ in range(rng.choice((1, 70))):
            tensor.shape.dim.add(dim_value=rng.choice(INTS))
    else:
        for dim in tensor.shape.dim:
            if rng.random() < 0.5:
                dim.dim_value = rng.choice(INTS)
            else:
                expressions = ("N*N//(N - N)", "(" * 40, "N-9", "0*N", "9" * 99, *NAMES)
                dim.dim_param = rng.choice(expressions)


def other_operator(rng: random.Random, proto: ModelProto) -> None:
    chosen = _node(rng, proto)
    if rng.random() < 0.85:
        chosen.op_type = rng.choice([*RULES, *FOLDS])
    elif rng.random() < 0.5:
        chosen.op_type = rng.choice(("If", "Loop", "Nothing", "x" * 99999, "\n", ""))
    else:
        chosen.domain = rng.choice(("ai.onnx", "com.microsoft", "\n"))


def other_opset(rng: random.Random, proto: ModelProto) -> None:
    if rng.random() < 0.3:
        proto.opset_import.add(domain="", version=rng.randrange(1, 25))
    else:
        proto.opset_import[0].version = rng.choice((*range(1, 25), *INTS))


def deep_graph(rng: random.Random, proto: ModelProto) -> None:
    """Graphs within graphs, as an attribute."""
    inner = helper.make_graph([node("Relu", ["x"], ["y"])], "inner", [], [])
    for _ in range(rng.choice((1, 10, 20))):
        branch = node("If", ["c"], ["y"], then_branch=inner)
        inner = helper.make_graph([branch], "outer", [], [])
    _node(rng, proto).attribute.append(helper.make_attribute("body", inner))


def long_loop(rng: random.Random, proto: ModelProto) -> None:
    """A Loop of so many steps, within another one of as many."""
    count = numpy_helper.from_array(np.int64(rng.choice((2, 30, *INTS))), "loop.count")
    proto.graph.initializer.append(count)

    def empty(*names: str) -> list[Any]:
        return [helper.make_empty_tensor_value_info(name) for name in names]

    body = [node("Identity", ["c"], ["more"]), node("Add", ["v", "v"], ["w"])]
    for depth in range(rng.choice((1, 2, 3))):
        inner = helper.make_graph(body, "body", empty("i", "c", "v"), empty("more", "w"))
        started = "v" if depth < 2 else rng.choice(("v", "w"))
        loop = node("Loop", ["loop.count", "", started], ["w"], body=inner)
        body = [node("Identity", ["c"], ["more"]), loop]
    outer = NodeProto()
    outer.CopyFrom(loop)
    outer.input[2], outer.output[0] = rng.choice(_tensors(proto)), "looped"
    proto.graph.node.append(outer)
    proto.graph.output.append(helper.make_empty_tensor_value_info("looped"))


def recursive_function(rng: random.Random, proto: ModelProto) -> None:
    """A function of the model that calls itself, or one that calls it, or many that double."""
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    count = rng.choice((1, 2, 40))
    for i in range(count):
        if count == 40:
            called = "Relu" if i == 0 else f"F{i - 1}"
            domain = "" if i == 0 else "own"
        else:
            called, domain = f"F{(i + 1) % count}", "own"
        body = [
            node(called, ["x"], ["a"], domain=domain),
            node(called, ["a"], ["y"], domain=domain),
        ]
        proto.functions.append(helper.make_function("own", f"F{i}", ["x"], ["y"], body, opset))
    proto.opset_import.add(domain="own", version=1)
    chosen = _node(rng, proto)
    chosen.op_type, chosen.domain = f"F{count - 1}", "own"
    del chosen.attribute[:]
    del chosen.input[1:]
    del chosen.output[1:]


def growing_chain(rng: random.Random, proto: ModelProto) -> None:
    """The same step many times, each of which makes of the result of the last more of it."""
    if not proto.graph.input:
        return
    start = rng.choice(("shape", "input"))
    first, at = len(proto.graph.node), proto.graph.input[0].name
    if start == "shape":
        proto.graph.node.append(node("Shape", [at], ["grown"]))
        at = "grown"
    steps = rng.choice((5, 40, 300))
    op = rng.choice(("Concat", "Mul", "Add", "Div", "Expand", "Tile", "Unsqueeze", "Gather", "Pad"))
    axis = numpy_helper.from_array(np.array([0], np.int64), "chain.axis")
    proto.graph.initializer.append(axis)
    for i in range(steps):
        more = {"axis": 0} if op in ("Concat", "Gather") else {}
        other = {"Unsqueeze": "chain.axis"}.get(op, at)
        proto.graph.node.append(node(op, [at, other], [f"grown{first}.{i}"], **more))
        at = f"grown{first}.{i}"
    proto.graph.output.append(helper.make_empty_tensor_value_info(at))


def huge_result(rng: random.Random, proto: ModelProto) -> None:
    """A node that makes much of little."""
    wanted = np.array(rng.choices((1, 2**20, 2**31 - 1, 2**40, 2**62), k=2), np.int64)
    proto.graph.initializer.append(numpy_helper.from_array(wanted, "huge.shape"))
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(1), "huge.one"))
    end = numpy_helper.from_array(np.int64(rng.choice(INTS)), "huge.end")
    proto.graph.initializer.append(end)
    made = rng.choice(
        (
            node("ConstantOfShape", ["huge.shape"], ["huge"]),
            node("Expand", ["huge.one", "huge.shape"], ["huge"]),
            node("Tile", ["huge.shape", "huge.end"], ["huge"]),
            node("Range", ["huge.one", "huge.end", "huge.one"], ["huge"]),
            node("OneHot", ["huge.one", "huge.end", "huge.shape"], ["huge"]),
            node("Pad", ["huge.shape", "huge.shape"], ["huge"]),
            node("Resize", ["huge.one", "", "", "huge.shape"], ["huge"]),
            node("EyeLike", ["huge.shape"], ["huge"]),
        )
    )
    reader = node(rng.choice(("Shape", "Neg", "ReduceSum", "Size")), ["huge"], ["huge.read"])
    proto.graph.node.extend([made, reader])
    proto.graph.output.append(helper.make_empty_tensor_value_info("huge.read"))


def many_equal_names(rng: random.Random, proto: ModelProto) -> None:
    name = rng.choice(("", "n", "n" * 999))
    at = proto.graph.input[0].name if proto.graph.input else "x"
    for i in range(500):
        proto.graph.node.append(node("Relu", [at], [f"same{i}"], name))
        at = f"same{i}"
    proto.graph.output.append(helper.make_empty_tensor_value_info(at))


Change = Callable[[random.Random, ModelProto], None]
CHANGES: tuple[Change, ...] = (
    *(other_operand, other_result, other_order, other_names, other_attribute, other_attribute),
    *(other_attribute, other_tensor, other_tensor, sparse_tensor, other_input, other_operator),
    *(other_operator, other_opset, deep_graph, recursive_function, growing_chain, huge_result),
    *(many_equal_names, long_loop, wide_window),
    *(large_integer,) * 4,
)


# ---- changes of the bytes ----------------------------------------------------------------------


def truncated(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def flipped(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 32))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwritten(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(len(content))
    filler = rng.choice((b"\xff", b"\x00", b"\x80", b"\x0a")) * rng.choice((1, 5, 10, 64))
    return content[:start] + filler + content[start + len(filler) :]


def moved(rng: random.Random, content: bytes) -> bytes:
    """A piece twice, or not at all, or somewhere else."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    piece, place = content[start:end], rng.randrange(len(content))
    kept = content if rng.random() < 0.5 else content[:start] + content[end:]
    return kept if rng.random() < 0.3 else kept[:place] + piece + kept[place:]


BYTE_CHANGES = (truncated, flipped, flipped, overwritten, moved)
