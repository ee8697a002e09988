"""``mpiexec``, where there is one."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from functools import cache

MPI = shutil.which("mpiexec") is not None and importlib.util.find_spec("mpi4py") is not None
NO_MPI = "there is no MPI: apt-get install openmpi-bin, and pip install 'cauce[mpi]'"


@cache
def mpiexec() -> tuple[str, ...]:
    """The command, with what Open MPI wants to be told before it starts more ranks than cores."""
    told = subprocess.run(["mpiexec", "--version"], capture_output=True, text=True).stdout
    open_mpi = ("--allow-run-as-root", "--oversubscribe", "--bind-to", "none")
    return ("mpiexec", *(open_mpi if "Open" in told else ()))
