"""ONNX Runtime as a side of :func:`cauce.compare`."""

from __future__ import annotations

from collections.abc import Mapping

from .ir import Array, Graph, Role
from .ir.errors import MissingExtra, UnsupportedOp, install
from .ir.evaluate import check_feeds


def in_onnxruntime(graph: Graph, feeds: Mapping[str, object]) -> dict[str, Array]:
    """The outputs and updates (``w.new``) of a graph by name, as exported and run there.

    Raises:
        MissingExtra: onnx or onnxruntime is not installed.
        UnsupportedOp: ONNX Runtime does not run the model.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra(
            "comparing with ONNX Runtime needs onnxruntime, which is not installed",
            fix=install("onnxruntime"),
        ) from None
    from .backends.onnx import export

    arrays = dict(zip([v.name for v in graph.inputs], check_feeds(graph.inputs, feeds, graph.name)))
    fixed = [value.name for value in graph.inputs if value.role is not Role.DATA]
    model = export(graph, {name: arrays[name] for name in fixed})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it warns of is told by the comparison
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        taken = {value.name: arrays[value.name] for value in session.get_inputs()}
        results = session.run([output.name for output in session.get_outputs()], taken)
    except Exception as error:  # it has exceptions of its own kind for each mistake
        raise UnsupportedOp(
            f"ONNX Runtime does not run {graph.name}: {error}",
            fix="compare with 'reference', the plain evaluator",
        ) from error
    return {o.name: array for o, array in zip(session.get_outputs(), results)}
