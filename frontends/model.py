"""Models: a network's graphs, one for inference and one for training, and its parameters."""

from __future__ import annotations

import fnmatch
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any, NoReturn, overload

from ..ir import Array, DType, Graph, Role
from ..ir.attributes import positive
from ..ir.display import html_of
from ..ir.errors import GraphError, ShapeError, TypeMismatch, need
from ..ir.habits import MODEL
from ..ir.remedies import Foreign, as_array
from ..ir.tensors_file import save_tensors
from ..ir.tracebacks import user_facing
from ..ir.types import is_bfloat16
from ..ir.unread import UnreadGraph
from ..ir.version import VERSION
from . import init
from .init import converted, initial_values
from .parameters import Parameters, read_only, some

if TYPE_CHECKING:
    from ..ir.preprocessing import Preprocessing

FORMAT = "cauce-model-1"
CONSTANT = "constant "  # what the names of large constants start with in a file
_NUMBERS = itertools.count()  # of the weights of all models


@user_facing
class Model(Foreign):
    """A network with numbers: what ``init`` and ``load`` give.

    Parameters, state and inputs have the shapes and dtypes that the inputs of the graphs say.

    Args:
        graph: the inference form.
        training_graph: the training form, or what makes it when it is first asked for.
        values: every parameter and state by name.

    Attributes:
        frozen: names of the parameters and running statistics that training leaves as they are.
        origin: where it is not from here, what of training came with it; ``summary`` says it.
        metadata: what the ONNX file that it is from says of itself (producer, documentation);
            ``export_onnx`` writes it again.

    Examples:
        >>> @cauce.network
        ... def net(x, classes=3):
        ...     y = nn.relu(nn.linear(x, 4, name="hidden"))
        ...     return nn.linear(y, classes, name="head")
        >>> model = net.init(x=("N", 8), seed=0)
        >>> model
        <Model net: 51 parameters>
        >>> model.name, model.parameter_count(), [value.name for value in model.parameters]
        ('net', 51, ['hidden.weight', 'hidden.bias', 'head.weight', 'head.bias'])
        >>> model.values["head.weight"].shape, model.values["head.weight"].dtype
        ((3, 4), dtype('float32'))
        >>> weights = model.state_dict()
        >>> model.load_state_dict({**weights, "head.bias": np.ones(3, np.float32)})
        >>> model.freeze("hidden.*")
        >>> sorted(model.frozen)
        ['hidden.bias', 'hidden.weight']
        >>> model.unfreeze("hidden.*")
        >>> model.replace_head(5).graph.outputs["output"].type
        TensorType(dtype=DType.F32, shape=(<dim N>, 5), layout=None)
        >>> model.summary(print_fn=None).splitlines()[-1]
        'net: 51 parameters, 99 FLOPs for a batch of 1'
        >>> model.graph, model.training_graph
        (<graph net: 3 nodes>, <graph net: 3 nodes>)
        >>> number, held = model.snapshot()
        >>> arrays, metadata = model.contents()
        >>> photos = cauce.network(lambda x: nn.linear(nn.flatten(x), 2)).init(x=("N", 3, 2, 2))
        >>> photos.learn_preprocessing(cauce.Preprocessing(classes=("cat", "dog")))
        >>> photos.preprocessing.classes, len(photos.predict(np.zeros((2, 2, 3), np.uint8)))
        (('cat', 'dog'), 2)
    """

    habits = MODEL
    _preprocessing: Preprocessing | None = None

    def __init__(
        self,
        graph: Graph | UnreadGraph,
        training_graph: Graph | Callable[[], Graph],
        values: Mapping[str, Array],
    ) -> None:
        self._graph = graph
        self._training_graph = training_graph
        self.frozen: set[str] = set()
        self.origin = ""
        self.metadata: dict[str, str] = {}
        # Replaced as a whole and never altered: who holds a version holds arrays that belong
        # together, whatever another thread loads meanwhile.
        self._held: tuple[int, Mapping[str, Array]] = (next(_NUMBERS), read_only(values))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Be a copy, whose weights get a number of their own: those here are counted anew."""
        vars(self).update(state)
        self._held = (next(_NUMBERS), read_only(self._values))

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.graph.name

    @property
    def graph(self) -> Graph:
        """The inference form: running statistics, no dropout."""
        if isinstance(self._graph, UnreadGraph):
            self._graph = self._graph.copy()
        return self._graph

    @property
    def unread(self) -> UnreadGraph | None:
        """The graph as text, while nobody has asked for the graph itself, which may be changed.

        Examples:
            >>> cauce.export_onnx(models.lenet5.init(image=("N", 1, 28, 28)), "lenet5.onnx")
            >>> model = cauce.load_onnx("lenet5.onnx")
            >>> model.unread is None, model.graph.name, model.unread is None
            (False, 'lenet5', True)
        """
        return self._graph if isinstance(self._graph, UnreadGraph) else None

    @property
    def training_graph(self) -> Graph:
        """The training form: batch statistics, dropout, running updates.

        That of a file is read when it is first asked for: inference never does.
        """
        if not isinstance(self._training_graph, Graph):
            self._training_graph = self._training_graph()
        return self._training_graph

    @property
    def values(self) -> dict[str, Array]:
        """Every parameter and state by name, as it lies in memory: to be read, not written."""
        return dict(self._values)

    def snapshot(self) -> tuple[int, Mapping[str, Array]]:
        """The number of the model's weights, which no other weights have, and these, read-only."""
        return self._held

    @property
    def _values(self) -> Mapping[str, Array]:
        return self._held[1]

    @property
    def parameters(self) -> Parameters:
        """The trainable inputs of the training graph, in the order of the layers."""
        return Parameters(self.training_graph.inputs_with(Role.PARAMETER))

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.parameter_count():,} parameters>"

    def _repr_html_(self) -> str | None:
        """The inference graph for a notebook."""
        return html_of("model", self)

    def parameter_count(self) -> int:
        """How many numbers the trainable parameters have; running statistics do not count."""
        return sum(self._values[value.name].size for value in self.parameters)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and state (running statistics, random key), by name."""
        return {name: array.copy() for name, array in self._values.items()}

    def load_state_dict(self, values: Mapping[str, object], strict: bool = True) -> None:
        """Take parameters and state by name; what was compiled from the model follows.

        Args:
            values: arrays by name, as :meth:`state_dict` gives.
            strict: whether every name must be there, and no other.

        Raises:
            GraphError: missing or unexpected names, with ``strict``.
            ShapeError, TypeMismatch: an array that does not fit; nothing is changed then.
            AttributeMistake: a finite value that the dtype of its parameter does not hold.
        """
        need(values, Mapping, "weights are arrays by name", "pass a dict, as state_dict() gives")
        missing = [name for name in self._values if name not in values]
        unexpected = [name for name in values if name not in self._values]
        if strict and (missing or unexpected):
            names = len(self._values)
            raise GraphError(
                f"these are not the weights of {self.name}: of its {names} names "
                f"{len(missing)} are missing{some(missing)}, "
                f"{len(unexpected)} others are there{some(unexpected)}",
                fix="load the weights of the same network; strict=False takes what both have",
            )
        dtypes = {value.name: value.type.dtype for value in self.graph.inputs}
        checked = {}
        for name, given in values.items():
            if name not in self._values:
                continue
            known, array = self._values[name], as_array(given, name)
            if array.shape != known.shape:
                raise ShapeError(
                    f"{name} has shape {known.shape}, the given array {array.shape}",
                    fix="load the weights of the same network with the same options",
                )
            kind = "f" if is_bfloat16(array.dtype) else array.dtype.kind
            if kind != known.dtype.kind:
                raise TypeMismatch(
                    f"{name} is {known.dtype}, the given array {array.dtype}",
                    fix=f"convert it, if it holds what it should: array.astype(np.{known.dtype})",
                )
            checked[name] = converted(name, array, dtypes.get(name) or DType.of(known.dtype))
        self._held = (next(_NUMBERS), {**self._values, **read_only(checked)})

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """A model does not run; ``compile`` makes what does.

        Raises:
            TypeMismatch: always.
        """
        raise TypeMismatch(
            f"{self!r} holds a network and its numbers, it cannot be called",
            fix="compile it once and call that: predict = cauce.compile(model); predict(array)",
        )

    # ---- images --------------------------------------------------------------------------------

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How an image file becomes what the network takes; None where that is not known.

        ``Trainer.fit`` fills it in from its data set, and files keep it. What is assigned is held
        against the graph: where that begins with ``nn.normalize``, mean and std are its own.

        Raises:
            GraphError: by assigning, as are the others: the network takes no images.
            ShapeError: another size, number of channels or of classes than that of the network.
            AttributeMistake: a mean or a std for a network that takes bytes.
        """
        return self._preprocessing

    @preprocessing.setter
    def preprocessing(self, given: Preprocessing | None) -> None:
        from ..ir.preprocessing import Preprocessing
        from .preprocessing import fitted

        if given is not None:
            fix = "write model.preprocessing = cauce.Preprocessing(size=224)"
            need(given, Preprocessing, "a model has a Preprocessing", fix)
            given = fitted(given, self.graph, self._numbers_of_file())
        self._preprocessing = given

    def learn_preprocessing(self, found: Preprocessing) -> None:
        """Take what a data set tells of its images, where the model does not know it yet."""
        from .preprocessing import completed

        numbers = self._numbers_of_file()
        self._preprocessing = completed(self._preprocessing, found, self.graph, numbers)

    def _numbers_of_file(self) -> Mapping[str, Array]:
        """The parameters that may be mean and std: those of a file that was made elsewhere."""
        return self._values if self.origin else {}

    def predict(self, images: object, top: int = 5) -> Any:
        """The likeliest classes of an image, or of each of several, with their probabilities.

        Images are prepared as :attr:`preprocessing` says. The network is compiled by the first
        call, and again when its graph has changed; it computes with the weights that the model
        then holds. Softmax is taken where the network does not end in one; an output of one logit,
        or of one probability, is that of the second of two classes.

        Args:
            images: the path of an image file, or pixels as u8 [H, W] or [H, W, C]; a list of them;
                or an array [N, C, H, W], which is fed as it is.
            top: how many classes.

        Returns:
            A :class:`~cauce.predicting.Ranking`, a list of (class, probability), the likeliest
            first; for a list or an array of four dimensions a list of them. A class that has no
            name is its number, as text.

        Raises:
            GraphError: no classifier of images, or preprocessing is not known and needed.
            FileNotFoundError, DataError: no such file, or no image.
            ShapeError, TypeMismatch: an array that does not fit.
            MissingExtra: Pillow is needed and not installed.
        """
        # What compiles stands above the layer of models: it is named, not imported.
        from importlib import import_module

        joined: Any = import_module("cauce.predicting")
        return joined.predict(self, images, top)

    # ---- transfer ------------------------------------------------------------------------------

    def freeze(self, *patterns: str) -> None:
        """Leave what training changes as it is, by name: ``model.freeze("layer1.*")``.

        Patterns are those of the shell (``*``, ``?``, ``[...]``), for parameters and for running
        statistics alike. A batch norm whose running statistics are frozen normalises by them in
        training too, as in inference; so do all of ``layer1`` here, as in Keras for
        ``trainable=False``. (``requires_grad=False`` in PyTorch lets statistics move: follow with
        ``model.unfreeze("*.running_*")`` for that. ``model.freeze("*.running_*")`` alone holds
        batch norms while their scale and shift are trained.) Dropout goes on.

        Raises:
            GraphError: a pattern that no name matches.
        """
        self.frozen |= self._matching(patterns)

    def unfreeze(self, *patterns: str) -> None:
        """Train these parameters, and let these running statistics move, again.

        Raises:
            GraphError: a pattern that no name matches.
        """
        self.frozen -= self._matching(patterns)

    def _matching(self, patterns: tuple[str, ...]) -> set[str]:
        from ..ir.ops.random import KEY

        changed = self.training_graph.inputs_with(Role.PARAMETER, Role.STATE)
        names = [value.name for value in changed if value.name != KEY]
        found: set[str] = set()
        for pattern in patterns:
            need(pattern, str, "parameters are named by patterns", "write for example 'layer1.*'")
            # A name is its own pattern, whatever is in it: those of a file have brackets too.
            chosen = [pattern] if pattern in names else fnmatch.filter(names, pattern)
            if not chosen:
                raise GraphError(
                    f"no parameter or running statistic of {self.name} is called {pattern!r}",
                    fix=f"there are {', '.join(names[:6])}{', ...' * (len(names) > 6)}",
                )
            found.update(chosen)
        return found

    def replace_head(self, classes: int, seed: int = 0) -> Model:
        """The same network with a new last layer for another number of classes.

        The last linear layer or convolution (of an ONNX file: Gemm, MatMul or Conv, and the bias
        that is added to it) gets a fresh weight and bias, uniform within 1/sqrt(fan_in) as in
        PyTorch; all else is kept, names too. This model is not changed.

        Args:
            classes: outputs of the new layer.
            seed: of its first values.

        Raises:
            AttributeMistake: fewer than one class.
            GraphError: no layer to replace.
            ShapeError: what follows the layer does not take another number of outputs.
        """
        classes = positive(classes, "classes")
        from .head import find_head

        head = find_head(self.graph)
        if head is None:
            raise GraphError(
                f"{self.name} has no linear layer or convolution to replace",
                fix="build the network with another number of classes instead",
            )
        types = head.types(classes)
        fresh = dict.fromkeys(types, init.uniform(1 / math.sqrt(head.fan_in)))
        values = self.state_dict()
        values |= initial_values({name: (types[name], fresh[name]) for name in types}, seed)
        twin = Model(self.graph.copy(types=types), self.training_graph.copy(types=types), values)
        twin.frozen, twin.origin = self.frozen - types.keys(), self.origin
        twin.metadata = dict(self.metadata)
        if (told := self._preprocessing) is not None:
            twin._preprocessing = told.named(None)  # a fresh head knows no class yet
        return twin

    def with_graphs(self, graph: Graph, training_graph: Graph | Callable[[], Graph]) -> Model:
        """A copy with other graphs: the same weights, in the same memory, and all else.

        Args:
            graph: the inference form.
            training_graph: the training form, or what makes it when it is first asked for.

        Examples:
            >>> model = models.lenet5.init(image=("N", 1, 28, 28))
            >>> twin = model.with_graphs(model.graph.copy("again"), model.training_graph)
            >>> twin.name, model.name
            ('again', 'lenet5')
        """
        twin = copy(self)
        twin._graph, twin._training_graph = graph, training_graph
        twin.frozen, twin.metadata = set(self.frozen), dict(self.metadata)
        return twin

    # ---- looking -------------------------------------------------------------------------------

    @overload
    def summary(self, batch: int = 1, print_fn: Callable[[str], object] = print) -> None: ...

    @overload
    def summary(self, batch: int = 1, *, print_fn: None) -> str: ...

    def summary(
        self, batch: int = 1, print_fn: Callable[[str], object] | None = print
    ) -> str | None:
        """Print layers with output shapes, parameters and FLOPs.

        Args:
            batch: the size taken for every symbolic dimension when FLOPs are counted.
            print_fn: what prints the text; where None, it is returned instead. (What is printed is
                not returned: a notebook would show it a second time.)
        """
        batch = positive(batch, "batch")
        from .summary import summarize

        text = summarize(self, batch).text
        if print_fn is None:
            return text
        print_fn(text)
        return None

    # ---- files ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, state, both graphs and the frozen names as one safetensors file.

        All or nothing: a file that is there already is replaced by a whole one.

        Arrays keep their names, shapes and dtypes; see ``docs/versions.md`` for what is promised of
        the file.

        Raises:
            MissingExtra: safetensors is not installed.
            OSError: the file cannot be written; an earlier file is left whole.

        Examples:
            >>> @cauce.network
            ... def net(x, classes=3):
            ...     y = nn.relu(nn.linear(x, 4, name="hidden"))
            ...     return nn.linear(y, classes, name="head")
            >>> model = net.init(x=("N", 8))
            >>> model.save("net.safetensors")
            >>> cauce.load("net.safetensors")
            <Model net: 51 parameters>
        """
        arrays, metadata = self.contents()
        save_tensors(path, arrays, {"format": FORMAT, **metadata})

    def contents(self) -> tuple[dict[str, Array], dict[str, str]]:
        """What a file holds of the model, arrays and metadata; :func:`load` makes one of them."""
        from .summary import KEY, summarize

        constants = {**self.graph.constants(), **self.training_graph.constants()}
        arrays = {f"{CONSTANT}{digest}": array for digest, array in constants.items()}
        metadata = {
            "model": FORMAT,
            "values": json.dumps(list(self._values)),
            "graph": self.graph.to_text(),
            "training_graph": self.training_graph.to_text(),
            "frozen": json.dumps(sorted(self.frozen)),
            "origin": self.origin,
            "onnx": json.dumps(self.metadata),
            **({"preprocessing": told.to_text()} if (told := self._preprocessing) else {}),
            "inputs": ", ".join(f"{v.name}: {v.type}" for v in self.graph.inputs_with(Role.DATA)),
            "cauce": VERSION,
        }
        with suppress(ShapeError, ZeroDivisionError):  # which has none where every size is 1
            metadata[KEY] = json.dumps(summarize(self).data)
        return {**self._values, **arrays}, metadata
