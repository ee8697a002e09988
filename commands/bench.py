"""Measure how long a call of a model takes, alone or against others: each in a process of its own,
in alternating rounds, compared within each round, as in the project's benchmarks. A ratio is the
time of a peer over cauce's in the same round: above 1 cauce is faster. "quartile" is the ratio that
three quarters of the rounds reach."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..measuring import Benchmark, Case, PeerFailed, Prepared, measure, serve, summary
from . import output
from .inputs import random_arrays
from .model_argument import add_model, add_run, amount, closed_model, count, run_settings

if TYPE_CHECKING:
    from ..frontends.model import Model
    from ..ir import Array

BASE = "cauce"
OTHERS = ("onnxruntime", "numpy", "again")
_COLUMNS = ("", "fastest ms", "median ms", "ratio", "quartile", "CPUs", "differs", "memory")
_MOST_COMPARED = 5000  # elements of each output, at equal distances
_TOLERANCE = 1e-3


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_model(parser)
    add_run(parser)
    parser.add_argument(
        "--vs",
        action="append",
        default=[],
        choices=OTHERS,
        help="compare with ONNX Runtime, with the NumPy backend, or with the same again, which "
        "shows the noise; may be given several times",
    )
    parser.add_argument("--rounds", type=count, default=7, help="turns of each (7)")
    parser.add_argument("--seconds", type=amount, default=0.5, help="of a turn, about (0.5)")
    output.add_json(parser)


def run(options: argparse.Namespace) -> None:
    """Do so."""
    from ..backends.llvm.runtime.threads import thread_count
    from ..ir.errors import CompileError

    case = {
        **{name: getattr(options, name) for name in ("model", "shape", "seed", "option", "batch")},
        "threads": thread_count(options.threads),
        "settings": run_settings(options),
    }
    if "onnxruntime" in options.vs:
        _check_peer()
    model = _model(case)  # what is wrong with it is said before anything is measured
    peers = dict.fromkeys((BASE, *options.vs), _never)
    benchmark = Benchmark(f"{__package__}.bench", BASE, peers, _TOLERANCE, True, module=True)
    try:
        results = measure(benchmark, case, options.rounds, options.seconds)
    except (SystemExit, PeerFailed) as failure:
        raise CompileError(
            f"{model.name} cannot be measured: {failure}",
            fix="`cauce run` shows what it computes",
        ) from failure
    rows = {peer: summary(result, results[BASE]) for peer, result in results.items()}
    versions = {name: v for result in results.values() for name, v in result.versions.items()}
    if options.json:
        output.emit(
            {
                "model": model.name,
                "batch": options.batch,
                "threads": case["threads"],
                "rounds": options.rounds,
                "seconds_of_a_turn": options.seconds,
                "versions": versions,
                "peers": rows,
            }
        )
        return
    fed = ", ".join(f"{value.name}: {value.type}" for value in _data(model))
    threads = case["threads"]
    output.say(f"{model.name} ({fed}), {threads} thread{'s' * (threads != 1)}")
    output.show_table(_COLUMNS, [_cells(peer, row) for peer, row in rows.items()], names=1)
    for peer, row in rows.items():
        if "failed" in row:
            output.say(f"{peer} failed: {row['failed']}")
    output.say(", ".join(f"{name} {version}" for name, version in versions.items()))


def _cells(peer: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    if "failed" in row:
        return peer, "failed", *[""] * (len(_COLUMNS) - 2)
    return (
        peer,
        f"{row['fastest_ms']:.3f}",
        f"{row['median_ms']:.3f}",
        f"{row['ratio_median']:.3f}",
        f"{row['ratio_lower_quartile']:.3f}",
        f"{row['processors']:.2f}",
        f"{row['difference']:.0e}",
        f"{row['memory_mb']:.0f} MB" if "memory_mb" in row else "-",
    )


def _never(case: Case) -> Prepared:
    raise AssertionError("peers are prepared in their own processes")


def _check_peer() -> None:
    """Raise MissingExtra where ONNX Runtime, or what writes its file, is not installed."""
    from ..ir.errors import MissingExtra, install
    from ..ir.installed import origin_of

    for package in ("onnxruntime", "onnx"):
        if origin_of(package) is None:
            raise MissingExtra(
                f"comparing with ONNX Runtime needs {package}, which is not installed",
                fix=install(package),
            )


def _model(case: Case) -> Model:
    """The model with all of its sizes; a batch that is not given is 1."""
    from ..ir.dims import DimExpr
    from ..ir.errors import GraphError
    from ..sizes import with_sizes

    given = {**case, "shape": [(name, tuple(sizes)) for name, sizes in case["shape"]]}
    model = closed_model(argparse.Namespace(**given))
    first = [value.type.shape[0] for value in _data(model) if value.type.shape]
    free = {str(dim) for dim in first if isinstance(dim, DimExpr) and dim.is_symbol}
    if case["batch"] and not free and case["batch"] not in first:
        raise GraphError(
            f"the batch of {model.name} is not free to become {case['batch']}",
            fix="leave out --batch, or give another --shape",
        )
    return with_sizes(model, dict.fromkeys(free, case["batch"] or 1)) if free else model


def _data(model: Model) -> list[Any]:
    from ..ir import Role

    return model.graph.inputs_with(Role.DATA)


# ---- inside a worker ---------------------------------------------------------------------------


def _cauce(backend: str | None, case: Case) -> Prepared:
    """cauce on a backend; the one that the user has chosen where None."""
    from importlib.metadata import version

    from ..compiler import choose_backend, compile
    from ..ir.version import VERSION

    model = _model(case)
    settings = dict(case["settings"])
    name = choose_backend(backend or settings.get("backend", "auto"))
    settings["backend"] = name
    settings["threads"] = case["threads"]
    if name == "numpy":  # its threads are those of the environment
        settings = {"backend": name, "batch": case["batch"]}
    executable = compile(model, **settings)
    arrays = random_arrays(executable.inputs, 1)
    in_order = [arrays[value.name] for value in executable.inputs]
    library = "llvmlite" if name == "llvm" else "numpy"
    versions = {"cauce": VERSION, library: version(library)}
    return _prepared(lambda: executable(*in_order), versions)


def _onnx_runtime(case: Case) -> Prepared:
    """ONNX Runtime on its processor provider, of the ONNX file itself where MODEL is one."""
    import os
    import tempfile

    import onnxruntime

    from ..exporting import export_onnx

    model = _model(case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = case["threads"]
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    arrays = random_arrays(_data(model), 1)
    with tempfile.TemporaryDirectory() as folder:
        path = case["model"]
        if not path.lower().endswith(".onnx"):
            path = os.path.join(folder, "model.onnx")
            export_onnx(model, path)
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        sizes = {
            (name, size)
            for taken in session.get_inputs()
            for name, size in zip(taken.shape, arrays[taken.name].shape)
            if isinstance(name, str)
        }
        # Sizes that are known when a session is made are faster; some files call several alike.
        if sizes and len(dict(sizes)) == len(sizes):
            for name, size in sizes:
                options.add_free_dimension_override_by_name(name, size)
            session = onnxruntime.InferenceSession(path, options, providers=providers)
    outputs = [output.name for output in session.get_outputs()]
    versions = {"onnxruntime": onnxruntime.__version__}
    return _prepared(lambda: session.run(outputs, arrays), versions)


def _prepared(step: Any, versions: dict[str, str]) -> Prepared:
    found = step()
    evidence: list[float] = []
    arrays: list[Array] = list(found) if isinstance(found, (tuple, list)) else [found]
    for array in arrays:
        flat = array.ravel()
        evidence += flat[:: max(1, flat.size // _MOST_COMPARED)].tolist()
    return Prepared(step, evidence, versions)


_PEERS: dict[str, Callable[[Case], Prepared]] = {
    BASE: partial(_cauce, None),
    "again": partial(_cauce, None),
    "numpy": partial(_cauce, "numpy"),
    "onnxruntime": _onnx_runtime,
}


def work(request: str) -> None:
    """Be the process of one peer."""
    asked = json.loads(request)
    serve(Benchmark(__file__, BASE, _PEERS, _TOLERANCE), asked["peer"], asked["case"])


if __name__ == "__main__":
    work(sys.argv[2])  # behind --worker
