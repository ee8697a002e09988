"""The standard interface of ONNX's backends, ``onnx.backend.base.Backend``, for cauce's.

>>> import numpy as np
>>> from onnx import helper
>>> from cauce import onnx_backend
>>> node = helper.make_node("Relu", ["x"], ["y"])
>>> (y,) = onnx_backend.run_node(node, [np.array([-1, 2], np.float32)])
>>> y
array([0., 2.], dtype=float32)

:class:`CauceBackend` compiles as ``cauce.compile`` does, natively where llvmlite is installed.
:class:`NumpyBackend` and :class:`LLVMBackend` fix one backend. The functions of the module are
those of ``CauceBackend``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .backends.specialized import SpecializedExecutable
from .compiler import compile
from .importing import open_onnx
from .ir import Array, DType
from .ir.errors import AttributeMistake, CauceError, GraphError, MissingExtra, install
from .ir.onnx.tensors import NUMBERS
from .ir.remedies import as_array
from .ir.tracebacks import user_facing

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto
    from onnx.backend.base import Backend, BackendRep


def _bases() -> tuple[Any, Any]:
    try:
        from onnx.backend.base import Backend, BackendRep
    except ImportError:
        raise MissingExtra(
            "cauce.onnx_backend needs onnx, which is not installed", fix=install("onnx")
        ) from None
    return Backend, BackendRep


if not TYPE_CHECKING:
    Backend, BackendRep = _bases()


@user_facing
class CauceRep(BackendRep):
    """A model that was prepared; its repr says which inputs and symbols it is specialised on.

    Attributes:
        executable: what it runs.
    """

    def __init__(self, executable: SpecializedExecutable) -> None:
        self.executable = executable

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs, in the order of the model.

        Where the graph depends on sizes, or on elements of inputs (axes, shapes, pads, scales),
        it is made for those of the call, and kept for the last 16 of them.

        Args:
            inputs: arrays in the order of the model's inputs without those that are stored in it,
                one array, or arrays by name.
            kwargs: further inputs by name.

        Raises:
            GraphError: a missing or unknown input.
            ShapeError, TypeMismatch: an array that does not fit.
        """
        names = [value.name for value in self.executable.inputs]
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(given) > len(names):
                raise GraphError(
                    f"{self.executable.name} takes ({', '.join(names)}), got {len(given)} arrays",
                    fix="give an array for each, without those that the model stores",
                )
            feeds = dict(zip(names, given))
        results = self.executable.run({**feeds, **kwargs})
        types = self.executable.outputs
        return tuple(_as_onnx(array, types[name].dtype) for name, array in results.items())

    def __repr__(self) -> str:
        return f"<CauceRep {self.executable!r}>"


@user_facing
class CauceBackend(Backend):
    """Prepares ONNX models for cauce's native or NumPy backend.

    Class variables:
        backend: the name of the backend, as ``cauce.compile`` takes it.
    """

    backend = "auto"

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> CauceRep:
        """Import a model, and compile it where it does not depend on what a call brings.

        Args:
            model: the message, a path, or the bytes of a file.
            device: ``"CPU"``.
            kwargs: ``inputs``, as for ``cauce.load_onnx``; the rest is for ``cauce.compile``.

        Raises:
            AttributeMistake: another device.
            CauceError: as for ``cauce.load_onnx`` and ``cauce.compile``.
        """
        if not cls.supports_device(device):
            raise AttributeMistake(
                f"cauce has no device {device!r}", fix="it computes on the processor, 'CPU'"
            )
        opened = open_onnx(model, kwargs.pop("inputs", None))
        executable = compile(opened, cls.backend, **kwargs)
        assert isinstance(executable, SpecializedExecutable)
        executable.compile_ahead()
        return CauceRep(executable)

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Array, ...]:
        """The outputs of a model, once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """The outputs of one node, in the newest opset or in that of ``opset_version``."""
        from onnx import ValueInfoProto, defs, helper

        given = inputs.values() if isinstance(inputs, Mapping) else inputs
        arrays = [as_array(x, "an input") for x in ([given] if _is_array(given) else given)]
        names = list(dict.fromkeys(filter(None, node.input)))
        taken = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays)
        ]
        made = [ValueInfoProto(name=name) for name in node.output if name]
        opset = kwargs.pop("opset_version", defs.onnx_opset_version())
        graph = helper.make_graph([node], node.name or node.op_type, taken, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        return cls.run_model(model, dict(zip(names, arrays)), device, **kwargs)

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether :meth:`prepare` takes a model."""
        try:
            cls.prepare(model, device, **kwargs)
        except CauceError:
            return False
        return True

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether there is a device: the processor alone."""
        return device.partition(":")[0] == "CPU"


class NumpyBackend(CauceBackend):
    """Prepares ONNX models for the NumPy backend."""

    backend = "numpy"


class LLVMBackend(CauceBackend):
    """Prepares ONNX models for the native backend."""

    backend = "llvm"


def _is_array(value: object) -> bool:
    return isinstance(value, (np.ndarray, np.generic))


def _as_onnx(array: Array, dtype: DType) -> Array:
    """An array as the onnx package has it: bfloat16 is a dtype of ml_dtypes there."""
    if dtype is not DType.BF16:
        return array
    from onnx import helper

    return array.astype(helper.tensor_dtype_to_np_dtype(NUMBERS[dtype]))


prepare = CauceBackend.prepare
run_model = CauceBackend.run_model
run_node = CauceBackend.run_node
is_compatible = CauceBackend.is_compatible
supports_device = CauceBackend.supports_device
