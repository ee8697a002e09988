"""ONNX files of models and graphs: ``export_onnx``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from .compiler import checked_passes
from .frontends.model import Model
from .ir import Graph, Role
from .ir.errors import need
from .ir.remedies import as_array
from .ir.tracebacks import user_facing

if TYPE_CHECKING:
    from .ir.pass_manager import Pass


@user_facing
def export_onnx(
    model: Model | Graph,
    path: str | os.PathLike[str],
    parameters: Mapping[str, object] | None = None,
    *,
    opset: int | None = None,
    ir_version: int | None = None,
    external_above: int | None = None,
    passes: Iterable[Pass] = (),
) -> None:
    """Write a model, or a graph with the values of its parameters, as an ONNX file.

    The file is checked in full before it takes the place of an earlier one. Parameters that are
    more than an ONNX file holds go to a file beside it, ``name.onnx.<hash>.data``, which must lie
    where the model lies; that of an earlier export to ``path`` is removed.

    Shapes and dtypes stay, symbols too.

    Args:
        model: a model (its inference graph is written), or a graph.
        path: the file to write.
        parameters: for a graph, the values of parameters and state by name; those not given
            become inputs of the ONNX graph.
        opset: the version of the operators, for runtimes that do not know 18, the default.
        ir_version: the version of the format; by default 10, or what a newer opset needs. Before
            10, nodes have no metadata (layer path, op, source line).
        external_above: from how many bytes on parameters go to a file of their own; by default
            nearly 2 GiB, where an ONNX file ends.
        passes: what the graph runs through first; by default it is written as it stands, and its
            layers are found in the file.

    Raises:
        MissingExtra: onnx is not installed.
        UnsupportedOp: an op that cannot be exported, or not in this opset.
        AttributeMistake: a version that there is not.
        ExportFailure: a result that does not pass the check.
        MissingFile: ``path`` is a folder, or lies in none.

    Warns:
        CauceWarning: the model is valid, but no runtime is known to run it.

    Examples:
        >>> model = models.lenet5.init(image=("N", 1, 28, 28), seed=0)
        >>> cauce.export_onnx(model, "lenet5.onnx")
        >>> cauce.load_onnx("lenet5.onnx").graph.outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 10), layout=None)
    """
    from .backends.onnx import save

    need(
        model,
        (Model, Graph),
        "export_onnx takes a Model or a Graph",
        "make a model with network.init(...)",
    )
    graph = model.graph if isinstance(model, Model) else model
    own = checked_passes(passes)
    if own:
        from .ir.pass_manager import run_passes

        graph = graph.copy()
        run_passes(graph, own)
    if isinstance(model, Model):
        values = model.values  # those of both forms: inference reads no random key
        names = [value.name for value in graph.inputs if value.role is not Role.DATA]
        arrays = {name: values[name] for name in names}
    else:
        arrays = {name: as_array(array, name) for name, array in (parameters or {}).items()}
    save(
        graph,
        arrays,
        path,
        opset=opset,
        ir_version=ir_version,
        external_above=external_above,
        shares=_shares(model) if isinstance(model, Model) else None,
        metadata=_metadata(model) if isinstance(model, Model) else None,
    )


def _metadata(model: Model) -> dict[str, str]:
    """What the file that a model is from said of itself, and how the model takes images."""
    from .ir.onnx.metadata import PREPROCESSING

    told = model.preprocessing
    return {**model.metadata, **({PREPROCESSING: told.to_text()} if told is not None else {})}


def _shares(model: Model) -> dict[str, float]:
    """How far the running statistics move in training, which a file of inference says too."""
    from .passes.training_form import running_shares

    # Asking for the form in training makes it, or reads it from a file.
    has_any = any(value.role is Role.STATE for value in model.graph.inputs)
    return running_shares(model.training_graph) if has_any else {}
