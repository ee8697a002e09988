"""Activations beside those of :mod:`~cauce.frontends.functional`, named as in PyTorch."""

from __future__ import annotations

from ..ir import TensorType
from ..ir.attributes import number, positive
from ..ir.errors import AttributeMistake, ShapeError, located
from ..ir.ops import activation, error_function, linear_units
from ..ir.ops.reduce import normalize_axis
from ..ir.tracebacks import user_facing
from .functional import _layer
from .init import constant
from .tensor import Tensor
from .tracing import current


@user_facing
def erf(x: Tensor, *, name: str | None = None) -> Tensor:
    """The error function.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.erf(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.8427008,  0.       ,  0.9953223], dtype=float32)
    """
    return _layer("erf", name, error_function.Erf, x)


@user_facing
def erfc(x: Tensor, *, name: str | None = None) -> Tensor:
    """1 - erf(x), which keeps its digits where erf(x) is nearly 1.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.erfc(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([1.8427007 , 1.        , 0.00467774], dtype=float32)
    """
    return _layer("erfc", name, error_function.Erfc, x)


@user_facing
def prelu(
    x: Tensor, num_parameters: int = 1, init: float = 0.25, *, name: str | None = None
) -> Tensor:
    """x where positive, else weight * x, with a weight that is learned.

    x is floating-point; so is the result, of its shape.

    Args:
        x: [N, C, ...].
        num_parameters: 1, or C for a weight of each channel.
        init: the first value of the weight.
        name: the layer's name; ``prelu1``, ``prelu2``, ... where None.

    Raises:
        ShapeError: as many weights as there are no channels.
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.prelu(x)).init(x=("N", 2))
        >>> cauce.compile(net, "numpy")(np.float32([[-1, 2]]))
        array([[-0.25,  2.  ]], dtype=float32)
    """
    trace = current()
    trace.check_own(x, what="the x of prelu(x)")
    path = trace.layer_path("prelu", name)
    with located(path):
        count, first = positive(num_parameters, "num_parameters"), number(init, "init")
        if count != 1 and (x.ndim < 2 or x.shape[1] != count):
            raise ShapeError(
                f"prelu: {count} weights for {x.type}",
                fix="give one weight for all, or one for each channel (dimension 1)",
            )
    weight = trace.parameter(f"{path}.weight", TensorType(x.dtype, (count,)), constant(first))
    with trace.at(path):
        slope = weight.reshape(()) if count == 1 else weight.reshape(count, *(1,) * (x.ndim - 2))
        return trace.emit(linear_units.PRelu(), x, slope)


@user_facing
def elu(x: Tensor, alpha: float = 1.0, *, name: str | None = None) -> Tensor:
    """x where positive, else alpha * (exp(x) - 1).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.elu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.6321206,  0.       ,  2.       ], dtype=float32)
    """
    return _layer("elu", name, lambda: linear_units.Elu(alpha), x)


@user_facing
def selu(x: Tensor, *, name: str | None = None) -> Tensor:
    """elu scaled so that deep networks keep mean 0 and variance 1: Klambauer et al. 2017.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.selu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-1.1113309,  0.       ,  2.101402 ], dtype=float32)
    """
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return _layer("selu", name, lambda: linear_units.Elu(alpha, scale), x)


@user_facing
def celu(x: Tensor, alpha: float = 1.0, *, name: str | None = None) -> Tensor:
    """x where positive, else alpha * (exp(x / alpha) - 1), for a positive alpha.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: alpha is not positive.

    Examples:
        >>> net = cauce.network(lambda x: nn.celu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.6321206,  0.       ,  2.       ], dtype=float32)
    """

    def make() -> linear_units.Elu:
        if not number(alpha, "alpha") > 0:
            raise AttributeMistake(
                f"celu: alpha must be positive, got {alpha}", fix="use for example 1"
            )
        return linear_units.Elu(alpha, 1.0, 1 / alpha)

    return _layer("celu", name, make, x)


@user_facing
def gelu(x: Tensor, approximate: str = "none", *, name: str | None = None) -> Tensor:
    """x times the normal distribution function at x; by tanh where approximate="tanh".

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: approximate is neither "none" nor "tanh".

    Examples:
        >>> net = cauce.network(lambda x: nn.gelu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.15865526,  0.        ,  1.9544997 ], dtype=float32)
    """
    return _layer("gelu", name, lambda: linear_units.Gelu(approximate), x)


@user_facing
def silu(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * sigmoid(x), which is also called swish.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.silu(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.2689414,  0.       ,  1.761594 ], dtype=float32)
    """
    return _layer("silu", name, linear_units.Swish, x)


@user_facing
def mish(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * tanh(softplus(x)).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.mish(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.30340144,  0.        ,  1.943959  ], dtype=float32)
    """
    return _layer("mish", name, linear_units.Mish, x)


@user_facing
def softplus(x: Tensor, beta: float = 1.0, *, name: str | None = None) -> Tensor:
    """log(1 + exp(beta * x)) / beta, which needs no threshold to be stable.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: beta is not positive.

    Examples:
        >>> net = cauce.network(lambda x: nn.softplus(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0.3132617, 0.6931472, 2.126928 ], dtype=float32)
    """
    return _layer("softplus", name, lambda: linear_units.Softplus(beta), x)


@user_facing
def softsign(x: Tensor, *, name: str | None = None) -> Tensor:
    """x / (1 + |x|).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.softsign(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.5      ,  0.       ,  0.6666667], dtype=float32)
    """
    return _layer("softsign", name, linear_units.Softsign, x)


@user_facing
def hardsigmoid(x: Tensor, *, name: str | None = None) -> Tensor:
    """x/6 + 1/2 held within [0, 1]. (ONNX's HardSigmoid has 0.2 for 1/6.)

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.hardsigmoid(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([0.3333333, 0.5      , 0.8333334], dtype=float32)
    """
    return _layer("hardsigmoid", name, lambda: linear_units.HardSigmoid(1 / 6, 0.5), x)


@user_facing
def hardswish(x: Tensor, *, name: str | None = None) -> Tensor:
    """x * hardsigmoid(x).

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.hardswish(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0, 2]))
        array([-0.3333333,  0.       ,  1.6666667], dtype=float32)
    """
    return _layer("hardswish", name, linear_units.HardSwish, x)


@user_facing
def hardshrink(x: Tensor, lambd: float = 0.5, *, name: str | None = None) -> Tensor:
    """0 where |x| <= lambd, else x.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.hardshrink(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0.25, 2]))
        array([-1.,  0.,  2.], dtype=float32)
    """
    return _layer("hardshrink", name, lambda: linear_units.Shrink(lambd, 0.0), x)


@user_facing
def softshrink(x: Tensor, lambd: float = 0.5, *, name: str | None = None) -> Tensor:
    """0 where |x| <= lambd, else x moved towards 0 by lambd.

    x is floating-point, of any shape; the result has both.

    Raises:
        TypeMismatch: x is not floating-point.

    Examples:
        >>> net = cauce.network(lambda x: nn.softshrink(x)).init(x=(3,))
        >>> cauce.compile(net, "numpy")(np.float32([-1, 0.25, 2]))
        array([-0.5,  0. ,  1.5], dtype=float32)
    """
    return _layer("softshrink", name, lambda: linear_units.Shrink(lambd, lambd), x)


@user_facing
def hardmax(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """1 at the first greatest element along ``dim``, else 0. As ONNX has it; PyTorch does not.

    x is floating-point, of any shape; the result has both. ``dim`` may count from the last.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.hardmax(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 3, 2]]))
        array([[0., 1., 0.]], dtype=float32)
    """
    return _layer("hardmax", name, lambda: activation.Hardmax(dim), x)


@user_facing
def softmin(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """softmax(-x) along ``dim``.

    x is floating-point, of any shape; the result has both. ``dim`` may count from the last.

    Raises:
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.softmin(x)).init(x=("N", 3))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 3]]))
        array([[0.66524094, 0.24472846, 0.09003057]], dtype=float32)
    """
    trace = current()
    path = trace.layer_path("softmin", name)
    with trace.at(path), located(path):
        return trace.emit(activation.Softmax(dim), -x)


@user_facing
def glu(x: Tensor, dim: int = -1, *, name: str | None = None) -> Tensor:
    """The first half of x along ``dim`` times the sigmoid of the second: Dauphin et al. 2016.

    x is floating-point; the result has half of its size along ``dim``.

    Raises:
        ShapeError: an odd size, or one that is not known.
        TypeMismatch: x is not floating-point.
        AttributeMistake: x has no such dimension.

    Examples:
        >>> net = cauce.network(lambda x: nn.glu(x)).init(x=("N", 4))
        >>> cauce.compile(net, "numpy")(np.float32([[1, 2, 0, 0]]))
        array([[0.5, 1. ]], dtype=float32)
    """
    trace = current()
    trace.check_own(x, what="the x of glu(x)")
    path = trace.layer_path("glu", name)
    with located(path):
        axis = normalize_axis(dim, x.ndim, "glu")
        size = x.shape[axis]
        if not isinstance(size, int) or size % 2:
            raise ShapeError(
                f"glu halves dimension {axis} of {x.type}, which has size {size}",
                fix="use a dimension with a known, even size, such as dim=1 for channels",
            )
    before = (slice(None),) * axis
    with trace.at(path):
        gate = trace.emit(activation.Sigmoid(), x[(*before, slice(size // 2, size))])
        return x[(*before, slice(0, size // 2))] * gate
