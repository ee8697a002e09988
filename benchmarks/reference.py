"""A training step of ResNet-20 on the NumPy backend against PyTorch eager, one thread each.

    python benchmarks/reference.py [--steps 25] [--batch 64] [--profile]

Both start from the same weights and see the same batch of random images, 32x32; their first
losses must agree. The steps take turns, so that what else the machine does falls on both; the
ratios are of the fastest steps, and the median over the pairs. Needs PyTorch, which cauce does not.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable

# Read by OpenBLAS when NumPy is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

import cauce

LR, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4


def torch_step(weights: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray) -> Callable:
    """One step of the same network and optimiser in PyTorch; returns the loss."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(1)

    class Block(nn.Module):
        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(after)
            self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(after)
            self.stride, self.added = stride, after - before

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.added:
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.added))
            return F.relu(y + x)

    class ResNet20(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
            before = 16
            for stage, channels in enumerate((16, 32, 64)):
                blocks = nn.Sequential()
                for place in range(3):
                    stride = 2 if stage > 0 and place == 0 else 1
                    blocks.add_module(f"block{place + 1}", Block(before, channels, stride))
                    before = channels
                self.add_module(f"stage{stage + 1}", blocks)
            self.fc = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.bn1(self.conv1(x)))
            x = self.stage3(self.stage2(self.stage1(x)))
            return self.fc(x.mean((2, 3)))

    network = ResNet20()
    tensors = {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    unknown = network.load_state_dict(tensors, strict=False)
    assert all(name.endswith("num_batches_tracked") for name in unknown.missing_keys)
    assert not unknown.unexpected_keys
    optimizer = torch.optim.SGD(
        network.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    image, target = torch.from_numpy(x), torch.from_numpy(labels)

    def step() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(image), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def timed(step: Callable[[], float]) -> float:
    start = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - start)


def print_profile(step: cauce.TrainStep, state: object, feeds: dict[str, object]) -> None:
    """The fastest of five times of every node, summed by op."""
    fastest: defaultdict[int, float] = defaultdict(lambda: float("inf"))
    for _ in range(5):
        rows = step.executable.profile(state=state, **feeds)
        for i, row in enumerate(rows):
            fastest[i] = min(fastest[i], 1000 * row.seconds)
    total, count = Counter(), Counter(row.op for row in rows)
    for i, row in enumerate(rows):
        total[row.op] += fastest[i]
    for op, milliseconds in total.most_common(12):
        print(f"  {op:<28}{count[op]:>4} nodes{milliseconds:>9.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--profile", action="store_true", help="show the time of each op")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((options.batch, 3, 32, 32)).astype(np.float32)
    labels = rng.integers(0, 10, options.batch)
    model = cauce.models.resnet20.init(image=("N", 3, 32, 32), seed=0)
    sgd = cauce.SGD(LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    step = cauce.train_step(model, "cross_entropy", sgd, backend="numpy")
    state = step.init()

    def ours() -> float:
        return step(state, (x, labels)).loss

    theirs = torch_step(model.state_dict(), x, labels)
    for _ in range(3):
        mine, other = ours(), theirs()
        assert abs(mine - other) < 1e-3 * max(1, other), f"the losses differ: {mine}, {other}"
    pairs = [(timed(theirs), timed(ours)) for _ in range(options.steps)]
    for name, times in zip(("PyTorch eager", "cauce on NumPy"), zip(*pairs)):
        print(f"{name:<15} fastest {min(times):7.1f} ms, median {statistics.median(times):7.1f} ms")
    fastest = min(mine for _, mine in pairs) / min(other for other, _ in pairs)
    median = statistics.median(mine / other for other, mine in pairs)
    print(f"ratio of the fastest {fastest:.2f}, median ratio of the pairs {median:.2f}")
    if options.profile:
        print_profile(step, state.backend_state, {"image": x, "target": labels, "lr": LR})


if __name__ == "__main__":
    main()
