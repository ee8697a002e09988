"""The version of cauce, which exported models, saved ones and caches carry; newer formats."""

from __future__ import annotations

from collections.abc import Mapping

VERSION = "0.1.0"


def newer(found: object, known: str) -> bool:
    """Whether ``found`` names a later form of the format ``known``: ``cauce-model-2`` of
    ``cauce-model-1``."""
    kind, _, number = known.rpartition("-")
    wanted, _, other = found.rpartition("-") if isinstance(found, str) else ("", "", "")
    return wanted == kind and other.isdecimal() and int(other) > int(number)


def refuse_newer(file: str, metadata: Mapping[str, str], key: str, known: str) -> None:
    """Refuse a file whose metadata say by ``key`` that its format is later than ``known``.

    Raises:
        DataError: it is.
    """
    if newer(metadata.get(key), known):
        from .errors import DataError

        writer = metadata.get("cauce", "of a later version")
        raise DataError(
            f"{file} was written by cauce {writer} in the format {metadata[key]!r}; this is cauce "
            f"{VERSION}, which reads {known!r}",
            fix="read it with the version that wrote it, or a later one",
        )
