"""Reading weights that PyTorch has saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping

from ...ir import Array, Role
from ...ir.errors import GraphError, ShapeError, need
from ...ir.ops.random import KEY
from ...ir.remedies import as_array
from ...ir.tensors_file import load_tensors
from ...ir.tracebacks import user_facing
from ..model import Model

_SHOWN = 6  # how many names an error lists


@user_facing
def load_torch_weights(
    model: Model,
    weights: str | os.PathLike[str] | Mapping[str, object],
    rename: Callable[[str], str] | None = None,
    prefix: str = "",
) -> None:
    """Take the weights and running statistics of a PyTorch module; nothing is changed on error.

    The networks of :mod:`cauce.models` that torchvision has too carry its names, so their weights
    need no renaming. ``num_batches_tracked`` is passed over where the model has none (only a batch
    norm without momentum counts), and the random key of the model stays. Of a network that is part
    of the model, ``resnet18(x, name="backbone")``, the weights are taken with
    ``prefix="backbone"``; all else in the model stays then.

    Arrays keep the shape and the kind of dtype of the model's own.

    Args:
        model: whose values to replace.
        weights: a safetensors file, or a ``state_dict()`` of arrays or of tensors on the CPU.
        rename: gives for a name in ``weights`` the name in ``model``.
        prefix: what the names in ``model`` begin with, those of ``weights`` do not.

    Raises:
        GraphError: names that are missing, unexpected, or the same after renaming.
        DataError: not a safetensors file, or a damaged one.
        ShapeError, TypeMismatch: an array that does not fit.
        FileNotFoundError: there is no such file.

    Examples:
        >>> from safetensors.numpy import save_file
        >>> donor, model = (models.resnet20.init(image=("N", 3, 32, 32), seed=s) for s in (1, 2))
        >>> save_file({f"net.{k}": v for k, v in donor.state_dict().items()}, "net.safetensors")
        >>> def rename(name):
        ...     return name.removeprefix("net.")
        >>> models.load_torch_weights(model, "net.safetensors", rename)
        >>> np.array_equal(model.values["fc.weight"], donor.values["fc.weight"])
        True
    """
    need(prefix, str, "prefix= is what names begin with", 'write for example prefix="backbone"')
    below = prefix and f"{prefix.removesuffix('.')}."
    given = weights if isinstance(weights, Mapping) else load_tensors(weights)[0]
    arrays: dict[str, Array] = {}
    for name, tensor in given.items():
        own = below + (rename(name) if rename else name)
        if name.rpartition(".")[2] == "num_batches_tracked" and own not in model.values:
            continue
        if name == KEY:  # of another model of cauce
            continue
        if own in arrays:
            raise GraphError(
                f"two of the weights are called {own} after renaming, the second is {name}",
                fix="let rename give each weight a name of its own",
            )
        arrays[own] = as_array(tensor, name)
    _check(model, arrays, below)
    model.load_state_dict(arrays, strict=False)


def _check(model: Model, arrays: Mapping[str, Array], below: str) -> None:
    """Whether the arrays are those of the model, or of its part ``below``, by names and shapes."""
    wanted = {
        value.name: value.type.shape
        for graph in (model.graph, model.training_graph)
        for value in graph.inputs_with(Role.PARAMETER, Role.STATE)
        if value.name != KEY and value.name.startswith(below)
    }
    if not wanted:
        raise GraphError(
            f"{model.name} has no weights whose names begin with {below!r}",
            fix=f"its names begin with {_list(list(dict.fromkeys(map(_first, model.values))))}",
        )
    problems = []
    if missing := [name for name in wanted if name not in arrays]:
        problems.append(f"{len(missing)} of {len(wanted)} are missing ({_list(missing)})")
    if unexpected := [name for name in arrays if name not in wanted]:
        problems.append(f"{len(unexpected)} are unexpected ({_list(unexpected)})")
    if problems:
        raise GraphError(
            f"these are not the weights of {model.name}: " + ", ".join(problems),
            fix=_remedy(wanted, arrays, below),
        )
    wrong = [
        f"{name} is {list(shape)}, given {list(arrays[name].shape)}"
        for name, shape in wanted.items()
        if arrays[name].shape != shape
    ]
    if wrong:
        raise ShapeError(
            f"{len(wrong)} weights of {model.name} have another shape: "
            + "; ".join(wrong[:_SHOWN]),
            fix="init the network with the options that the weights were made with, "
            "for example classes=1000; replace_head makes a head for other classes afterwards",
        )


def _remedy(wanted: Collection[str], given: Collection[str], below: str) -> str:
    """What to do about names that differ: often the one network is a part of the other."""
    part = _place(given, wanted)
    if part is not None and not below:
        return f"these are the weights of a part of it: pass prefix={part[:-1]!r}"
    whole = _place(wanted, given)
    if whole is not None and not below and all(name.startswith(whole) for name in given):
        return f"pass rename=lambda name: name.removeprefix({whole!r})"
    return "load the weights of the same architecture; where only names differ, pass rename="


def _place(names: Collection[str], others: Collection[str]) -> str | None:
    """What all ``names`` would begin with, to be among ``others``."""
    one = next(iter(names), None)
    places = [other.removesuffix(one) for other in others if one and other.endswith(f".{one}")]
    return next((p for p in places if all(p + name in others for name in names)), None)


def _first(name: str) -> str:
    return name.partition(".")[0]


def _list(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
