"""Whether a change keeps every bit: results of an earlier revision against the code at hand.

    .venv/bin/python benchmarks/bits.py e1a0096                         # all models and targets
    .venv/bin/python benchmarks/bits.py HEAD~3 --models resnet20 unet --targets avx512

Each model of the zoo runs natively on small images, as inference and as three steps of training,
for each kind of vectors that this machine has. Both revisions run in processes of their own, and
hashes of all outputs, losses and new weights must be equal. It exits with 1 where some are not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from checkout import checkout

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ("avx512", "avx2", "sse2", "scalar")
# Channels and size of the images; deeper twins of these models add no other shapes.
MODELS = {
    "lenet5": (1, 28),
    "resnet20": (3, 32),
    "plain20": (3, 32),
    "resnet18": (3, 64),
    "resnet50": (3, 64),
    "mobilenet_v2": (3, 64),
    "densenet121": (3, 64),
    "squeezenet": (3, 64),
    "unet": (3, 32),
    "vgg11": (3, 32),
    "vgg16_bn": (3, 32),
}
WHAT = ("inference", "inference of a fixed batch", "training")


def hashes(model_name: str, what: str) -> Iterator[str]:
    """The hashes of what a model gives, by the cauce that is found first."""
    import numpy as np

    import cauce

    def digest(*arrays: Any) -> str:
        joined = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        return hashlib.sha256(joined).hexdigest()[:16]

    channels, size = MODELS[model_name]
    rng = np.random.default_rng(0)
    images = rng.standard_normal((6, channels, size, size), np.float32)
    batch = 6 if what == "inference of a fixed batch" else "N"
    # A mask needs labels of its own shape; classes are what all others tell apart.
    model = getattr(cauce.models, model_name).init(image=(batch, channels, size, size), seed=0)
    if what != "training":
        predict = cauce.compile(model, backend="llvm", threads=1)
        yield digest(predict(images))
        if batch == "N":
            yield digest(predict(images[:1]))
        return
    shape = model.graph.outputs[next(iter(model.graph.outputs))].type.shape
    labels: Any = rng.integers(0, shape[1], (6, *shape[2:]))
    step = cauce.train_step(
        model, "cross_entropy", cauce.SGD(0.01, momentum=0.9), backend="llvm", threads=1
    )
    state = step.init()
    for _ in range(3):
        yield digest(step(state, (images, labels)).loss)
    yield digest(*(array for _, array in sorted(state.read().items())))


def found(root: Path, model: str, target: str) -> Mapping[str, Any]:
    """The hashes of a checkout, by what was run; the reason where it does not run."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"PYTHONPATH": str(root), "CAUCE_TARGET": target, "CAUCE_CACHE_DIR": folder}
        command = [sys.executable, __file__, "--child", model]
        done = subprocess.run(
            command, env=os.environ | variables, cwd=folder, capture_output=True, text=True
        )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    answer: Mapping[str, Any] = json.loads(done.stdout)
    assert answer.pop("cauce") == str(root / "cauce"), "another cauce was imported"
    return answer


def child(model: str) -> None:
    """What such a process does."""
    import cauce

    answer: dict[str, Any] = {what: list(hashes(model, what)) for what in WHAT}
    print(json.dumps({**answer, "cauce": str(Path(cauce.__file__).parent)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", help="the earlier one, as git names it")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.child)
    if options.revision is None:
        parser.error("name the earlier revision")
    differences = 0
    with checkout(options.revision) as earlier:
        for target in options.targets:
            for model in options.models:
                before, after = (found(root, model, target) for root in (earlier, ROOT))
                same = before == after and "failed" not in after
                differences += not same
                print(f"{target:<8}{model:<14}{'same bits' if same else 'DIFFERENT'}", flush=True)
                for what in () if same else {**before, **after}:
                    if before.get(what) != after.get(what) or what == "failed":
                        print(f"  {what}: {before.get(what)} != {after.get(what)}")
    sys.exit(bool(differences))


if __name__ == "__main__":
    main()
