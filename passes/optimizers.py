"""Optimisers: how the gradient of a parameter becomes its new value, written into the graph."""

from __future__ import annotations

import fnmatch
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from ..ir import Builder, Value
from ..ir.attributes import flag, not_negative, real, set_canonical
from ..ir.errors import AttributeMistake, GraphError, need, shown
from ..ir.ops.update import AdamUpdate, SGDMomentumUpdate, SGDUpdate
from ..ir.tracebacks import user_facing

_EXAMPLES = {"lr": "0.1", "momentum": "0.9", "weight_decay": "1e-4", "eps": "1e-8"}


@user_facing
@dataclass(frozen=True)
class Optimizer(ABC):
    """Base of optimisers.

    Parameters, gradients and slots have one shape and dtype.

    Attributes:
        lr: the learning rate of a step that is given none.
        lr_factors: by pattern on names (that of the shell: ``"backbone.*"``), what the learning
            rate of the parameters that it matches is multiplied by, be it ``lr``, one that a step
            is given or that of a schedule; 1 for all others.

    Class variables:
        counts_steps: whether the update needs the number of the step.

    Raises:
        AttributeMistake: an option that cannot be.
        TypeMismatch: lr_factors that are no numbers by patterns.

    Examples:
        >>> slow = cauce.SGD(0.1, momentum=0.9, lr_factors={"backbone.*": 0.1})
        >>> slow.factors(["backbone.conv1.weight", "head.weight"])
        {'backbone.conv1.weight': 0.1, 'head.weight': 1.0}
        >>> slow.slots
        ('velocity',)
        >>> slow.check()
        >>> from cauce.ir import Builder, TensorType
        >>> graph, scalar = cauce.Graph("g"), TensorType.make("f32", ())
        >>> p, g, v, lr = (graph.add_input(name, scalar) for name in ("p", "g", "v", "lr"))
        >>> [str(value.type) for value in slow.update(Builder(graph), p, g, [v], lr, None)]
        ['f32[]', 'f32[]']
    """

    lr: float
    lr_factors: Mapping[str, float] = field(default_factory=dict, kw_only=True, hash=False)

    counts_steps: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._not_negative("lr")
        what, fix = f"{type(self).__name__}: lr_factors", "pass for example {'backbone.*': 0.1}"
        need(self.lr_factors, Mapping, f"{what} are numbers by patterns on names", fix)
        factors = {}
        for pattern, factor in self.lr_factors.items():
            need(pattern, str, f"{what} are numbers by patterns on names", fix)
            factors[pattern] = not_negative(factor, f"{what}[{pattern!r}]", fix)
        object.__setattr__(self, "lr_factors", factors)
        self.check()

    def factors(self, names: Iterable[str]) -> dict[str, float]:
        """What the learning rate of each parameter is multiplied by, given the names of all.

        Raises:
            GraphError: a pattern that no parameter matches, or two that match one.
        """
        names = list(names)
        found: dict[str, str] = {}
        for pattern in self.lr_factors:
            matches = fnmatch.filter(names, pattern)
            if not matches:
                raise GraphError(
                    f"{type(self).__name__}: no parameter matches {pattern!r} of lr_factors",
                    fix=f"there are {', '.join(names[:6])}{', ...' * (len(names) > 6)}",
                )
            for name in matches:
                if name in found:
                    raise GraphError(
                        f"{type(self).__name__}: two of lr_factors match {name}: "
                        f"{found[name]!r} and {pattern!r}",
                        fix="let each parameter match one pattern at most",
                    )
                found[name] = pattern
        return {n: self.lr_factors[found[n]] if n in found else 1.0 for n in names}

    @abstractmethod
    def check(self) -> None:
        """Check the options.

        Raises:
            AttributeMistake: options that cannot be.
        """

    @property
    @abstractmethod
    def slots(self) -> tuple[str, ...]:
        """The names of what is kept for each parameter from step to step; all start at zero."""

    @abstractmethod
    def update(
        self,
        b: Builder,
        parameter: Value,
        gradient: Value,
        slots: Sequence[Value],
        lr: Value,
        step: Value | None,
    ) -> tuple[Value, ...]:
        """Write the new parameter and its new slots.

        ``step`` is the number of this step, from 1, for an optimiser that counts them.
        """

    def _not_negative(self, *names: str) -> None:
        """Hold options to finite numbers of at least 0, as floats."""
        for name in names:
            what = f"{type(self).__name__}: {name}"
            fix = f"pass for example {name}={_EXAMPLES.get(name, 0)}"
            value = not_negative(getattr(self, name), what, fix)
            object.__setattr__(self, name, value)


@user_facing
@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as ``torch.optim.SGD``.

    With g the gradient plus weight_decay * p: v = momentum * v + g, and p = p - lr * v, or with
    ``nesterov`` p - lr * (g + momentum * v). ``lr`` and ``lr_factors`` are those of
    :class:`Optimizer`. The slot v has the shape and dtype of its parameter.

    Raises:
        AttributeMistake: an option that cannot be, such as nesterov without momentum.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 1, bias=False, name="fc")).init(x=("N", 1))
        >>> model.load_state_dict({"fc.weight": np.ones((1, 1), np.float32)})
        >>> step = cauce.train_step(model, "mse_loss", cauce.SGD(0.25), backend="numpy")
        >>> state = step(step.init(), (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)))
        >>> state.read()["fc.weight"]
        array([[0.5]], dtype=float32)
    """

    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def check(self) -> None:
        self._not_negative("momentum", "weight_decay")
        set_canonical(self, nesterov=flag)
        if self.nesterov and not self.momentum:
            raise AttributeMistake(
                "SGD: nesterov needs a momentum", fix="pass for example momentum=0.9"
            )

    @property
    def slots(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def update(
        self,
        b: Builder,
        parameter: Value,
        gradient: Value,
        slots: Sequence[Value],
        lr: Value,
        step: Value | None,
    ) -> tuple[Value, ...]:
        cls = SGDMomentumUpdate if self.momentum else SGDUpdate
        op = cls(**{name: getattr(self, name) for name in cls.kinds()})
        return b.results(op, parameter, gradient, *slots, lr)


@user_facing
@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam, as ``torch.optim.Adam``: weight decay is an L2 penalty in the gradient.

    In step t, with ``betas`` (b1, b2): m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g**2, and
    p = p - lr * (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + eps). The slots m and v have the shape
    and dtype of their parameter; ``lr`` and ``lr_factors`` are those of :class:`Optimizer`,
    ``weight_decay`` times p is added to g. Kingma and Ba 2014, algorithm 1.

    Raises:
        AttributeMistake: an option that cannot be.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 1, bias=False, name="fc")).init(x=("N", 1))
        >>> model.load_state_dict({"fc.weight": np.ones((1, 1), np.float32)})
        >>> step = cauce.train_step(model, "mse_loss", cauce.Adam(0.25), backend="numpy")
        >>> state = step(step.init(), (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)))
        >>> state.read()["fc.weight"]
        array([[0.75]], dtype=float32)
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    counts_steps = True
    decoupled: ClassVar[bool] = False

    def check(self) -> None:
        self._not_negative("eps", "weight_decay")
        given = self.betas if isinstance(self.betas, (tuple, list, np.ndarray)) else ()
        betas = tuple(beta for beta in map(real, given) if beta is not None and 0 <= beta < 1)
        if len(given) != 2 or len(betas) != 2:
            raise AttributeMistake(
                f"{type(self).__name__}: betas must be two numbers in [0, 1), got "
                f"{shown(self.betas)}",
                fix="pass for example betas=(0.9, 0.999)",
            )
        object.__setattr__(self, "betas", betas)

    @property
    def slots(self) -> tuple[str, ...]:
        return ("first_moment", "second_moment")

    def update(
        self,
        b: Builder,
        parameter: Value,
        gradient: Value,
        slots: Sequence[Value],
        lr: Value,
        step: Value | None,
    ) -> tuple[Value, ...]:
        op = AdamUpdate(*self.betas, self.eps, self.weight_decay, self.decoupled)
        return b.results(op, parameter, gradient, *slots, step, lr)


@user_facing
@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as ``torch.optim.AdamW``.

    p = p - lr * weight_decay * p beside the step of :class:`Adam`, whose options (``lr``,
    ``lr_factors``, ``betas``, ``eps``), shapes and dtypes it has. Loshchilov and Hutter 2017,
    algorithm 2.

    Raises:
        AttributeMistake: an option that cannot be.

    Examples:
        >>> model = cauce.network(lambda x: nn.linear(x, 1, bias=False, name="fc")).init(x=("N", 1))
        >>> model.load_state_dict({"fc.weight": np.ones((1, 1), np.float32)})
        >>> step = cauce.train_step(model, "mse_loss", cauce.AdamW(0.25), backend="numpy")
        >>> state = step(step.init(), (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)))
        >>> state.read()["fc.weight"]
        array([[0.74750006]], dtype=float32)
    """

    weight_decay: float = 0.01

    decoupled = True
