"""Whether a change costs speed: the code at hand against an earlier revision of cauce.

    .venv/bin/python benchmarks/revisions.py e1a0096                   # everything
    .venv/bin/python benchmarks/revisions.py HEAD~3 --what training --threads 2 --rounds 31

The earlier revision takes part twice, for what differs between two runs of the same code is noise.
A case holds where the median of (earlier time / time at hand) is at least 0.98, or lies between
the quartiles of the noise.
"""

from __future__ import annotations

import atexit
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import report
from checkout import checkout
from protocol import Benchmark, Case, Prepared, measure, serve

HERE = Path(__file__).resolve().parent
BASE, EARLIER, AGAIN = "at hand", "earlier", "earlier again"
SLOWEST = 0.98
TOLERANCE = 1e-3  # of evidence: a change may round differently, and training amplifies that
TRAINED = {"resnet20": 128, "resnet18": 16}  # with the images of a batch
MODELS = ("resnet18", "resnet50", "mobilenet_v2", "resnet20", "vgg11", "densenet121")


def inference(case: Case) -> Prepared:
    """One call of a compiled model."""
    from inference import native

    return native(case)


def training(case: Case) -> Prepared:
    """One training step."""
    from training_steps import llvm_step

    return llvm_step(case)


def compilation(case: Case) -> Prepared:
    """``cauce.compile`` without its cache, the code run once for the evidence."""
    from classifiers import start

    import cauce

    os.environ["CAUCE_CACHE"] = "0"
    model, image = start(case)
    compiled = partial(cauce.compile, model, backend="llvm", threads=case["threads"])
    return Prepared(compiled, compiled()(image).ravel().tolist(), {})


def first_result(case: Case) -> Prepared:
    """A process from its start to its first result, its code in the cache."""
    import numpy as np
    from classifiers import start

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)  # the steps of this worker need it to the end
    path = Path(folder.name)
    model, image = start(case)
    model.save(path / "model.safetensors")
    np.save(path / "image.npy", image)
    files = [str(path / "model.safetensors"), str(path / "image.npy")]
    command = [sys.executable, str(HERE / "startup_child.py"), "cauce", *files]
    variables = os.environ | {"PYTHONPATH": sys.path[0], "CAUCE_CACHE_DIR": str(path / "cache")}

    def step() -> list[float]:
        done = subprocess.run(
            [*command, str(case["threads"])], env=variables, capture_output=True, check=True
        )
        evidence: list[float] = json.loads(done.stdout.splitlines()[-1])["evidence"]
        return evidence

    return Prepared(step, step(), {})


WHAT: dict[str, Callable[[Case], Prepared]] = {
    "inference": inference,
    "training": training,
    "compile": compilation,
    "first result": first_result,
}


def prepare(root: str, case: Case) -> Prepared:
    """Measure the cauce of the checkout at ``root``."""
    sys.path.insert(0, root)
    ready = WHAT[case["what"]](case)
    import cauce

    assert Path(cauce.__file__).parent == Path(root) / "cauce", "another cauce was imported"
    return ready


def cases(what: list[str], models: list[str], threads: list[int]) -> Iterator[Case]:
    """What is measured of these models."""
    for count in threads:
        if "inference" in what:
            for model in models:
                yield {"what": "inference", "model": model, "batch": 1, "threads": count}
            if "resnet18" in models:
                yield {"what": "inference", "model": "resnet18", "batch": 16, "threads": count}
        if "training" in what:
            for model, batch in TRAINED.items():
                if model in models:
                    yield {"what": "training", "model": model, "batch": batch, "threads": count}
    for kind in ("compile", "first result"):
        if kind in what:
            for model in {"resnet20", "resnet50"} & set(models):
                yield {"what": kind, "model": model, "batch": 1, "threads": 1}


def compared(
    benchmark: Benchmark, rounds: int, seconds: float, case: Case
) -> tuple[report.Rows, report.Versions]:
    """Measure one case: the rows, with the verdict in that of the code at hand."""
    results = measure(benchmark, case, rounds, seconds)
    base = results[BASE]
    rows = {peer: report.summary(result, base) for peer, result in results.items()}
    noise = [b / a for a, b in zip(results[EARLIER].seconds, results[AGAIN].seconds)]
    rows[BASE] |= verdict(rows[EARLIER]["ratio_median"], noise)
    return rows, report.merged(result.versions for result in results.values())


def verdict(ratio: float, noise: Sequence[float]) -> dict[str, Any]:
    """Whether a median ratio is no loss of speed, and the quartiles of the noise."""
    low, _, high = statistics.quantiles(noise, n=4, method="inclusive")
    return {"noise_quartiles": [low, high], "holds": ratio >= SLOWEST or low <= ratio <= high}


def table(case: Case, base: str, rows: report.Rows) -> str:
    """The results of one case, for people."""
    low, high = rows[base]["noise_quartiles"]
    verdict = "holds" if rows[base]["holds"] else "SLOWER"
    return f"{report.table(case, base, rows)}\n{verdict}; noise {low:.3f} to {high:.3f}"


def main() -> None:
    parser = report.steps_command_line(__doc__.splitlines()[0], seconds=0.5)
    parser.set_defaults(rounds=15)
    parser.add_argument("revision", nargs="?", help="the earlier one, as git names it")
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=WHAT)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    options = parser.parse_args()
    if options.worker:
        request = json.loads(options.worker)
        case = dict(request["case"])
        peers = {peer: partial(prepare, root) for peer, root in case.pop("roots").items()}
        return serve(Benchmark(__file__, BASE, peers, 0.0), request["peer"], case)
    if options.revision is None:
        parser.error("name the earlier revision")
    with checkout(options.revision) as earlier:
        roots = {BASE: str(HERE.parent), EARLIER: str(earlier), AGAIN: str(earlier)}
        benchmark = Benchmark(__file__, BASE, dict.fromkeys(roots, _never), TOLERANCE)
        report.write(
            __file__,
            BASE,
            {"revision": options.revision, "rounds": options.rounds},
            options.output,
            cases(options.what, options.models, options.threads),
            lambda case: compared(
                benchmark, options.rounds, options.seconds, {**case, "roots": roots}
            ),
            table,
        )


def _never(case: Case) -> Prepared:
    raise AssertionError("peers are prepared in their own processes")


if __name__ == "__main__":
    main()
