"""Where things stand in the checkout, and what may stand where."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The folders that install as cauce.ir, cauce.passes, ...
FOLDERS = ("ir", "passes", "frontends", "backends", "training", "pages", "clusters", "commands")

# Slow to import or optional: imported when first used, inside functions, and never by cauce alone.
HEAVY = frozenset(
    {
        "PIL",
        "distributed",
        "igraph",
        "llvmlite",
        "matplotlib",
        "mpi4py",
        "networkx",
        "onnx",
        "onnxruntime",
        "ray",
        "rich",
        "safetensors",
        "sklearn",
    }
)


def sources(folder: str) -> list[Path]:
    """The Python files below a folder of the checkout; ``rglob`` does not follow links."""
    return sorted((ROOT / folder).rglob("*.py"))
