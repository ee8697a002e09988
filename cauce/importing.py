"""Joins the importer of ONNX files and the passes: ``load_onnx``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .frontends.model import Model
from .frontends.multiples import in_multiples
from .frontends.onnx import OnnxFile
from .frontends.onnx.importer import Given, Imported
from .frontends.onnx.reading import ARRAYS
from .frontends.open_model import OpenModel
from .ir import Array, Graph
from .ir.errors import ShapeError
from .ir.onnx.metadata import PREPROCESSING
from .ir.pass_manager import run_passes
from .ir.tracebacks import user_facing
from .ir.unknown import Unknown
from .passes.inference import ToInference
from .passes.pipelines import CLEAN
from .passes.training_form import ToTraining

if TYPE_CHECKING:
    from .ir.preprocessing import Preprocessing


@user_facing
def load_onnx(model: object, inputs: Mapping[str, Given] | None = None) -> Model:
    """A model from an ONNX file: ``cauce.compile(cauce.load_onnx("net.onnx"))``.

    Weights become parameters, and the statistics of batch norms states, by their names in the
    file. Layers are named after its nodes; what goes wrong in one names node, operator and opset.
    Sizes that the file leaves open stay symbols. Arithmetic on shapes is done while loading. Where
    two sizes have to be equal that are so for multiples of some k alone, the input has the size
    k*H, with the smallest k up to 64: other sizes are an error when it is called.

    In training batch norms take the statistics of the batch, dropout drops, and running statistics
    move by the momentum of the file. What the file has folded into its weights does not come back;
    ``model.summary()`` says what there is.

    Shapes and dtypes are those of the file.

    Args:
        model: a path, the bytes of a file, or an ``onnx.ModelProto``. External data lie in the
            folder of the path.
        inputs: by name, shapes, which fix what the file leaves open, or arrays: an input whose
            elements are given becomes a constant, which axes, shapes, pads, scales and the like
            have to be. A call does not take it.

    Raises:
        UnsupportedOp: operators, or a form of one, that cauce does not have; all of them are listed
            with the names of their nodes.
        DataError: not an ONNX file, or a damaged one, or external data outside its folder.
        GraphError: nodes that do not fit one another.
        ShapeError, TypeMismatch: shapes that do not fit.
        FileNotFoundError: there is no such file.
        MissingExtra: onnx is not installed.

    Examples:
        >>> cauce.export_onnx(models.lenet5.init(image=("N", 1, 28, 28)), "lenet5.onnx")
        >>> model = cauce.load_onnx("lenet5.onnx")
        >>> model
        <Model lenet5: 61,706 parameters>
        >>> cauce.load_onnx("lenet5.onnx", inputs={"image": (1, 1, 28, 28)}).graph.inputs[0].type
        TensorType(dtype=DType.F32, shape=(1, 1, 28, 28), layout=None)
    """
    file = OnnxFile(model)
    given: Mapping[str, Any] = {} if inputs is None else inputs
    while True:
        try:
            return _model(file.imported(given))
        except Unknown as error:
            if error.inputs:
                raise
            return _open(file, given, error)
        except ShapeError as error:
            _, values, _ = file.interface(given)
            multiples = in_multiples(values, error)
            if multiples is None:
                raise
            given = {**given, **multiples}


def open_onnx(model: object, inputs: Mapping[str, Given] | None = None) -> OpenModel:
    """A model whose graph is made when a call comes, also for the values of its inputs."""
    return _open(OnnxFile(model), inputs, None)


def _open(file: OnnxFile, inputs: Mapping[str, Given] | None, error: Unknown | None) -> OpenModel:
    fixed = {name: given for name, given in (inputs or {}).items() if isinstance(given, ARRAYS)}
    model = OpenModel(*file.interface(inputs), partial(_specialized, file, fixed), error)
    model._preprocessing = _preprocessing(file.metadata, file.name)
    return model


def _specialized(file: OnnxFile, fixed: Mapping[str, Array], given: Mapping[str, Any]) -> Model:
    return _model(file.imported({**fixed, **given}))


def _model(imported: Imported) -> Model:
    """A model of what was imported."""
    graph = imported.graph
    run_passes(graph, CLEAN)
    if imported.training.dropouts:
        graph = graph.copy()
        ToInference().run(graph)
    shares = tuple(imported.training.shares.items())
    # A copy: users may change the graph of their model.
    loaded = Model(graph, partial(_in_training, imported.graph.copy(), shares), imported.values)
    loaded.origin = _origin(imported)
    loaded._preprocessing = _preprocessing(imported.metadata, graph.name)
    loaded.metadata = {n: text for n, text in imported.metadata.items() if n != PREPROCESSING}
    return loaded


def _preprocessing(metadata: Mapping[str, str], name: str) -> Preprocessing | None:
    """How a model takes images, where its file says so."""
    if PREPROCESSING not in metadata:
        return None
    from .ir.preprocessing import Preprocessing

    return Preprocessing.from_text(metadata[PREPROCESSING], name)


def _in_training(graph: Graph, shares: tuple[tuple[str, float], ...]) -> Graph:
    """The training form, which is made when it is first asked for."""
    ToTraining(shares).run(graph)
    return graph


def _origin(imported: Imported) -> str:
    """What of training is in a file, in a sentence."""
    found = imported.training
    norms = len(found.shares)
    text = f"in training {_count(norms, 'batch norm')} and {_count(found.dropouts, 'dropout')}"
    if found.lost:
        text += f" ({found.lost} of which the mask or the ratio is computed stay out)"
    return f"{text}; what the file has folded into its weights does not come back"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number != 1)}"
