"""What may lie in one place: parts of one whole or of two, inputs, outputs, new values of state.

What is right is written out with NumPy in f64. Memory is full of NaN at first, so that a place to
which nothing was written shows; every plan is run in a memory that knows whose every element is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.backends.llvm.runtime.memory import GUARD
from cauce.ir import Array, parse
from cauce.ir.pass_manager import run_passes
from cauce.passes.optimizer_step import add_training_step
from cauce.passes.optimizers import SGD
from cauce.passes.pipelines import PRIMITIVES, TRAINING

from .by_hand import convolved, draw, native, near
from .test_buffers import TARGETS, hold


@pytest.fixture(autouse=True)
def memory_full_of_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD, "end")


# ---- concatenated twice ------------------------------------------------------------------------

# How often v stands where; each gives two wholes, for x and v = relu(x).
TWICE: dict[str, tuple[str, Callable[[Array, Array], tuple[list[Array], list[Array]]]]] = {
    "in a whole and in the whole around it": (
        "%a = concat(%x, %v) axis=1 : 2\n%b = concat(%a, %v) axis=1 : 3",
        lambda x, v: ([x, v], [x, v, v]),
    ),
    "the other way round": (
        "%a = concat(%x, %v) axis=1 : 2\n%b = concat(%v, %a) axis=1 : 3",
        lambda x, v: ([x, v], [v, x, v]),
    ),
    "in both of two wholes": (
        "%a = concat(%x, %v) axis=1 : 2\n%b = concat(%v, %x, %v) axis=1 : 3",
        lambda x, v: ([x, v], [v, x, v]),
    ),
    "a whole twice": (
        "%a = concat(%v, %v) axis=1 : 2\n%b = concat(%a, %v, %a) axis=1 : 5",
        lambda x, v: ([v, v], [v, v, v, v, v]),
    ),
    "a whole alone": (
        "%a = concat(%v) axis=1 : 1\n%b = concat(%a, %v) axis=1 : 2",
        lambda x, v: ([v], [v, v]),
    ),
    "three deep": (
        """%p = concat(%v, %x) axis=1 : 2
        %a = concat(%p, %v, %p) axis=1 : 5
        %b = concat(%v, %a, %p, %v) axis=1 : 9""",
        lambda x, v: ([v, x, v, v, x], [v, v, x, v, v, x, v, x, v]),
    ),
    "a view of it": (
        """%t = transpose(%v) perm=[0, 1, 2, 3] : 1
        %a = concat(%v, %t) axis=1 : 2
        %b = concat(%t, %a, %v) axis=1 : 4""",
        lambda x, v: ([v, v], [v, v, v, v]),
    ),
}
MADE = {
    "elementwise": "%v = relu(%x) : 1",
    "an image": "%v = max_pool2d(%x) kernel_size=1 : 1",
}
# What reads the wholes: as they leave, and a convolution within zeros.
READ = {
    "leaving": ("", "%a, %b"),
    "read": ("%c = mul(%a, %a) : A\n%d = mul(%b, %b) : B", "%c, %d"),
    "framed": (
        """%e = max_pool2d(%a) kernel_size=3 stride=1 padding=1 : A
        %f = conv2d(%b, %w) padding=1 : F
        %c = mul(%a, %a) : A
        %d = mul(%b, %b) : B""",
        "%c, %d, %e, %f",
    ),
}


@pytest.mark.parametrize(
    "read, batch", [("leaving", "2"), ("read", "N"), ("framed", "2"), ("framed", "N")]
)
@pytest.mark.parametrize("made", MADE)
@pytest.mark.parametrize("case", TWICE)
def test_concatenated_twice(case: str, made: str, read: str, batch: str) -> None:
    body, parts = TWICE[case]
    after, results = READ[read]
    x, channels = draw(2, 3, 4, 5), 3
    wholes = [np.concatenate(v, 1) for v in parts(x, np.maximum(x, 0) if made[0] == "e" else x)]
    w = draw(4, wholes[1].shape[1], 3, 3, seed=1)

    def image(count: int) -> str:
        return f"f64[{batch},{count},4,5]"

    lines = "\n".join((MADE[made], body, after)).splitlines()
    for place, line in enumerate(lines):
        head, colon, kind = line.rpartition(" : ")
        if colon:
            known = {"A": wholes[0].shape[1], "B": wholes[1].shape[1], "F": 4}
            count = known[kind] if kind in known else int(kind) * channels
            lines[place] = f"{head} : {image(count)}"
    types = [image(wholes[0].shape[1]), image(wholes[1].shape[1])]
    types += [types[0], image(4)] if read == "framed" else []
    text = "\n".join(
        [
            f"graph g(%x: {image(3)}, %w: f64[{','.join(map(str, w.shape))}]) -> "
            f"({', '.join(types)}) {{",
            *lines,
            f"return {results}",
            "}",
        ]
    )
    for target in TARGETS.values():
        hold(parse(text), target, {"N": 2})
    found = list(native(text, x=x, w=w).values())
    for array, whole in zip(found, wholes):
        near(array, whole if read == "leaving" else whole**2)
    if read == "framed":
        near(found[3], convolved(wholes[1], w))


@pytest.mark.parametrize("axis", range(4))
def test_concatenated_twice_along_any_axis_in_training(axis: int) -> None:
    """loss = sum(c * concat([w, v])), w = concat([x*p, v]), v = relu(x*p): each place of v gives
    its part of the gradient."""
    shape = (2, 3, 4, 5)
    two, three = list(shape), list(shape)
    two[axis] *= 2
    three[axis] *= 3
    x, p, c = draw(*shape), draw(*shape, seed=1), draw(*three, seed=2)
    t1, t2, t3 = (f"f64[{','.join(map(str, dims))}]" for dims in (shape, two, three))
    graph = parse(
        f"""graph g(%x: {t1}, %c: {t3}) -> f64[] {{
          @p: {t1} parameter
          %y = mul(%x, @p) : {t1}
          %v = relu(%y) : {t1}
          %w = concat(%y, %v) axis={axis} : {t2}
          %z = concat(%w, %v) axis={axis} : {t3}
          %zc = mul(%z, %c) : {t3}
          %loss = sum(%zc) : f64[]
          return %loss
        }}"""
    )
    add_training_step(graph, "loss", SGD(0.1), [graph.inputs[2]])
    run_passes(graph, (*TRAINING, *PRIMITIVES))
    executable = Executable(compile_program(graph))
    state = executable.new_state({"p": p})
    loss = executable.run({"x": x, "c": c, "lr": np.float64(0.1)}, state)["loss"]
    y = x * p
    first, second, third = np.split(c, 3, axis)
    near(loss, (first * y).sum() + ((second + third) * np.maximum(y, 0)).sum())
    near(state.read()["p"], p - 0.1 * x * (first + (second + third) * (y > 0)))


# ---- what comes and goes -----------------------------------------------------------------------


def test_inputs_and_values_that_leave_in_several_places() -> None:
    """Given back as they are, twice, as views, as parts of a whole, and beside what is made of
    them; what is given back is the caller's own."""
    x, p = draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    text = """graph g(%x: T) -> (T, T, T, T, T, T, T, D) {
      @p: T parameter
      %y = mul(%x, @p) : T
      %z = relu(%y) : T
      %t = transpose(%z) perm=[0, 1, 3, 2] : T
      %r = reshape(%z) shape=[2, 3, 4, 4] : T
      %w = concat(%z, %x) axis=1 : D
      return a=%x, b=@p, c=%y, d=%y, e=%z, f=%t, g=%r, h=%w
    }""".replace("T", "f64[2,3,4,4]").replace("D", "f64[2,6,4,4]")
    graph = parse(text)
    for target in TARGETS.values():
        hold(graph, target, {})
    executable = Executable(compile_program(graph), {"p": p})
    y, given = x * p, x.copy()
    z = np.maximum(y, 0)
    wanted = [x, p, y, y, z, z.transpose(0, 1, 3, 2), z, np.concatenate([z, x], 1)]
    for _ in range(2):
        found = list(executable.run({"x": given}).values())
        for array, right in zip(found, wanted, strict=True):
            near(array, right)
        for place, array in enumerate(found):
            others = (given, p, *found[:place], *found[place + 1 :])
            assert not any(np.shares_memory(array, other) for other in others), place
            array[...] = np.nan  # nothing that the next call reads


def test_constants_that_leave() -> None:
    text = """graph g(%x: f64[]) -> (f64[], f64[], f64[]) {
      %c = constant() value=dense(f64[], [2.0]) : f64[]
      %y = mul(%x, %c) : f64[]
      return a=%c, b=%c, c=%y
    }"""
    executable = Executable(compile_program(parse(text)))
    for _ in range(2):
        found = executable.run({"x": np.array(3.0)})
        assert [float(array) for array in found.values()] == [2.0, 2.0, 6.0]
        for array in found.values():
            array[...] = np.nan


# Updates of a, b and c (all f64[4,4]), with x; and what then is in them.
UPDATES: dict[str, tuple[str, Callable[..., Sequence[Array]]]] = {
    "exchanged": (
        "return %x\nupdate @a = @b\nupdate @b = @c\nupdate @c = @a",
        lambda x, a, b, c: (b, c, a),
    ),
    "one value for all": (
        "%y = add(@a, %x) : T\nreturn %y\nupdate @a = %y\nupdate @b = %y\nupdate @c = %y",
        lambda x, a, b, c: (a + x, a + x, a + x),
    ),
    "the old value of another": (
        "%y = add(@a, %x) : T\nreturn @a\nupdate @a = %y\nupdate @b = @a\nupdate @c = %x",
        lambda x, a, b, c: (a + x, a, x),
    ),
    "a view of another": (
        """%t = transpose(@b) perm=[1, 0] : T
        %y = add(@a, %t) : T
        %z = mul(@b, %x) : T
        return %t\nupdate @a = %y\nupdate @b = %z\nupdate @c = %t""",
        lambda x, a, b, c: (a + b.T, b * x, b.T),
    ),
    "its own transpose": (
        """%t = transpose(@a) perm=[1, 0] : T
        %y = add(@b, @c) : T
        return %y\nupdate @a = %t\nupdate @b = %y\nupdate @c = %y""",
        lambda x, a, b, c: (a.T, b + c, b + c),
    ),
    "a product with itself, and itself at the end": (
        """%t = transpose(@b) perm=[1, 0] : T
        %m = matmul(%x, @a) : T
        %y = add(%m, @a) : T
        %n = matmul(%x, %t) : T
        %z = add(%n, @b) : T
        %o = matmul(@c, %x) : T
        %w = add(%o, @c) : T
        return %x\nupdate @a = %y\nupdate @b = %z\nupdate @c = %w""",
        lambda x, a, b, c: (x @ a + a, x @ b.T + b, c @ x + c),
    ),
    "a sum over itself at its end": (
        """%s = sum(@a) axes=[0] keepdims=true : f64[1,4]
        %y = mul(@a, %s) : T
        %m = max(@b) axes=[1] keepdims=true : f64[4,1]
        %z = sub(@b, %m) : T
        return %x\nupdate @a = %y\nupdate @b = %z""",
        lambda x, a, b, c: (a * a.sum(0), b - b.max(1, keepdims=True), c),
    ),
}


@pytest.mark.parametrize("case", UPDATES)
def test_updates(case: str) -> None:
    body, new = UPDATES[case]
    head = "graph g(%x: T) -> T {\n@a: T state\n@b: T state\n@c: T state\n"
    graph = parse((head + body + "\n}").replace("T", "f64[4,4]"))
    for target in TARGETS.values():
        hold(graph, target, {})
    arrays = {name: draw(4, 4, seed=seed) for seed, name in enumerate("xabc")}
    updated = {source.name for source in graph.updates}
    fixed = {name: arrays[name] for name in "abc" if name not in updated}
    executable = Executable(compile_program(graph), fixed)
    state = executable.new_state({name: arrays[name] for name in updated})
    wanted = dict(zip("abc", new(*arrays.values())))
    executable.run({"x": arrays["x"]}, state)
    for name, array in state.read().items():
        near(array, wanted[name])
