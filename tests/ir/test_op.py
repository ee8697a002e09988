"""What all ops share: attributes in canonical form, operands, registry, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cauce.ir import (
    Array,
    Builder,
    DType,
    Graph,
    Literal,
    Op,
    TensorType,
    lookup,
    ops,
    register,
    registry,
    symbol,
)
from cauce.ir import errors as error_module
from cauce.ir.errors import AttributeMistake, CauceError, GraphError, TypeMismatch, UnsupportedOp
from cauce.ir.op import Cost
from cauce.ir.ops.activation import Clip, LeakyRelu, Relu
from cauce.ir.ops.constant import Constant, DimSize
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.elementwise import Add, Cast
from cauce.ir.ops.fused import Fused
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.reduce import Sum, Variance
from cauce.ir.ops.shape import Concat, Pad, Reshape, Slice, Transpose

# ---- attributes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "full"),
    [
        (Conv2d(2, 1), Conv2d((2, 2), ((1, 1), (1, 1)), (1, 1), 1)),
        (Conv2d(padding=(1, 2)), Conv2d(padding=((1, 1), (2, 2)))),
        (Conv2d(np.int64(2)), Conv2d(2)),  # type: ignore[arg-type]
        (Conv2d([2, 1]), Conv2d((2, 1))),  # type: ignore[arg-type]
        (Sum(1), Sum((1,))),  # type: ignore[arg-type]
        (Sum([0, 1], np.True_), Sum((0, 1), True)),  # type: ignore[arg-type]
        (LeakyRelu(1), LeakyRelu(1.0)),
        (Clip(0, None), Clip(0.0)),
        (Cast("float32"), Cast(DType.F32)),  # type: ignore[arg-type]
        (Reshape(["N", 2 * symbol("H")]), Reshape((symbol("N"), symbol("H") * 2))),  # type: ignore[arg-type]
        (Constant(3.0), Constant(Literal(3.0))),  # type: ignore[arg-type]
        (Slice((0,), (0,), (4,), (1,)), Slice((0,), (0,), (4,))),
        (Pad([1, (0, 2)]), Pad(((1, 1), (0, 2)))),  # type: ignore[arg-type]
    ],
)
def test_equal_ops_have_one_form(short: Op, full: Op) -> None:
    assert short == full and hash(short) == hash(full)
    assert list(short.attributes()) == list(full.attributes())
    for (_, a), (_, b) in zip(short.attributes(), full.attributes()):
        assert type(a) is type(b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv2d(0), "stride must be at least 1"),
        (lambda: Conv2d((1, 2, 3)), "stride must be an int or a pair of ints"),
        (lambda: Conv2d(1.5), "stride must be an int or a pair"),
        (lambda: Conv2d(True), "stride must be an int or a pair"),
        (lambda: Conv2d(padding=-1), "none negative, got -1"),
        (lambda: Conv2d(padding="same"), "padding must be an int"),
        (lambda: Conv2d(padding=((1, 2), 3, 4)), "padding must be an int"),
        (lambda: Conv2d(groups=0), "groups must be at least 1, got 0"),
        (lambda: Conv2d(groups=2.0), "groups must be an int, got 2.0"),
        (lambda: Sum(("rows",)), "axes must be an int, got 'rows'"),
        (lambda: Sum(keepdims="yes"), "keepdims must be True or False, got 'yes'"),
        (lambda: LeakyRelu("steep"), "negative_slope must be a number, got 'steep'"),
        (lambda: Clip(2, 1), "min 2.0 is above max 1.0"),
        (lambda: Fused("body"), "body must be a graph, got 'body'"),
        (lambda: Slice((0, 1), (0,), (1,)), "must be equally many"),
        (lambda: Slice((0,), (0,), (4,), (0,)), "steps must be at least 1, got [0]"),
        (lambda: Transpose(perm="T"), "perm must be an int, got 'T'"),
    ],
)
def test_attributes_that_cannot_be(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(AttributeMistake) as caught:
        make()
    assert message in caught.value.what


def test_a_dtype_attribute_that_is_none() -> None:
    with pytest.raises(TypeMismatch, match="'float33' is not a dtype"):
        Cast("float33")  # type: ignore[arg-type]


def test_ops_are_frozen_and_can_be_changed_by_copy() -> None:
    op = Conv2d(2)
    with pytest.raises(AttributeError):
        op.stride = (1, 1)  # type: ignore[misc]
    assert op.with_attributes(padding=1) == Conv2d(2, 1)
    assert op == Conv2d(2)


def test_symbols_of_attributes_and_binding_them() -> None:
    n, h = symbol("N"), symbol("H")
    op = Slice((0, 1), (0, n), (h // 2, n + 1))
    assert op.symbols() == {"N", "H"}
    assert op.bind({"N": 3, "H": 9}) == Slice((0, 1), (0, 3), (4, 4))
    assert op.bind({"N": 3}) == Slice((0, 1), (0, 3), (h // 2, 4))
    assert Relu().bind({"N": 3}) == Relu()
    conv = Conv2d(2)
    assert conv.symbols() == frozenset() and conv.bind({"N": 3}) is conv


# ---- operands, facets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "arity"),
    [(Relu, (1, 1)), (Add, (2, 2)), (Linear, (2, 3)), (Concat, (1, None)), (DimSize, (0, 0))],
)
def test_arity(op: type[Op], arity: tuple[int, int | None]) -> None:
    assert op.arity() == arity


def test_composites_are_those_that_decompose() -> None:
    assert Variance().is_composite and Variance().has_gradient
    assert not Relu().is_composite and Relu().has_gradient
    with pytest.raises(UnsupportedOp, match="relu is a primitive: it does not decompose"):
        Relu().decompose(Builder(Graph()))
    with pytest.raises(UnsupportedOp, match="variance is differentiated through its decomposition"):
        Variance().gradient(None, None)


class NoGradient(Op):
    """y = x, without a gradient rule; not registered, so that no other test meets it."""

    name = "test_op_no_gradient"

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: Array) -> Array:
        return x


def test_an_op_without_a_gradient_says_what_to_do() -> None:
    assert not NoGradient().has_gradient
    with pytest.raises(UnsupportedOp, match="has no gradient rule") as caught:
        NoGradient().gradient(None, None)
    assert "write NoGradient.gradient" in str(caught.value)


def test_the_default_cost_is_one_operation_an_element_and_all_bytes() -> None:
    x = TensorType.make("f32", ("N", 4))
    assert NoGradient().cost([x], [x]) == Cost(symbol("N") * 4, symbol("N") * 32)


# ---- registry ----------------------------------------------------------------------------------


def test_lookup_suggests_near_names() -> None:
    assert lookup("conv2d") is Conv2d
    with pytest.raises(UnsupportedOp, match="there is no op called 'convd2'") as caught:
        lookup("convd2")
    assert "conv2d" in str(caught.value)
    with pytest.raises(UnsupportedOp) as caught:
        lookup("zzzz")
    assert "cauce ops" in str(caught.value)


def test_two_ops_of_one_name_are_refused() -> None:
    with pytest.raises(GraphError, match="an op called 'relu' is registered already"):

        @register
        class OtherRelu(Op):
            """Not relu."""

            name = "relu"

    assert registry()["relu"] is Relu


def test_an_attribute_of_no_known_kind_is_refused() -> None:
    with pytest.raises(GraphError, match=r"Turn\.angle is annotated as complex") as caught:

        @register
        class Turn(Op):
            """y = angle * x."""

            angle: complex

            name = "turn"

    assert "from __future__ import annotations" in str(caught.value)
    assert "turn" not in registry()


def test_every_op_names_itself_and_its_results_in_the_text_form_words() -> None:
    for name, op in registry().items():
        assert name == op.name and name.isidentifier() and name == name.lower()
        parts = [part.strip("*?") for part in (*op.operands, *op.results)]
        assert all(part.isidentifier() for part in parts)
        assert len(set(op.results)) == len(op.results) >= 1


# ---- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        kind
        for kind in vars(error_module).values()
        if isinstance(kind, type) and issubclass(kind, CauceError) and kind is not CauceError
    ],
)
def test_errors_are_also_what_a_user_would_catch(error: type[CauceError]) -> None:
    builtin = (ValueError, TypeError, NotImplementedError, RuntimeError, ImportError)
    assert issubclass(error, (*builtin, FileNotFoundError, IndexError, AttributeError))
    assert error.__doc__


def test_the_first_place_known_stays() -> None:
    error = CauceError("wrong", fix="mend it")
    assert str(error) == "wrong\n  fix: mend it"
    error.at("inner", None).at("outer", None)
    assert str(error) == "wrong\n  in layer: inner\n  fix: mend it"


def test_families_are_imported_when_asked_for() -> None:
    script = (
        "import sys, cauce.ir as ir\n"
        "rare = 'cauce.ir.ops.loss'\n"
        "assert rare not in sys.modules\n"
        "ir.lookup('relu')\n"
        "assert rare not in sys.modules\n"
        "print(ir.lookup('cross_entropy').__module__)\n"
        "print(len(ir.registry()))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["cauce.ir.ops.loss", str(len(registry()))]


def test_every_family_is_named() -> None:
    registry()
    folder = Path(ops.__file__).parent
    assert {path.stem for path in folder.glob("*.py") if path.stem != "__init__"} == {
        name.rpartition(".")[2] for name in sys.modules if name.startswith("cauce.ir.ops.")
    }


def test_a_name_of_a_family_not_yet_imported_is_taken() -> None:
    script = (
        "from cauce.ir.op import Op, register\n"
        "class Mine(Op):\n"
        "    name = 'cross_entropy'\n"
        "register(Mine)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "'cross_entropy' is registered already (cauce.ir.ops.loss)" in run.stderr
