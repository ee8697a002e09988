"""Models whose graph is made for sizes, or for values, that only a call tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from ..ir import Array, Input, TensorType
from ..ir.dims import substitute
from ..ir.errors import GraphError
from ..ir.remedies import Foreign
from ..ir.tracebacks import user_facing
from ..ir.unknown import Needs, Unknown
from .model import Model

Given: TypeAlias = TensorType | Array
_OF_A_GRAPH = ("graph", "_graph", "frozen", "origin", "metadata", "_held", "_training_graph")


@user_facing
class OpenModel(Model):
    """A network that has one graph for each size of some symbols, or for each value of some inputs.

    ``load_onnx`` gives one where a shape depends on a size in a way that no expression over
    symbols has: ``min(H, 64)``, the padding of SAME_UPPER with a stride of 2. ``cauce.compile``
    takes it, and compiles a graph when a call comes with other sizes: see
    :class:`~cauce.backends.specialized.SpecializedExecutable`, the other half of this.

    All else that a model can do it does when its sizes are fixed: ``load_onnx(path, inputs=...)``.

    Args:
        name: of the network.
        inputs: what a call takes; sizes that need not be known are symbols for good.
        outputs: the names of what it gives.
        make: makes the model, given a type or the elements of every input. It raises
            :class:`~cauce.ir.unknown.Unknown` where it has to know more.
        error: what it raised when nothing was known but the types of ``inputs``. Elements of
            inputs are an error to ask for then, and are for the caller to give. None where the
            graph may depend on these too, and has not been made yet.

    Attributes:
        needs: what the graph is known to depend on. All that is compiled from the model adds to it.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[Input],
        outputs: Sequence[str],
        make: Callable[[Mapping[str, Given]], Model],
        error: Unknown | None,
    ) -> None:
        self._name = name
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.needs = Needs(error)
        self._make, self._error = make, error

    def specialized(self, sizes: Mapping[str, int], values: Mapping[str, Array]) -> Model:
        """The model for sizes of symbols and for elements of inputs, which are its inputs no more.

        Raises:
            Unknown: something else must be known too.
        """
        given = {
            v.name: values[v.name]
            if v.name in values
            else v.type.with_shape(substitute(dim, sizes) for dim in v.type.shape)
            for v in self.inputs
        }
        try:
            return self._make(given)
        except Unknown as error:
            if error.inputs and self._error:
                raise GraphError(
                    error.what, fix=error.fix, path=error.path, loc=error.loc
                ) from None
            raise

    @property
    def name(self) -> str:
        """The name of the network."""
        return self._name

    def __repr__(self) -> str:
        takes = ", ".join(f"{value.name}: {value.type}" for value in self.inputs)
        made = f", made for each {self.needs}" if str(self.needs) else ""
        return f"<Model {self.name}: ({takes}) -> ({', '.join(self.outputs)}){made}>"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be a copy."""
        vars(self).update(state)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _OF_A_GRAPH:
                problem = self._error or Unknown("its graph is made when it is called")
                what = f"{self.name} has no graph yet, but one for each {self.needs}"
                raise _told(f"{what}: {problem.what}", problem)
            Foreign.__getattr__(self, name)


def _told(what: str, error: Unknown) -> GraphError:
    return GraphError(what, fix=error.fix, path=error.path, loc=error.loc)
