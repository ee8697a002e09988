"""One rank of a turn of ``scaling.py``: steps of training, which rank 0 tells of.

    python benchmarks/scaling_child.py LIBRARY BATCH SECONDS THREADS MEETING

MEETING is a file through which the processes of PyTorch find one another.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from training_steps import FIRST, MOMENTUM, RATES, WEIGHT_DECAY

import cauce
from cauce.ir.communicator import evenly, starts

MODEL = "resnet20"
REPEATS = 50

Step = Callable[[], float]


def part(rank: int, ranks: int, batch: int) -> tuple[Any, Any, Any]:
    """The model, and the images and labels of a rank."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, (batch,))
    counts = evenly(batch, ranks)
    first = starts(counts)[rank]
    own = slice(first, first + counts[rank])
    model = getattr(cauce.models, MODEL).init(image=("N", 3, 32, 32), seed=0)
    return model, images[own], labels[own]


def cauce_step(batch: int, threads: int, ranks: Any, sums: dict[int, list[float]]) -> Step:
    """cauce's native code; ``sums`` receives the seconds of each sum, by its bytes."""
    model, *own = part(ranks.rank, ranks.size, batch)
    sgd = cauce.SGD(RATES[MODEL], momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    several = ranks if ranks.size > 1 else None
    step = cauce.train_step(
        model, "cross_entropy", sgd, backend="llvm", threads=threads, distributed=several
    )
    counts = evenly(batch, ranks.size)
    state, reduce = step.init(), ranks.all_reduce

    def timed(array: Any) -> None:
        start = time.perf_counter()
        reduce(array)
        sums.setdefault(array.nbytes, []).append(time.perf_counter() - start)

    ranks.all_reduce = timed
    told = {"counts": counts} if several else {}
    return lambda: step(state, own, **told).loss


def torch_step(batch: int, threads: int, ranks: Any, meeting: str) -> Step:
    """PyTorch, as DistributedDataParallel where there are several ranks."""
    import torch
    from torch import distributed
    from torch.nn import functional as F
    from torch.nn.parallel import DistributedDataParallel
    from torch_network import torch_network

    torch.set_num_threads(threads)
    model, images, labels = part(ranks.rank, ranks.size, batch)
    image, target = torch.from_numpy(images), torch.from_numpy(labels)
    network: Any = torch_network(model)
    if ranks.size > 1:
        distributed.init_process_group(
            "gloo", f"file://{meeting}", rank=ranks.rank, world_size=ranks.size
        )
        network = DistributedDataParallel(network)
    sgd = torch.optim.SGD(network.parameters(), RATES[MODEL], MOMENTUM, weight_decay=WEIGHT_DECAY)

    def step() -> float:
        sgd.zero_grad()
        loss = F.cross_entropy(network(image), target)
        loss.backward()
        sgd.step()
        return loss.item()

    return step


def alone(ranks: Any, nbytes: int) -> float:
    """The seconds of a sum of so many bytes when all ranks begin it together."""
    array, found = np.zeros(nbytes // 4, np.float32), []
    for _ in range(REPEATS):
        ranks.broadcast(None)
        start = time.perf_counter()
        ranks.all_reduce(array)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    library, meeting = sys.argv[1], sys.argv[5]
    batch, seconds, threads = int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    ranks: Any = cauce.distributed.mpi()
    sums: dict[int, list[float]] = {}
    if library == "cauce":
        versions = {"cauce": cauce.__version__, "llvmlite": version("llvmlite")}
        step = cauce_step(batch, threads, ranks, sums)
    else:
        versions = {"torch": version("torch")}
        step = torch_step(batch, threads, ranks, meeting)
    losses = np.array([step() for _ in range(FIRST)])
    if library == "torch" and ranks.size > 1:  # each process knows the loss of its own images
        ranks.all_reduce(losses)
        losses /= ranks.size
    start = time.perf_counter()
    step()
    steps = ranks.broadcast(max(1, round(seconds / (time.perf_counter() - start))))
    sums.clear()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    elapsed = 1000 * (time.perf_counter() - start) / steps
    known = {n: 1000 * statistics.median(found) for n, found in sums.items()} if sums else {}
    told = {str(nbytes): (ms, 1000 * alone(ranks, nbytes)) for nbytes, ms in known.items()}
    latency = 1000 * alone(ranks, 4) if ranks.size > 1 else None
    if ranks.rank == 0:
        answer = {"ms": elapsed, "evidence": losses.tolist(), "sums": told}
        print(json.dumps({**answer, "latency": latency, "versions": versions}), flush=True)


if __name__ == "__main__":
    main()
