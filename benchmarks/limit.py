"""The composed limit: how fast the networks could run at best on the machine at hand.

    python benchmarks/limit.py                                     # all models, batch 1, 4 and 16
    python benchmarks/limit.py --models resnet18 --layers          # layer by layer
    python benchmarks/limit.py --models all --batch 1 --measure    # beside what cauce reaches

For each layer it takes the fastest of the known algorithms, each at what the cores and the memory
were measured to do (``machine.py``), and adds the layers up:

- A convolution is computed directly, or, where it is 3x3, by Winograd's algorithm: with stride 1 on
  tiles of 2x2, 4x2, 4x4 or 6x6 outputs (Lavin and Gray 2015, "Fast Algorithms for Convolutional
  Neural Networks", arXiv:1509.09308), with stride 2 on tiles of 2x2, 3x3, 4x2 or 4x4. A tile of
  m x n outputs takes as many multiplications, for each pair of an input and an output channel, as
  it has inputs, (m + 2)(n + 2) or (2m + 1)(2n + 1), and its transforms, an addition of which takes
  the place of a multiplication with its addition. Tiles that reach over the edge count in full.
- Weights, transformed where the algorithm has it so, must be read once a call, as fast as an array
  that is as large as all weights of the network. Weights that wait for multiplications, or the
  other way round, cost nothing: a layer takes the longer of the two.
- Activations come from cache, unless those of a single image exceed the last-level cache.
- Everything else costs its operations at the peak: it is fused with what is before it. What only
  moves numbers costs nothing.

It is no bound in the strict sense: larger tiles need fewer multiplications still, at the price of
precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, prod

from classifiers import MODELS, start
from machine import Capacity, capacity, last_level_cache
from protocol import Case

from cauce.ir import Graph, Node
from cauce.ir.dims import sizes
from cauce.ir.ops.conv import Conv2d
from cauce.ir.ops.linear import Linear
from cauce.ir.ops.shape import Concat, Flatten, Pad, Reshape, Slice
from cauce.ir.winograd import transformed, window

ITEM = 4  # bytes of a number in float32
# Additions of the one-dimensional transforms, by stride and the m outputs: of an input, of outputs.
ADDITIONS = {
    1: {2: (4, 4), 4: (12, 11), 6: (24, 25)},
    2: {2: (2, 4), 3: (4, 7), 4: (9, 12)},
}
MOVES = (Concat, Flatten, Pad, Reshape, Slice)
TILES = {1: ((2, 2), (4, 2), (4, 4), (6, 6)), 2: ((2, 2), (3, 3), (4, 2), (4, 4))}


@dataclass(frozen=True)
class Way:
    """An algorithm for one layer.

    Attributes:
        name: ``direct`` or ``F(4x4)``.
        operations: floating-point operations, of which a multiplication with its addition has two.
        weights: the bytes of its weights.
    """

    name: str
    operations: int
    weights: int


@dataclass(frozen=True)
class Work:
    """What a layer has to do.

    Attributes:
        name: its path in the network.
        ways: the algorithms for it, the direct one first.
        activations: the bytes of its largest operand and of its result, for one image.
        images: how many there are.
    """

    name: str
    ways: Sequence[Way]
    activations: int
    images: int

    def directly(self) -> Work:
        """The same with the direct algorithm alone."""
        return replace(self, ways=self.ways[:1])


def limit(works: Sequence[Work], machine: Capacity, last_level: int) -> float:
    """The seconds of a network, at best, on a machine with so many bytes of cache."""
    return sum(seconds for _, seconds in fastest(works, machine, last_level))


def fastest(works: Sequence[Work], machine: Capacity, last_level: int) -> list[tuple[Way, float]]:
    """The fastest way for each layer, and its seconds."""
    weights_rate = machine.rate(sum(work.ways[0].weights for work in works))

    def seconds(work: Work, way: Way) -> float:
        read = way.weights / weights_rate
        if work.activations > last_level:
            read += work.images * work.activations / machine.rate(work.images * work.activations)
        return max(way.operations / machine.peak, read)

    chosen = [(work, min(work.ways, key=lambda way: seconds(work, way))) for work in works]
    return [(way, seconds(work, way)) for work, way in chosen]


def works_of(graph: Graph) -> list[Work]:
    """The layers of a graph for inference whose sizes are all known.

    What depends on parameters alone is computed before the first call, and costs nothing; nor does
    what only moves numbers.
    """
    from cauce.backends.split import prepacked_values

    prepacked = prepacked_values(graph)
    return [
        _work(node)
        for node in graph.nodes
        if node.operands and node.result not in prepacked and not isinstance(node.op, MOVES)
    ]


def _work(node: Node) -> Work:
    shapes = [sizes(value.type.shape) for value in (*node.operands, node.result)]
    images = shapes[-1][0]
    moved = 0 if node.op.elementwise else max(map(prod, shapes[:-1])) + prod(shapes[-1])
    match node.op:
        case Conv2d():
            ways = convolution(node.op, shapes[1], shapes[-1])
            moved = prod(shapes[0]) + prod(shapes[-1])
        case Linear():
            moved = prod(shapes[0]) + prod(shapes[-1])
            ways = [Way("direct", 2 * prod(shapes[-1]) * shapes[1][1], ITEM * prod(shapes[1]))]
        case _:
            operations = node.cost.flops
            assert isinstance(operations, int)
            ways = [Way("direct", operations, 0)]
    return Work(node.path or node.op.name, ways, ITEM * moved // images, images)


def convolution(op: Conv2d, weight: tuple[int, ...], y: tuple[int, ...]) -> list[Way]:
    """The algorithms for a convolution with a weight [K, C/groups, R, S] and results [N, K, H, W].

    The multiplications by the zeros of a padding count.
    """
    size = prod(weight)
    ways = [Way("direct", 2 * prod(y) * prod(weight[1:]), ITEM * size)]
    stride = op.stride[0]
    square = op.stride == (stride, stride) and stride in TILES
    if square and (weight[2:], op.dilation, op.groups) == ((3, 3), (1, 1), 1):
        ways += [winograd(tile, stride, weight[1], y) for tile in TILES[stride]]
    return ways


def winograd(tile: tuple[int, int], stride: int, channels: int, y: tuple[int, ...]) -> Way:
    """F(m x n, 3x3) for a convolution of C input channels with results [N, K, H, W].

    The transforms go down the columns first, then along the rows: of the input all columns and
    rows of a tile, of the products as many columns and m rows.
    """
    m, n = tile
    images, filters, height, width = y
    (down_in, down_out), (along_in, along_out) = ADDITIONS[stride][m], ADDITIONS[stride][n]
    rows, columns = window(tile, stride)
    slots = rows * columns * channels * filters
    slots += channels * (down_in * columns + along_in * rows)
    slots += filters * (down_out * columns + along_out * m)
    tiles = images * ceil(height / m) * ceil(width / n)
    weights = ITEM * transformed(tile) * channels * filters
    return Way(f"F({m}x{n})", 2 * slots * tiles, weights)


@cache
def network(model: str, batch: int) -> list[Work]:
    """The layers of a benchmark's network, its batch norms folded where they can be."""
    from cauce.ir.pass_manager import run_passes
    from cauce.passes.pipelines import INFERENCE

    graph = start({"model": model, "batch": batch})[0].graph.copy()
    run_passes(graph, INFERENCE)
    return works_of(graph)


class Limits:
    """The limits of the benchmarks' networks on this machine, which is measured when asked."""

    def __init__(self, threads: Iterable[int]) -> None:
        self.last_level = last_level_cache()
        self.machines = {count: capacity(count) for count in sorted(set(threads))}

    def of(self, case: Case) -> float:
        """The composed limit of a case, in seconds."""
        works = network(case["model"], case["batch"])
        return limit(works, self.machines[case["threads"]], self.last_level)

    def direct(self, case: Case) -> float:
        """The same with the direct algorithm in all layers."""
        works = [work.directly() for work in network(case["model"], case["batch"])]
        return limit(works, self.machines[case["threads"]], self.last_level)

    def facts(self) -> dict[str, str]:
        """What was measured, for people, by the number of threads."""
        return {str(count): str(machine) for count, machine in self.machines.items()}


def layer_lines(case: Case, limits: Limits) -> Iterable[str]:
    """The layers that take 1 % of the limit or more, in order."""
    works, whole = network(case["model"], case["batch"]), limits.of(case)
    found = fastest(works, limits.machines[case["threads"]], limits.last_level)
    for work, (way, seconds) in zip(works, found):
        if seconds >= whole / 100:
            yield f"    {work.name:<32}{way.name:<8}{1000 * seconds:>9.3f} ms"


def reached(case: Case, rounds: int, seconds: float) -> float:
    """The median seconds of cauce on a case, in a process of its own."""
    from statistics import median

    from inference import BENCHMARK
    from protocol import measure

    base = BENCHMARK.base
    alone = replace(BENCHMARK, peers={base: BENCHMARK.peers[base]})
    return median(measure(alone, case, rounds, seconds)[base].seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["all"], choices=(*MODELS, "all"))
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", action="store_true", help="the layers too")
    parser.add_argument("--measure", action="store_true", help="measure what cauce reaches, too")
    parser.add_argument("--rounds", type=int, default=7, help="of that (7)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a round, about (0.5)")
    options = parser.parse_args()
    limits = Limits(options.threads)
    for count, machine in limits.facts().items():
        print(f"threads {count}: {machine}")
    reaching = f"{'cauce':>12}{'of limit':>10}" if options.measure else ""
    print(f"{'':<30}{'direct':>12}{'composed':>12}{reaching}")
    for model in MODELS if "all" in options.models else options.models:
        for batch in options.batch:
            for threads in options.threads:
                case = {"model": model, "batch": batch, "threads": threads}
                best = limits.of(case)
                name = f"{model}, batch {batch}, {threads} thr."
                line = f"{name:<30}{1000 * limits.direct(case):>9.2f} ms{1000 * best:>9.2f} ms"
                if options.measure:
                    took = reached(case, options.rounds, options.seconds)
                    line += f"{1000 * took:>9.2f} ms{best / took:>9.0%}"
                print(line, flush=True)
                if options.layers:
                    print(*layer_lines(case, limits), sep="\n", flush=True)


if __name__ == "__main__":
    main()
