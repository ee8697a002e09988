"""Runs cases of the suite, and holds what failed against what is known to fail, and why."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from onnx import ModelProto

from cauce.onnx_backend import LLVMBackend, NumpyBackend

from .cases import HERE, Case, all_cases
from .reasons import BY_BLAS, reason

BACKENDS: Mapping[str, Any] = {"numpy": NumpyBackend, "llvm": LLVMBackend}
KNOWN = HERE / "failing.txt"


class OnnxRuntime:
    """ONNX Runtime, to be counted beside cauce; as a backend of the suite."""

    def __init__(self, model: ModelProto) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        content = model.SerializeToString()
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in model.graph.output]

    @classmethod
    def prepare(cls, model: ModelProto, device: str) -> OnnxRuntime:
        """A session."""
        return cls(model)

    def run(self, inputs: list[Any]) -> list[Any]:
        """The outputs."""
        names = [value.name for value in self._session.get_inputs()]
        return self._session.run(self._outputs, dict(zip(names, inputs)))


@contextmanager
def own_home() -> Iterator[None]:
    """A folder of its own for what the onnx package may want to keep."""
    before = os.environ.get("ONNX_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ONNX_HOME"] = folder
        try:
            yield
        finally:
            os.environ.pop("ONNX_HOME")
            if before is not None:
                os.environ["ONNX_HOME"] = before


def failures(cases: Iterable[Case], backend: Any) -> dict[str, str]:
    """What goes wrong in the cases that fail, by name."""
    found = {}
    with own_home():
        for case in cases:
            try:
                case.run(backend)
            except Exception as error:
                lines = str(error).strip().splitlines() or [""]
                found[case.name] = f"{type(error).__name__}: {' '.join(lines[:3])[:200]}"
    return found


def known_failures(backend: str) -> set[str]:
    """The names of the cases that are known to fail on a backend."""
    return {
        name
        for name, *backends in map(str.split, KNOWN.read_text().splitlines())
        if backend in backends
    }


def differences(names: Iterable[str], backend: str) -> list[str]:
    """What passes or fails on a backend and should not, and what fails without a reason."""
    cases = all_cases()
    undecided = BY_BLAS if backend == "numpy" else set()
    chosen = [cases[name] for name in names if name not in undecided]
    found, known = failures(chosen, BACKENDS[backend]), known_failures(backend)
    said = [f"{name} fails: {what}" for name, what in found.items() if name not in known]
    passing = {case.name for case in chosen} - found.keys()
    said += [f"{name} passes, and is listed in {KNOWN.name}" for name in sorted(passing & known)]
    return said + [f"{name} fails for no reason" for name in found if not reason(cases[name])]


def write_known(found: Mapping[str, Mapping[str, str]]) -> None:
    """List what failed on each backend, to be looked at in the diff."""
    names = sorted({name for names in found.values() for name in names})
    lines = [
        " ".join([name, *(backend for backend in found if name in found[backend])])
        for name in names
    ]
    KNOWN.write_text("".join(f"{line}\n" for line in lines))
