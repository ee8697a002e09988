"""What the tests feed native code in its test mode."""

from __future__ import annotations

from collections.abc import Mapping

from cauce.backends.llvm.runtime.memory import aligned_copy, guard
from cauce.ir import Array


def guarded(feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays; in the test mode (``CAUCE_GUARD``) copies that lie at guard pages too."""
    return {name: aligned_copy(array) if guard() else array for name, array in feeds.items()}
