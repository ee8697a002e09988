"""Joins the importer of ONNX files and the passes: ``load_onnx``.

What a file has become is kept (:mod:`cauce.kept_imports`), so that loading it again imports neither
the importer nor the passes: they are imported inside the functions that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .frontends.model import Model
from .frontends.onnx.reading import ARRAYS, Given, Opened, read
from .frontends.open_model import OpenModel
from .ir import Array, Graph
from .ir.errors import ShapeError
from .ir.onnx.metadata import PREPROCESSING
from .ir.record import Record
from .ir.tracebacks import user_facing
from .ir.unknown import Unknown
from .ir.unread import UnreadGraph
from .kept_imports import Content, Interface, find, keep, key_of

if TYPE_CHECKING:
    from .frontends.onnx.importer import Imported, OnnxFile
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

    Shapes and dtypes are those of the file. What it becomes is kept in ``CAUCE_CACHE_DIR``, as
    native code is, and found by its contents; large weights are read from the file each time.

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
    return _Loader(read(model)).load({} if inputs is None else inputs)


def open_onnx(model: object, inputs: Mapping[str, Given] | None = None) -> OpenModel:
    """A model whose graph is made when a call comes, also for the values of its inputs."""
    return _Loader(read(model)).open(inputs, None)


class _Loader:
    """Makes models of one file: of what was kept of it, or of what is imported."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @cached_property
    def _file(self) -> OnnxFile:
        from .frontends.onnx.importer import OnnxFile

        return OnnxFile(self._opened)

    def load(self, given: Mapping[str, Any]) -> Model:
        """What :func:`load_onnx` gives."""
        key = key_of(self._opened, given, "loaded")
        found = find(self._opened, key)
        if isinstance(found, Interface):
            return self._open_as(found, given)
        return self._load(given, key) if found is None else _model_of(found)

    def _load(self, given: Mapping[str, Any], key: str | None) -> Model:
        while True:
            try:
                return self._import(given, key)
            except Unknown as error:
                if error.inputs:
                    raise
                return self.open(given, error, key)
            except ShapeError as error:
                from .frontends.multiples import in_multiples

                _, values, _ = self._file.interface(given)
                multiples = in_multiples(values, error)
                if multiples is None:
                    raise
                given = {**given, **multiples}

    def open(
        self, given: Mapping[str, Any] | None, error: Unknown | None, key: str | None = None
    ) -> OpenModel:
        """The model that is made for each size; the error says why, where there is a reason."""
        interface = Interface(*self._file.interface(given), error, self._file.metadata)
        if key is not None:
            keep(key, interface.written())
        return self._open_as(interface, given or {})

    def _open_as(self, found: Interface, given: Mapping[str, Any]) -> OpenModel:
        fixed = {n: np.asarray(a) for n, a in given.items() if isinstance(a, ARRAYS)}
        make = partial(self._specialized, fixed)
        model = OpenModel(found.name, found.inputs, found.outputs, make, found.error)
        model._preprocessing = _preprocessing(found.metadata, self._opened.name)
        return model

    def _specialized(self, fixed: Mapping[str, Array], sizes: Mapping[str, Any]) -> Model:
        given = {**fixed, **sizes}
        key = key_of(self._opened, given, "specialised")
        found = find(self._opened, key)
        if isinstance(found, Interface) and found.error is not None:
            raise found.error
        try:
            return _model_of(found) if isinstance(found, Content) else self._import(given, key)
        except Unknown as error:
            if key is not None:
                keep(key, Interface("", (), (), error, {}).written())
            raise

    def _import(self, given: Mapping[str, Any], key: str | None) -> Model:
        """Import the file; what becomes of it is kept."""
        from .backends.llvm.runtime.key import only_ours
        from .ir.pass_manager import run_passes
        from .passes.inference import ToInference
        from .passes.pipelines import CLEAN

        imported = self._file.imported(given)
        before = graph = imported.graph
        run_passes(graph, CLEAN)
        if imported.training.dropouts:
            graph = graph.copy()
            ToInference().run(graph)
        as_text = UnreadGraph.of(graph)
        content = Content(
            graph.name,
            as_text,
            as_text if before is graph else UnreadGraph.of(before),
            imported.values,
            tuple(imported.training.shares.items()),
            _origin(imported),
            imported.metadata,
        )
        if key is not None and only_ours(before):
            keep(key, content.written(imported.places, self._opened.decode))
        return _model_of(content)


def _model_of(content: Content) -> Model:
    # Each form is a copy: users may change the graphs of their model.
    training = _InTraining(content.training, content.shares)
    loaded = Model(content.graph, training, content.values)
    loaded.origin, told = content.origin, content.metadata
    loaded._preprocessing = _preprocessing(told, content.name)
    loaded.metadata = {name: text for name, text in told.items() if name != PREPROCESSING}
    return loaded


def _preprocessing(metadata: Mapping[str, str], name: str) -> Preprocessing | None:
    """How a model takes images, where its file says so."""
    if PREPROCESSING not in metadata:
        return None
    from .ir.preprocessing import Preprocessing

    return Preprocessing.from_text(metadata[PREPROCESSING], name)


class _InTraining(Record):
    """Makes the training form when it is first asked for."""

    graph: UnreadGraph
    shares: tuple[tuple[str, float], ...]

    def __call__(self) -> Graph:
        from .passes.training_form import ToTraining

        graph = self.graph.copy()
        ToTraining(self.shares).run(graph)
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
