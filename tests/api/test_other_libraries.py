"""What users of other libraries write: accepted where it can be, else an error that names ours."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import cauce
from cauce import nn
from cauce.ir import habits
from cauce.ir.errors import CauceError, DataError, ShapeError, TypeMismatch, UnknownAttribute
from cauce.ir.remedies import Foreign
from cauce.training import Checkpoints, Dataset, EarlyStopping, RandomCrop

BACKENDS = ("numpy", "llvm")


def model_of(function: Any, *shape: Any, **types: Any) -> cauce.Model:
    """A model of a function of one tensor."""

    @cauce.network
    def net(x):
        return function(x)

    return net.init(x=shape or ("N", 3, 8, 8), **types)


def run(function: Any, x: np.ndarray, backend: str) -> Any:
    types = {"dtype": x.dtype.name}
    return cauce.compile(model_of(function, "N", *x.shape[1:], **types), backend)(x)


# ---- the table ---------------------------------------------------------------------------------

TABLES = {
    "TENSOR": (habits.TENSOR, dir(nn.Tensor)),
    "LAYERS": (habits.LAYERS, nn.__all__),
    "MODEL": (habits.MODEL, dir(cauce.Model)),
    "TRAINER": (habits.TRAINER, dir(cauce.Trainer)),
    "PACKAGE": (habits.PACKAGE, cauce.__all__),
}


@pytest.mark.parametrize("table", TABLES)
def test_what_is_in_the_table_is_not_ours_and_in_order(table: str) -> None:
    names, ours = TABLES[table]
    assert not set(names) & set(ours)
    assert list(names) == sorted(names)


def remedies() -> Iterator[tuple[str, str]]:
    parts = [names for names, _ in TABLES.values()]
    for names in (*parts, habits.ARGUMENTS, habits.CALLS, habits.LOSSES):
        yield from names.items()


def test_remedies_name_what_there_is() -> None:
    text = "\n".join(fix for _, fix in remedies())
    assert set(re.findall(r"\bnn\.(\w+)", text)) <= {*nn.__all__}
    assert set(re.findall(r"\bcauce\.(\w+)", text)) <= {*cauce.__all__, "training"}
    assert set(re.findall(r"\bx\.(\w+)", text)) <= {*dir(nn.Tensor)}
    assert set(re.findall(r"\bmodel\.(\w+)", text)) <= {
        *dir(cauce.Model),
        "safetensors",
        "onnx",
    } | {"graph"}
    assert set(re.findall(r"\btrainer\.(\w+)", text)) <= {*dir(cauce.Trainer), "model"}


def code(fix: str) -> str | None:
    """The remedy, where it is an expression that can be computed as it stands."""
    try:
        tree = ast.parse(fix, mode="eval")
    except SyntaxError:
        return None
    whole = isinstance(tree.body, (ast.Call, ast.BinOp, ast.UnaryOp, ast.Compare))
    return fix if whole and "..." not in fix and re.search(r"\b(x|logits|p)\b", fix) else None


CODE = sorted(
    {fix for names in (habits.TENSOR, habits.LAYERS) for fix in names.values() if code(fix)}
)


def test_most_remedies_for_layers_are_code() -> None:
    assert len(CODE) > 60


@pytest.mark.parametrize("fix", CODE)
def test_a_remedy_that_is_code_runs(fix: str) -> None:
    @cauce.network
    def net(x, y, mask, indices, places, logits, classes, out=4):
        names = {
            "nn": nn,
            "x": x,
            "y": y,
            "mask": mask,
            "indices": indices,
            "logits": logits,
            "target": classes if "logits" in fix else y,
            "p": nn.sigmoid(y),
            "out_channels": out,
            "out_features": out,
            "cauce": cauce,
        }
        if "binary" in fix:
            names["logits"], names["target"] = x, nn.sigmoid(y)
        if re.search(r"[&|]|~x(?!\.)", fix):
            names["x"] = names["y"] = mask
        if fix == "x.permute(1, 0)":
            names["x"] = logits
        if "unpool" in fix:
            names["indices"] = places
        result = eval(fix, names)
        assert isinstance(result, nn.Tensor)
        return result

    dims = re.search(r"(?:conv|conv_transpose|pool)([13])d\(", fix)
    shape = ("N", 4, *(8,) * (int(dims[1]) if dims else 2))
    net.init(
        **dict.fromkeys(("x", "y"), shape),
        mask=cauce.ir.TensorType.make("bool", shape),
        indices=cauce.ir.TensorType.make("i64", (2,)),
        places=cauce.ir.TensorType.make("i64", shape),
        logits=("N", 3),
        classes=cauce.ir.TensorType.make("i64", ("N",)),
    )


def public() -> list[Any]:
    functions = [getattr(nn, name) for name in nn.__all__ if name not in ("Tensor", "init")]
    methods = [getattr(nn.Tensor, name) for name in dir(nn.Tensor) if not name.startswith("_")]
    classes = [cauce.SGD, cauce.Adam, cauce.Trainer, EarlyStopping, Checkpoints, RandomCrop]
    others = [cauce.compile, cauce.Trainer.fit, cauce.train_step, *classes]
    return [f for f in (*functions, *methods, *others) if callable(f)]


def test_an_argument_of_ours_that_is_named_is_one() -> None:
    arguments = {name for f in public() for name in inspect.signature(f).parameters}
    ours = {fix[:-1] for fix in habits.ARGUMENTS.values() if fix.endswith("=")}
    assert len(ours) > 10
    assert ours <= arguments


# ---- refused, by name --------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(habits.LAYERS))
def test_a_layer_of_another_library(name: str) -> None:
    for home in (nn, cauce.frontends.nn):
        with pytest.raises(UnknownAttribute) as caught:
            getattr(home, name)
        assert caught.value.fix == habits.LAYERS[name]
    assert not hasattr(nn, name)


@pytest.mark.parametrize("name", sorted(habits.TENSOR))
def test_a_method_of_another_librarys_tensor(name: str) -> None:
    with pytest.raises(UnknownAttribute) as caught:
        model_of(lambda x: getattr(x, name))
    assert caught.value.fix == habits.TENSOR[name]


def test_a_method_that_is_a_function_here() -> None:
    with pytest.raises(UnknownAttribute) as caught:
        model_of(lambda x: x.sigmoid())
    assert caught.value.fix == "use nn.sigmoid(x, ...)"


@pytest.mark.parametrize("name", sorted(habits.MODEL))
def test_a_method_of_another_librarys_model(name: str) -> None:
    with pytest.raises(UnknownAttribute, match=f"a Model has no '{name}'") as caught:
        getattr(model_of(nn.relu), name)
    assert caught.value.fix == habits.MODEL[name]


@pytest.mark.parametrize("name", sorted(habits.TRAINER))
def test_a_method_of_another_librarys_trainer(name: str) -> None:
    with pytest.raises(UnknownAttribute, match=f"a Trainer has no '{name}'") as caught:
        getattr(cauce.Trainer(classifier(), backend="numpy"), name)
    assert caught.value.fix == habits.TRAINER[name]


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("optim", "cauce.SGD, cauce.Adam, cauce.AdamW"),
        ("no_grad", "leave it out: gradients are written only where something is trained"),
        ("flatten", "cauce.nn.flatten"),
        ("Conv2d", "nn.conv2d(x, out_channels, 3)"),
    ],
)
def test_a_name_of_another_package(name: str, fix: str) -> None:
    with pytest.raises(UnknownAttribute) as caught:
        getattr(cauce, name)
    assert caught.value.fix == fix


def test_what_python_looks_for_is_plainly_missing() -> None:
    model = model_of(nn.relu)
    for home in (nn, model, Foreign()):
        with pytest.raises(AttributeError) as caught:
            home.__wrapped__  # noqa: B018
        assert not isinstance(caught.value, CauceError)


# ---- refused, by argument ----------------------------------------------------------------------

CALLS = {
    "nn.linear(x, 8, 10)": "write nn.linear(x, out_features)",
    "nn.linear(x, 8, 1)": "write nn.linear(x, out_features)",
    "nn.batch_norm(x, 3)": "write nn.batch_norm(x)",
    "nn.conv2d(x, 3, 4, 3)": "write nn.conv2d(x, out_channels, kernel_size)",
    "nn.conv2d(x, 3, 4, kernel_size=3)": "write nn.conv2d(x, out_channels, kernel_size)",
    "nn.conv_transpose2d(x, 3, 4, 3)": "write nn.conv_transpose2d(x, out_channels, kernel_size)",
    "nn.conv2d(x, filters=4, kernel_size=3)": "write out_channels=",
    "nn.conv2d(x, 4, 3, strides=2)": "write stride=",
    "nn.conv2d(x, 4, 3, dilation_rate=2)": "write dilation=",
    "nn.conv2d(x, 4, 3, use_bias=False)": "write bias=",
    "nn.conv2d(x, 4, 3, activation='relu')": "apply it to the result",
    "nn.conv2d(x, 4, 3, in_channels=3)": "leave it out",
    "nn.linear(x, units=4)": "write out_features=",
    "nn.batch_norm(x, epsilon=1e-3)": "write eps=",
    "nn.dropout(x, rate=0.5)": "write p=",
    "nn.dropout(x, 0.5, training=True)": "leave it out",
    "nn.max_pool2d(x, pool_size=2)": "write kernel_size=",
    "nn.leaky_relu(x, alpha=0.1)": "write negative_slope=",
    "nn.softmax(x, axis=1)": "write dim=",
    "nn.relu(x, inplace=True)": "leave it out",
    "x.mean(axis=1)": "write dim=",
    "x.mean(dim=1, keepdims=True)": "write keepdim=",
    "nn.relu()": "call it as relu(x, *, name=None)",
    "nn.conv2d(x, 4, 3, dilatoin=2)": "did you mean dilation?",
}


@pytest.mark.parametrize("call", CALLS)
def test_arguments_of_other_libraries_in_a_network(call: str) -> None:
    with pytest.raises(TypeMismatch) as caught:
        model_of(lambda x: eval(call, {"nn": nn, "x": x}))
    assert caught.value.fix is not None and caught.value.fix.startswith(CALLS[call])
    assert caught.value.loc is not None


def classifier() -> cauce.Model:
    return model_of(lambda x: nn.linear(nn.flatten(x), 2), "N", 1, 2, 2)


DATA = Dataset(np.zeros((4, 1, 2, 2), np.float32), np.array([0, 1, 0, 1]), ("a", "b"))
OUTSIDE = {
    "cauce.SGD(learning_rate=0.1)": "write lr=",
    "cauce.SGD([], lr=0.1)": "write SGD(0.1, momentum=0.9)",
    "cauce.Adam(params=[])": "leave it out",
    "cauce.Adam(epsilon=1e-7)": "write eps=",
    "cauce.Adam(beta_1=0.9)": "write betas=(0.9, 0.999)",
    "cauce.Trainer(model, criterion='mse_loss')": "write loss=",
    "cauce.Trainer(model, epochs=3)": "it is an argument of fit",
    "cauce.compile(model, optimizer='adam')": "compile makes a model run",
    "cauce.compile(model, device='cuda')": "leave it out",
    "trainer.fit(data, 1, validation_data=data)": "write validate=",
    "trainer.fit(data, 1, callbacks=[])": "early_stopping=EarlyStopping(5)",
    "trainer.fit(data, 1, shuffle=True)": "leave it out",
    "trainer.fit(data, 1, verbose=0)": "write progress=",
    "trainer.fit(x=data.images, y=data.labels, epochs=1)": "fit takes images and labels together",
    "trainer.fit(data.images, data.labels, epochs=1)": "write fit(Dataset(images, labels, classes)",
    "model.parameters()": "leave it out for an optimizer",
}


@pytest.mark.parametrize("call", OUTSIDE)
def test_arguments_of_other_libraries_outside(call: str) -> None:
    model = classifier()
    names = {"model": model, "trainer": cauce.Trainer(model, backend="numpy"), "data": DATA}
    with pytest.raises(TypeMismatch) as caught:
        eval(call, {"cauce": cauce, **names})
    assert caught.value.fix is not None and caught.value.fix.startswith(OUTSIDE[call])


# ---- objects of other libraries ----------------------------------------------------------------


class TorchTensor:
    """Stands for a tensor of torch that requires a gradient: it gives no array."""

    __module__ = "torch"

    def __array__(self, *args: object, **kwargs: object) -> None:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


@pytest.mark.parametrize(
    "use",
    [
        lambda model, t: cauce.compile(model, "numpy")(t),
        lambda model, t: model.load_state_dict({**model.state_dict(), "linear1.bias": t}),
        lambda model, t: cauce.models.load_torch_weights(model, {"linear1.bias": t}),
        lambda model, t: cauce.compile(model, "numpy").load_state_dict(
            {**model.state_dict(), "linear1.bias": t}
        ),
        lambda model, t: Dataset(t, np.array([0]), ("a",)),
        lambda model, t: cauce.export_onnx(model.graph, "no.onnx", {"linear1.bias": t}),
    ],
)
def test_tensors_that_require_a_gradient(use: Any) -> None:
    with pytest.raises(TypeMismatch, match="requires grad") as caught:
        use(classifier(), TorchTensor())
    assert "tensor.detach().cpu().numpy()" in str(caught.value.fix)


def test_a_list_of_tensors_that_require_a_gradient() -> None:
    run = cauce.compile(classifier(), "numpy")
    for images in ([TorchTensor()], [[TorchTensor(), TorchTensor()]], (TorchTensor(),)):
        with pytest.raises(TypeMismatch, match=r"input x cannot be .* requires grad") as caught:
            run(images)
        assert "tensor.detach().cpu().numpy()" in str(caught.value.fix)


def test_lists_of_different_lengths() -> None:
    model, uneven = classifier(), [[1.0, 2.0], [3.0]]
    with pytest.raises(TypeMismatch, match=r"input x takes f32\[N,1,2,2\], got \[\[1.0, 2.0\]"):
        cauce.compile(model, "numpy")(uneven)
    with pytest.raises(DataError, match="they differ in size") as caught:
        Dataset(uneven, np.array([0, 1]), ("a", "b"))  # type: ignore[arg-type]
    assert "np.stack" in str(caught.value.fix)
    weights = {**model.state_dict(), "linear1.bias": uneven}
    for use in (
        lambda: model.load_state_dict(weights),
        lambda: cauce.models.load_torch_weights(model, weights),  # type: ignore[arg-type]
        lambda: cauce.export_onnx(model.graph, "no.onnx", weights),  # type: ignore[arg-type]
    ):
        with pytest.raises(ShapeError, match=r"linear1\.bias cannot be made an array") as shapes:
            use()
        assert "equal lengths" in str(shapes.value.fix)


def test_other_objects_keep_their_own_errors() -> None:
    class Own:
        def __array__(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        cauce.compile(classifier(), "numpy")(Own())


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("CrossEntropyLoss", "nn.cross_entropy(logits, target)"),
        ("MSELoss", "nn.mse_loss(x, target)"),
        ("cross_entropy", "loss='cross_entropy'"),
        ("HuberLoss", "write it as a function (output, target) -> scalar"),
    ],
)
def test_losses_of_another_library(name: str, fix: str) -> None:
    def function(output: Any, target: Any) -> Any:
        raise AssertionError("called")

    function.__name__ = name
    function.__module__ = "torch.nn.functional"
    module = type(name, (), {"__module__": "torch.nn.modules.loss", "__call__": function})()
    for loss in (function, module):
        with pytest.raises(TypeMismatch, match=f"the loss is {name} of torch") as caught:
            cauce.Trainer(classifier(), loss=loss)
        assert caught.value.fix is not None and caught.value.fix.startswith(fix)
        with pytest.raises(TypeMismatch, match=f"the metric own is {name} of torch"):
            cauce.Trainer(classifier(), metrics={"own": loss})


# ---- accepted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, -2, -1, 1), (-1, 1, 0, 2)])
def test_permute_takes_a_tuple_and_negative_axes(order: Any, backend: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    wanted = np.transpose(x, [axis % 4 for axis in order])
    for permuted in (lambda t: t.permute(order), lambda t: t.permute(*order)):
        assert np.array_equal(run(permuted, x, backend), wanted)


def test_expand_takes_a_tuple() -> None:
    x = np.arange(3, dtype=np.float32).reshape(1, 3, 1)
    wanted = np.broadcast_to(x, (1, 3, 4))
    assert np.array_equal(run(lambda t: t.expand((-1, 3, 4)), x, "numpy"), wanted)


CONDITIONS = {
    "and": lambda x: (x > 0) & (x < 1),
    "or": lambda x: (x < 0) | (x > 1),
    "xor": lambda x: (x > 0) ^ (x < 1),
    "not": lambda x: ~(x > 0),
    "numbers": lambda x: True & (x > 0) | (x > 1) & np.True_ ^ (x > 2),
    "left": lambda x: np.bool_(True) ^ (x > 0),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONDITIONS)
def test_conditions_combine(name: str, backend: str) -> None:
    x = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, np.nan]], np.float32)
    found = run(CONDITIONS[name], x, backend)
    assert found.dtype == np.bool_
    assert np.array_equal(found, CONDITIONS[name](x))


@pytest.mark.parametrize("combine", [lambda x: x & 1, lambda x: (x > 0) | x, lambda x: 1.5 ^ x])
def test_only_conditions_combine(combine: Any) -> None:
    with pytest.raises(TypeMismatch, match="combine conditions, which are bool"):
        model_of(combine)
