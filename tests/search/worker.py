"""Some networks of a part, one after the other; a line of JSON for each goes to standard output.

It is a process of its own, since a wrong address ends it.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
import traceback

from .trial import PARTS, Failure, drawn, trial

# What takes longer hangs.
SECONDS = 300


def main(part: str, first: int, count: int) -> None:
    """Run these seeds."""
    for seed in range(first, first + count):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        start = time.process_time()
        result: dict[str, object] = {"seed": seed}
        graph = None
        try:
            graph, sizes = drawn(PARTS[part], seed)
            agrees = trial(graph, sizes, PARTS[part].dtype, seed)
            result["found"] = "agree" if agrees else "wild"
        except Failure as failure:
            result.update(found="failed", message=str(failure), graph=str(graph))
        except Exception:
            result.update(found="failed", message=traceback.format_exc(), graph=str(graph))
        result["seconds"] = time.process_time() - start
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
