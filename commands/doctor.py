"""Print what this machine has: processor, packages, backends, cache; and what is missing, with the
command that installs it. The exit code is 1 where a backend that is installed does not work."""

from __future__ import annotations

import argparse

from ..environment import Environment, environment
from . import output
from .main import MISTAKE


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    output.add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Do so."""
    found = environment()
    if options.json:
        output.emit(_as_json(found))
    else:
        _show(found)
    return 0 if found.works else MISTAKE


def _as_json(found: Environment) -> dict[str, object]:
    target = found.target
    return {
        "works": found.works,
        "versions": found.versions,
        "processor": found.processor,
        "processors": found.processors,
        "memory": found.memory,
        "target": None
        if target is None
        else {
            "name": target.name,
            "cpu": target.cpu,
            "triple": target.triple,
            "vector_bytes": target.vector_bytes,
            "registers": target.registers,
            "caches": [target.caches.first, target.caches.second, target.caches.third],
        },
        "target_problem": found.target_problem,
        "packages": [
            {
                "name": package.name,
                "for": package.purpose,
                "version": package.version,
                "install": None if package.version else package.command,
            }
            for package in found.packages
        ],
        "programs": [
            {
                "name": program.name,
                "for": program.purpose,
                "path": program.path,
                "install": None if program.path else program.command,
            }
            for program in found.programs
        ],
        "mpi": found.mpi,
        "backends": [
            {"name": tried.name, "installed": not tried.missing, "problem": tried.problem}
            for tried in found.backends
        ],
        "cache": {
            "folder": found.cache.folder,
            "bytes": sum(file.nbytes for file in found.cache.files()),
            "limit": found.cache.limit,
            "problem": found.cache.problem(),
        },
        "variables": found.variables,
    }


def _show(found: Environment) -> None:
    target = found.target
    used = output.nbytes_text(sum(file.nbytes for file in found.cache.files()))
    problem = found.cache.problem()
    rows = [
        *found.versions.items(),
        ("processor", found.processor),
        ("processors", str(found.processors)),
        ("memory", output.nbytes_text(found.memory) if found.memory else "not known"),
        ("native code", found.target_problem or "not installed"),
    ]
    if target is not None:
        rows[-1:] = [
            ("native code", f"for {target.cpu}, {target.name}"),
            ("vectors", f"{target.registers} of {8 * target.vector_bytes} bits"),
            ("caches", f"taken to be {target.caches}"),
        ]
    for tried in found.backends:
        state = "not installed" if tried.missing else tried.problem or "works"
        rows.append((f"backend {tried.name}", state))
    if found.mpi is not None:
        rows.append(("MPI", found.mpi))
    rows.append(("cache", problem or f"{found.cache.folder}, {used}"))
    rows += found.variables.items()
    output.show_pairs(rows)
    output.say("")
    packages = [
        (package.name, package.version or "missing", package.purpose) for package in found.packages
    ]
    packages += [
        (program.name, "present" if program.path else "missing", program.purpose)
        for program in found.programs
    ]
    output.show_table(("package", "version", "for"), packages, names=3)
    missing = [package.command for package in found.packages if package.version is None]
    missing += [program.command for program in found.programs if program.path is None]
    if missing:
        output.say("\nto install what is missing:")
        for command in missing:
            output.say(f"  {command}")
