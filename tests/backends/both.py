"""Native code and the reference side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cauce.backends.executable import Executable
from cauce.backends.llvm.driver import compile_program
from cauce.ir import Array, Graph, evaluate


def both(graph: Graph, feeds: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
    """For each output what native code gives, and what the reference does."""
    with np.errstate(all="ignore"):
        wanted = evaluate(graph, dict(feeds)).outputs
    found = Executable(compile_program(graph)).run(feeds)
    return {name: (found[name], array) for name, array in wanted.items()}
