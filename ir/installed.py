"""Which of the optional libraries are installed, and where."""

from __future__ import annotations

import sys
from importlib.util import find_spec

_origins: dict[tuple[str, ...], str] = {}


def origin_of(library: str) -> str | None:
    """The file that an import of a library runs; "" where it runs none, None where there is no such
    library.

    A library that is not imported is looked for in all folders of ``sys.path``, so what was found
    once is not looked for again. One that is not there may come.
    """
    key = (library, *sys.path)
    if library in sys.modules or key not in _origins:
        spec = find_spec(library)
        if spec is None:
            return None
        _origins[key] = spec.origin or ""
    return _origins[key]
